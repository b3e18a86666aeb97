"""Names of classes as a reader sees them."""

import logging
import unicodedata

import numpy as np
import pytest

import tfembed as te
from tfembed.data import Dataset, Split, load_images, load_text
from tfembed.data.class_names import look_alikes

TEXTS = [f"text {i}" for i in range(12)]
COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "caf\u00e9") for form in ("NFC", "NFD"))


def data_of(labels, **options):
    return Dataset.from_arrays(TEXTS[: len(labels)], labels, **{"validation": 0, "test": 0} | options)


def test_labels_are_the_same_in_both_forms_of_unicode():
    """An accent may be a character of its own, as in names of files on a Mac: the class is the same."""
    data = data_of([COMPOSED, "tea", DECOMPOSED, "tea"], test=(["more"], [DECOMPOSED]))
    assert (data.class_names, data.train.labels.tolist()) == ((COMPOSED, "tea"), [0, 1, 0, 1])
    assert data.test.labels.tolist() == [0]
    assert data_of([COMPOSED, "tea"], class_names=["tea", DECOMPOSED]).class_names == ("tea", COMPOSED)
    assert data.with_descriptions({DECOMPOSED: "a place"}).train.labels.tolist() == [0, 1, 0, 1, 0]


def test_names_of_a_model_and_of_groups_are_in_one_form(glyphs):
    """A model that is built with names of one form learns from data of the other; groups are compared likewise."""
    model = te.build_image_classifier(glyphs, ["a", DECOMPOSED])
    assert te.predict(model, np.zeros([1, 8, 8], "uint8")).labels[0] in ("a", COMPOSED)
    assert len(np.unique(data_of(["a", "b"] * 2, groups=[COMPOSED, DECOMPOSED, "x", "y"]).train.groups)) == 3


def test_folders_are_classes_in_one_form(tmp_path, encoded):
    """The names of folders are labels too."""
    for name in (DECOMPOSED, "tea"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").write_bytes(encoded)
    assert load_images(tmp_path, validation=0, test=0).class_names == (COMPOSED, "tea")


@pytest.fixture
def encoded():
    """A small PNG."""
    import io

    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("__none__", "the label '__none__' is what exported models say of inputs of no class"),
        ("a\nb", r"the label 'a\\nb' has a line break"),
        ("a\u2028b", ".* has a line break"),
        ("\u200b ", "the label is missing"),
        ("", "the label is missing"),
    ],
)
def test_names_that_cannot_be_are_refused_before_training(label, message, glyphs):
    """Reserved, broken and empty names: as a label, in a list of labels, as a class name of data or of a model."""
    with pytest.raises(ValueError, match=r"labels\[1\]: " + message):
        data_of(["a", label, "a", label])
    with pytest.raises(ValueError, match=r"labels\[1\]: " + message):
        data_of([["a"], ["a", label]])
    with pytest.raises(ValueError, match="class_names"):
        data_of(["a", "b"], class_names=["a", "b", label])
    with pytest.raises(ValueError, match=message):
        te.build_image_classifier(glyphs, ["a", label])


@pytest.mark.parametrize("names", [{"a", "b"}, {"a": 1, "b": 2}])
def test_names_without_an_order_are_refused(names, glyphs):
    """The index of a class must not depend on the order of a set."""
    with pytest.raises(ValueError, match=r"class_names is .*such as a list"):
        data_of(["a", "b"], class_names=names)
    with pytest.raises(ValueError, match="no order of their own: pass a list"):
        te.build_image_classifier(glyphs, names)


def test_look_alikes_are_named_with_their_counts(tmp_path, caplog):
    """Names that differ in case, spaces, invisible characters or as numbers are separate, and said to be."""
    labels = ["spam", "Spam", "spam", "x\u200b", "x", "a  b", "a b", "1", "1.0", "other"]
    rows = "".join(f"{text},{label}\n" for text, label in zip(TEXTS, labels, strict=False))
    (tmp_path / "a.csv").write_text(f"text,label\n{rows}", encoding="utf-8")
    with caplog.at_level(logging.WARNING):
        assert len(load_text(tmp_path / "a.csv", validation=0, test=0).class_names) == 9
    (message,) = caplog.messages
    for pair in ("'Spam' (1) and 'spam' (2)", r"'x' (1) and 'x\u200b' (1)", "'1' (1) and '1.0' (1)", "'a b' (1)"):
        assert pair in message


def test_names_that_differ_are_no_look_alikes(caplog):
    """Letters in both cases are classes of characters; other names that differ are not warned of."""
    assert look_alikes(["a", "A", "\u00b2", "2", "10", "100", "1.5", "spam", "ham", "-1", "+2"]) == [["2", "+2"]]
    data_of(["a", "A", "b", "a"])
    assert not caplog.messages


@pytest.mark.parametrize("target", ["1_000", "1e39", "inf", "1,5"])
def test_targets_that_are_not_what_they_seem_are_refused(target, tmp_path):
    """Numbers as Python alone writes them, or beyond float32, are named with their line."""
    (tmp_path / "a.csv").write_text(f'text,label\na,1\nb,"{target}"\n', encoding="utf-8")
    with pytest.raises(ValueError, match=r"a\.csv, line 3: the target"):
        load_text(tmp_path / "a.csv", task="regression", validation=0, test=0)


def test_targets_of_a_split_must_fit(recwarn):
    """A Split that is passed may hold float64; what float32 cannot is refused."""
    split = Split(examples=np.array(["z"], object), labels=np.array([1e39]))
    with pytest.raises(ValueError, match="hold values beyond float32"):
        data_of([0.5, 1.5], test=split)
    assert not recwarn.list
