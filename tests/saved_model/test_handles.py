"""From handles to folders: archives, web addresses, and what is refused."""

import functools
import http.server
import io
import shutil
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tfembed.saved_model.handles import local_folder, resolve


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def archive(tmp_path: Path, plus_one: str) -> Path:
    """A .tar.gz of a module, its files at the top, as tfhub.dev serves it."""
    path = tmp_path / "web" / "module.tar.gz"
    path.parent.mkdir()
    with tarfile.open(path, "w:gz") as tar:
        tar.add(plus_one, arcname=".")
    return path


@pytest.fixture
def server(archive: Path) -> Iterator[str]:
    """A server of that archive on this machine; yields its address."""
    handler = functools.partial(_Quiet, directory=str(archive.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as web:
        threading.Thread(target=web.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{web.server_port}/module.tar.gz"
        web.shutdown()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        """Say nothing."""


def test_a_folder_is_its_own_answer(plus_one):
    assert resolve(plus_one) == plus_one
    assert resolve(Path(plus_one)) == plus_one


@pytest.mark.parametrize("inner", [".", "inner/folder"])
def test_an_archive_is_unpacked_once_per_content(tmp_path, cache, plus_one, inner):
    archive = tmp_path / "module.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(plus_one, arcname=inner.split("/")[0])
    folder = resolve(str(archive))
    assert Path(folder, "saved_model.pb").is_file()
    assert Path(folder).is_relative_to(cache)
    before = Path(folder, "saved_model.pb").stat().st_mtime_ns
    again = resolve(str(shutil.copy(archive, tmp_path / "copy.tgz")))
    assert (again, Path(again, "saved_model.pb").stat().st_mtime_ns) == (folder, before)
    assert list(cache.glob("*.tmp")) == []


def test_an_archive_that_leads_out_of_its_folder_is_refused(tmp_path, cache):
    archive = tmp_path / "evil.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        member = tarfile.TarInfo("../../evil.txt")
        member.size = 4
        tar.addfile(member, io.BytesIO(b"evil"))
    with pytest.raises(ValueError, match="Cannot unpack"):
        resolve(archive)
    assert not list(tmp_path.rglob("evil.txt"))
    assert list(cache.iterdir()) == []


def test_a_truncated_archive_is_refused_and_leaves_nothing(archive, cache):
    archive.write_bytes(archive.read_bytes()[:-500])
    with pytest.raises(ValueError, match=r"Cannot unpack.*Fetch it again"):
        resolve(archive)
    assert list(cache.iterdir()) == []


def test_an_archive_without_a_module_is_refused(tmp_path, cache):
    archive = tmp_path / "other.tar.gz"
    with tarfile.open(archive, "w:gz"):
        pass
    with pytest.raises(ValueError, match=r"incompatible/unknown type: .*other\.tar\.gz"):
        resolve(archive)


def test_an_address_is_fetched_and_kept(server, cache):
    assert local_folder(server) is None
    folder = resolve(server)
    assert Path(folder, "saved_model.pb").is_file()
    assert Path(folder).is_relative_to(cache)
    assert local_folder(server) == folder


def test_an_address_that_does_not_answer_says_what_to_do(cache):
    with pytest.raises(ConnectionError, match=r"Cannot fetch handle 'http://127\.0\.0\.1:1/x'.*TFHUB_CACHE_DIR"):
        resolve("http://127.0.0.1:1/x")


@pytest.mark.parametrize(
    ("handle", "message"),
    [
        (5, "Expected a string, got 5"),
        (None, "Expected a string, got None"),
        ("no/such/folder", "'no/such/folder' does not exist"),
        ("", "'' does not exist"),
        (__file__, "incompatible/unknown type"),
    ],
)
def test_what_is_no_handle_is_refused_with_what_would_be_one(handle, message):
    with pytest.raises(ValueError, match=f"{message}.*saved_model.pb.*tfhub.dev.*kaggle.com") as caught:
        resolve(handle)
    assert "\n" not in str(caught.value)


def test_an_empty_folder_is_no_module(tmp_path):
    with pytest.raises(ValueError, match="incompatible/unknown type"):
        resolve(tmp_path)
    assert local_folder(str(tmp_path)) is None
