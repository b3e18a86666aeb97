"""Groups: named rows and equal examples stay together."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import tfembed as te
from tfembed.data import Dataset, Split
from tfembed.data.draws import draw_per_class
from tfembed.data.groups import content_groups, merge_groups
from tfembed.data.split import concatenate_splits, number_groups

TEXTS = [f"text {i}" for i in range(60)]
LABELS = ["cat", "dog"] * 30
PATIENTS = [f"patient {i // 4}" for i in range(60)]


def held_by(data: Dataset, groups: list[str]) -> list[set[str]]:
    """The groups of each split, looked up by text."""
    of = dict(zip(TEXTS, groups, strict=True))
    return [{of[text] for text in split.examples} for split in (data.train, data.validation, data.test)]


def test_named_groups_stay_together() -> None:
    """No patient is in two splits, and the shares are met as nearly as patients allow."""
    data = Dataset.from_arrays(TEXTS, LABELS, groups=PATIENTS, validation=0.2, test=0.2)
    train, validation, test = held_by(data, PATIENTS)
    assert not train & validation
    assert not train & test
    assert not validation & test
    assert [len(split) for split in (data.train, data.validation, data.test)] == [36, 12, 12]
    assert "in 15 groups" in data.describe()


@pytest.mark.parametrize("seed", range(3))
def test_equal_texts_stay_together(seed: int) -> None:
    """A text that is there twice is in one split, also where the two copies have groups of other names."""
    twice = [*TEXTS, *TEXTS[:20]]
    data = Dataset.from_arrays(twice, LABELS + LABELS[:20], groups=np.arange(80), seed=seed)
    sets = [set(split.examples) for split in (data.train, data.validation, data.test)]
    assert sum(map(len, sets)) == 60


def test_equal_images_are_one_group(tmp_path: Path) -> None:
    """Pixels are compared by value, files and encoded images by their bytes, whatever the name."""
    pixels = np.zeros((4, 8, 8), "uint8")
    pixels[1:3] += 1
    assert content_groups(pixels).tolist() == [0, 1, 1, 0]
    for i, image in enumerate(pixels):
        Image.fromarray(image).save(tmp_path / f"{i}.png")
    examples = np.array([*sorted(tmp_path.iterdir()), (tmp_path / "1.png").read_bytes()], object)
    assert content_groups(examples).tolist() == [0, 1, 1, 0, 1]


def test_files_are_told_apart_by_their_bytes_only_where_sizes_agree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two files of one size are read, and equal to an encoded image of the same bytes; files of other sizes are not."""
    for name, content in (("a", b"one"), ("b", b"two"), ("c", b"three")):
        (tmp_path / name).write_bytes(content)
    one, two, three = sorted(tmp_path.iterdir())
    assert content_groups(np.array([one, two], object)).tolist() == [0, 1]
    assert content_groups(np.array([three, b"three", b"seven"], object)).tolist() == [0, 0, 1]
    monkeypatch.setattr(Path, "read_bytes", lambda path: pytest.fail(f"{path} was read"))
    assert content_groups(np.array([one, three], object)).tolist() == [0, 1]


@pytest.mark.parametrize(("numbering", "groups"), [([7, 3, 7], [0, 1, 0]), ([], [])])
def test_one_numbering_is_numbered_anew(numbering: list[int], groups: list[int]) -> None:
    """Merged with no other, groups stay what they are, also where there are no rows."""
    assert merge_groups(np.array(numbering, int)).tolist() == groups


def test_rows_without_groups_or_duplicates_have_none() -> None:
    """Where each row is a group of its own, splits carry no groups."""
    data = Dataset.from_arrays(TEXTS, LABELS)
    assert data.train.groups is data.validation.groups is data.test.groups is None
    named = Dataset.from_arrays(TEXTS, LABELS, groups=range(60))
    assert named.train.groups is None
    assert named.test.examples.tolist() == data.test.examples.tolist()


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (["a", None, *"b" * 58], r"groups\[1\]: the group is missing"),
        (["a", float("nan"), *"b" * 58], r"groups\[1\]: the group is missing"),
        (["a", np.float32("nan"), *"b" * 58], r"groups\[1\]: the group is missing"),
        (pd.Series(["a", pd.NA, *"b" * 58], dtype="string"), r"groups\[1\]: the group is missing"),
        (["a", 1.5, *"b" * 58], r"groups\[1\]: the group 1.5 is neither a text nor a whole number"),
        (["a"], "60 examples have 1 groups"),
        (
            ["ann", "bob"] * 30,
            r"labels\[0\]: all 30 examples of the label 'cat' are in 1 group \('ann'\): expected at least 3",
        ),
    ],
)
def test_groups_that_cannot_be_kept_are_refused(groups: list[Any], message: str) -> None:
    """Missing names are refused with their place, and so is a class whose rows are all in few groups."""
    with pytest.raises(ValueError, match=message):
        Dataset.from_arrays(TEXTS, LABELS, groups=groups)


def test_a_group_of_a_class_for_each_split_is_enough() -> None:
    """Three groups of a class are in three splits."""
    data = Dataset.from_arrays(TEXTS, LABELS, groups=[*"abc" * 20])
    assert all(
        len(np.unique(split.labels)) == len(data.class_names) for split in (data.train, data.validation, data.test)
    )


def test_groups_that_leave_a_class_out_of_a_split_are_refused() -> None:
    """Where each group holds several classes, there may be no split that has them all: one that is missing is named."""
    with pytest.raises(ValueError, match=r"no split into whole groups was found that has the label 'b' in each split"):
        Dataset.from_arrays([*"123456789"], [*"acbbbcaac"], groups=[0, 1, 3, 2, 0, 2, 3, 1, 3])


def test_a_class_of_one_text_is_refused() -> None:
    """Copies of one text cannot be on both sides."""
    with pytest.raises(ValueError, match=r"label 'dog' are in 1 group \(equal to labels\[1\]\)"):
        Dataset.from_arrays(["a", "b", "c", "b", "d", "b"], ["cat", "dog"] * 3, validation=0)


def test_what_a_passed_split_shares_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    """Equal examples and groups of one name in training and in a passed split stay there, and are counted."""
    with caplog.at_level(logging.WARNING):
        data = Dataset.from_arrays(
            TEXTS,
            LABELS,
            groups=PATIENTS,
            validation=0,
            test=([*TEXTS[:3], "new"], LABELS[:4], ["x"] * 3 + PATIENTS[9:10]),
        )
    assert len(data.test) == 4
    assert [record.getMessage() for record in caplog.records] == [
        "3 of 4 test examples are training examples too.",
        "1 groups are in the training split and in the test split that was passed.",
    ]


def test_tables_have_a_column_of_groups(tmp_path: Path) -> None:
    """The column is read, a second file need not have it, and the recipe carries it."""
    rows = [f"{text},{label},{group}\n" for text, label, group in zip(TEXTS, LABELS, PATIENTS, strict=True)]
    table, second = tmp_path / "visits.csv", tmp_path / "test.csv"
    table.write_text("text,label,patient\n" + "".join(rows))
    second.write_text("text,label\nnew,cat\n")
    data = te.load_text(table, groups="patient", validation=0.2, test=second)
    train, validation, _ = held_by(te.load_text(table, groups="patient", validation=0.2, test=0), PATIENTS)
    assert not train & validation
    assert data.test.examples.tolist() == ["new"]
    assert data.recipe is not None
    assert data.recipe.arguments["groups"] == "patient"
    with pytest.raises(ValueError, match="there is no column 'doctor'"):
        te.load_text(table, groups="doctor")


def test_images_have_groups_in_tables_alone(tmp_path: Path) -> None:
    """A table names the groups of images; a folder cannot."""
    for i in range(12):
        Image.new("L", (8, 8), i).save(tmp_path / f"{i}.png")
    table = tmp_path / "scans.csv"
    table.write_text("path,label,patient\n" + "".join(f"{i}.png,{'ab'[i % 2]},{i // 4}\n" for i in range(12)))
    data = te.load_images(table, groups="patient", validation=0, test=0.3)
    sides = [{int(path.stem) // 4 for path in split.examples} for split in (data.train, data.test)]
    assert not sides[0] & sides[1]
    with pytest.raises(ValueError, match="is a folder, which has no column 'patient'"):
        te.load_images(tmp_path, groups="patient")


def test_few_shots_are_of_different_groups() -> None:
    """Duplicates are drawn only where there are not enough others, and derived rows after all others."""
    labels, groups = np.zeros(12, int), np.array([0] * 8 + [1, 2, 3, 4])
    split = Split(examples=np.array(list("abcdefghijkl"), object), labels=labels, groups=groups)
    for seed in range(5):
        assert len(set(groups[draw_per_class(split, 5, seed)])) == 5
        assert set(draw_per_class(split, 4, seed)) < set(draw_per_class(split, 7, seed))
    assert len(draw_per_class(split, 12, 0)) == 12
    derived = Split(examples=split.examples, labels=labels, is_derived=np.arange(12) > 5)
    assert draw_per_class(derived, 6, 0).tolist() == list(range(6))


def test_joined_splits_keep_groups_and_marks() -> None:
    """Rows without a group get one of their own, that no other row has; subsets take theirs along."""
    one = Split(examples=np.array(["a", "b"], object), labels=np.array([0, 1]), groups=np.array([1, 1]))
    other = Split(examples=np.array(["c", "d"], object), labels=np.array([0, 1]), is_derived=np.array([False, True]))
    joined = concatenate_splits([other, one])
    assert joined.groups.tolist() == [2, 3, 1, 1]
    assert joined.is_derived.tolist() == [False, True, False, False]
    assert joined.subset([1, 2]).groups.tolist() == [3, 1]
    assert joined.subset([1, 2]).is_derived.tolist() == [True, False]
    assert concatenate_splits([one]).is_derived is None


def test_splits_without_groups_or_marks_are_joined_without() -> None:
    """Neither groups nor marks of derived rows appear where no split has any; numbers asked for start at 0."""
    split = Split(examples=np.array(["a", "b"], object), labels=np.array([0, 1]))
    joined = concatenate_splits([split, split])
    assert joined.groups is joined.is_derived is None
    assert [each.groups.tolist() for each in number_groups([split, split])] == [[0, 1], [2, 3]]


def test_descriptions_are_derived_and_groups_of_their_own() -> None:
    """A description shares its group with no row of any split."""
    data = Dataset.from_arrays(TEXTS, LABELS, groups=PATIENTS, validation=0.2, test=0.2)
    described = data.with_descriptions({"cat": "purrs", "dog": "barks"})
    assert described.train.is_derived.tolist() == [False] * len(data.train) + [True] * 2
    everything = np.concatenate([each.groups for each in (described.train, data.validation, data.test)])
    added = described.train.groups[-2:]
    assert [(everything == group).sum() for group in added] == [1, 1]
