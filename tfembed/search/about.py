"""What a report says of a study besides its trials: encoders with licence and blocks, the data, versions."""

import shlex
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfembed.data import Dataset
from tfembed.installed import installed
from tfembed.search.folds import content_key

if TYPE_CHECKING:
    from tfembed.encoders.encoder import Encoder


def about(loaded: "Mapping[str, Encoder]", data: Dataset, *, default_space: bool) -> dict[str, Any]:
    """Describe a study for people, as JSON values; no trial depends on any of it.

    Args:
        loaded: Encoders by name.
        data: What is searched on.
        default_space: Whether the search space is the one that suits the size of the data.
    """
    return {
        "encoders": {name: _encoder(encoder) for name, encoder in loaded.items()},
        "data": {
            "kind": data.kind,
            "summary": data.describe(),
            "recipe": asdict(data.recipe) if data.recipe else None,
        },
        "default_space": default_space,
        "command": _command(),
        "versions": installed(),
    }


def describe_parts(data: Dataset) -> dict[str, Any]:
    """What tells some data from others, as JSON values: classes, and the content of each part."""
    parts = {"train": data.train, "validation": data.validation, "test": data.test}
    contents = {name: f"{len(split)} examples, {content_key(split)}" for name, split in parts.items()}
    return {"task": data.task, "classes": list(data.class_names), **contents}


def _encoder(encoder: "Encoder") -> dict[str, Any]:
    blocks = [{"name": block.name, "parameters": block.num_parameters} for block in encoder.blocks]
    asked = None if encoder.chooses_length else encoder.sequence_length
    return asdict(encoder.spec) | {"dim": encoder.dim, "blocks": blocks, "sequence_length": asked}


def _command() -> str | None:
    """The line that was typed, where `tfembed` was started to search."""
    program = Path(sys.argv[0])
    ours = program.name == "tfembed" or program.parts[-2:] == ("tfembed", "__main__.py")
    return shlex.join(["tfembed", *sys.argv[1:]]) if ours and sys.argv[1:2] == ["search"] else None
