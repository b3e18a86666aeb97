"""What was typed, as values: heads, data, and how to load an encoder."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

import tfembed as te
from tfembed.spelling import did_you_mean

_SAMPLE_LABELS = {"intents": "intent", "reviews": "sentiment"}
_PLAIN_HEADS: dict[str, Callable[[], te.Head]] = {"linear": te.linear_head, "cosine": te.cosine_head}
_SIZED_HEADS: dict[str, Callable[[list[int]], te.Head]] = {"mlp": te.mlp_head}


def parse_head(text: str) -> te.Head:
    """Read a head such as `linear`, `cosine`, or `mlp:128,64` with the sizes of its hidden layers.

    Raises:
        ValueError: If there is no such head.

    Example:
        >>> parse_head("mlp:128,64").units
        (128, 64)
    """
    name, _, sizes = text.partition(":")
    units = sizes.split(",")
    if name in _SIZED_HEADS and all(size.isdecimal() for size in units):
        return _SIZED_HEADS[name]([int(size) for size in units])
    if text in _PLAIN_HEADS:
        return _PLAIN_HEADS[text]()
    sized = ", ".join(f"{each}:UNITS,..." for each in _SIZED_HEADS)
    near = did_you_mean(name, (*_PLAIN_HEADS, *_SIZED_HEADS))
    raise ValueError(
        f"Unknown head {text!r}.{near} Pass {', '.join(_PLAIN_HEADS)}, {sized} such as mlp:128 or mlp:128,64."
    )


def dataset_of(data: str, options: Mapping[str, Any]) -> te.Dataset:
    """The data that were named, read as the options say.

    Args:
        data: A file, a folder, or the name of a sample.
        options: Of `DATA`, by name, and the seed.

    Raises:
        ValueError: If there is nothing of that name, or a file that is not what the options say.
    """
    found = _read(data, options)
    return found.few_shot(options["few_shot"], options["seed"]) if options["few_shot"] else found


def _read(data: str, options: Mapping[str, Any]) -> te.Dataset:
    seed, task, label, groups = (options[name] for name in ("seed", "task", "label", "groups"))
    splits = _splits_of(options)
    if data in _SAMPLE_LABELS:
        label = label or _SAMPLE_LABELS[data]
        return te.load_text(
            te.resource_path(data), text=options["text"], label=label, seed=seed, task=task, groups=groups, **splits
        )
    if Path(data).is_dir():
        return te.load_images(data, seed=seed, task=task, groups=groups, **splits)
    if not Path(data).exists():
        names = " or ".join(_SAMPLE_LABELS)
        near = did_you_mean(data, _SAMPLE_LABELS)
        raise ValueError(f"There is no {data!r}.{near} Expected a table of texts, a folder of images, or {names}.")
    columns: tuple[Any, Any] = (options["text"], label or "label")
    if all(column.isdecimal() for column in columns):  # positions, in a file without a header
        columns = (int(columns[0]), int(columns[1]))
        groups = int(groups) if groups and groups.isdecimal() else groups
    separator = options["label_separator"]
    if task == "multi_label" and separator is None and Path(data).suffix in (".csv", ".tsv", ".txt"):
        raise ValueError(
            f"--task multi_label: what stands between the labels of a cell of {data}? Say --label-separator."
        )
    named = {"text": columns[0], "label": columns[1], "groups": groups}
    return te.load_text(data, **named, seed=seed, task=task, label_separator=separator, **splits)


def _splits_of(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the loaders are told of splits, without what was not typed."""
    splits: dict[str, Any] = {"drop_duplicates": True} if options.get("drop_duplicates") else {}
    for name in ("validation", "test"):
        if (value := options.get(name)) is not None:
            splits[name] = _share_or_path(f"--{name}", value)
    return splits


def _share_or_path(option: str, value: str) -> float | str:
    if Path(value).exists():
        return value
    try:
        return float(value)
    except ValueError:
        raise ValueError(
            f"{option} {value}: there is no such file or folder: expected one, or a share such as 0.2 of the data."
        ) from None


def encoder_of(handle: str | None, kind: str) -> str:
    """Choose an encoder for data where none was named; which one images get is said on standard error.

    Args:
        handle: What `--encoder` says; None if it was left out.
        kind: Kind of the data.
    """
    from tfembed.encoders.default import FOR_CHARACTERS, FOR_PHOTOGRAPHS, default_encoder

    if handle:
        return handle
    chosen = default_encoder(kind)
    if chosen == FOR_CHARACTERS:
        best = next(iter(FOR_PHOTOGRAPHS))
        click.echo(
            f"Encoder: {chosen}, trained on printed characters, as no network for photographs is on this machine. For "
            f"one, pass --encoder {best}, which downloads 16 MB once; tfembed encoders lists others.",
            err=True,
        )
    elif kind == "image":
        click.echo(f"Encoder: {chosen}, trained on photographs; pass --encoder to take another.", err=True)
    return chosen


def loading_of(options: Mapping[str, Any]) -> dict[str, Any]:
    """What `load_encoder` is told of an encoder, from the options of `ENCODER`."""
    weights = None if options["weights"] == "none" else options["weights"]
    given = ("preprocessing", "pooling", "output", "signature", "sequence_length", "trust")
    return {name: options[name] for name in given} | {"weights": weights}
