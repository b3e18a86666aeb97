"""Versions in a base path."""

import json
from pathlib import Path

import pytest
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

import tfembed as te
from tfembed.export.versions import publish, write_models_config


def write_version(base: Path, number: int) -> Path:
    """A version as small as can be."""
    folder = base / str(number)
    (folder / "assets.extra").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"12345")
    (folder / "assets.extra" / "tfembed.json").write_text(json.dumps({"encoder": f"e{number}"}), encoding="utf-8")
    return folder


def numbers(base: Path) -> list[int]:
    return [version.number for version in te.versions(base)]


def test_versions_are_listed_highest_first(tmp_path: Path) -> None:
    """As numbers, not as texts; with size and record; what is no version is left out."""
    for number in (2, 10, 9):
        write_version(tmp_path, number)
    (tmp_path / "notes").mkdir()
    (tmp_path / "11").write_text("a file")
    found = te.versions(tmp_path)
    assert [version.number for version in found] == [10, 9, 2]
    assert found[0].record == {"encoder": "e10"}
    assert found[0].num_bytes == 5 + len(json.dumps({"encoder": "e10"}))


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    """Which file it is, and what to do."""
    file = write_version(tmp_path, 1) / "assets.extra" / "tfembed.json"
    file.write_text("{")
    with pytest.raises(ValueError, match=rf"{file} is damaged: .*Export the model again"):
        te.versions(tmp_path)


def test_rollback_withdraws_the_highest(tmp_path: Path) -> None:
    """TF Serving sees the one below it; the files stay, and the number is not given again."""
    write_version(tmp_path, 1)
    write_version(tmp_path, 2)
    assert te.rollback(tmp_path).number == 1
    assert [path.name for path in tmp_path.iterdir() if path.name.isdecimal()] == ["1"]
    assert [(version.number, version.withdrawn) for version in te.versions(tmp_path)] == [(2, True), (1, False)]
    aside = write_version(tmp_path / "aside", 1)
    assert publish(aside, tmp_path).name == "3"
    assert te.rollback(tmp_path).number == 1


def test_the_last_version_is_not_withdrawn(tmp_path: Path) -> None:
    """Nothing would be served any more."""
    write_version(tmp_path, 4)
    with pytest.raises(ValueError, match="1 version to serve: expected two or more"):
        te.rollback(tmp_path)
    assert numbers(tmp_path) == [4]


@pytest.mark.parametrize("name", ["nowhere", "empty"])
def test_a_folder_without_versions_is_named(name: str, tmp_path: Path) -> None:
    """The error says what was expected there."""
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=rf"{name} has no versions: expected folders named 1, 2"):
        te.versions(tmp_path / name)


def test_several_models_have_a_config(tmp_path: Path) -> None:
    """It is what TF Serving reads, with every model by its name; a single model needs none."""
    write_version(tmp_path / "a", 1)
    (tmp_path / "no model" / "2026").mkdir(parents=True)
    assert write_models_config(tmp_path) is None
    write_version(tmp_path / 'b "quoted"', 3)
    file = write_models_config(tmp_path)
    assert file == tmp_path / "models.config"
    config = text_format.Parse(file.read_text("utf-8"), model_server_config_pb2.ModelServerConfig())
    models = {each.name: (each.base_path, each.model_platform) for each in config.model_config_list.config}
    assert models == {name: (str(tmp_path / name), "tensorflow") for name in ("a", 'b "quoted"')}
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["models.config"]
