"""`tfembed report`: writes the report of a study again."""

import json
from pathlib import Path

import click

from tfembed.startup import import_tensorflow


@click.command()
@click.argument("study", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON for scripts.")
def report(study: Path, as_json: bool) -> None:
    """Write report.html and the logs for TensorBoard of a STUDY again, also while it is searched.

    Texts and pictures are read again from where the data came from; without them, the page says what is missing.
    """
    import_tensorflow()
    from tfembed.report import write_report
    from tfembed.search import load_study

    path = write_report(load_study(study))
    click.echo(json.dumps({"report": str(path)}) if as_json else str(path))
