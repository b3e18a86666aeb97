"""Data sets from arrays, and what can be done with them."""

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tfembed.data import Dataset, Split, class_weights, read_images

TEXTS = [f"text {i}" for i in range(60)]
ANIMALS = ["cat", "dog", "ant"] * 20


def texts(labels=ANIMALS, class_names=None, **options):
    return Dataset.from_arrays(TEXTS[: len(labels)], labels, class_names, **options)


def encoded_image(color=(255, 0, 0), kind="PNG") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 3), color).save(buffer, kind)
    return buffer.getvalue()


def test_loading_needs_no_tensorflow():
    """A script that only loads data starts without TensorFlow, scikit-learn and pyarrow."""
    code = (
        "import sys, tfembed.data; "
        "print([name for name in ('tensorflow', 'sklearn', 'pyarrow', 'PIL') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_texts_become_read_only_object_arrays_of_str():
    """Whatever texts come in as, `str` objects come out, in arrays that cannot be changed by accident."""
    mixed = ["plain", np.str_("numpy"), "ü".encode(), "last"]
    data = Dataset.from_arrays(mixed, [0, 1, 0, 1], validation=0, test=0)
    assert data.kind == "text"
    assert data.train.examples.tolist() == ["plain", "numpy", "ü", "last"]
    assert {type(text) for text in data.train.examples} == {str}
    assert data.train.labels.dtype == np.int32
    for array in (data.train.examples, data.train.labels):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = array[1]


def test_the_default_split_is_seeded_and_stratified():
    """Of 60 examples in 3 classes, 42 are for training, 6 for validation and 12 for the test, alike in classes."""
    data, again, other = texts(seed=1), texts(seed=1), texts(seed=2)
    assert [np.bincount(part.labels).tolist() for part in (data.train, data.validation, data.test)] == [
        [14, 14, 14],
        [2, 2, 2],
        [4, 4, 4],
    ]
    assert data.test.examples.tolist() == again.test.examples.tolist()
    assert data.test.examples.tolist() != other.test.examples.tolist()
    assert (data.seed, data.source) == (1, "arrays")


def test_examples_keep_their_labels():
    """After the split each example still has the label it came with."""
    data = texts()
    for part in (data.train, data.validation, data.test):
        for text, label in zip(part.examples, part.labels, strict=True):
            assert data.class_names[label] == ANIMALS[int(text.split()[1])]


@pytest.mark.parametrize(
    ("labels", "class_names", "names", "first"),
    [
        (["b", "a"] * 5, None, ("a", "b"), [1, 0]),
        (["b", " a "] * 5, ["b", "a"], ("b", "a"), [0, 1]),
        ([10, 9] * 5, None, ("9", "10"), [1, 0]),
        (["10", "9"] * 5, None, ("9", "10"), [1, 0]),
        ([1, 0] * 5, ["no", "yes"], ("no", "yes"), [1, 0]),
        ([True, False] * 5, None, ("false", "true"), [1, 0]),
        (np.array([[1], [0]] * 5, np.uint8), ["no", "yes"], ("no", "yes"), [1, 0]),
        ([np.int64(1), np.int64(0)] * 5, None, ("0", "1"), [1, 0]),
    ],
)
def test_class_names_and_indices(labels, class_names, names, first):
    """Class names are the sorted labels, numbers by value; or those given, in which numbers are positions."""
    data = texts(labels, class_names, validation=0, test=0)
    assert data.task == "classification"
    assert data.class_names == names
    assert data.train.labels[:2].tolist() == first


@pytest.mark.parametrize("number", [float, np.float32])
def test_fractions_are_targets(number):
    """Numbers with a fraction make a regression, whose labels are float32 and which has no classes."""
    data = texts([number(i / 2) for i in range(40)])
    assert (data.task, data.class_names, data.train.labels.dtype) == ("regression", (), np.float32)
    assert (len(data.train), len(data.validation), len(data.test)) == (28, 4, 8)


def test_whole_numbers_as_floats_need_the_task():
    """1.0 may be a class or a target: the error says so, and either can be asked for."""
    with pytest.raises(ValueError, match=r"Pass task='classification' or task='regression'"):
        texts([0.0, 1.0] * 10)
    assert texts([0.0, 1.0] * 10, task="classification").class_names == ("0", "1")
    assert texts([0.0, 1.0] * 10, task="regression").train.labels.dtype == np.float32


def test_lists_of_labels_are_multi_label():
    """Lists of labels become multi-hot rows; an example may have none."""
    data = texts([["a", "b"], [], ["b"], ["a"]] * 5, validation=0, test=0)
    assert (data.task, data.class_names) == ("multi_label", ("a", "b"))
    assert data.train.labels[:4].tolist() == [[1, 1], [0, 0], [0, 1], [1, 0]]
    assert data.train.labels.dtype == np.float32


@pytest.mark.parametrize("container", [np.array, list])
def test_rows_of_zeros_and_ones_are_multi_label(container):
    """A multi-hot array, or lists that can be nothing else, are taken as they are."""
    rows = [[1, 1, 0], [0, 1, 1], [0, 0, 0], [1, 0, 0]] * 5
    data = texts(container(rows), ["x", "y", "z"], validation=0, test=0)
    assert (data.task, data.class_names) == ("multi_label", ("x", "y", "z"))
    assert data.train.labels.tolist() == rows


def test_one_hot_rows_need_the_task():
    """Rows with a single 1 may be classes or labels: the error says so, and either can be asked for."""
    rows = np.eye(2, dtype=int)[[0, 1] * 10]
    with pytest.raises(ValueError, match=r"Pass task='classification' or task='multi_label'"):
        texts(rows)
    assert texts(rows, task="classification", validation=0, test=0).train.labels[:2].tolist() == [0, 1]
    assert texts(rows, task="multi_label").train.labels.shape[1] == 2


@pytest.mark.parametrize(
    ("labels", "options", "message"),
    [
        (["a", "b", None, "a"], {}, r"labels\[2\]: the label is missing"),
        (["a", "b", "", "a"], {}, r"labels\[2\]: the label is missing"),
        ([1.5, 2.5, float("nan")], {}, r"labels\[2\]: the label is missing"),
        (["1.5", "2.5", "nan"], {"task": "regression"}, r"labels\[2\]: the target 'nan' is not a finite number"),
        (["1.5", "1e39"], {"task": "regression"}, r"labels\[1\]: the target '1e39' is beyond 3.4e\+38"),
        (["1.5", "two"], {"task": "regression"}, r"labels\[1\]: the target 'two' is not a finite number"),
        (["a", "b", 3, "a"], {}, r"labels\[2\]: the label 3 is a number, but that of labels\[0\] is the text 'a'"),
        (["a", "a", "a"], {}, r"arrays has only one class \('a'\): expected at least two"),
        (["a", "b", "c"] * 5 + ["d"], {}, r"labels\[15\]: the label 'd' is seen only once: expected at least 3"),
        (["a", "b"] * 5 + ["d", "d"], {}, r"labels\[10\]: the label 'd' is seen only 2 times: expected at least 3"),
        ([["a"], ["b"]] * 5 + [["c"]], {}, r"labels\[10\]: the label 'c' is seen only once: expected at least 2"),
        ([["a", "a"], ["b"]], {}, r"labels\[0\]: a label is given twice in \['a', 'a'\]"),
        ([["a", "b"], ["b"]], {"task": "classification"}, r"labels\[0\]: 2 labels where a classification has one"),
        (["a", "b"], {"class_names": ["a", "c"]}, r"labels\[1\]: the label 'b' is none of the 2 classes"),
        ([3, 7], {"class_names": ["3", "7"]}, r"labels\[0\]: the label 3 .*positions in class_names"),
        (["a", "b"] * 5, {"class_names": ["a", "b", "c"]}, r"the class 'c' has no example"),
        (["a", "b"], {"class_names": ["a", "a"]}, r"class_names holds 'a' twice"),
        (["a", "b"], {"class_names": "ab"}, r"class_names is 'ab': expected a sequence"),
        ([0.5, 1.5], {"class_names": ["a", "b"]}, r"A regression has no classes"),
        (["a", "b"], {"task": "ranking"}, r"The task 'ranking' is unknown: expected one of classification"),
        ([0.5, 1.5, 2.5], {"task": "classification"}, r"labels\[0\]: 0.5 is no class"),
        ([0.5, 1.5], {}, r"arrays: 2 examples are too few for test=0.2"),
        (["a", "b"] * 5, {"validation": 0.6, "test": 0.4}, r"validation=0.6, test=0.4: nothing is left to train on"),
        (["a", "b"] * 5 + ["d", "e"], {}, r"the label 'd' is seen only once, and 1 more is too rare: expected"),
        (["a", "b"] * 5 + ["d", "e", "f"], {}, r"the label 'd' is seen only once, and 2 more are too rare: expected"),
        (["a", "b"] * 5, {"test": 1.0}, r"test=1.0: expected a share from 0 to below 1"),
        (["a", "b"] * 5, {"test": 20}, r"test=20: expected a share from 0 to below 1"),
        (np.array([[0, 1, 1]] * 3), {"class_names": ["a", "b"]}, r"2 class names for rows of 3 values"),
    ],
)
def test_labels_that_cannot_be_used(labels, options, message):
    """Each fault in the labels is an error that names its position and what was expected."""
    with pytest.raises(ValueError, match=message):
        texts(labels, **options)


@pytest.mark.parametrize(
    ("examples", "message"),
    [
        ([], r"There are no examples"),
        (["a", None], r"examples\[1\]: the text is missing"),
        (["a", float("nan")], r"examples\[1\]: the text is missing"),
        (["a", " \n"], r"examples\[1\]: the text is empty"),
        (["a", 5], r"examples\[1\]: expected a text, found 5 of type int"),
        (["a", b"caf\xe9"], r"examples\[1\]: byte 0xe9 at offset 3 of the text is not UTF-8"),
        (["a", "x\ud83d"], r"examples\[1\]: character 1 of the text is half of a surrogate pair \(U\+D83D\)"),
        ([np.zeros((2, 2, 3), np.uint8)] * 2, r"stack them with np.stack"),
        (np.zeros((2, 4, 4, 3), np.float32), r"type float32: expected uint8 .*\(images \* 255\)"),
        (np.zeros((2, 4, 4, 4), np.uint8), r"shape \(2, 4, 4, 4\): expected \(n, height, width\)"),
        ([encoded_image(), "x.png"], r"examples\[1\] is of type str: expected a path or encoded bytes"),
        ([encoded_image(), encoded_image()[:60]], r"examples\[1\]: .*truncated"),
        ([Path("no/such.png"), Path("x.png")], r"examples\[0\] \(no.such.png\): there is no such file.*1 more of 2"),
    ],
)
def test_examples_that_cannot_be_used(examples, message):
    """Each fault in the examples is an error that names its position and what was expected."""
    with pytest.raises(ValueError, match=message):
        Dataset.from_arrays(examples, list(range(len(examples))), validation=0, test=0)


def test_each_example_needs_a_label():
    """Fewer labels than examples are an error with both numbers."""
    with pytest.raises(ValueError, match="3 examples have 2 labels"):
        Dataset.from_arrays(["a", "b", "c"], ["x", "y"])


@pytest.mark.parametrize(("given", "kept"), [((12, 5, 4), (5, 4)), ((12, 5, 4, 1), (5, 4)), ((12, 5, 4, 3), (5, 4, 3))])
def test_pixels_keep_their_shape(given, kept):
    """Pixels are (n, height, width) or (n, height, width, 3): a single channel loses its axis, nothing else moves."""
    pixels = np.arange(np.prod(given), dtype=np.uint8).reshape(given)
    data = Dataset.from_arrays(pixels, [0, 1] * 6, validation=0, test=0)
    assert data.kind == "image"
    assert data.train.examples.shape == (12, *kept)
    assert np.array_equal(data.train.examples.ravel(), pixels.ravel())
    assert pixels.flags.writeable, "the caller's own array stays as it was"


def test_encoded_images_and_paths(tmp_path):
    """Encoded bytes stay bytes and paths stay paths; reading gives the bytes of either."""
    images = [encoded_image((i, 0, 0)) for i in range(4)]
    paths = [tmp_path / f"{i}.png" for i in range(4)]
    for path, image in zip(paths, images, strict=True):
        path.write_bytes(image)
    for examples in (images, paths):
        data = Dataset.from_arrays(examples, [0, 1, 0, 1], validation=0, test=0)
        assert data.kind == "image"
        assert data.train.examples.tolist() == examples
        assert read_images(data.train.examples) == images
    with pytest.raises(TypeError, match="Decoded arrays need no reading"):
        read_images(np.zeros((1, 2, 2), np.uint8))


def test_texts_in_bytes_are_not_taken_for_images():
    """A text that begins with the letters of a BMP is still a text."""
    data = Dataset.from_arrays([b"BMW is a car maker", b"GIF or JPEG?"], ["a", "b"], validation=0, test=0)
    assert data.kind == "text"


def test_parts_can_be_brought():
    """Validation and test may be examples with raw labels or a Split; the rest is then all for training."""
    brought = Split(examples=np.array(["x", "y"], object), labels=np.array([2, 0]))
    data = texts(validation=(["v"], ["dog"]), test=brought)
    assert (len(data.train), data.class_names) == (60, ("ant", "cat", "dog"))
    assert (data.validation.examples.tolist(), data.validation.labels.tolist()) == (["v"], [2])
    assert (data.test.labels.tolist(), data.test.labels.dtype) == ([2, 0], np.int32)
    for part in (data.validation, data.test):
        assert not part.examples.flags.writeable
        assert not part.labels.flags.writeable


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ((["v", "w"], ["dog", "dig"]), r"test labels\[1\]: the label 'dig' is none of the 3 .* Did you mean 'dog'\?"),
        ((["v", ""], ["dog", "dog"]), r"test examples\[1\]: the text is empty"),
        ((np.zeros((1, 2, 2), np.uint8), ["dog"]), r"holds image examples of type uint8"),
        (Split(examples=np.array(["x"], object), labels=np.array([3])), r"do not fit the task classification with 3"),
        (Split(examples=np.array(["x"], object), labels=np.array([[1, 0, 0]])), r"do not fit the task classification"),
    ],
)
def test_brought_parts_must_fit(part, message):
    """A part with an unknown label, another kind of examples or other indices is refused."""
    with pytest.raises(ValueError, match=message):
        texts(test=part)


def test_few_shot_keeps_n_of_each_class():
    """A few-shot data set has n training examples a class, and the validation and test parts of the whole."""
    data = texts()
    few = data.few_shot(5, seed=7)
    assert np.bincount(few.train.labels).tolist() == [5, 5, 5]
    assert few.train.examples.tolist() == data.few_shot(5, seed=7).train.examples.tolist()
    assert few.train.examples.tolist() != data.few_shot(5, seed=8).train.examples.tolist()
    assert few.test is data.test
    assert few.validation is data.validation


def test_few_shot_names_the_class_that_is_too_small():
    """More shots than a class has are an error that names the class and its size."""
    data = texts(["cat"] * 5 + ["dog"] * 3, validation=0, test=0)
    with pytest.raises(ValueError, match="class 'dog' has 3 training examples: expected at least 4"):
        data.few_shot(4)
    with pytest.raises(ValueError, match="Cannot draw 0 examples"):
        data.few_shot(0)
    with pytest.raises(ValueError, match="regression has no classes"):
        texts([0.5] * 9 + [1.5] * 9, validation=0, test=0).few_shot(1)


def test_class_weights_balance():
    """Weights times counts are the same for every class, and sum to the number of examples."""
    split = Split(examples=np.array(list("abcdef"), object), labels=np.array([0, 0, 0, 0, 1, 1]))
    assert class_weights(split, 2) == {0: 0.75, 1: 1.5}
    with pytest.raises(ValueError, match=r"have \[4, 2, 0\] examples: expected at least one of each"):
        class_weights(split, 3)
    with pytest.raises(ValueError, match="one class for each example"):
        class_weights(Split(examples=split.examples, labels=np.zeros((6, 2), np.float32)), 2)


def test_subsets_take_positions_or_a_mask():
    """A subset has the examples at the positions, in their order; a mask is not taken for positions 0 and 1."""
    split = texts(validation=0, test=0).train
    assert split.subset([2, 0]).examples.tolist() == ["text 2", "text 0"]
    assert split.subset(np.arange(60) == 5).examples.tolist() == ["text 5"]
    assert len(split.subset([])) == 0


def test_a_split_needs_as_many_labels_as_examples():
    """A Split of two examples and one label cannot be made."""
    with pytest.raises(ValueError, match="2 examples have 1 labels"):
        Split(examples=np.array(["a", "b"], object), labels=np.array([0]))


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (
            lambda: texts(["cat"] * 40 + ["dog"] * 20),
            ["train 42, validation 6, test 12 examples", "2 classes, from 14 (dog) to 28 (cat)", "6 to 7 characters"],
        ),
        (
            lambda: texts([["a"], ["a", "b"]] * 9, validation=0, test=0),
            ["multi-label", "2 labels, 1.5 an example"],
        ),
        (lambda: texts([0.5, 1.5] * 9, validation=0, test=0), ["targets from 0.5 to 1.5, mean 1"]),
        (
            lambda: Dataset.from_arrays(np.zeros((4, 5, 6, 3), np.uint8), [0, 1, 0, 1], validation=0, test=0),
            ["image classification", "images of 6 x 5 pixels, RGB"],
        ),
        (
            lambda: Dataset.from_arrays([encoded_image()] * 4, [0, 1, 0, 1], validation=0, test=0),
            ["images of 4 x 3 pixels, encoded bytes"],
        ),
    ],
)
def test_describe_says_what_is_there(data, lines):
    """The summary has sizes, classes with their balance, and lengths of texts or sizes of images."""
    summary = data().describe()
    for line in lines:
        assert line in summary


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({}, r"There are no descriptions: describe some of the classes \['n', 'y'\]"),
        ({"z": "?"}, r"no classes \['z'\] to describe"),
        ({"y": " "}, r"The descriptions of \['y'\] are no texts"),
        ({"y": ["agrees", "consents"]}, r"The descriptions of \['y'\] are no texts"),
    ],
)
def test_descriptions_that_cannot_join_are_refused(labels, message):
    """The error names the classes, or those whose description is none."""
    data = Dataset.from_arrays(["yes", "no"] * 2, ["y", "n"] * 2, validation=0, test=0)
    with pytest.raises(ValueError, match=message):
        data.with_descriptions(labels)
