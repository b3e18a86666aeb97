"""Collections of Milvus, in the real Milvus Lite."""

import base64
import subprocess
import sys
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.spatial.distance import cdist
from tiny_encoders import tiny_image_encoder, tiny_text_encoder
from tiny_tables import counting_embedder, write_rows

import tfembed as te
from tfembed.data.fingerprint import fingerprint
from tfembed.embeddings.evaluation import recall
from tfembed.embeddings.nearest import nearest
from tfembed.embeddings.stored import read_vectors

pymilvus = pytest.importorskip("pymilvus", reason="pymilvus is not installed: pip install 'tfembed[index]'")
grpc = pytest.importorskip("grpc", reason="grpcio is not installed: pip install 'tfembed[index]'")
pytest.importorskip("milvus_lite", reason="milvus-lite is not installed: pip install 'tfembed[index]'")

ROWS = [
    {"text": text, "name": f"id-{i}", "colour": "red" if i % 2 else "blue", "price": i}
    for i, text in enumerate(["aaaa", "aaab", "aabb", "zzzz", "zzzy", "zzyy"])
]
OPTIONS = te.EmbedOptions(id="name", keep=("text", "colour", "price"))


@pytest.fixture(scope="module")
def embeddings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Embeddings of six texts, with columns."""
    folder = tmp_path_factory.mktemp("embeddings")
    te.embed_file(tiny_text_encoder(), write_rows(folder / "a.jsonl", ROWS), folder / "a.parquet", OPTIONS)
    return folder / "a.parquet"


@pytest.fixture
def index(tmp_path: Path, embeddings: Path) -> Iterator[te.Index]:
    """A collection of these."""
    with te.open_index(tmp_path / "things.db") as made:
        assert made.upsert(embeddings) == 6
        yield made


def test_the_nearest_come_first(index: te.Index) -> None:
    """A query finds the rows of the highest cosines, with their ids and columns."""
    encoder = tiny_text_encoder()
    found = index.query(["aaaa", "zzyy"], encoder=encoder, limit=3)
    vectors = np.asarray(encoder([row["text"] for row in ROWS]))
    rows, cosines = nearest(vectors, np.asarray(encoder(["aaaa", "zzyy"])), limit=3)
    assert [[each.id for each in near] for near in found] == [[f"id-{row}" for row in line] for line in rows]
    similarities = [[each.similarity for each in near] for near in found]
    np.testing.assert_allclose(similarities, cosines, atol=1e-5)
    assert found[0][0].columns == {"text": "aaaa", "colour": "blue", "price": 0}
    assert len(index) == 6


def test_without_columns_there_are_ids(tmp_path: Path) -> None:
    """Of rows of which nothing was kept, a query shows ids and cosines; not their vectors."""
    source = write_rows(tmp_path / "a.jsonl", ROWS)
    te.embed_file(tiny_text_encoder(), source, tmp_path / "a.parquet")
    with te.open_index(tmp_path / "things.db") as index:
        index.upsert(tmp_path / "a.parquet")
        (found,) = index.query(["aaaa"], encoder=tiny_text_encoder(), limit=2)
    assert [(each.id, dict(each.columns)) for each in found] == [(0, {}), (1, {})]


@pytest.mark.parametrize("index_type", ["flat", "hnsw"])
def test_lengths_of_vectors_do_not_count(tmp_path: Path, index_type: str) -> None:
    """The nearest are those of the highest cosine, though others have the higher product, and tell their cosines."""
    rows = write_rows(tmp_path / "a.jsonl", [{"text": text} for text in ("a" * 2, "z" * 9, "d" * 400, "\u0001" * 30)])
    embedder = counting_embedder([])  # of the length of a text and its last letter
    te.embed_file(embedder, rows, tmp_path / "a.parquet")
    with te.open_index(tmp_path / "things.db") as index:
        index.upsert(tmp_path / "a.parquet", index_type=index_type)
        (found,) = index.search(np.array([[1.0, 30.0]], np.float32), limit=4)
    vectors = np.array([[2, 97], [9, 122], [400, 100], [30, 1]], float)
    expected = 1 - cdist([[1.0, 30.0]], vectors, "cosine")[0]
    assert [hit.id for hit in found] == np.argsort(-expected).tolist() == [0, 1, 2, 3]
    np.testing.assert_allclose([hit.similarity for hit in found], np.sort(expected)[::-1], atol=1e-5)


def test_filters(index: te.Index) -> None:
    """Only rows that meet the expression are found; one that is none is a one-line error that names the columns."""
    found = index.query(["aaaa"], encoder=tiny_text_encoder(), where='price > 1 and colour == "red"')
    assert {each.id for each in found[0]} == {"id-3", "id-5"}
    with pytest.raises(ValueError, match=r"cannot search.*where price >.*Columns: id, text, colour, price"):
        index.query(["aaaa"], encoder=tiny_text_encoder(), where="price >")


def test_rows_of_the_same_id_are_written_over(index: te.Index, tmp_path: Path) -> None:
    """What has the same id replaces what was there; the rest stays."""
    rows = [ROWS[0] | {"text": "qqqq", "price": 99}, ROWS[0] | {"name": "new"}]
    source = write_rows(tmp_path / "more.jsonl", rows)
    te.embed_file(tiny_text_encoder(), source, tmp_path / "more.parquet", OPTIONS)
    assert index.upsert(tmp_path / "more.parquet") == 2
    assert len(index) == 7
    (found,) = index.query(["qqqq"], encoder=tiny_text_encoder(), limit=1)
    assert (found[0].id, found[0].columns["price"]) == ("id-0", 99)


def test_what_was_written_is_there_again(tmp_path: Path, embeddings: Path) -> None:
    """A collection is in its file: another process finds it, with the encoder that it names."""
    with te.open_index(tmp_path / "things.db") as made:
        made.upsert(embeddings)
        about = made.about
    program = (
        "import sys, numpy, tfembed as te\n"
        "with te.open_index(sys.argv[1]) as index:\n"
        "    print(len(index), index.about['fingerprint'], len(index.search(numpy.ones([1, 6]), limit=4)[0]))\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "things.db")], capture_output=True, text=True, check=True
    )
    assert run.stdout.split() == ["6", about["fingerprint"], "4"]
    assert "Traceback" not in run.stderr


def test_another_encoder_is_refused(index: te.Index, tmp_path: Path) -> None:
    """Neither a query nor embeddings of another encoder come to a collection; each is told which wrote it."""
    other = tiny_text_encoder(pooling="max")
    with pytest.raises(ValueError, match=r"by encoder 'tiny_text' \(.*Query with the encoder that wrote it"):
        index.query(["aaaa"], encoder=other)
    te.embed_file(other, write_rows(tmp_path / "b.jsonl", ROWS), tmp_path / "b.parquet", OPTIONS)
    with pytest.raises(ValueError, match=r"do not go together\. Use another collection"):
        index.upsert(tmp_path / "b.parquet")
    assert len(index) == 6


def test_the_encoder_is_loaded_from_where_it_was(tmp_path: Path) -> None:
    """Without an encoder, a query loads the one that the collection names; one that was in memory must be passed."""
    Image.new("RGB", (32, 32), (200, 0, 0)).save(tmp_path / "red.png")
    Image.new("RGB", (32, 32), (0, 0, 0)).save(tmp_path / "black.png")
    source = write_rows(tmp_path / "a.csv", [{"path": "red.png"}, {"path": "black.png"}])
    te.embed_file("glyphs", source, tmp_path / "a.parquet", te.EmbedOptions(keep=("path",)))
    with te.open_index(tmp_path / "images.db") as index:
        index.upsert(tmp_path / "a.parquet")
        (found,) = index.query([tmp_path / "black.png"], limit=1)
        assert found[0].columns == {"path": "black.png"}
        with pytest.raises(ValueError, match=r"holds images.*embeds images alone.*Pass an image"):
            index.query(["a black picture"])


def test_an_encoder_in_memory_must_be_passed(index: te.Index) -> None:
    """Of an encoder that was never a file, only its fingerprint is known."""
    with pytest.raises(ValueError, match="written by an encoder in memory: pass the encoder"):
        index.query(["aaaa"])


def test_other_columns_are_refused(index: te.Index, tmp_path: Path) -> None:
    """Embeddings with other columns than the collection has are refused."""
    te.embed_file(tiny_text_encoder(), write_rows(tmp_path / "b.jsonl", ROWS), tmp_path / "b.parquet")
    with pytest.raises(ValueError, match="Keep the same ones, or use another collection"):
        index.upsert(tmp_path / "b.parquet")


def test_an_interrupted_collection_takes_no_queries(tmp_path: Path, embeddings: Path) -> None:
    """Where the first writing was interrupted, queries are refused until it was done again."""
    with te.open_index(tmp_path / "things.db") as index:
        upsert = index._client.upsert
        index._client.upsert = lambda *given: (_ for _ in ()).throw(KeyboardInterrupt)
        with pytest.raises(KeyboardInterrupt):
            index.upsert(embeddings)
        with pytest.raises(ValueError, match="not whole: run the `tfembed index` again"):
            index.search(np.ones([1, 6]))
        index._client.upsert = upsert
        index.upsert(embeddings)
        assert len(index.search(np.ones([1, 6]))[0]) == 6


@pytest.mark.parametrize("index_type", ["flat", "hnsw", "ivf_flat"])
def test_recall_against_exact_search(tmp_path: Path, index_type: str) -> None:
    """The flat index finds what comparing all gives, the others most of it."""
    rows = [{"text": fingerprint([str(i)])[:16]} for i in range(1500)]
    te.embed_file(tiny_text_encoder(), write_rows(tmp_path / "a.csv", rows), tmp_path / "a.parquet")
    vectors = read_vectors(tmp_path / "a.parquet")
    queries = vectors[:50] + np.random.default_rng(0).normal(0, 0.05, (50, 6)).astype("float32")
    with te.open_index(tmp_path / "a.db") as index:
        index.upsert(tmp_path / "a.parquet", index_type)
        found = [[each.id for each in near] for near in index.search(queries, limit=10)]
    share = recall(found, nearest(vectors, queries, limit=10)[0].tolist())
    assert share == 1.0 if index_type == "flat" else share > 0.8


@pytest.mark.parametrize(
    ("base", "options", "message"),
    [
        ("a.txt", {}, r"expected a file that ends in \.db"),
        ("nowhere/a.db", {}, "there is no folder"),
        ("a-b", {"uri": "http://localhost:1"}, "is no name of a collection"),
    ],
)
def test_bases_that_are_none(tmp_path: Path, base: str, options: dict[str, Any], message: str) -> None:
    """A base that cannot be opened is a one-line error."""
    name = base if options else str(tmp_path / base)
    with pytest.raises(ValueError, match=message):
        te.open_index(name, **options)


def test_a_cluster_is_given_the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """What MILVUS_TOKEN holds goes to the server with every call, and is in no error."""
    seen: list[str] = []

    class Refuses(grpc.GenericRpcHandler):
        def service(self, details: Any) -> None:
            seen.extend(value for name, value in details.invocation_metadata if name == "authorization")

    server = grpc.server(futures.ThreadPoolExecutor(2), handlers=[Refuses()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    monkeypatch.setenv("MILVUS_TOKEN", "root:secret")
    try:
        with pytest.raises(ConnectionError, match=r"Check the address, and MILVUS_TOKEN") as error:
            te.open_index("things", uri=f"http://127.0.0.1:{port}")
    finally:
        server.stop(None)
    assert set(seen) == {base64.b64encode(b"root:secret").decode()}
    assert "secret" not in str(error.value)


def test_a_local_file_is_not_asked_whether_it_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Milvus Lite breaks off, with messages, where pymilvus pings it for half a minute: pings are left out."""
    given, opened = [], pymilvus.MilvusClient
    monkeypatch.setattr(
        pymilvus, "MilvusClient", lambda *args, **kwargs: given.append(kwargs) or opened(*args, **kwargs)
    )
    te.open_index(tmp_path / "a.db").close()
    assert given[0]["grpc_options"]["grpc.keepalive_permit_without_calls"] is False
    assert given[0]["grpc_options"]["grpc.keepalive_time_ms"] > 24 * 3600 * 1000


def test_a_file_that_is_open_elsewhere(index: te.Index, tmp_path: Path) -> None:
    """A second process is told that the file is open, without a traceback."""
    program = "import sys, tfembed as te\ntry: te.open_index(sys.argv[1])\nexcept ValueError as e: print(e)"
    run = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "things.db")], capture_output=True, text=True, check=True
    )
    assert "does another process have it open?" in run.stdout
    assert "Traceback" not in run.stderr


def test_columns_that_milvus_does_not_take(tmp_path: Path) -> None:
    """A name or type that a collection cannot have is named, before anything is written."""
    for rows, message in (
        ([{"text": "a", "my column": 1}], "Column 'my column': Milvus takes names of letters"),
        ([{"text": "a", "tags": ["x"]}], "Column 'tags' is of type list"),
    ):
        keep = tuple(rows[0])[1:]
        output = tmp_path / f"{keep[0]}.parquet"
        te.embed_file(counting_embedder([]), write_rows(tmp_path / "a.jsonl", rows), output, te.EmbedOptions(keep=keep))
        with te.open_index(tmp_path / "a.db") as index, pytest.raises(ValueError, match=message):
            index.upsert(output)
        with te.open_index(tmp_path / "a.db") as index:
            assert index.about == {}


def test_a_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without pymilvus, the error says what to install."""
    monkeypatch.setitem(sys.modules, "pymilvus", None)
    with pytest.raises(ValueError, match=r"An index needs pymilvus. Install it with: pip install 'tfembed\[index\]'"):
        te.open_index(tmp_path / "a.db")


def test_images_and_texts(tmp_path: Path) -> None:
    """Pixels have no file: what is asked is an image as it comes."""
    image = np.zeros([1, 8, 8, 3], "uint8")
    Image.fromarray(image[0]).save(tmp_path / "a.png")
    (tmp_path / "in").mkdir()
    (tmp_path / "a.png").rename(tmp_path / "in" / "a.png")
    te.embed_file(tiny_image_encoder(), tmp_path / "in", tmp_path / "a.parquet")
    with te.open_index(tmp_path / "a.db") as index:
        index.upsert(tmp_path / "a.parquet")
        assert index.query(image, encoder=tiny_image_encoder())[0][0].id == "a.png"
