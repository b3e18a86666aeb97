"""`tfembed train` and `tfembed predict`: a model, and what it says."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tfembed.commands.early import check_examples, check_run, read_training_data
from tfembed.commands.hints import command, example_of
from tfembed.commands.options import DATA, ENCODER, JSON, PATH, TRAINING
from tfembed.json_values import to_json
from tfembed.startup import import_tensorflow
from tfembed.strategies import STRATEGY_TEXTS

if TYPE_CHECKING:
    import tfembed as te


@click.command()
@click.argument("data")
@click.option("--encoder", "handle", help="Handle of the encoder.  [default: minilm or glyphs, as data are]")
@ENCODER
@DATA
@click.option("--strategy", default="linear_probe", show_default=True, help=f"{STRATEGY_TEXTS}.")
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
        _print(result)
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


def _print(result: "te.Result") -> None:
    for split, metrics in result.metrics.items():
        click.echo(f"{split:11} " + "  ".join(f"{name} {value:.4f}" for name, value in metrics.items()))
    click.echo(f"{result.trained_parameters:,} trained parameters, {result.seconds:.1f} s, seed {result.seed}")


@click.command()
@click.argument("run_and_examples", nargs=-1, required=True, metavar="[RUN] EXAMPLES...")
@click.option("--url", help="Ask a server in place of a RUN, such as http://localhost:8501/v1/models/intents.")
@JSON
def predict(run_and_examples: tuple[str, ...], url: str | None, as_json: bool) -> None:
    """Predict texts, or the images in files, with the model of a RUN, or with a served one."""
    if url is not None:
        from tfembed.serving.answers import ask

        rows = ask(url, run_and_examples)
    elif len(run_and_examples) == 1:
        raise click.UsageError("Pass a RUN and examples, or --url and examples.")
    else:
        run, examples = Path(run_and_examples[0]), run_and_examples[1:]
        check_examples(check_run(run), examples)
        import_tensorflow()
        from tfembed.commands.runs import predict_with

        rows = predict_with(run, examples)
    if as_json:
        click.echo(to_json(rows))
        return
    for row in rows:
        label = ", ".join(row["label"]) if isinstance(row["label"], tuple) else row["label"] or ""
        click.echo(f"{row['score']:8.4f}  {label:24} {row['example']}")
