"""Recipes: a data set that came of files can be made again, and says how."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_models import write_images, write_texts

import tfembed as te
from tfembed.data.again import make_again
from tfembed.data.recipe import recipe_from_dict


def again(data: te.Dataset) -> te.Dataset:
    """Make a data set anew, by what its recipe says to type."""
    assert data.recipe is not None
    recipe = recipe_from_dict(json.loads(json.dumps(asdict(data.recipe))))
    made: te.Dataset = eval(recipe.to_python(), {"te": te})
    return made


def same(one: te.Dataset, other: te.Dataset) -> bool:
    parts: Any = ("train", "validation", "test")
    return all(
        np.array_equal(getattr(one, part).examples, getattr(other, part).examples)
        and np.array_equal(getattr(one, part).labels, getattr(other, part).labels)
        for part in parts
    )


def test_texts_are_made_again(tmp_path: Path) -> None:
    """Arguments, few shots and descriptions are part of the recipe, in their order."""
    file = write_texts(tmp_path / "it's here.csv")
    data = te.load_text(file, validation=0.25, test=0.25, seed=3).few_shot(2, 1).with_descriptions({"refund": "money"})
    assert same(again(data), data)
    assert data.recipe is not None
    assert data.recipe.to_python().endswith(
        "validation=0.25, test=0.25, seed=3).few_shot(n=2, seed=1).with_descriptions(labels={'refund': 'money'})"
    )


def test_images_are_made_again(tmp_path: Path) -> None:
    """A second folder for a part is named too."""
    train, test = write_images(tmp_path / "train"), write_images(tmp_path / "test")
    data = te.load_images(train, validation=0.25, test=test, class_names=("light", "dark"))
    assert same(again(data), data)


def test_what_was_in_memory_has_none(tmp_path: Path) -> None:
    """Arrays have no recipe, nor have images with copies made of them."""
    assert te.Dataset.from_arrays(list("abcdefghij"), [0, 1] * 5).recipe is None
    assert te.augment(te.load_images(write_images(tmp_path / "images")), 1).recipe is None


def test_samples_are_named() -> None:
    """What ships with tfembed is told by its name, wherever it is installed."""
    data = te.load_text(te.resource_path("reviews"), label="sentiment")
    assert data.recipe is not None
    assert data.recipe.to_python() == "te.load_text(te.resource_path('reviews'), label='sentiment')"


def test_files_are_known_by_their_absolute_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Data that were named from one working folder are found from another; a second file as well."""
    rows = "text,label\n" + "".join(f"text {i},{'ab'[i % 2]}\n" for i in range(8))
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text(rows.replace("text ", f"{name} "), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    data = te.load_text("a.csv", test="b.csv", validation=0)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert data.recipe is not None
    assert data.recipe.source == str(tmp_path / "a.csv")
    assert make_again(data.recipe).test.examples.tolist() == data.test.examples.tolist()
