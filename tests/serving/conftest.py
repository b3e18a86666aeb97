"""A server of tiny models, started once, on free loopback ports."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import requests
from exports import write_exports
from served_models import write_everything, write_half_plus

from tfembed.serving.server import Running, run_server
from tfembed.serving.settings import Settings


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a base path for each tiny model."""
    folder = tmp_path_factory.mktemp("models")
    write_half_plus(folder / "half_plus_two" / "123")
    write_half_plus(folder / "half_plus_three" / "123", 3.0)
    write_everything(folder / "everything" / "1")
    return folder


@pytest.fixture(scope="session")
def config_file(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ModelServerConfig with all of them; half_plus_two has the label stable."""
    text = "".join(
        f'config {{ name: "{name}" base_path: "{models / name}" model_platform: "tensorflow" {more} }}\n'
        for name, more in (
            ("half_plus_two", 'version_labels { key: "stable" value: 123 }'),
            ("half_plus_three", ""),
            ("everything", ""),
        )
    )
    file = tmp_path_factory.mktemp("config") / "models.config"
    file.write_text(f"model_config_list {{ {text} }}", encoding="utf-8")
    return file


@pytest.fixture(scope="session")
def running(config_file: Path) -> Iterator[Running]:
    """The server of all of them, without batching."""
    with run_server(Settings(model_config_file=config_file, port=0, rest_api_port=0)) as running:
        yield running


@pytest.fixture(scope="session")
def http() -> Iterator[requests.Session]:
    """A client that keeps its connections."""
    with requests.Session() as session:
        yield session


@pytest.fixture
def ask(running: Running, http: requests.Session) -> Any:
    """Send a body to a path under /v1/models/, or get it if there is none: status and JSON."""

    def ask(path: str, body: Any = None) -> tuple[int, Any]:
        url = f"{running.rest_url}/v1/models/{path}"
        if body is None:
            response = http.get(url, timeout=10)
        elif isinstance(body, bytes | str):
            response = http.post(url, data=body, timeout=10)
        else:
            response = http.post(url, json=body, timeout=10)
        return response.status_code, response.json()

    return ask


@pytest.fixture(scope="session")
def channel(running: Running) -> Iterator[grpc.Channel]:
    """A channel to the server."""
    with grpc.insecure_channel(running.grpc_address) as channel:
        yield channel


@pytest.fixture(scope="session")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the base paths of a text and an image classifier that tfembed exported."""
    return write_exports(tmp_path_factory.mktemp("exports"))


@pytest.fixture(scope="session")
def demo(exports: Path) -> Iterator[Running]:
    """A server of these two."""
    file = exports / "models.config"
    configs = "".join(
        f'config {{ name: "{name}" base_path: "{exports / name}" model_platform: "tensorflow" }}'
        for name in ("texts", "digits", "picky")
    )
    file.write_text(f"model_config_list {{ {configs} }}", encoding="utf-8")
    with run_server(Settings(model_config_file=file, port=0, rest_api_port=0)) as running:
        yield running
