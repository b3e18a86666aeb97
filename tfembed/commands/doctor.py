"""`tfembed doctor`: what is installed, what the machine has, and whether it fits together."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tfembed.backend import NEEDED
from tfembed.commands.options import JSON
from tfembed.encoders.minilm_package import INSTALL
from tfembed.json_values import to_json

if TYPE_CHECKING:
    from tfembed.doctor import Examination


@click.command()
@click.argument("exports", nargs=-1, type=click.Path(path_type=Path, exists=True))
@click.option("--serving", metavar="VERSION", help="Of TensorFlow Serving, such as 2.20, that shall serve EXPORTS.")
@JSON
@click.pass_context
def doctor(context: click.Context, exports: tuple[Path, ...], serving: str | None, as_json: bool) -> None:
    """Say what is installed, what the machine has, and whether it fits together; exit code 1 if it does not.

    With EXPORTS, base paths or folders of versions, it also says what TensorFlow Serving lacks to serve them.
    """
    from tfembed.doctor import examine, examine_exports
    from tfembed.export.ops import NEWEST, missing_ops
    from tfembed.progress import waiting

    missing_ops(set(), serving or NEWEST)  # an unknown version is told at once
    with waiting("Looking at the machine"):
        found = examine()
    os.environ["KERAS_BACKEND"] = NEEDED  # what it was is among the findings; exports are read all the same
    found = replace(found, findings=found.findings + examine_exports(exports, serving or NEWEST))
    click.echo(to_json(found.to_dict(), indent=1) if as_json else _in_words(found))
    if found.findings:
        context.exit(1)


def _in_words(found: "Examination") -> str:
    lines = [f"{name:16} {version or 'not installed'}" for name, version in found.versions.items()]
    machine = found.machine
    if "cpu" in machine:
        cpu = machine["cpu"]
        lines.append(
            f"{'CPU':16} {cpu['name']}, {cpu['cores']} cores; {' '.join(cpu['features']) or 'no features known'}"
        )
        lines.append(f"{'memory':16} {_gigabytes(machine['memory'])}")
    if "devices" in machine:
        for i, device in enumerate(machine["devices"]):
            capability = f", compute capability {device['compute_capability']}" if device["compute_capability"] else ""
            memory = f"{_gigabytes(device['memory'])}, {_gigabytes(device['free'])} free"
            lines.append(f"{f'GPU {i}':16} {device['name']}{capability}; {memory}")
        if not machine["devices"]:
            lines.append(f"{'GPU':16} none that TensorFlow sees")
        hardware = {True: "in hardware", False: "not in hardware", None: "not known"}[machine["bfloat16"]]
        lines.append(f"{'bfloat16':16} {hardware}")
        lines.append(f"{'XLA':16} {machine['xla'] or 'compiles'}")
    if "encoder" in machine:
        lines.append(_encoder_in_words(machine["encoder"]))
    cache = found.cache
    lines.append(f"{'features':16} {cache['folder']}: {_gigabytes(cache['bytes'])}, {_gigabytes(cache['free'])} free")
    if not found.findings:
        return "\n".join([*lines, "all of it fits together"])
    problems = [f"does not fit: {each.what}\n  try: {each.todo}" for each in found.findings]
    return "\n".join([*lines, *problems])


def _encoder_in_words(encoder: Mapping[str, Any]) -> str:
    if encoder["error"]:
        state = "does not work"
    elif encoder["dim"]:
        state = f"works: {encoder['dim']} numbers per text"
    else:
        state = f"is downloaded when it is first used; to use it without a network: {INSTALL}"
    return f"{encoder['name']:16} {state}"


def _gigabytes(num_bytes: int | None) -> str:
    return "unknown" if num_bytes is None else f"{num_bytes / 1e9:,.1f} GB"
