"""Files of PyTorch's weights, without PyTorch: what is read, and what is refused by name."""

import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file
from torch_pickles import Storage, Tensor, pickled, torch_names, zipped

from tfembed.encoders.pytorch.state_dict import read_state_dict

DATA = Path(__file__).parent / "data"


class Spy:
    """What a pickle would run, were it allowed to."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (open, (str(self.path), "w"))


@pytest.fixture
def torch(monkeypatch: pytest.MonkeyPatch) -> Any:
    return torch_names(monkeypatch)


def tensor_pickle(torch: Any, count: int, offset: int, size: tuple[int, ...], stride: tuple[int, ...]) -> bytes:
    """A pickle of a state dict with one tensor `w`."""
    return pickled(torch, {"w": Tensor(torch, Storage("0", count), offset, size, stride)})


def test_a_file_of_torch_save_is_read() -> None:
    """What `torch.save` wrote, views and bfloat16 among it, is what PyTorch says it is; the rest of it is left."""
    found, expected = read_state_dict(DATA / "small.pth"), np.load(DATA / "small.npz")
    assert set(found) == set(expected.files)
    for name, value in found.items():
        np.testing.assert_array_equal(value.astype("float32"), expected[name], err_msg=name)


def test_the_old_format_is_read_if_trusted() -> None:
    """Before PyTorch 1.6 files were pickles in a row: refused with what to do, and read with trust."""
    with pytest.raises(
        ValueError, match=r"small_legacy\.pth.*no \.pth file in the zip format.*trust=True.*safetensors"
    ):
        read_state_dict(DATA / "small_legacy.pth")
    found, expected = read_state_dict(DATA / "small_legacy.pth", trust=True), np.load(DATA / "small.npz")
    for name in expected.files:
        np.testing.assert_array_equal(found[name].astype("float32"), expected[name], err_msg=name)


def test_safetensors_are_read(tmp_path: Path) -> None:
    """A safetensors file, and the prefix of models that were trained on several devices is taken off."""
    save_file({"module.w": np.float32([1, 2])}, tmp_path / "w.safetensors")
    assert read_state_dict(tmp_path / "w.safetensors")["w"].tolist() == [1, 2]


@pytest.mark.parametrize("trust", [False, True])
def test_a_pickle_runs_nothing(tmp_path: Path, trust: bool) -> None:
    """A file that asks for another function is refused by that name; trusted, the function is left out, not run."""
    victim = tmp_path / "victim"
    path = zipped(tmp_path / "evil.pth", pickle.dumps({"w": Spy(victim)}))
    with pytest.raises(ValueError, match="holds no tensors" if trust else r"evil\.pth.*asks for (_?io)\.open"):
        read_state_dict(path, trust=trust)
    assert not victim.exists()


def test_an_old_pickle_runs_nothing_either(tmp_path: Path) -> None:
    """Trusted files in the old format get nothing more than the others."""
    victim = tmp_path / "victim"
    (tmp_path / "evil.pth").write_bytes(pickle.dumps(Spy(victim)))
    with pytest.raises(ValueError, match=r"Cannot read .*evil\.pth.*does not begin as PyTorch's files do"):
        read_state_dict(tmp_path / "evil.pth", trust=True)
    assert not victim.exists()


def test_what_is_beside_the_weights_is_left_out_if_trusted(tmp_path: Path, torch: Any) -> None:
    """A checkpoint with objects of a program keeps its tensors, once it is trusted."""
    inner = tensor_pickle(torch, 2, 0, (2,), (1,))
    path = zipped(tmp_path / "run.pth", inner, **{"data/0": np.float32([3, 4]).tobytes()})
    assert read_state_dict(path)["w"].tolist() == [3, 4]


@pytest.mark.parametrize(
    ("offset", "size", "stride"),
    [(0, (3,), (1,)), (1, (2,), (1,)), (0, (2,), (7,)), (-1, (1,), (1,)), (0, (2,), (-1,))],
)
def test_a_tensor_stays_within_its_values(
    tmp_path: Path, torch: Any, offset: int, size: tuple[int], stride: tuple[int]
) -> None:
    """A tensor that would read memory beside its values is refused."""
    content = tensor_pickle(torch, 2, offset, size, stride)
    path = zipped(tmp_path / "w.pth", content, **{"data/0": np.float32([3, 4]).tobytes()})
    with pytest.raises(ValueError, match=r"w\.pth.*reaches beyond its 2 values"):
        read_state_dict(path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.safetensors", b"no", "Cannot read"),
        ("b.pth", b"no", "no .pth file in the zip format"),
        ("c.pth", pickle.dumps([1, 2]), "no .pth file in the zip format"),
    ],
)
def test_what_is_no_file_of_weights_is_refused(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    """Damaged files and others are one line, with the file's name."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        read_state_dict(tmp_path / name)
    assert name in str(error.value)
    assert "\n" not in str(error.value)


def test_truncated_files_are_refused(tmp_path: Path) -> None:
    """Cut anywhere, a file is refused."""
    for source in ("small.pth", "small_legacy.pth"):
        content = (DATA / source).read_bytes()
        for length in range(0, len(content) - 1, max(1, len(content) // 23)):
            (tmp_path / source).write_bytes(content[:length])
            with pytest.raises(ValueError, match=source):
                read_state_dict(tmp_path / source, trust=True)


def test_programs_are_refused(tmp_path: Path) -> None:
    """TorchScript holds a program, which is not read."""
    path = zipped(tmp_path / "script.pt", pickle.dumps({}), **{"constants.pkl": b""})
    with pytest.raises(ValueError, match="TorchScript"):
        read_state_dict(path)


def test_a_storage_that_is_too_large_is_refused(tmp_path: Path) -> None:
    """An old file that asks for more memory than it has values is refused before it gets it."""
    head = b"".join(pickle.dumps(each, 2) for each in (0x1950A86A20F9469CFC6C, 1001, {}))
    body = pickle.dumps({}, 2) + pickle.dumps(["0"], 2) + struct.pack("<q", 1 << 60)
    (tmp_path / "huge.pth").write_bytes(head + body)
    with pytest.raises(ValueError, match=r"huge\.pth"):
        read_state_dict(tmp_path / "huge.pth", trust=True)
