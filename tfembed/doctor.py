"""Doctor: whether what is installed fits together, and what the machine has. Imports nothing that may be broken."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

from tfembed.backend import NEEDED, backend_advice
from tfembed.encoders.minilm_package import INSTALL
from tfembed.installed import installed, version_of

_SECONDS = 900  # the first import after an installation also compiles, and the machine may be busy


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that does not fit.

    Attributes:
        what: What it is.
        todo: What to do.
    """

    what: str
    todo: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """What there is, and what does not fit.

    Attributes:
        versions: By name; None for what is not installed.
        machine: What a fresh process found: `devices`, `cpu`, `memory`, `bfloat16`, `xla`, `imports`, `encoder`.
        cache: `folder`, `bytes` in it, and what is `free` on its disk.
        findings: None where all is well.
    """

    versions: Mapping[str, str | None]
    machine: Mapping[str, Any]
    cache: Mapping[str, Any]
    findings: tuple[Finding, ...]

    def to_dict(self) -> dict[str, Any]:
        """The examination as JSON values."""
        return asdict(self)


def examine(look: Callable[[], dict[str, Any]] | None = None) -> Examination:
    """Examine this installation and this machine.

    Args:
        look: What looks at the machine; a fresh process if None, so that what breaks there does not break this one.

    Example:
        >>> examine(lambda: {"imports": {"tensorflow": "it is broken"}}).findings[0].what
        'tensorflow cannot be imported: it is broken'
    """
    machine = (look or look_at_machine)()
    broken = [_not_imported(name, error) for name, error in machine.get("imports", {}).items() if error]
    findings = (*broken, *_other_backend(), *_unmet(), *_unlike(), *_useless_encoder(machine))
    return Examination(versions=installed(), machine=machine, cache=look_at_cache(), findings=findings)


def examine_exports(exports: Sequence[Path], serving: str) -> tuple[Finding, ...]:
    """Find what a version of TensorFlow Serving could not load.

    Args:
        exports: Base paths, of which the highest version is looked at, or folders of versions.
        serving: The version of TensorFlow Serving, such as `"2.20"`.

    Raises:
        ValueError: If the ops of this version are not known, or a folder holds no export.
    """
    from tfembed.export.ops import missing_ops, ops_in
    from tfembed.export.versions import versions

    findings = []
    for export in exports:
        is_version = (export / "saved_model.pb").is_file()
        folder = export if is_version else next(each.folder for each in versions(export) if not each.withdrawn)
        if missing := missing_ops(ops_in(folder), serving):
            what = f"{folder} needs {', '.join(missing)}, which TensorFlow Serving {serving} does not have"
            findings.append(
                Finding(what=what, todo="export it again without what needs them, or serve a newer version")
            )
    return tuple(findings)


def look_at_machine() -> dict[str, Any]:
    """Have a fresh process import what there is and say what it finds; see `doctor_check`."""
    script = Path(__file__).with_name("doctor_check.py")
    command = [sys.executable, str(script)]
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": NEEDED}
    try:
        run = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=_SECONDS, env=environment, errors="replace"
        )
        found: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired:
        return {"imports": {"tensorflow": f"a fresh process did not end within {_SECONDS} s"}}
    except (IndexError, json.JSONDecodeError):
        last = (run.stderr.strip().splitlines() or ["it said nothing"])[-1]
        return {"imports": {"tensorflow": f"a fresh process ended with {run.returncode}: {last}"}}
    return found


def look_at_cache() -> dict[str, Any]:
    """The folder of features, what it takes, and what is free there."""
    from tfembed.features.store import FeatureStore, default_folder

    folder = default_folder()
    there = next(each for each in (folder.absolute(), *folder.absolute().parents) if each.exists())
    taken = sum(entry.num_bytes for entry in FeatureStore(folder).entries()) if folder.exists() else 0
    return {"folder": str(folder), "bytes": taken, "free": shutil.disk_usage(there).free}


def _other_backend() -> list[Finding]:
    """Another backend of Keras than the one that tfembed needs."""
    advice = backend_advice()
    return [] if advice is None else [Finding(what="tfembed needs the TensorFlow backend", todo=advice)]


def _useless_encoder(machine: Mapping[str, Any]) -> list[Finding]:
    """An encoder of texts, the one taken by default, that fails."""
    encoder = machine.get("encoder") or {"error": None}
    if encoder["error"] is None:
        return []
    return [Finding(what=f"encoder {encoder['name']} does not work: {encoder['error']}", todo=INSTALL)]


def _unmet() -> list[Finding]:
    """What tfembed requires and does not have in a version that it knows."""
    try:
        lines = metadata.requires("tfembed") or []
    except metadata.PackageNotFoundError:
        return [Finding(what="tfembed itself is not installed", todo="pip install tfembed")]
    requirements = [Requirement(line) for line in lines]
    return [
        Finding(
            what=f"{each.name} {version_of(each.name) or 'is not installed'}: expected {each.specifier}",
            todo=f'pip install "{each.name}{each.specifier}"',
        )
        for each in requirements
        if (each.marker is None or each.marker.evaluate({"extra": ""})) and not _is_met(each)
    ]


def _is_met(requirement: Requirement) -> bool:
    version = version_of(requirement.name)
    return version is not None and requirement.specifier.contains(version, prereleases=True)


def _unlike() -> list[Finding]:
    """Pairs that have to be of the same version, and are not."""
    findings = []
    for one, other, parts in (("tensorflow", "tensorflow-text", 2), ("keras-hub", "keras-nlp", 3)):
        known = version_of(one), version_of(other)
        if known[0] is None or known[1] is None:
            continue
        wanted, found = (version.split(".")[:parts] for version in known if version)
        if wanted != found:
            same = ".".join(wanted) + (".*" if parts == 2 else "")
            what = f"{other} {known[1]} does not fit {one} {known[0]}: expected {same}"
            findings.append(Finding(what=what, todo=f'pip install "{other}=={same}"'))
    return findings


def _not_imported(name: str, error: str) -> Finding:
    distribution = name.replace("_", "-")
    return Finding(what=f"{name} cannot be imported: {error}", todo=f"pip install --force-reinstall {distribution}")
