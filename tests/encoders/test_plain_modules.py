"""Modules that list no variables, as a plain tf.Module does: they have blocks, train, and are exported."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import plain_modules
import pytest

import tfembed as te

MODULES: dict[str, Callable[[Path], str]] = {
    "compiled": lambda folder: plain_modules.write(plain_modules.Images(jit_compile=True), folder / "module"),
    "words": lambda folder: plain_modules.write(plain_modules.Words(), folder / "module"),
    "wrapped": plain_modules.write_wrapped,
}
BLOCKS = {"compiled": ["stem", "top"], "words": ["embeddings", "top"], "wrapped": ["stem", "top"]}


def dataset(kind: str) -> te.Dataset:
    """Examples in two classes."""
    if kind == "text":
        return te.Dataset.from_arrays(["hi", "refund"] * 8, ["greet", "refund"] * 8, validation=0, test=0)
    pixels = np.random.default_rng(0).integers(0, 50, (16, 8, 8, 3)).astype("uint8")
    pixels[1::2] += 200
    return te.Dataset.from_arrays(pixels, ["dark", "light"] * 8, validation=0, test=0)


@pytest.mark.parametrize("name", MODULES)
def test_a_module_that_lists_no_variables_trains_and_is_exported(name: str, tmp_path: Path) -> None:
    """Its variables are those that its functions use: they form blocks, the top one trains, and the export has all."""
    encoder = te.load_encoder(MODULES[name](tmp_path))
    assert [block.name for block in encoder.blocks] == BLOCKS[name]
    before = [variable.numpy() for block in encoder.blocks for variable in block.variables]
    data = dataset(encoder.spec.kind)
    build = te.build_text_classifier if encoder.spec.kind == "text" else te.build_image_classifier
    model = build(encoder, data.class_names)
    phase = te.Phase(name="top", unfreeze=1, epochs=1, learning_rate=0.05)
    te.train(model, data, te.Strategy(name="one epoch", phases=(phase,)))
    after = [variable.numpy() for block in encoder.blocks for variable in block.variables]
    is_top = [block.name == "top" for block in encoder.blocks for _ in block.variables]
    assert [not np.array_equal(*pair) for pair in zip(before, after, strict=True)] == is_top
    assert te.export(model, tmp_path / "exported").is_dir()  # the gate compares predictions
    module = te.export_module(encoder, tmp_path / "again")
    assert [block.name for block in te.load_encoder(module).blocks] == BLOCKS[name]
