"""The commands that serve, ask and deploy."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import tfembed as te
from tfembed.cli import cli, main
from tfembed.serving.server import Running
from tfembed.serving.settings import Settings


def run(*arguments: object) -> str:
    result = CliRunner().invoke(cli, [str(each) for each in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_predict_with_a_server(demo: Running, tmp_path: Path) -> None:
    """`tfembed predict --url` asks a server for texts and for images in files."""
    url = f"{demo.rest_url}/v1/models/texts"
    rows = json.loads(run("predict", "--url", url, "I want my money back", "hello there", "--json"))
    assert [row["label"] for row in rows] == ["refund", "greeting"]
    assert rows[0]["example"] == "I want my money back"
    assert 0.5 < rows[0]["score"] <= 1
    (tmp_path / "rows.csv").write_text("text\nhello there\nI want my money back\n", encoding="utf-8")
    assert json.loads(run("predict", "--url", url, tmp_path / "rows.csv", "--json")) == rows[::-1]
    assert "refund" in run("predict", "--url", f"grpc://{demo.grpc_address}/texts", "my money back")
    Image.fromarray(np.full((8, 8, 3), 10, np.uint8)).save(tmp_path / "a.png")
    printed = run("predict", "--url", f"{demo.rest_url}/v1/models/digits", tmp_path / "a.png")
    assert printed.split()[1] == "dark"


def test_an_export_through_the_client(demo: Running) -> None:
    """What a client gets is what the model says: labels as text, best first, and embeddings."""
    with te.Client(f"{demo.rest_url}/v1/models/texts") as client:
        found = client.predict(["hello there", "my money back"])
        assert found["label"].tolist() == ["greeting", "refund"]
        assert found["labels"].tolist() == [["greeting", "refund"], ["refund", "greeting"]]
        np.testing.assert_allclose(found["scores"].sum(axis=1), 1, atol=1e-5)
        assert client.predict(["hello there"], "embed")["embedding"].shape == (1, 8)


def test_deploy(tmp_path: Path) -> None:
    """`tfembed deploy` lists what it wrote."""
    (tmp_path / "m" / "1").mkdir(parents=True)
    lines = run("deploy", tmp_path / "m", tmp_path / "out", "--max-batch-size", 8).splitlines()
    assert all(Path(line).is_file() for line in lines[:-2])
    assert [line.split()[0] for line in lines[-2:]] == ["try:", "or:"]
    assert "value: 8" in (tmp_path / "out" / "config" / "batching.config").read_text()


@pytest.mark.parametrize(
    ("arguments", "batching", "cors"),
    [
        (["m"], False, False),
        (["--enable_batching", "m"], True, False),
        (["m", "--enable_batching=true", "--rest_api_enable_cors_support"], True, True),
        (["m", "--enable_batching=false", "--rest_api_enable_cors_support", "true"], False, True),
    ],
)
def test_switches(
    arguments: list[str], batching: bool, cors: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are given as to tensorflow_model_server: alone, or with a value."""
    (tmp_path / "m" / "1").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    found: list[Settings] = []
    monkeypatch.setattr("tfembed.serving.server.serve_until_stopped", lambda settings, say: found.append(settings))
    run("serve", *arguments, "--rest_api_port", 0, "--port", 0)
    (settings,) = found
    assert (settings.enable_batching, settings.rest_api_enable_cors_support) == (batching, cors)
    assert settings.model_base_path == Path("m")


BAD: dict[str, tuple[list[str], str]] = {
    "nothing to serve": (["serve"], "pass BASE_PATH"),
    "a switch that is neither": (["serve", "m", "--enable_batching=maybe"], "is not a valid boolean"),
    "no folder": (["serve", "nowhere"], "nowhere is no folder"),
    "both": (["serve", "a", "--model_base_path", "b"], "pass one of them"),
    "a wrong configuration": (["serve", "--model_config_file", "{place}/bad.config"], "Invalid protobuf file"),
    "a missing file": (["serve", "--model_config_file", "nowhere.config"], "nowhere.config"),
    "a relative base path": (["serve", "--model_config_file", "{place}/relative.config"], "absolute path"),
    "half of TLS": (["serve", "{place}/m", "--ssl_key", "{place}/bad.config"], "--ssl_certificate and --ssl_key"),
    "batching off": (["serve", "{place}/m", "--batching_parameters_file", "{place}/bad.config"], "--enable_batching"),
    "the same port twice": (["serve", "{place}/m", "--port", "9", "--rest_api_port", "9"], "cannot share port 9"),
    "no port": (["serve", "{place}/m", "--port", "99999"], "between 0 and 65535"),
    "a name with a slash": (["serve", "{place}/m", "--model_name", "a/b"], "neither / nor :"),
    "no limit": (["serve", "{place}/m", "--max_connections", "0"], "max_connections must be above 0"),
    "a wrong channel argument": (["serve", "{place}/m", "--grpc_channel_arguments", "x"], "name=value"),
    "no URL": (["predict", "--url", "localhost", "hi"], "is no URL of a server"),
    "no examples": (["predict", "runs/intents"], "RUN and examples"),
    "nobody there": (
        ["predict", "--url", "http://127.0.0.1:9/v1/models/m", "hi"],
        "/v1/models/m/metadata cannot be reached: Connection refused. Is the server running?",
    ),
    "deploy of nothing": (["deploy", "{place}", "{place}/out"], "has no versions"),
}


@pytest.mark.parametrize(("arguments", "named"), BAD.values(), ids=BAD)
def test_bad_input_is_one_line(
    arguments: list[str], named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """What is wrong is said in one line, with exit code 2."""
    (tmp_path / "m" / "1").mkdir(parents=True)
    (tmp_path / "bad.config").write_text("this is no proto")
    (tmp_path / "relative.config").write_text(
        'model_config_list { config { name: "a" base_path: "b" model_platform: "tensorflow" } }'
    )
    monkeypatch.setattr(sys, "argv", ["tfembed", *(each.format(place=tmp_path) for each in arguments)])
    with pytest.raises(SystemExit) as caught:
        main()
    printed = capsys.readouterr()
    assert caught.value.code == 2
    assert printed.out == ""
    assert len(printed.err.splitlines()) == 1, printed.err
    assert named in printed.err


def test_a_model_that_is_not_there(demo: Running, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """What the server refuses is one line, too."""
    monkeypatch.setattr(sys, "argv", ["tfembed", "predict", "--url", f"{demo.rest_url}/v1/models/nobody", "hi"])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    assert "Servable not found for request: Latest(nobody)" in capsys.readouterr().err
