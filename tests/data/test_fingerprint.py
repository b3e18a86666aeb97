"""A name for the content of examples."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tfembed.data import fingerprint


def test_the_content_counts_not_the_container():
    """A list, an object array and a fixed-width array of the same texts have one fingerprint."""
    texts = ["first", "zweite ü"]
    assert fingerprint(texts) == fingerprint(np.array(texts, object)) == fingerprint(np.array(texts))


def test_another_process_agrees():
    """The fingerprint of an object array is the same in a fresh process: no address is in it."""
    code = "import numpy; from tfembed.data import fingerprint; print(fingerprint(numpy.array(['a', 'bc'], object)))"
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert there == fingerprint(np.array(["a", "bc"], object))


@pytest.mark.parametrize(
    "changed", [["ab", "d"], ["c", "ab"], ["a", "bc"], ["ab"], ["ab", "c", ""], [b"ab", b"c"]], ids=repr
)
def test_any_change_shows(changed):
    """Other content, order, borders, number or type of examples give another fingerprint."""
    assert fingerprint(changed) != fingerprint(["ab", "c"])


def test_an_example_cannot_imitate_a_border():
    """Texts that hold what stands between examples are still told apart by the lengths."""
    assert fingerprint(["atextb", "c"]) != fingerprint(["a", "btextc"])


def test_paths_count_by_their_files(tmp_path):
    """A path has the fingerprint of the bytes of its file, whatever it is called, and changes with them."""
    one, two = tmp_path / "one.png", tmp_path / "two.png"
    one.write_bytes(b"pixels")
    two.write_bytes(b"pixels")
    before = fingerprint([one])
    assert before == fingerprint([two]) == fingerprint([b"pixels"])
    one.write_bytes(b"pixelz")
    assert fingerprint([one]) != before


def test_arrays_count_by_type_shape_and_values():
    """The same bytes in another type or shape differ, and so does one changed value."""
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    altered = array.copy()
    altered[1, 2, 3] += 1
    others = [array.view(np.int8), array.reshape(2, 4, 3), altered, array[::-1]]
    assert len({fingerprint(other) for other in [array, *others]}) == 5


def test_an_array_is_hashed_whatever_its_memory_layout():
    """A non-contiguous view of many chunks has the fingerprint of its contiguous copy."""
    view = np.arange(6_000_000, dtype=np.float64).reshape(3_000, 2_000).T
    assert fingerprint(view) == fingerprint(view.copy())


def test_empty_arrays_have_fingerprints():
    """No images of one size are not no images of another."""
    assert fingerprint(np.zeros((0, 2), np.uint8)) != fingerprint(np.zeros((0, 3), np.uint8))


def test_unknown_objects_are_refused():
    """An object whose content is unknown is an error that names its position, not a hash of its address."""
    with pytest.raises(TypeError, match=r"examples\[1\] is of type object: expected str, bytes, pathlib.Path"):
        fingerprint(["text", object()])


def test_a_missing_file_is_an_error(tmp_path):
    """A path without a file cannot have a fingerprint."""
    with pytest.raises(FileNotFoundError, match=r"gone\.png"):
        fingerprint([Path(tmp_path / "gone.png")])
