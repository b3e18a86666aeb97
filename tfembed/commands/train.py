"""`tfembed train` and `tfembed predict`: a model, and what it says."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tfembed.commands.early import check_examples, check_run, read_training_data
from tfembed.commands.hints import command, example_of
from tfembed.commands.options import DATA, DEFAULT_ENCODER, ENCODER, JSON, PATH, TRAINING
from tfembed.json_values import to_json
from tfembed.phases import BATCH_NORM
from tfembed.startup import import_tensorflow
from tfembed.strategies import STRATEGY_TEXTS

if TYPE_CHECKING:
    import tfembed as te


@click.command()
@click.argument("data")
@click.option("--encoder", "handle", help=f"Handle of the encoder.  {DEFAULT_ENCODER}")
@ENCODER
@DATA
@click.option("--strategy", default="linear_probe", show_default=True, help=f"{STRATEGY_TEXTS}.")
@click.option(
    "--batch-norm",
    type=click.Choice(BATCH_NORM),
    default="auto",
    show_default=True,
    help="Statistics of batch norm in what is unfrozen: stored ones, of each batch, or of the training images.",
)
@click.option("--head", default="linear", show_default=True, help="linear, cosine, mlp:UNITS,... such as mlp:128,64")
@TRAINING
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of split, draw and training.")
@click.option(
    "--distribution", type=click.Choice(["mirrored", "multi-worker"]), help="Share each batch among GPUs, or machines."
)
@click.option("--out", type=PATH, help="Folder for the run; nothing is kept without it.")
@JSON
def train(data: str, out: Path | None, as_json: bool, **options: Any) -> None:
    """Train on DATA: a table of texts, a folder with a folder of images per class, or intents or reviews."""
    dataset = read_training_data(data, out, options)
    import_tensorflow()
    from tfembed.commands.runs import train_on

    model, result, record = train_on(dataset, options)
    if as_json:
        click.echo(to_json(record | {"result": result.to_dict()}))
    else:
        _print(result, record)
    if out is not None:  # printed before, so that a full disk takes no figures along
        from tfembed.progress import waiting
        from tfembed.runs import save_run

        with waiting(f"Writing {out}"):
            save_run(out, model, result, record)
    if as_json:
        return
    if out is None:
        click.echo("nothing is kept: pass --out runs/NAME to keep the model")
        return
    example = example_of((dataset.test if len(dataset.test) else dataset.train).examples)
    click.echo(f"try:  {command('predict', out, example)}")
    click.echo(f"ship: {command('export', out, f'saved_models/{out.name}')}")


def _print(result: "te.Result", record: dict[str, Any]) -> None:
    from tfembed.intervals import describe_metrics

    sizes = ", ".join(f"{count:,} {split}" for split, count in result.sizes.items())
    classes = f", {len(record['class_names'])} classes" if record["class_names"] else ""
    click.echo(f"{sum(result.sizes.values()):,} examples ({sizes}){classes}, encoder {record['encoder']}")
    for split, metrics in result.metrics.items():
        shown = describe_metrics(metrics, result.intervals.get(split, {}), result.sizes[split])
        click.echo(f"{split:11} {shown}")
    if result.intervals:
        click.echo("in parentheses: 95 % confidence intervals, of accuracy in percent")
    click.echo(f"{result.trained_parameters:,} trained parameters, {result.seconds:.1f} s, seed {result.seed}")


@click.command()
@click.argument("run_and_examples", nargs=-1, required=True, metavar="[RUN] EXAMPLES...")
@click.option("--text", default="text", show_default=True, help="Column of texts, of tables among the examples.")
@click.option("--url", help="Ask a server in place of a RUN, such as http://localhost:8501/v1/models/intents.")
@JSON
def predict(run_and_examples: tuple[str, ...], text: str, url: str | None, as_json: bool) -> None:
    """Predict texts, the texts of tables, or the images in files, with the model of a RUN, or with a served one."""
    if url is not None:
        from tfembed.commands.examples import texts_of
        from tfembed.serving.answers import ask

        rows = ask(url, run_and_examples, partial(texts_of, column=text))
    elif len(run_and_examples) == 1:
        raise click.UsageError("Pass a RUN and examples, or --url and examples.")
    else:
        run, examples = Path(run_and_examples[0]), run_and_examples[1:]
        check_examples(check_run(run), examples, text)
        import_tensorflow()
        from tfembed.commands.runs import predict_with

        rows = predict_with(run, examples, text)
    if as_json:
        click.echo(to_json(rows))
        return
    for row in rows:
        label = ", ".join(row["label"]) if isinstance(row["label"], tuple) else row["label"] or ""
        click.echo(f"{row['score']:8.4f}  {label:24} {row['example']}")
