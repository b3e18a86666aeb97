"""The client, over REST and gRPC, against a real server."""

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tfembed.serving.client import Client
from tfembed.serving.client_errors import (
    BadRequestError,
    BusyError,
    DeadlineError,
    NotFoundError,
    ServerError,
    UnreachableError,
)
from tfembed.serving.client_examples import SignatureInfo, encode_examples
from tfembed.serving.client_options import ClientOptions, parse_url
from tfembed.serving.inference import run_directly
from tfembed.serving.server import Running
from tfembed.serving.status import Code, ServingError

QUICK = ClientOptions(timeout=10, retries=0)


def url_of(running: Running, protocol: str) -> str:
    return running.rest_url if protocol == "rest" else f"grpc://{running.grpc_address}"


@pytest.fixture(params=["rest", "grpc"])
def url(running: Running, request: pytest.FixtureRequest) -> str:
    return url_of(running, request.param)


@pytest.fixture
def everything(url: str) -> Iterator[Client]:
    with Client(url, "everything", QUICK) as client:
        yield client


def test_numbers_in_batches(url: str) -> None:
    """Rows come back in their order, however many requests they took."""
    with Client(url, "half_plus_two", ClientOptions(batch_size=3)) as client:
        found = client.predict([[float(i)] for i in range(8)])
    assert found["y"].dtype == np.float32
    assert found["y"].ravel().tolist() == [2 + i / 2 for i in range(8)]


def test_every_type(everything: Client) -> None:
    """Arrays of each type go and come back the same."""
    for dtype in ("float16", "float64", "int8", "uint8", "int32", "int64", "uint64", "bool"):
        array = np.array([0, 1, 1], dtype)
        found = everything.call({"x": array}, dtype)["same"]
        assert found.dtype == array.dtype
        np.testing.assert_array_equal(found, array)


def test_strings_and_bytes(everything: Client) -> None:
    """Text and bytes that are no text; several outputs; no inputs; scalars and defaults."""
    found = everything.call({"texts": [["ä", "b"], ["c", "d"]]}, "strings")
    assert found["upper"].tolist() == [["ä".encode(), b"B"], [b"C", b"D"]]
    assert found["lengths"].tolist() == [[2, 1], [1, 1]]
    raw = np.empty((1, 2), object)
    raw[:] = [[b"\xff\xfe", b"\x00"]]
    assert everything.call({"texts": raw}, "strings")["raw_bytes"].tolist() == [[b"\xff\xfe", b"\x00"]]
    assert everything.call({}, "constant")["bias"].tolist() == 1.5
    assert everything.call({"a": np.float32(1)}, "scalars")["sum"].tolist() == 11.0


def test_status_and_signatures(url: str) -> None:
    """Versions with their states, and what the signatures take."""
    with Client(f"{url}", "half_plus_two", QUICK) as client:
        assert client.status() == [{"version": 123, "state": "AVAILABLE", "error": ""}]
        assert client.signatures()["serving_default"].inputs == {"x": "DT_FLOAT"}
    labelled = ClientOptions(label="stable", retries=0)
    with Client(url, "half_plus_two", labelled) as client:
        assert client.predict([[2.0]])["y"].tolist() == [[3.0]]


def test_typed_errors(url: str, running: Running, everything: Client) -> None:
    """Each kind of failure has its own type."""
    with Client(url, "nobody", QUICK) as client, pytest.raises(NotFoundError, match="nobody"):
        client.predict([1.0])
    with (
        Client(url, "half_plus_two", ClientOptions(version=5, retries=0)) as client,
        pytest.raises(NotFoundError, match="5"),
    ):
        client.predict([1.0])
    with pytest.raises(BadRequestError, match="negative"):
        everything.predict([-1.0], "checked")
    with pytest.raises(ValueError, match=r"no signature 'z'\. It has"):
        everything.predict([1.0], "z")
    with pytest.raises(ValueError, match=r"has the inputs a, b: pass them by name"):
        everything.predict([1.0], "scalars")
    for code, kind in (
        (Code.RESOURCE_EXHAUSTED, BusyError),
        (Code.DEADLINE_EXCEEDED, DeadlineError),
        (Code.INTERNAL, ServerError),
    ):
        running.service.runner = Failing(1, code)
        with pytest.raises(kind, match="out of order"):
            everything.predict([1.0], "checked")
    running.service.runner = run_directly


class Failing:
    """A runner that fails so many times."""

    def __init__(self, times: int, code: Code) -> None:
        self.left, self.code = times, code

    def __call__(self, *arguments: Any) -> Any:
        self.left -= 1
        if self.left >= 0:
            raise ServingError(self.code, "out of order")
        return run_directly(*arguments)


def test_retries(url: str, running: Running) -> None:
    """Where the server was busy, the request is sent again, but not for ever."""
    with Client(url, "everything", ClientOptions(retries=2)) as client:
        running.service.runner = Failing(2, Code.RESOURCE_EXHAUSTED)
        assert client.predict([4.0], "checked")["root"].tolist() == [2.0]
        running.service.runner = Failing(100, Code.RESOURCE_EXHAUSTED)
        with pytest.raises(BusyError):
            client.predict([4.0], "checked")
        running.service.runner = run_directly


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_nobody_there(scheme: str) -> None:
    """A server that is not there is said so."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with Client(f"{scheme}://127.0.0.1:{port}/m", "m", QUICK) as client, pytest.raises(UnreachableError):
        client.status()


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_a_server_that_is_silent(scheme: str) -> None:
    """An answer that does not come in time is said so."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"{scheme}://127.0.0.1:{silent.getsockname()[1]}"
        with (
            Client(url, "m", ClientOptions(timeout=0.2, retries=0)) as client,
            pytest.raises((DeadlineError, UnreachableError)) as caught,
        ):
            client.status()
    assert scheme == "grpc" or caught.type is DeadlineError


def test_images(tmp_path: Path) -> None:
    """Images come from paths, bytes and arrays; texts as they are."""
    pixels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    info = SignatureInfo(inputs={"image_bytes": "DT_STRING"}, outputs={})
    (found,) = encode_examples([tmp_path / "a.png", str(tmp_path / "a.png"), content], info).values()
    assert found.tolist() == [content] * 3
    (found,) = encode_examples([pixels, pixels[..., :1], pixels[..., 0]], info).values()
    assert all(each.startswith(b"\x89PNG") for each in found)
    with pytest.raises(ValueError, match="float is no example"):
        encode_examples([1.5], info)
    (found,) = encode_examples(["ä"], SignatureInfo(inputs={"text": "DT_STRING"}, outputs={})).values()
    assert found.tolist() == ["ä".encode()]


@pytest.mark.parametrize(
    ("url", "model", "expected"),
    [
        ("http://h:1/v1/models/m:predict", None, ("h:1", "m", True, False)),
        ("https://h/v1/models/m/versions/3", None, ("h:443", "m", True, True)),
        ("http://h:1", "n", ("h:1", "n", True, False)),
        ("grpc://h/m", None, ("h:8500", "m", False, False)),
        ("grpcs://[::1]:2", "m", ("[::1]:2", "m", False, True)),
    ],
)
def test_urls(url: str, model: str | None, expected: tuple[str, str, bool, bool]) -> None:
    """A URL says where, how, and often which model."""
    target = parse_url(url, model)
    assert (target.address, target.model, target.rest, target.secure) == expected


@pytest.mark.parametrize("url", ["localhost:8501", "ftp://h", "http://h:8501", ""])
def test_wrong_urls(url: str) -> None:
    """What is no URL of a model is refused, with one that is."""
    with pytest.raises(ValueError, match=r"is no URL of a server|says nothing of a model"):
        Client(url)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"version": 1, "label": "a"}, "pass one of them"),
        ({"timeout": 0}, "timeout must be above 0"),
        ({"retries": 9}, "between 0 and 4"),
        ({"certificate": Path("a")}, "pass both"),
    ],
)
def test_wrong_options(values: dict[str, Any], message: str) -> None:
    """Values that do not go together are named."""
    with pytest.raises(ValueError, match=message):
        ClientOptions(**values)
