"""Downloads from the Hugging Face Hub, from a server on this machine that answers as the Hub does."""

import hashlib
import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import huggingface_hub
import pytest

import tfembed as te
from tfembed.encoders.repositories import fetch

DATA = Path(__file__).parent / "hugging_face" / "data"
COMMIT = "0123456789" * 4


class Hub:
    """A server with one repository, `owner/tiny`, which counts what it was asked for."""

    def __init__(self) -> None:
        self.files = {
            path.relative_to(DATA / "bert").as_posix(): path.read_bytes() for path in (DATA / "bert").rglob("*")
        }
        self.files |= {"pytorch_model.bin": b"a pickle", "onnx/model.onnx": b"another format"}
        self.digests = {name: hashlib.sha256(content).hexdigest() for name, content in self.files.items()}
        self.asked: list[str] = []
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        path = path.split("?")[0]
        if path.startswith("/api/models/owner/tiny/tree/"):
            return 200, {}, json.dumps([self._entry(name) for name in self.files]).encode()
        if path.startswith("/api/models/owner/tiny"):
            siblings = [{"rfilename": name} for name in self.files]
            return 200, {}, json.dumps({"id": "owner/tiny", "sha": COMMIT, "siblings": siblings}).encode()
        name = path.removeprefix(f"/owner/tiny/resolve/{COMMIT}/").removeprefix("/owner/tiny/resolve/main/")
        if name in self.files:
            return 200, {"ETag": f'"{self.digests[name]}"', "X-Repo-Commit": COMMIT}, self.files[name]
        return 404, {"X-Error-Code": "RepoNotFound"}, b"{}"

    def _entry(self, name: str) -> dict:
        entry = {"type": "file", "path": name, "size": len(self.files[name]), "oid": "0" * 40}
        if name.endswith(".safetensors"):
            entry["lfs"] = {"oid": self.digests[name], "size": len(self.files[name]), "pointerSize": 100}
        return entry

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                hub.asked.append(self.path)
                status, headers, body = hub.answer(self.path)
                self.send_response(status)
                for key, value in (headers | {"Content-Length": str(len(body))}).items():
                    self.send_header(key, value)
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(body)

            do_HEAD = do_GET

            def log_message(self, *_: object) -> None:
                pass

        return Handler


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A Hub of its own, and an empty cache."""
    served = Hub()
    monkeypatch.setenv("HF_ENDPOINT", served.address)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    yield served
    served.server.shutdown()
    served.server.server_close()


def test_a_model_is_downloaded_once(hub):
    """What is needed comes, pickles and other formats do not; the second time nothing is asked for."""
    expected = json.loads((DATA / "bert" / "expected.json").read_text(encoding="utf-8"))
    encoder = te.load_encoder("hf://owner/tiny")
    assert (encoder.spec.name, encoder.spec.source) == ("tiny", "hf://owner/tiny")
    assert encoder(expected["texts"][:1]).shape == (1, 8)
    assert not any("pytorch_model" in path or "onnx" in path for path in hub.asked)
    asked = len(hub.asked)
    te.load_encoder("hf://owner/tiny")
    assert len(hub.asked) == asked


def test_pickles_are_downloaded_where_they_are_trusted_and_there_is_nothing_else(hub, tmp_path, monkeypatch):
    """Without trust they stay there, and the message says what to pass."""
    assert not (fetch("owner/tiny", trust=True) / "pytorch_model.bin").exists()
    hub.files.pop("model.safetensors")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "another"))
    with pytest.raises(ValueError, match=r"where there is none but pytorch_model\.bin, pass trust=True"):
        te.load_encoder("hf://owner/tiny")
    assert (fetch("owner/tiny", trust=True) / "pytorch_model.bin").exists()
    with pytest.raises(ValueError, match=r"in pytorch_model\.bin, a pickle"):
        te.load_encoder("hf://owner/tiny")


def test_what_another_program_left_is_completed(hub):
    """With config.json alone in the cache, the rest is downloaded."""
    huggingface_hub.hf_hub_download("owner/tiny", "config.json", endpoint=hub.address)
    assert (fetch("owner/tiny") / "model.safetensors").exists()


def test_a_damaged_download_is_removed(hub):
    """A file with another checksum than the Hub names is an error, and is not there the next time."""
    good = hub.files["model.safetensors"]
    hub.files["model.safetensors"] = good[:-1] + bytes([good[-1] ^ 1])
    with pytest.raises(ConnectionError, match=r"arrived damaged: model\.safetensors has SHA-256"):
        fetch("owner/tiny")
    hub.files["model.safetensors"] = good
    assert (fetch("owner/tiny") / "model.safetensors").read_bytes() == good


def test_what_is_not_there_is_named(hub):
    """A repository that does not exist, and a handle that is none."""
    with pytest.raises(ValueError, match=r"There is no 'hf://owner/other'"):
        fetch("owner/other")
    with pytest.raises(ValueError, match=r"'hf://a/b/c' is no handle: expected hf://owner/name"):
        fetch("a/b/c")


def test_offline_the_message_says_what_to_put_where(tmp_path, monkeypatch):
    """One line: why it failed, which files are needed, and that a folder does."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{taken.getsockname()[1]}")
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
        with pytest.raises(ConnectionError, match=r"model\.safetensors.*vocab\.txt.*pass the folder") as error:
            te.load_encoder("hf://owner/tiny")
    assert "\n" not in str(error.value)
