"""Files that are often passed as encoders and are none: the error says what they are, and what to do."""

from collections.abc import Callable
from pathlib import Path

import keras
import pytest

import tfembed as te

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"4d7a" * 16 + b"\nsize 12345\n"


@pytest.mark.parametrize(
    ("file", "handle"),
    [
        ("saved_model.pb", "{place}"),
        ("variables/variables.data-00000-of-00001", "{place}"),
        ("model.safetensors", "{place}"),
        ("model.safetensors", "{place}/model.safetensors"),
        ("model.bin", "{place}/model.bin"),
        ("resnet18.safetensors", "{place}/resnet18.safetensors"),
        ("model.keras", "{place}/model.keras"),
        ("model.h5", "{place}/model.h5"),
        ("model.tar.gz", "{place}/model.tar.gz"),
        ("words.txt", "glove:{place}/words.txt"),
        ("words.bin", "fasttext:{place}/words.bin"),
    ],
)
def test_a_git_lfs_pointer_is_named(tmp_path: Path, file: str, handle: str) -> None:
    """A file that Git LFS has not fetched is named with the size of what it stands for, whatever kind of file it is."""
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_bytes(POINTER)
    with pytest.raises(ValueError, match=rf"{file}' is a Git LFS pointer, .* 12,345 bytes .* `git lfs pull`") as error:
        te.load_encoder(handle.format(place=tmp_path))
    assert "\n" not in str(error.value)


def test_a_pointer_as_weights_is_named(tmp_path: Path) -> None:
    """The file of weights may be a pointer as well."""
    (tmp_path / "weights.h5").write_bytes(POINTER)
    with pytest.raises(ValueError, match=r"weights\.h5' is a Git LFS pointer"):
        te.load_encoder("applications:MobileNetV2?alpha=0.35&size=32", weights=tmp_path / "weights.h5")


@pytest.mark.parametrize(
    ("name", "write", "advice"),
    [
        ("model.h5", lambda model, path: model.save(path), r"a Keras model in the old HDF5 format: pass keras\.models"),
        ("a.weights.h5", lambda model, path: model.save_weights(path), r"weights without their network\. .* --weights"),
        ("torn.h5", lambda model, path: path.write_bytes(b"x"), r"is none: it is damaged"),
    ],
)
@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_an_hdf5_file_is_explained(
    tmp_path: Path, name: str, write: Callable[[keras.Model, Path], None], advice: str
) -> None:
    """An HDF5 file holds a model or weights alone; the error says which, and how to use it."""
    image = keras.Input((8, 8, 3))
    write(keras.Model(image, keras.layers.GlobalAveragePooling2D()(image)), tmp_path / name)
    with pytest.raises(ValueError, match=advice) as error:
        te.load_encoder(str(tmp_path / name))
    assert "\n" not in str(error.value)
