"""The command line: parsing and printing only. TensorFlow is imported inside commands, so that help comes at once."""

import json
import os
import re
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from tfembed.cache_commands import cache
from tfembed.doctor_commands import doctor
from tfembed.embed_commands import embed, evaluate_embeddings, index, query
from tfembed.export_commands import export, rollback, versions
from tfembed.report_commands import report
from tfembed.serve_commands import deploy, serve
from tfembed.startup import import_tensorflow

_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON for scripts.")
_ENCODER = click.option("--encoder", "handle", help="Handle of the encoder.  [default: minilm or glyphs, as data are]")
_PREPROCESSING = click.option("--preprocessing", help="Handle of the preprocessing that goes with the encoder.")
_COMPUTES = ["float32", "bfloat16", "auto"]
_ORACLES = ["random", "bayesian", "hyperband", "grid"]
_TASKS = ["classification", "multi_label", "regression"]
_WEIGHTS = click.option(
    "--weights", default="pretrained", show_default=True, help="pretrained, none for random ones, or a file."
)
_MIXED_PRECISION = click.option("--mixed-precision", is_flag=True, help="Train the encoder in bfloat16; for GPUs.")
_JIT_COMPILE = click.option("--jit-compile", is_flag=True, help="Let XLA compile what trains; for GPUs.")
_KIND = click.option("--kind", type=click.Choice(["text", "image"]), help="Which tower of an encoder that has both.")
_OUTPUT = click.option("--output", help="Name of the output or layer that embeddings are made of.")
_TRUST = click.option("--trust", is_flag=True, help="Load files as well that can do more than hold weights.")
_POOLING = click.option(
    "--pooling", type=click.Choice(["mean", "max", "cls", "sif"]), help="How to pool token vectors."
)

# What Keras puts around an error inside of a layer's call: the layer before it, the tensors behind it.
_KERAS_FRAME = re.compile(
    r"Exception encountered when calling .*?\s+\x1b\[1m(.*?)\x1b\[0m\s+Arguments received", re.DOTALL
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="tfembed")
def cli() -> None:
    """Take a pretrained embedding, find out how much of it to unfreeze, and ship the result to TF Serving."""


@cli.command()
@click.option("--out", default="saved_models/intents", show_default=True, help="Base path of the exported model.")
def demo(out: str) -> None:
    """Run the main job on what ships with tfembed: intents of a chatbot, and handwritten digits."""
    import_tensorflow()
    from tfembed.demo import run_demo

    run_demo(Path(out))


@cli.command()
@_JSON
def encoders(as_json: bool) -> None:
    """List the encoders that have a short name."""
    from tfembed.encoders.catalog import CATALOG

    if as_json:
        click.echo(json.dumps([asdict(spec) for spec in CATALOG.values()], indent=1))
        return
    click.echo(f"{'name':25} {'takes':15} {'dim':>5} {'parameters':>13}  {'licence':13} good for")
    for spec in CATALOG.values():
        takes = spec.kind if spec.image_size is None else f"image {spec.image_size[0]}"
        takes += ", text" if spec.both else ""
        parameters = f"{spec.parameters:,}" if spec.parameters else ""
        click.echo(f"{spec.name:25} {takes:15} {spec.dim or '':>5} {parameters:>13}  {spec.licence:13} {spec.good_for}")
        click.echo(f"{'':25} {spec.handle}")


@cli.command()
@click.argument("handle")
@_KIND
@_PREPROCESSING
@_POOLING
@_OUTPUT
@_WEIGHTS
@_TRUST
@click.option("--nearest", help="List what is nearest to a word, or to a text.")
@click.option("--analogy", metavar="A,B,C", help="List what is nearest to A - B + C, such as king,man,woman.")
@click.option("--among", type=click.Path(exists=True), help="Search in the lines of a file.  [default: its words]")
@_JSON
def inspect(handle: str, as_json: bool, **options: Any) -> None:
    """Show what an encoder takes and gives, its blocks, and what it saves to freeze them."""
    import_tensorflow()
    from tfembed.commands import inspect_encoder

    found = inspect_encoder(handle, options)
    if as_json:
        click.echo(json.dumps(found, indent=1))
        return
    click.echo(f"{found['name']}: {found['takes']} -> embeddings (n, {found['dim']})")
    click.echo(f"licence {found['licence']}; {found['source']}")
    for kind in ("inputs", "outputs"):
        click.echo(f"{kind}: " + ", ".join(f"{t['name']} {t['dtype']} {_shape(t['shape'])}" for t in found[kind]))
    click.echo("blocks from input to output; with all frozen down to there, what")
    click.echo("is kept of an example, and the share of the forward pass saved:")
    click.echo(f"  {'block':22} {'variables':>9} {'parameters':>12} {'bytes':>10} {'saved':>6}")
    blocks = [{"name": "(none frozen)", "variables": "", "parameters": 0}, *found["blocks"]]
    for block, cut in zip(blocks, found["cuts"], strict=True):
        size = f"{block['parameters']:,}" if block["variables"] else ""
        measured = "cannot be cut" if cut["error"] else f"{cut['bytes']:>10,} {cut['saved']:>6.0%}"
        click.echo(f"  {block['name']:22} {block['variables']:>9} {size:>12} {measured}")
    if found["cuts"][0]["num_tokens"] is not None:
        click.echo(f"bytes of a text of {found['cuts'][0]['num_tokens']} tokens")
    for error in dict.fromkeys(cut["error"] for cut in found["cuts"] if cut["error"]):
        click.echo(f"why not: {error}")
    for name in (each for each in ("nearest", "analogy") if each in found):
        click.echo(f"{name} {options[name]}:")
        for neighbour in found[name]:
            click.echo(f"  {neighbour['similarity']:8.4f}  {neighbour['example']}")
    click.echo(f"try: {found['example']}")


@cli.command()
@click.argument("data")
@_ENCODER
@_PREPROCESSING
@_POOLING
@_OUTPUT
@_WEIGHTS
@_TRUST
@click.option("--text", default="text", show_default=True, help="Column of texts.")
@click.option("--label", help="Column of labels.  [default: label]")
@click.option("--label-separator", help='What stands between several labels of a cell, such as "|".')
@click.option("--task", type=click.Choice(_TASKS), help="What labels mean.  [default: told from the labels]")
@click.option("--strategy", default="linear_probe", show_default=True, help="Such as lp_ft:2, or a .json file.")
@click.option("--head", default="linear", show_default=True, help="linear, cosine, mlp:UNITS,... such as mlp:128,64")
@click.option("--balanced", is_flag=True, help="Let every class count the same, however many examples it has.")
@click.option(
    "--compute",
    type=click.Choice(_COMPUTES),
    default="float32",
    show_default=True,
    help="Of the frozen part.",
)
@_MIXED_PRECISION
@_JIT_COMPILE
@click.option("--few-shot", type=click.IntRange(1), help="Train on so many examples of each class.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of split, draw and training.")
@click.option(
    "--distribution", type=click.Choice(["mirrored", "multi-worker"]), help="Share each batch among GPUs, or machines."
)
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the run; nothing is kept without it.")
@_JSON
def train(data: str, out: Path | None, as_json: bool, **options: Any) -> None:
    """Train on DATA: a table of texts, a folder with a folder of images per class, or intents or reviews."""
    import_tensorflow()
    from tfembed.commands import train_on

    model, result, record = train_on(data, out, options)
    if out is not None:
        from tfembed.progress import waiting
        from tfembed.runs import save_run

        with waiting(f"Writing {out}"):
            save_run(out, model, result, record)
    if as_json:
        click.echo(json.dumps(record | {"result": result.to_dict()}))
        return
    for split, metrics in result.metrics.items():
        click.echo(f"{split:11} " + "  ".join(f"{name} {value:.4f}" for name, value in metrics.items()))
    click.echo(f"{result.trained_parameters:,} trained parameters, {result.seconds:.1f} s, seed {result.seed}")
    if out is not None:
        click.echo(f"try: tfembed predict {out} ...    ship: tfembed export {out} saved_models/{out.name}")


@cli.command()
@click.argument("data")
@click.option("--encoder", "handles", multiple=True, help="Handle of an encoder; several to choose among them.")
@_PREPROCESSING
@_POOLING
@_OUTPUT
@_WEIGHTS
@_TRUST
@click.option("--text", default="text", show_default=True, help="Column of texts.")
@click.option("--label", help="Column of labels.  [default: label]")
@click.option("--label-separator", help='What stands between several labels of a cell, such as "|".')
@click.option("--task", type=click.Choice(_TASKS), help="What labels mean.  [default: told from the labels]")
@click.option(
    "--trials", "max_trials", type=click.IntRange(1), default=12, show_default=True, help="Without baselines."
)
@click.option("--minutes", "max_minutes", type=float, help="No trial is begun after them; baselines come on top.")
@click.option("--oracle", type=click.Choice(_ORACLES), default="random", show_default=True, help="Proposes trials.")
@click.option("--objective", help="What trials are judged by.  [default: accuracy, or as the task wants it]")
@click.option("--folds", type=click.IntRange(1), help="Folds to measure on.  [default: 5 if there are few examples]")
@click.option("--repeats", type=click.IntRange(1), default=1, show_default=True, help="Seeds for each trial.")
@click.option("--balanced", is_flag=True, help="Let every class count the same, however many examples it has.")
@click.option(
    "--compute", type=click.Choice(_COMPUTES), default="float32", show_default=True, help="Of the frozen part."
)
@click.option(
    "--workers", type=click.IntRange(1), default=1, show_default=True, help="Processes that share the trials."
)
@click.option(
    "--distribution", type=click.Choice(["mirrored"]), help="Share the batches of each trial among the GPUs here."
)
@click.option("--early-stopping/--no-early-stopping", default=True, help="Stop trials that cannot win.  [default: on]")
@_MIXED_PRECISION
@_JIT_COMPILE
@click.option("--few-shot", type=click.IntRange(1), help="Train on so many examples of each class.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of split, draw, oracle, training.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the study; goes on with one.")
@_JSON
def search(data: str, out: Path, as_json: bool, **options: Any) -> None:
    """Find the best strategy, depth and rate for DATA, as `tfembed train` takes it. Interrupted, it goes on."""
    import_tensorflow()
    from tfembed.commands import search_on

    study = search_on(data, out, options)
    if as_json:
        click.echo(json.dumps({"result": study.result, "leaderboard": [asdict(row) for row in study.leaderboard]}))
        return
    from rich.console import Console

    from tfembed.search.leaderboard import leaderboard_table

    Console(soft_wrap=True).print(leaderboard_table(study.leaderboard, str(study.plan.objective)))
    result = study.result or {}
    for name, value in result["test"].items():
        spread = f" ± {result['spread'][name]:.4f}" if result["spread"] else ""
        click.echo(f"test {name} of the winner, {result['name']}: {value:.4f}{spread}")
    click.echo(f"report: {out / 'report.html'}    logs: tensorboard --logdir {out / 'tensorboard'}")
    click.echo(f"try: tfembed predict {out} ...    ship: tfembed export {out} saved_models/{out.name}")


@cli.command()
@click.argument("run_and_examples", nargs=-1, required=True, metavar="[RUN] EXAMPLES...")
@click.option("--url", help="Ask a server in place of a RUN, such as http://localhost:8501/v1/models/intents.")
@_JSON
def predict(run_and_examples: tuple[str, ...], url: str | None, as_json: bool) -> None:
    """Predict texts, or the images in files, with the model of a RUN, or with a served one."""
    if url is not None:
        from tfembed.serving.answers import ask

        rows = ask(url, run_and_examples)
    elif len(run_and_examples) == 1:
        raise click.UsageError("Pass a RUN and examples, or --url and examples.")
    else:
        import_tensorflow()
        from tfembed.commands import predict_with

        rows = predict_with(Path(run_and_examples[0]), run_and_examples[1:])
    if as_json:
        click.echo(json.dumps(rows))
        return
    for row in rows:
        label = ", ".join(row["label"]) if isinstance(row["label"], tuple) else row["label"] or ""
        click.echo(f"{row['score']:8.4f}  {label:24} {row['example']}")


cli.add_command(export)
cli.add_command(versions)
cli.add_command(rollback)
cli.add_command(cache)
cli.add_command(serve)
cli.add_command(deploy)
cli.add_command(report)
cli.add_command(doctor)
cli.add_command(embed)
cli.add_command(index)
cli.add_command(query)
cli.add_command(evaluate_embeddings)


def main() -> None:
    """Run a command; whatever is wrong with the input is one line and exit code 2."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        cli.main(prog_name="tfembed", standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(error.exit_code)
    except click.ClickException as error:
        where = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "tfembed"
        click.echo(f"tfembed: {_one_line(error.format_message())} (try: {where} --help)", err=True)
        sys.exit(error.exit_code)
    except (ValueError, OSError) as error:
        click.echo(f"tfembed: {_one_line(error)}", err=True)
        sys.exit(2)
    except Exception as error:
        if os.environ.get("TFEMBED_DEBUG"):
            raise
        click.echo(f"tfembed: {type(error).__name__}: {_one_line(error)} (TFEMBED_DEBUG=1 shows where)", err=True)
        sys.exit(1)


def _shape(sizes: list[int | None]) -> str:
    return "(" + ", ".join("?" if size is None else str(size) for size in sizes) + ")"


def _one_line(error: Exception | str) -> str:
    inside = _KERAS_FRAME.match(str(error))
    return " ".join((inside.group(1) if inside else str(error)).split())
