"""Texts without a word that an encoder of word vectors knows: counted in a warning, or refused, and none is silent.

"king" and "tree man" are known, "卡丢了" and "#okapi" are not.
"""

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import requests
from spared_gate import spared_gate
from tiny_vectors import write_text

import tfembed as te
from tfembed.embeddings.stored import read_column
from tfembed.serving.server import run_server
from tfembed.serving.settings import Settings

KNOWN, UNKNOWN = ["king", "tree man", "queen", "woman is"], ["卡丢了", "#okapi"]


@pytest.fixture
def encoder(tmp_path: Path) -> te.Encoder:
    return te.load_encoder(f"glove:{write_text(tmp_path / 'words.txt')}")


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if "have no word" in record.message]


def data_of(train: list[str], test: list[str]) -> te.Dataset:
    """Texts of two classes by turns."""
    labels = ["a", "b"] * (len(train) // 2)
    rows = te.Dataset.from_arrays(test, ["a", "b"] * (len(test) // 2), validation=0, test=0).train
    return te.Dataset.from_arrays(train, labels, validation=0, test=rows)


def test_training_counts_them_in_each_split(encoder: te.Encoder, caplog: pytest.LogCaptureFixture) -> None:
    """One warning for each split that has some, before it is trained; none again for what is measured."""
    model = te.build_text_classifier(encoder, ["a", "b"])
    te.train(model, data_of([*KNOWN, *UNKNOWN], UNKNOWN), te.linear_probe())
    first, second = messages(caplog)
    assert first.startswith("2 of 6 train texts (33.3 %) have no word that encoder 'words' knows")
    assert second.startswith("2 of 2 test texts (100 %) have no word")
    assert all(record.levelno == logging.WARNING for record in caplog.records if "have no word" in record.message)


def test_texts_with_a_known_word_are_no_news(encoder: te.Encoder, caplog: pytest.LogCaptureFixture) -> None:
    """Neither training nor embedding nor predicting says anything of texts with a word that is known."""
    model = te.build_text_classifier(encoder, ["a", "b"])
    te.train(model, data_of(KNOWN, KNOWN), te.linear_probe())
    te.predict(model, KNOWN)
    te.embed(encoder, ["king 卡丢了"])
    assert not messages(caplog)


def test_a_search_counts_them(encoder: te.Encoder, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A search warns for each encoder and split before it chooses what to try."""

    def refuse(*_: object) -> te.SearchSpace:
        raise ValueError("nothing to try")

    with pytest.raises(ValueError, match="nothing to try"):
        te.search({"words": encoder}, data_of([*KNOWN, *UNKNOWN], KNOWN), space=refuse, directory=tmp_path / "study")
    (message,) = messages(caplog)
    assert message.startswith("2 of 6 train texts (33.3 %) have no word")


def test_predictions_count_them(encoder: te.Encoder, caplog: pytest.LogCaptureFixture) -> None:
    """Their labels say nothing, which a warning tells."""
    te.predict(te.build_text_classifier(encoder, ["a", "b"]), ["king", *UNKNOWN])
    (message,) = messages(caplog)
    assert message.startswith("2 of 3 texts (66.7 %) have no word")


def test_embedding_counts_them(encoder: te.Encoder, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """In memory and in files of both kinds, whichever part they are in; the count is part of the result."""
    te.embed(encoder, ["king", *UNKNOWN])
    table = tmp_path / "a.csv"
    table.write_text("text\n" + "\n".join([*KNOWN, *UNKNOWN]) + "\n", encoding="utf-8")
    for name in ("a.parquet", "a.npy"):
        done = te.embed_file(encoder, table, tmp_path / name, te.EmbedOptions(rows_per_part=2))
        assert (done.num_rows, done.num_unknown) == (6, 2)
    starts = [message.partition(" have")[0] for message in messages(caplog)]
    assert starts == ["2 of 3 texts (66.7 %)", *["2 of 6 texts (33.3 %)"] * 2]


def test_embedding_with_failures_leaves_them_out(
    encoder: te.Encoder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Where rows that cannot be embedded go to a file, these do, with the reason."""
    table = tmp_path / "a.csv"
    table.write_text("text\nking\n卡丢了\nqueen\n", encoding="utf-8")
    options = te.EmbedOptions(failures=tmp_path / "failures.jsonl", keep=("text",))
    done = te.embed_file(encoder, table, tmp_path / "a.parquet", options)
    assert (done.num_rows, done.num_failed, done.num_unknown) == (2, 1, 0)
    assert read_column(tmp_path / "a.parquet", "text") == ["king", "queen"]
    failure = json.loads((tmp_path / "failures.jsonl").read_text(encoding="utf-8"))
    assert (failure["row"], failure["reason"]) == (1, "the encoder knows none of its words")
    assert not messages(caplog)


def test_an_index_counts_them_and_a_query_refuses_them(
    encoder: te.Encoder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is near zeros: rows are counted, and a query is an error that names its text."""
    pytest.importorskip("milvus_lite", reason="milvus-lite is not installed: pip install 'tfembed[index]'")
    table = tmp_path / "a.csv"
    table.write_text("text\nking\n卡丢了\n", encoding="utf-8")
    te.embed_file(encoder, table, tmp_path / "a.parquet")
    caplog.clear()
    with te.open_index(tmp_path / "a.db") as index:
        index.upsert(tmp_path / "a.parquet")
        (message,) = messages(caplog)
        assert message.startswith("1 of 2 rows (50 %) have no word")
        assert index.query(["king"], encoder=encoder, limit=1)[0][0].id == 0
        with pytest.raises(ValueError, match=r"'#okapi' has no embedding: the encoder knows none of its words"):
            index.query(["king", "#okapi"], encoder=encoder)


def test_a_black_picture_is_none_of_them(caplog: pytest.LogCaptureFixture) -> None:
    """The embedding of an image may be zeros."""
    te.embed("glyphs", np.zeros([1, 8, 8], "uint8"))
    assert not messages(caplog)


def test_a_server_says_it_in_its_log(encoder: te.Encoder, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """What an export prints of such texts, TensorFlow Serving has in its log too, since the graph says it."""
    model = te.build_text_classifier(encoder, ["a", "b"])
    with spared_gate():
        te.export(model, tmp_path / "model")
    with run_server(Settings(model_base_path=tmp_path / "model", port=0, rest_api_port=0)) as running:
        url = f"{running.rest_url}/v1/models/default:predict"
        capfd.readouterr()
        requests.post(url, json={"instances": KNOWN}, timeout=30).raise_for_status()
        assert "have no word" not in capfd.readouterr().err
        requests.post(url, json={"instances": ["king", *UNKNOWN]}, timeout=30).raise_for_status()
        assert "2 of 3 texts have no word that the encoder knows" in capfd.readouterr().err
