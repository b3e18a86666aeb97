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


def test_the_base_path_of_versions_names_the_highest(module: str, tmp_path: Path) -> None:
    """A folder of versions is not taken for a module: one of them has to be named."""
    for version in ("9", "10"):
        shutil.copytree(module, tmp_path / version)
    with pytest.raises(ValueError, match=rf"base path of versions 9, 10.*{tmp_path.name}/10'"):
        resolve(tmp_path)
