"""`tfembed export`, `versions`, `rollback`: from a run to what TF Serving serves, and back."""

from pathlib import Path
from typing import Any

import click

from tfembed.commands.early import check_base_path, check_run
from tfembed.commands.hints import command
from tfembed.commands.options import BASE_PATH, JSON, PATH
from tfembed.json_values import to_json
from tfembed.startup import import_tensorflow

_TOLD = ("quantization", "reject_below", "rejection")


@click.command()
@click.argument("run", type=PATH)
@BASE_PATH
@click.option(
    "--reject-below", type=click.FloatRange(0, 1), help="Label inputs __none__ whose best class has a lower score."
)
@click.option(
    "--out-of-scope",
    type=click.Path(path_type=Path, exists=True),
    help="A file with a text a line, or a folder of images, of no class: chooses the score for --reject-below, or "
    "tells what it catches.",
)
@click.option(
    "--keep-in-scope",
    type=click.FloatRange(0, 1, min_open=True),
    help="Share of inputs of the classes to keep, such as 0.95: chooses the score for --reject-below.",
)
@click.option("--quantize", type=click.Choice(["bfloat16", "int8-weights"]), help="Keep the weights in less room.")
@JSON
def export(run: Path, base_path: Path, as_json: bool, **options: Any) -> None:
    """Export the model of a RUN as the next version under BASE_PATH, checked in a fresh process.

    It is checked, measured and warmed up with examples that it was not trained on, where the data of the run are still
    there, and with made-up ones elsewhere.
    """
    check_run(run)
    import_tensorflow()
    from tfembed.commands.runs import export_run

    folder, record = export_run(run, base_path, options)
    if as_json:
        click.echo(to_json({"folder": str(folder)} | {name: record.get(name) for name in _TOLD}))
        return
    if record.get("quantization"):
        from tfembed.export.quantization import Cost

        click.echo(str(Cost(**record["quantization"])))
    if record.get("rejection") is not None:
        from tfembed.rejection import RejectionCost

        click.echo(f"label is __none__ {RejectionCost(**record['rejection'])}")
    elif record.get("reject_below") is not None:
        click.echo(f"label is __none__ below a score of {record['reject_below']:.4f}")
    click.echo(f"{folder}: same predictions in a fresh process")
    click.echo(f"try:  {command('serve', base_path)}")


@click.command()
@BASE_PATH
@JSON
def versions(base_path: Path, as_json: bool) -> None:
    """List the versions under BASE_PATH, the highest first; it is the one that TF Serving serves."""
    import tfembed as te

    check_base_path(base_path)
    found = te.versions(base_path)
    if as_json:
        rows = [
            {"version": v.number, "folder": str(v.folder), "bytes": v.num_bytes, "withdrawn": v.withdrawn} | v.record
            for v in found
        ]
        click.echo(to_json(rows))
        return
    for version in found:
        record = version.record
        strategy = (record.get("strategy") or {}).get("name", "not trained")
        accuracy = record.get("metrics", {}).get("test", {}).get("accuracy")
        what = f"{record['encoder']}, {strategy}" if record else "not written by tfembed"
        what += "" if accuracy is None else f", test accuracy {accuracy:.1%}"
        what += ", withdrawn" if version.withdrawn else ""
        click.echo(f"{version.number:>4}  {version.num_bytes / 1e6:8.1f} MB  {record.get('written', '')}  {what}")


@click.command()
@BASE_PATH
@JSON
def rollback(base_path: Path, as_json: bool) -> None:
    """Withdraw the highest version under BASE_PATH, so that TF Serving goes back to the one below it."""
    import tfembed as te

    check_base_path(base_path)
    version = te.rollback(base_path)
    click.echo(to_json({"version": version.number}) if as_json else f"{version.folder} is the highest version now")
