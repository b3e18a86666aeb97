"""`tfembed search` and `tfembed report`: which strategy serves some data, and the page about it."""

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from tfembed.commands.early import read_search_data
from tfembed.commands.hints import command, example_of
from tfembed.commands.options import DATA, DEFAULT_ENCODER, ENCODER, JSON, PATH, TRAINING
from tfembed.json_values import to_json
from tfembed.startup import import_tensorflow

_ORACLES = ["random", "bayesian", "hyperband", "grid"]


@click.command()
@click.argument("data")
@click.option("--encoder", "handles", multiple=True, help=f"Handle; several to choose among them.  {DEFAULT_ENCODER}")
@ENCODER
@DATA
@click.option(
    "--trials", "max_trials", type=click.IntRange(1), default=12, show_default=True, help="Without baselines."
)
@click.option("--minutes", "max_minutes", type=float, help="No trial is begun after them; baselines come on top.")
@click.option(
    "--oracle",
    type=click.Choice(_ORACLES),
    default="random",
    show_default=True,
    help="Proposes trials.",
)
@click.option("--objective", help="What trials are judged by.  [default: accuracy, or as the task wants it]")
@click.option("--folds", type=click.IntRange(1), help="Folds to measure on.  [default: 5 if there are few examples]")
@click.option("--repeats", type=click.IntRange(1), default=1, show_default=True, help="Seeds for each trial.")
@TRAINING
@click.option(
    "--workers", type=click.IntRange(1), default=1, show_default=True, help="Processes that share the trials."
)
@click.option(
    "--distribution",
    type=click.Choice(["mirrored", "multi-worker"]),
    help="Share the batches of each trial among GPUs, or machines.",
)
@click.option("--early-stopping/--no-early-stopping", default=True, help="Stop trials that cannot win.  [default: on]")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of split, draw, oracle, training.")
@click.option("--out", type=PATH, required=True, help="Folder of the study; goes on with one.")
@JSON
def search(data: str, out: Path, as_json: bool, **options: Any) -> None:
    """Find the best strategy, depth and rate for DATA, as `tfembed train` takes it. Interrupted, it goes on."""
    dataset = read_search_data(data, out, options)
    import_tensorflow()
    from tfembed.commands.runs import search_on

    study = search_on(dataset, out, options)
    if as_json:
        click.echo(to_json({"result": study.result, "leaderboard": [asdict(row) for row in study.leaderboard]}))
        return
    from rich.console import Console

    from tfembed.intervals import describe_metric
    from tfembed.search.leaderboard import leaderboard_table, ties_in_words

    rows, result = study.leaderboard, study.result or {}
    Console(soft_wrap=True).print(leaderboard_table(rows, str(study.plan.objective)))
    if ties := ties_in_words(rows):
        click.echo(f"the winner, {result['name']}, is {ties}")
    for name, value in result["test"].items():
        spread = f" ± {result['spread'][name]:.4f} over the seeds" if result["spread"] else ""
        shown = f"{name} {value:.4f}"
        if "num_test" in result:  # studies of older versions do not say
            shown = describe_metric(name, value, result["intervals"].get(name), result["num_test"])
        click.echo(f"test {shown}{spread}, of the winner, {result['name']}")
    example = example_of((dataset.test if len(dataset.test) else dataset.train).examples)
    click.echo(f"report: {out / 'report.html'}")
    click.echo(f"logs: tensorboard --logdir {shlex.quote(str(out / 'tensorboard'))}")
    click.echo(f"try:  {command('predict', out, example)}")
    click.echo(f"ship: {command('export', out, f'saved_models/{out.name}')}")


@click.command()
@click.argument("study", type=PATH)
@JSON
def report(study: Path, as_json: bool) -> None:
    """Write report.html and the logs for TensorBoard of a STUDY again, also while it is searched.

    Texts and pictures are read again from where the data came from; without them, the page says what is missing.
    """
    from tfembed.report import write_report
    from tfembed.search import load_study

    path = write_report(load_study(study))
    click.echo(to_json({"report": str(path)}) if as_json else str(path))
