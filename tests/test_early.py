"""What is wrong is said at once, and what needs no TensorFlow waits for none."""

import json
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tiny_models import write_images, write_texts

from tfembed.encoders import names
from tfembed.encoders.loading import SCHEMES
from tfembed.encoders.names import check_handle

# Runs commands one after the other in one process; prints of each: exit code, standard error, and whether it waited.
_PROGRAM = """
import contextlib, io, json, sys
from tfembed.cli import main
for arguments in json.loads(sys.stdin.read()):
    sys.argv = ["tfembed", *arguments]
    said, code = io.StringIO(), 0
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said):
        try:
            main()
        except SystemExit as exit:
            code = exit.code or 0
    print(json.dumps([code, said.getvalue(), sorted({"tensorflow", "keras", "keras_tuner"} & set(sys.modules))]))
"""


def _run(*commands: list[str]) -> list[Any]:
    command = [sys.executable, "-c", _PROGRAM]
    run = subprocess.run(command, input=json.dumps(commands), capture_output=True, text=True, check=True)
    return [json.loads(line) for line in run.stdout.splitlines()]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a table, images, a run of images whose model is empty, a begun study, and one version."""
    folder = tmp_path_factory.mktemp("early")
    write_texts(folder / "texts.csv")
    write_images(folder / "images")
    (folder / "run").mkdir()
    (folder / "run" / "model.keras").write_bytes(b"")
    (folder / "run" / "run.json").write_text(json.dumps({"kind": "image"}))
    shutil.copytree(folder / "run", folder / "text_run")
    (folder / "text_run" / "run.json").write_text(json.dumps({"kind": "text"}))
    (folder / "words.csv").write_text("word,label\nyes,a\nno,b\n")
    (folder / "study").mkdir()
    (folder / "study" / "study.json").write_text("{}")
    (folder / "served" / "1").mkdir(parents=True)
    (folder / "served" / "1" / "saved_model.pb").write_bytes(b"")
    (folder / "empty").mkdir()
    return folder


WRONG = {
    "file": (["train", "nowhere.csv"], "nowhere.csv"),
    "column": (["train", "{place}/texts.csv", "--label", "lable"], "Did you mean 'label'"),
    "strategy": (["train", "reviews", "--strategy", "best"], "Unknown strategy 'best'"),
    "head": (["train", "reviews", "--head", "best"], "Unknown head 'best'"),
    "few shots": (["train", "{place}/images", "--few-shot", "100"], "100"),
    "encoder": (["train", "reviews", "--encoder", "minlm"], "Did you mean 'minilm'"),
    "preset": (["train", "reviews", "--encoder", "bert_tiny_en_uncasedd"], "is no encoder"),
    "path of an encoder": (["train", "reviews", "--encoder", "no/such"], "There is no file or folder"),
    "word vectors": (["train", "reviews", "--encoder", "glove:no.txt"], "there is no file 'no.txt'"),
    "kind of encoder": (["train", "reviews", "--encoder", "glyphs"], "embeds images alone"),
    "folder of a run": (["train", "reviews", "--out", "{place}/study"], "exists already"),
    "folder of a study": (["search", "reviews", "--out", "{place}/run"], "is no study"),
    "objective": (["search", "reviews", "--objective", "best", "--out", "{place}/new"], "Unknown objective 'best'"),
    "encoder of a search": (["search", "reviews", "--encoder", "no/such", "--out", "{place}/new"], "no file or folder"),
    "run": (["predict", "{place}/images", "hi"], "is no run"),
    "column of examples": (
        ["predict", "{place}/text_run", "{place}/texts.csv", "--text", "txt"],
        "there is no column 'txt', only 'text', 'label'. Did you mean 'text'? Name one of these with --text",
    ),
    "default column": (
        ["train", "{place}/words.csv"],
        "only 'word', 'label'. Name one of these with --text",
    ),
    "default column of labels": (["train", "{place}/texts.csv", "--label", "topic"], "Name one of these with --label"),
    "image": (["predict", "{place}/run", "nowhere.png"], "nowhere.png: there is no such file"),
    "exported run": (["export", "{place}/images", "models"], "is no run"),
    "begun study": (["export", "{place}/study", "models"], "is a study whose search is not done: it has no winner yet"),
    "report": (["report", "{place}/images"], "is no study"),
    "embedded file": (["embed", "no.csv", "out.npy"], "no.csv: there is no such file"),
    "embedded column": (["embed", "{place}/texts.csv", "out.npy", "--column", "txt"], "Did you mean 'text'"),
    "embeddings": (["embed", "{place}/texts.csv", "out.txt"], "ends in .parquet or .npy"),
    "indexed file": (["index", "a.db", "no.csv"], "no.csv: there is no such file"),
    "index": (["query", "no.db", "hi"], "'no' yet: make no.db first with tfembed index no.db DATA"),
    "measured file": (["evaluate-embeddings", "no.parquet", "--label", "label"], "no.parquet: there is no such file"),
    "inspected": (["inspect", "minlm"], "Did you mean 'minilm'"),
    "base path": (["versions", "nowhere"], "nowhere"),
    "a run as base path": (
        ["serve", "{place}/run"],
        "tfembed export {place}/run saved_models/run && tfembed serve saved_models/run",
    ),
    "a begun study as base path": (["serve", "{place}/study"], "is a study whose search is not done"),
    "a version as base path": (["serve", "{place}/served/1"], "Serve its base path: tfembed serve {place}/served"),
    "an empty base path": (["serve", "{place}/empty"], "{place}/empty has no versions: expected folders named 1"),
    "a run to deploy": (["deploy", "{place}/run", "out"], "is a run, which is exported before it is served"),
    "real server": (["serve", "{place}/empty", "--engine", "tensorflow"], "has no versions"),
}


def test_errors_come_before_tensorflow(place: Path) -> None:
    """A wrong file, column, option, handle or path ends a command with exit code 2 before TensorFlow is imported."""
    commands = {name: [each.format(place=place) for each in arguments] for name, (arguments, _) in WRONG.items()}
    found = dict(zip(commands, _run(*commands.values()), strict=True))
    expected = {name: said.format(place=place) for name, (_, said) in WRONG.items()}
    assert {name: said for name, (_, said, _) in found.items() if expected[name] not in said} == {}
    assert {name: (code, waited) for name, (code, _, waited) in found.items() if (code, waited) != (2, [])} == {}


def test_ports_are_tried_before_models_are_loaded(place: Path) -> None:
    """A port that is taken ends `serve` at once, with the option that names another."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        rest = ["serve", str(place / "served"), "--rest_api_port", port, "--port", "0"]
        grpc = ["serve", str(place / "served"), "--rest_api_port", "0", "--port", port]
        found = _run(rest, grpc)
    for (code, said, waited), api, option in zip(found, ("REST", "gRPC"), ("--rest_api_port", "--port"), strict=True):
        assert (code, waited) == (2, [])
        assert f"{api} cannot listen on 127.0.0.1:{port}" in said
        assert f"Pass another {option}, or 0 for a free one" in said


def test_some_commands_never_wait_for_tensorflow(place: Path, tmp_path: Path) -> None:
    """Listing, deploying and asking a server, over REST or gRPC, import neither TensorFlow nor Keras."""
    (tmp_path / "features").mkdir()
    served, cached = str(place / "served"), ["--folder", str(tmp_path / "features")]
    asked = [["predict", "--url", f"{scheme}://127.0.0.1:9/{path}", "hi"] for scheme, path in _URLS]
    well = (
        ["encoders"],
        ["versions", served],
        ["deploy", served, str(tmp_path / "out")],
        *(["cache", each, *cached] for each in ("list", "size", "verify", "clear")),
    )
    found = _run(*well, *asked)
    assert [(code, waited) for code, _, waited in found] == [(0, [])] * len(well) + [(2, [])] * len(asked)
    assert all("127.0.0.1:9" in said for _, said, _ in found[len(well) :])


_URLS = (("http", "v1/models/a"), ("grpc", "a"))


def test_names_know_every_source() -> None:
    """The schemes that are checked early are those that encoders are loaded by."""
    assert set(names.SCHEMES) == set(SCHEMES)
    for handle in ("bert_tiny_en_uncased", "resource:glyphs", "hf://owner/name", "keras_hub:anything"):
        check_handle(handle)
