"""The real server is started with the flags that ours was given."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tfembed.export.ops import NEWEST
from tfembed.serving.engine import IMAGE, engine_command

FLAGS: dict[str, Any] = {
    "model_name": "m",
    "model_base_path": Path("/models/m"),
    "model_config_file": None,
    "host": "127.0.0.1",
    "port": 8500,
    "rest_api_port": 8501,
    "enable_batching": True,
    "rest_api_enable_cors_support": False,
    "file_system_poll_wait_seconds": 2.0,
    "batching_parameters_file": Path("/etc/batching.txt"),
    "grpc_channel_arguments": "",
}


def test_the_binary() -> None:
    """Where tensorflow_model_server is on the path, it gets the same flags."""
    command = engine_command(FLAGS, lambda name: f"/usr/bin/{name}" if name == "tensorflow_model_server" else None)
    assert command == [
        "tensorflow_model_server",
        "--batching_parameters_file=/etc/batching.txt",
        "--enable_batching=true",
        "--file_system_poll_wait_seconds=2",
        "--model_base_path=/models/m",
        "--model_name=m",
        "--port=8500",
        "--rest_api_enable_cors_support=false",
        "--rest_api_port=8501",
    ]


def test_the_image() -> None:
    """Where only Docker is, its image gets them, sees its files read-only, and listens where ours would."""
    command = engine_command(FLAGS, lambda name: name if name == "docker" else None)
    assert command[:4] == ["docker", "run", "--rm", "--init"]
    text = " ".join(command)
    assert "-p 127.0.0.1:8501:8501" in text
    assert "-v /models/m:/models/m:ro" in text
    assert "-v /etc/batching.txt:/config/batching_parameters_file:ro" in text
    assert "--entrypoint tensorflow_model_server tensorflow/serving" in text
    assert "--batching_parameters_file=/config/batching_parameters_file" in command
    assert "--model_base_path=/models/m" in command


def test_neither() -> None:
    """Where neither is, that is said, with what to do."""
    with pytest.raises(ValueError, match="needs tensorflow_model_server or docker on the path"):
        engine_command(FLAGS, lambda name: None)


def test_what_it_cannot_do() -> None:
    """Flags that only the embedded server has are not silently left out."""
    with pytest.raises(ValueError, match="--max_connections is of the embedded server only"):
        engine_command(FLAGS | {"max_connections": 5}, lambda name: name)
    with pytest.raises(ValueError, match="a container does not see"):
        engine_command(FLAGS | {"model_config_file": Path("a")}, lambda name: name if name == "docker" else None)


def test_the_command(tmp_path: Path) -> None:
    """`tfembed serve --engine tensorflow` becomes the server that is on the path."""
    program = tmp_path / "tensorflow_model_server"
    program.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    program.chmod(0o755)
    (tmp_path / "m" / "1").mkdir(parents=True)
    command = [
        sys.executable,
        "-m",
        "tfembed",
        "serve",
        str(tmp_path / "m"),
        "--engine",
        "tensorflow",
        "--port",
        "1234",
    ]
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    command += ["--enable_model_warmup=false", "--enable_batching"]
    run = subprocess.run([*command, "--port", "1234"], capture_output=True, text=True, check=True, env=environment)
    assert "--port=1234" in run.stdout.splitlines()
    assert f"--model_base_path={tmp_path / 'm'}" in run.stdout.splitlines()
    assert "--model_name=m" in run.stdout.splitlines()
    assert {"--enable_model_warmup=false", "--enable_batching=true"} <= set(run.stdout.splitlines())
    assert "cannot be bound to 127.0.0.1: it listens on all addresses" in run.stderr


def test_the_image_is_of_the_version_that_exports_are_checked_against() -> None:
    """An export has passed for the very server that is started."""
    assert f"tensorflow/serving:{NEWEST}.0" == IMAGE
