"""The client, over REST and gRPC, against a real server."""

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from PIL import Image
from served_models import write_everything, write_half_plus

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
from tfembed.serving.server import Running, run_server
from tfembed.serving.settings import Settings
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


def test_numbers_take_the_type_of_the_signature(everything: Client) -> None:
    """Python's numbers, and arrays of another type, where no value changes; NaN and infinities are numbers."""
    assert everything.call({"a": 1.5, "b": np.float64(2)}, "scalars")["sum"].tolist() == 3.5
    assert everything.call({"x": [1, 0]}, "bool")["same"].tolist() == [True, False]
    assert everything.predict([-128, 127], "int8")["same"].dtype == np.int8
    odd = everything.predict([np.nan, np.inf, -np.inf], "float64")["same"]
    np.testing.assert_array_equal(odd, [np.nan, np.inf, -np.inf])
    for values, signature in (([300], "int8"), ([1.5], "int32"), ([-1], "uint64"), ([1e6], "float16"), ([2], "bool")):
        with pytest.raises(ValueError, match="which has no room for these values"):
            everything.predict(values, signature)
    with pytest.raises(ValueError, match="takes DT_FLOAT, not object"):
        everything.call({"a": "1.5"}, "scalars")
    with pytest.raises(ValueError, match="takes DT_STRING, not int64"):
        everything.call({"texts": [[1]]}, "strings")


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


@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_a_new_version_with_other_signatures(tmp_path: Path, protocol: str) -> None:
    """A client that was there before learns of them."""
    write_half_plus(tmp_path / "m" / "1")
    settings = Settings(model_base_path=tmp_path / "m", model_name="m", port=0, rest_api_port=0)
    with run_server(settings) as running, Client(url_of(running, protocol), "m", QUICK) as client:
        assert client.predict([2.0])["y"].tolist() == [3.0]
        write_everything(tmp_path / "m" / "2")
        running.service.store.poll()
        assert client.call({"texts": [["a", "b"]]}, "strings")["upper"].tolist() == [[b"A", b"B"]]
        write_pair(tmp_path / "m" / "3")
        running.service.store.poll()
        with pytest.raises((BadRequestError, ServerError, ValueError)):
            client.call({"texts": [["a", "b"]]}, "strings")
        assert client.predict([2.0])["double"].tolist() == [4.0]
        write_half_plus(tmp_path / "m" / "4")
        running.service.store.poll()
        if protocol == "rest":
            with pytest.raises(ServerError, match="a new version serves"):
                client.predict([2.0])
        assert client.predict([2.0])["y"].tolist() == [3.0]


def write_pair(folder: Path) -> None:
    """A model with the input x, as half plus two, and two outputs."""
    spec = [tf.TensorSpec([None], tf.float32, name="x")]
    function = tf.function(lambda x: {"double": x * 2, "half": x / 2}, input_signature=spec)
    tf.saved_model.save(tf.Module(), str(folder), function.get_concrete_function())


def test_a_message_that_is_too_large(running: Running) -> None:
    """gRPC says so with the code of a server that is busy; to send it again would not help."""
    with Client(url_of(running, "grpc"), "everything", QUICK) as client:
        client.signatures()
        with pytest.raises(BadRequestError, match="larger than max"):
            client.call({"x": np.zeros(9_000_000)}, "float64")


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
        ("https://h/v1/models/m/", None, ("h:443", "m", True, True)),
        ("http://h:1", "n", ("h:1", "n", True, False)),
        ("grpc://h/m", None, ("h:8500", "m", False, False)),
        ("grpcs://[::1]:2", "m", ("[::1]:2", "m", False, True)),
    ],
)
def test_urls(url: str, model: str | None, expected: tuple[str, str, bool, bool]) -> None:
    """A URL says where, how, and often which model."""
    target = parse_url(url, model)
    assert (target.address, target.model, target.rest, target.secure) == expected


def test_a_version_in_the_url(url: str, running: Running) -> None:
    """It is the one that is asked, over both protocols."""
    for path, version, label in (("/versions/5", 5, None), ("/labels/stable:predict", None, "stable")):
        with Client(f"{url}/half_plus_two{path}", options=QUICK) as client:
            assert (client.options.version, client.options.label) == (version, label)
    with Client(f"{url}/half_plus_two/versions/5", options=QUICK) as client, pytest.raises(NotFoundError, match="5"):
        client.predict([1.0])
    with pytest.raises(ValueError, match="leave it out of one of them"):
        Client(f"{url}/half_plus_two/versions/5", options=ClientOptions(version=5))
    with pytest.raises(ValueError, match="its path should be like"):
        Client(f"{url}/half_plus_two/version/5")


@pytest.mark.parametrize("url", ["localhost:8501", "ftp://h", "http://h:8501", ""])
def test_wrong_urls(url: str) -> None:
    """What is no URL of a model is refused, with one that is."""
    with pytest.raises(ValueError, match=r"is no URL of a server|names no model"):
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


@pytest.mark.parametrize("table", [{"text": ["a"]}, pd.DataFrame({"text": ["a", "b"]})])
def test_a_table_is_no_list_of_examples(table: Any) -> None:
    """A dict or a data frame is refused before anything is asked: its column names are not sent as examples."""
    client = Client("http://localhost:9/v1/models/none", options=QUICK)
    with client, pytest.raises(ValueError, match="is no list of examples"):
        client.predict(table)
