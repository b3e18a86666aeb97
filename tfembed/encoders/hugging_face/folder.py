"""A folder with a model as the Hugging Face Hub has it: JSON files, vocabularies, weights as safetensors."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open

from tfembed.encoders.pytorch.state_dict import read_state_dict
from tfembed.encoders.repositories import PICKLES, WEIGHTS

_INDEX = "model.safetensors.index.json"
_PICKLES = (PICKLES, "model.pt", "model.pth", "model.ckpt")


@dataclass(frozen=True, slots=True)
class Folder:
    """The files of a model.

    Attributes:
        path: Where they lie.
        handle: What the user called it, for messages.
    """

    path: Path
    handle: str

    def has(self, name: str) -> bool:
        """Whether there is such a file."""
        return (self.path / name).is_file()

    def read(self, name: str) -> Any:
        """The values of a JSON file.

        Raises:
            ValueError: If there is no such file, or it is no JSON.
        """
        try:
            return json.loads((self.path / name).read_text(encoding="utf-8-sig"))  # Windows writes a byte order mark
        except FileNotFoundError as error:
            raise ValueError(f"{self.handle!r} has no {name}: expected it in {self.path}. Copy it there.") from error
        except ValueError as error:
            raise ValueError(f"{self.path / name} is no JSON: {error}. Fetch the file again.") from error

    def lines(self, name: str) -> list[str]:
        """Lines of a text file, such as a vocabulary."""
        return (self.path / name).read_text(encoding="utf-8-sig").removesuffix("\n").split("\n")

    def read_if_there(self, name: str) -> dict[str, Any]:
        """The values of a JSON file; none if there is no such file."""
        return self.read(name) if self.has(name) else {}

    @property
    def licence(self) -> str:
        """The licence that the head of README.md names."""
        text = (self.path / "README.md").read_text(encoding="utf-8") if self.has("README.md") else ""
        found = re.search(r"^license: *(\S+)", text.split("\n---", 1)[0], re.MULTILINE)
        return found.group(1) if found else "unknown"


class Tensors:
    """The weights in a folder, read one by one.

    Args:
        path: A folder with model.safetensors, or with its parts and their index; or a safetensors file.
        handle: What the user called it, for messages.
        trust: Whether pickles will do, where there is nothing else; of these nothing but tensors is read even then.

    Raises:
        ValueError: If there are none, if they are pickles, or if a file is damaged.
    """

    def __init__(self, path: Path, handle: str, *, trust: bool = False) -> None:
        self._path, self._handle, self._trust = path, handle, trust
        self._pickled: dict[str, np.ndarray] = {}
        self._file_of = {name: file for file in self._files() for name in self._names_in(file)}

    def __iter__(self) -> Iterator[str]:
        return iter(self._file_of)

    def __contains__(self, name: object) -> bool:
        return name in self._file_of

    def __getitem__(self, name: str) -> np.ndarray:
        if name in self._pickled:
            return self._pickled[name].astype("float32")
        with safe_open(self._file_of[name], framework="tensorflow") as file:  # NumPy alone does not know bfloat16
            return file.get_tensor(name).numpy().astype("float32")

    def _files(self) -> list[Path]:
        if self._path.is_file():
            return [self._path]
        if (self._path / WEIGHTS).is_file():
            return [self._path / WEIGHTS]
        if (self._path / _INDEX).is_file():
            index = json.loads((self._path / _INDEX).read_text(encoding="utf-8-sig"))
            files = [self._path / name for name in sorted(set(index["weight_map"].values()))]
            if missing := [file.name for file in files if not file.is_file()]:
                raise ValueError(f"{self._handle!r} lacks {missing}, which {_INDEX} names. Copy them to {self._path}.")
            return files
        for pattern in _PICKLES:
            if pickles := sorted(self._path.glob(pattern)):
                return pickles
        raise ValueError(
            f"{self._handle!r} has no weights: expected {WEIGHTS} in {self._path}. Copy it there; where there is none "
            "but pytorch_model.bin, pass trust=True (--trust)."
        )

    def _names_in(self, file: Path) -> list[str]:
        if any(file.match(pattern) for pattern in _PICKLES):
            if not self._trust:
                raise ValueError(
                    f"{self._handle!r} has its weights in {file.name}, a pickle, which can ask for any program to be "
                    f"run: expected {WEIGHTS}. Pass trust=True (--trust) to have the tensors in it read, and nothing "
                    "else."
                )
            found = read_state_dict(file, trust=True)
            self._pickled |= found
            return list(found)
        try:
            with safe_open(file, framework="numpy") as opened:
                return list(opened.keys())
        except Exception as error:  # safetensors has an error class of its own, which it does not document
            raise ValueError(
                f"{file} cannot be read: {error}. Expected a whole safetensors file; fetch it again."
            ) from error
