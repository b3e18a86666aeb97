"""Equal examples: counted where they are in two splits, and dropped where that is asked for."""

import logging
from pathlib import Path

import pytest

import tfembed as te
from tfembed.data import Dataset, load_text

TEXTS = [f"text {i}" for i in range(20)]
LABELS = ["a", "b"] * 10


def texts_of(data: Dataset) -> dict[str, list[str]]:
    return {name: getattr(data, name).examples.tolist() for name in ("train", "validation", "test")}


def test_what_splits_share_is_warned_of_and_described(caplog: pytest.LogCaptureFixture) -> None:
    """Examples of training that are in a passed split, and of validation that are in the test split, are counted."""
    with caplog.at_level(logging.WARNING):
        data = Dataset.from_arrays(
            TEXTS, LABELS, validation=([*TEXTS[:2], "v"], ["a", "b", "a"]), test=(["v", TEXTS[5]], ["a", "b"])
        )
    sentences = [
        "2 of 3 validation examples are training examples too",
        "1 of 2 test examples are training examples too",
        "1 of 2 test examples are validation examples too",
    ]
    assert caplog.messages == [f"{sentence}." for sentence in sentences]
    assert data.describe().splitlines()[-3:] == sentences


def test_a_drawn_validation_split_is_compared_with_a_passed_test_split(caplog: pytest.LogCaptureFixture) -> None:
    """All rows are in the test split: those that became validation too."""
    Dataset.from_arrays(TEXTS, LABELS, validation=0.5, test=(TEXTS, LABELS))
    assert caplog.messages[1:] == ["10 of 20 test examples are validation examples too."]
    assert caplog.messages[0] == "10 of 20 test examples are training examples too."


def test_duplicates_are_dropped_where_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    """The first of equal rows stays, in the last of the splits that have it; the test split stays whole."""
    data = Dataset.from_arrays(
        [*TEXTS, *TEXTS[:4], "again"],
        [*LABELS, "a", "a", "a", "a", "b"],
        validation=(["v", "v", "t", TEXTS[1]], ["a"] * 4),
        test=(["t", "t", TEXTS[0]], ["a"] * 3),
        drop_duplicates=True,
    )
    assert texts_of(data) == {
        "train": [*TEXTS[2:], "again"],
        "validation": ["v", TEXTS[1]],
        "test": ["t", "t", TEXTS[0]],
    }
    assert data.train.labels.tolist() == [*([0, 1] * 9), 1]
    assert data.train.groups is None or len(set(data.train.groups)) == len(data.train)
    assert caplog.messages == [
        "Dropped 2 of 4 validation examples as duplicates; 0 of them had another label than the first of their equals.",
        "Dropped 6 of 25 training examples as duplicates; 2 of them had another label than the first of their equals.",
    ]


def test_without_duplicates_nothing_is_dropped(caplog: pytest.LogCaptureFixture) -> None:
    """The same data come out, and nothing is said."""
    plain, asked = (Dataset.from_arrays(TEXTS, LABELS, drop_duplicates=drop) for drop in (False, True))
    assert texts_of(plain) == texts_of(asked)
    assert not caplog.messages


def test_splits_of_a_split_are_compared_too() -> None:
    """What a Split holds is dropped from training."""
    given = Dataset.from_arrays(TEXTS, LABELS)
    data = Dataset.from_arrays(TEXTS, LABELS, validation=given.validation, test=given.test, drop_duplicates=True)
    assert texts_of(data) == texts_of(given)


def test_nothing_left_to_train_on_is_said() -> None:
    """A training table that is the test table has no rows of its own."""
    with pytest.raises(ValueError, match="all examples are in the validation or test split too"):
        Dataset.from_arrays(TEXTS, LABELS, test=(TEXTS, LABELS), drop_duplicates=True)


def test_tables_and_their_recipe_drop_duplicates(tmp_path: Path) -> None:
    """A table with every row twice has each once, its lines are those of the file, and the recipe says so."""
    rows = "".join(f"{text},{label}\n" for text, label in zip(TEXTS, LABELS, strict=True))
    (tmp_path / "a.csv").write_text(f"text,label\n{rows}{rows}", encoding="utf-8")
    data = load_text(tmp_path / "a.csv", validation=0, test=0, drop_duplicates=True)
    assert data.train.examples.tolist() == TEXTS
    assert data.recipe is not None
    assert "drop_duplicates=True" in data.recipe.to_python()
    (tmp_path / "a.csv").write_text("text,label\nx,a\nx,a\nz,b\nz,b\ny,c\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"a\.csv, line 2: the label 'a' is seen only once"):
        te.load_text(tmp_path / "a.csv", drop_duplicates=True)
