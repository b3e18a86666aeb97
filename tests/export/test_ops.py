"""The ops that TensorFlow Serving has."""

import pytest

from tfembed.export.ops import NEWEST, missing_ops, served_versions


def test_ops_of_texts_and_images_are_served() -> None:
    """What the preprocessing of BERT and of images uses is there, in every version that is known."""
    for version in served_versions():
        assert missing_ops({"MatMul", "CaseFoldUTF8", "FastWordpieceTokenizeWithOffsets", "DecodeImage"}, version) == []
    assert NEWEST in served_versions()


def test_ops_that_are_not_served_are_named() -> None:
    """Python's own, and those of packages that the server does not link."""
    assert missing_ops({"MatMul", "EagerPyFunc", "Addons>Bm25"}) == ["Addons>Bm25", "EagerPyFunc"]


def test_an_unknown_version_is_refused() -> None:
    """The error lists those that are known."""
    with pytest.raises(ValueError, match=r"Unknown version '1\.0' .* pass one of 2\.20"):
        missing_ops(set(), "1.0")
