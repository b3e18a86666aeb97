"""Columns and the arrays under them: in memory or on disk, the same values come back."""

import gc
import os

import ml_dtypes
import numpy as np
import pytest

from tfembed.features.arrays import DiskArray, Workplace
from tfembed.features.columns import Column


@pytest.fixture(params=["memory", "folder"])
def workplace(request, tmp_path):
    return Workplace(tmp_path if request.param == "folder" else None)


def read(array):
    return np.array(array.read())


def test_columns_of_sequences_are_padded_with_zeros():
    """Rows of different lengths are padded to the longest that is asked for, not to the longest of all."""
    column = Column(values=np.arange(1, 7), offsets=np.array([0, 1, 3, 6]))
    assert column.batch(np.array([1, 0])).tolist() == [[2, 3], [1, 0]]


def test_no_rows_are_an_empty_batch():
    """A batch of no rows has none, for rows and for sequences."""
    column = Column(values=np.arange(6), offsets=np.array([0, 1, 3, 6]))
    assert column.batch(np.array([], int)).shape == (0, 0)
    assert Column(values=np.zeros([3, 2])).batch(np.array([], int)).shape == (0, 2)


def test_pieces_are_written_where_they_belong(workplace):
    """Sequences of a batch go each to its own place, without their padding, in any order."""
    array = workplace.create((6, 2), np.dtype("int16"))
    array.put([4, 0], [2, 1], np.arange(8, dtype="int16").reshape(2, 2, 2))
    assert read(array).tolist() == [[4, 5], [0, 0], [0, 0], [0, 0], [0, 1], [2, 3]]


@pytest.mark.parametrize("dtype", ["float32", "float16", "int64", "bool", ml_dtypes.bfloat16])
def test_every_type_of_number_comes_back(dtype, workplace):
    """Values of each type are the same after writing, the type included."""
    values = np.array([[[0, 1], [1, 0]]]).astype(dtype)
    array = workplace.create((2, 2), values.dtype)
    array.put([0], [2], values)
    assert array.read().dtype == values.dtype
    np.testing.assert_array_equal(read(array), values[0])


def test_an_empty_array_can_be_read(workplace):
    """An array without values is one."""
    assert read(workplace.create((0, 3), np.dtype("float32"))).shape == (0, 3)


def test_a_spool_joins_what_is_appended(workplace):
    """Rows that are written one behind the other come back as one array; in a folder, nothing is to be seen of it."""
    spool = workplace.spool()
    for count in (1, 3, 2):
        spool.append(np.full((count, 2), count, "int32"))
    assert read(spool.done()).tolist() == [[1, 1], [3, 3], [3, 3], [3, 3], [2, 2], [2, 2]]
    assert workplace.folder is None or list(workplace.folder.iterdir()) == []


def test_strings_stay_in_memory(tmp_path):
    """Values without a fixed size are kept, but not in a file."""
    array = Workplace(tmp_path).create((1,), np.dtype(object))
    array.put([0], [1], np.array([["text"]], object))
    assert read(array).tolist() == ["text"]
    assert list(tmp_path.iterdir()) == []


def test_files_of_another_array_are_refused(tmp_path):
    """A file whose shape or type is not what is expected is not read."""
    np.save(tmp_path / "a.npy", np.zeros([2, 3], "float32"))
    assert DiskArray.open(tmp_path / "a.npy", (2, 3), np.dtype("float32")).read().sum() == 0
    for shape, dtype in [((3, 2), "float32"), ((2, 3), "int32")]:
        with pytest.raises(ValueError, match=r"a\.npy holds an array \(2, 3\) of float32"):
            DiskArray.open(tmp_path / "a.npy", shape, np.dtype(dtype))


def test_files_are_closed_with_the_last_reader(tmp_path):
    """An array that is no longer used keeps no file open, nor does what was read of it."""
    before = len(os.listdir("/proc/self/fd"))
    array = Workplace(tmp_path).create((4,), np.dtype("int32"))
    part = Column(values=array).batch(np.array([1]))
    del array
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == before
    assert part.tolist() == [0]
