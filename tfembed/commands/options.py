"""Options that several commands have."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click

_Decorated = TypeVar("_Decorated", bound=Callable[..., object])
_COMPUTES = ["float32", "bfloat16", "auto"]
_TASKS = ["classification", "multi_label", "regression"]

PATH = click.Path(path_type=Path)
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON for scripts.")
BASE_PATH = click.argument("base_path", type=PATH)
KIND = click.option("--kind", type=click.Choice(["text", "image"]), help="Which tower of an encoder that has both.")
DEFAULT_ENCODER = "[default: minilm; for images a network for photographs that was downloaded before, or glyphs]"
PREPROCESSING = click.option("--preprocessing", help="Handle of the preprocessing that goes with the encoder.")
OUTPUT = click.option("--output", help="Name of the output or layer that embeddings are made of.")
SIGNATURE = click.option("--signature", help="Name of the signature of a SavedModel to call.")
_POOLINGS = ["mean", "max", "cls", "mean_sqrt_len", "last", "sif"]
POOLING = click.option("--pooling", type=click.Choice(_POOLINGS), help="How to pool token vectors.")
COMPUTE = click.option(
    "--compute", type=click.Choice(_COMPUTES), default="float32", show_default=True, help="Of the frozen part."
)


def together(*options: Callable[[_Decorated], _Decorated]) -> Callable[[_Decorated], _Decorated]:
    """A decorator that is several; help lists the options in their order.

    Example:
        >>> @click.command()
        ... @together(JSON, KIND)
        ... def look(as_json, kind): ...
        >>> [option.name for option in look.params]
        ['as_json', 'kind']
    """

    def decorate(command: _Decorated) -> _Decorated:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


ENCODER = together(
    PREPROCESSING,
    POOLING,
    OUTPUT,
    SIGNATURE,
    click.option(
        "--weights", default="pretrained", show_default=True, help="pretrained, none for random ones, or a file."
    ),
    click.option(
        "--sequence-length", type=click.IntRange(2), help="Tokens kept of a text.  [default: as training texts want]"
    ),
    click.option("--trust", is_flag=True, help="Load files as well that can do more than hold weights."),
)
DATA = together(
    click.option("--text", default="text", show_default=True, help="Column of texts."),
    click.option("--label", help="Column of labels.  [default: label]"),
    click.option("--label-separator", help='What stands between several labels of a cell, such as "|".'),
    click.option("--groups", help="Column of groups, such as authors, whose rows stay together in splits and folds."),
    click.option("--task", type=click.Choice(_TASKS), help="What labels mean.  [default: told from the labels]"),
    click.option("--validation", help="Share to choose by, or a table or folder; 0 for none.  [default: 0.1]"),
    click.option("--test", help="Share to measure on, or a table or folder; 0 for none.  [default: 0.2]"),
    click.option("--drop-duplicates", is_flag=True, help="Keep one of equal examples, and none that is in two splits."),
    click.option("--few-shot", type=click.IntRange(1), help="Train on so many examples of each class."),
)
TRAINING = together(
    click.option("--balanced", is_flag=True, help="Let every class count the same, however many examples it has."),
    COMPUTE,
    click.option("--mixed-precision", is_flag=True, help="Train the encoder in bfloat16; for GPUs."),
    click.option("--jit-compile", is_flag=True, help="Let XLA compile what trains; for GPUs."),
)
