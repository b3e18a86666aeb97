"""`tfembed export`, `versions`, `rollback`: from a run to what TF Serving serves, and back."""

import json
from pathlib import Path

import click

from tfembed.startup import import_tensorflow

_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON for scripts.")
_BASE_PATH = click.argument("base_path", type=click.Path(path_type=Path))


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@_BASE_PATH
@click.option(
    "--reject-below", type=click.FloatRange(0, 1), help="Label inputs __none__ whose best class has a lower score."
)
@_JSON
def export(run: Path, base_path: Path, reject_below: float | None, as_json: bool) -> None:
    """Export the model of a RUN as the next version under BASE_PATH, checked in a fresh process."""
    import_tensorflow()
    import tfembed as te
    from tfembed.progress import waiting

    with waiting(f"Loading {run}"):
        model, record = te.load_run(run)
    about = {"data": record.get("data"), "metrics": record["result"]["metrics"], "seed": record["result"]["seed"]}
    folder = te.export(model, base_path, reject_below=reject_below, about=about)
    click.echo(json.dumps({"folder": str(folder)}) if as_json else f"{folder}: same predictions in a fresh process")


@click.command()
@_BASE_PATH
@_JSON
def versions(base_path: Path, as_json: bool) -> None:
    """List the versions under BASE_PATH, the highest first; it is the one that TF Serving serves."""
    import_tensorflow()
    import tfembed as te

    found = te.versions(base_path)
    if as_json:
        rows = [
            {"version": v.number, "folder": str(v.folder), "bytes": v.num_bytes, "withdrawn": v.withdrawn} | v.record
            for v in found
        ]
        click.echo(json.dumps(rows))
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
@_BASE_PATH
@_JSON
def rollback(base_path: Path, as_json: bool) -> None:
    """Withdraw the highest version under BASE_PATH, so that TF Serving goes back to the one below it."""
    import_tensorflow()
    import tfembed as te

    version = te.rollback(base_path)
    click.echo(json.dumps({"version": version.number}) if as_json else f"{version.folder} is the highest version now")
