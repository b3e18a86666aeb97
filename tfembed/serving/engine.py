"""The real TensorFlow Serving, with the same flags: its binary if there is one, or its Docker image."""

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

IMAGE = "tensorflow/serving:2.20.0"  # the newest there is, whose ops an export is checked against
_BINARY = "tensorflow_model_server"
# Flags of ours that the real server does not have; where one is set, it cannot be had from it.
_OWN = ("host", "ssl_certificate", "ssl_key", "ssl_client_ca")
_OWN_LIMITS = ("max_request_bytes", "max_pending_requests", "max_connections", "drain_seconds")
_FILES = ("model_config_file", "batching_parameters_file", "monitoring_config_file", "ssl_config_file")


def replace_process(flags: Mapping[str, Any], say: Callable[[str], None]) -> None:
    """Turn this process into the real server.

    Args:
        flags: As for engine_command.
        say: Is told, in a line, what the real server does otherwise.

    Raises:
        ValueError: If there is neither the binary nor Docker, or it cannot do what a flag says.
    """
    command = engine_command(flags, shutil.which)
    if command[0] == _BINARY and flags.get("host") != "0.0.0.0":
        say(f"{_BINARY} cannot be bound to {flags.get('host')}: it listens on all addresses of this machine.")
    os.execvp(command[0], command)


def engine_command(flags: Mapping[str, Any], which: Callable[[str], str | None]) -> list[str]:
    """The command that starts the real server.

    Args:
        flags: By name; those that are None or empty are left out.
        which: From the name of a program to where it is; None where it is not.

    Raises:
        ValueError: If there is neither the binary nor Docker, or it cannot do what a flag says.

    Example:
        >>> flags = {"model_name": "m", "model_base_path": Path("/models/m"), "port": 8500, "rest_api_port": 8501}
        >>> engine_command(flags, lambda name: name)[:2]
        ['tensorflow_model_server', '--model_base_path=/models/m']
    """
    set_limits = [name for name in (*_OWN[1:], *_OWN_LIMITS) if flags.get(name) is not None]
    if set_limits:
        raise ValueError(f"--{set_limits[0]} is of the embedded server only: leave out it, or --engine tensorflow.")
    if which(_BINARY) is not None:
        return [_BINARY, *_arguments(flags, {})]
    if which("docker") is not None:
        return _docker(flags)
    raise ValueError(
        f"--engine tensorflow needs {_BINARY} or docker on the path, and there is neither. Install one of them, or "
        "leave --engine out: the embedded server speaks the same REST and gRPC."
    )


def _docker(flags: Mapping[str, Any]) -> list[str]:
    host = flags.get("host") or "127.0.0.1"
    if flags.get("model_config_file") is not None:
        raise ValueError(
            "A model_config_file names folders of this machine, which a container does not see: install "
            f"{_BINARY}, or write a compose file with `tfembed deploy`."
        )
    inside: dict[str, str] = {"model_base_path": f"/models/{flags['model_name']}"}
    command = ["docker", "run", "--rm", "--init"]
    for name in ("port", "rest_api_port"):
        command += ["-p", f"{host}:{flags[name]}:{flags[name]}"]
    mounts = {"model_base_path": flags["model_base_path"]}
    for name in _FILES:
        if flags.get(name) is not None:
            inside[name] = f"/config/{name}"
            mounts[name] = flags[name]
    for name, path in mounts.items():
        command += ["-v", f"{Path(path).resolve()}:{inside[name]}:ro"]
    return [*command, "--entrypoint", _BINARY, IMAGE, *_arguments(flags, inside)]


def _arguments(flags: Mapping[str, Any], inside: Mapping[str, str]) -> list[str]:
    arguments = []
    for name, value in sorted(flags.items()):
        if name in (*_OWN, *_OWN_LIMITS) or value is None or value == "":
            continue
        shown = inside.get(name, value.resolve() if isinstance(value, Path) else value)
        if isinstance(shown, float) and shown.is_integer():
            shown = int(shown)
        arguments.append(f"--{name}={str(shown).lower() if isinstance(shown, bool) else shown}")
    return arguments
