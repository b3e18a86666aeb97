"""SavedModels that are damaged or not there: one line says what it is and what to do, when they are loaded."""

import shutil
from collections.abc import Callable
from pathlib import Path

import plain_modules
import pytest

import tfembed as te
from tfembed.saved_model.handles import resolve

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n"
DATA = "variables/variables.data-00000-of-00001"


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A whole module."""
    return plain_modules.write(plain_modules.Images(), tmp_path_factory.mktemp("whole") / "module")


def changed(file: str, change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    """What changes a file of a module."""
    return lambda folder: (folder / file).write_bytes(change((folder / file).read_bytes())) and None


DAMAGE: dict[str, tuple[Callable[[Path], None], str]] = {
    "garbage": (changed("saved_model.pb", lambda _: b"garbage"), "saved_model.pb' is damaged.*Fetch it again"),
    "empty": (changed("saved_model.pb", lambda _: b""), "saved_model.pb' is damaged"),
    "cut graph": (changed("saved_model.pb", lambda content: content[: len(content) // 2]), "damaged|cannot be loaded"),
    "cut values": (changed(DATA, lambda content: content[:100]), "cannot be loaded.*damaged, cut short"),
    "no values": (lambda folder: shutil.rmtree(folder / "variables"), "cannot be loaded"),
    "pointer": (changed("saved_model.pb", lambda _: POINTER), "saved_model.pb' is a Git LFS pointer.*git lfs pull"),
    "pointer to values": (changed(DATA, lambda _: POINTER), "variables.data.*is a Git LFS pointer"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_module_is_refused_in_one_line(module: str, tmp_path: Path, name: str) -> None:
    """The message names the file or the folder, says what is wrong with it, and what to do."""
    change, message = DAMAGE[name]
    folder = Path(shutil.copytree(module, tmp_path / "module"))
    change(folder)
    with pytest.raises(ValueError, match=message) as error:
        te.load_encoder(folder)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 600


@pytest.mark.parametrize("name", ["module.tar.gz", "model.keras", "resnet18.safetensors"])
def test_a_file_that_was_not_fetched_is_a_pointer(tmp_path: Path, name: str) -> None:
    """What Git LFS has not fetched is not called a broken file."""
    (tmp_path / name).write_bytes(POINTER)
    with pytest.raises(ValueError, match=rf"{name}' is a Git LFS pointer"):
        te.load_encoder(tmp_path / name)


def test_the_base_path_of_versions_names_the_highest(module: str, tmp_path: Path) -> None:
    """A folder of versions is not taken for a module: one of them has to be named."""
    for version in ("9", "10"):
        shutil.copytree(module, tmp_path / version)
    with pytest.raises(ValueError, match=rf"base path of versions 9, 10.*{tmp_path.name}/10'"):
        resolve(tmp_path)


def test_an_hdf5_file_says_how_to_convert_it(tmp_path: Path) -> None:
    """Keras's old format is named, with the call that makes the new one of it."""
    (tmp_path / "old.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    with pytest.raises(ValueError, match=r"HDF5 file of Keras.*load_model\('.*old\.h5'\)\.save\('model\.keras'\)"):
        te.load_encoder(tmp_path / "old.h5")
