"""Embedding with real Apache Beam, in one process and in several."""

import json
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from tiny_encoders import tiny_text_encoder
from tiny_models import write_text_module
from tiny_tables import write_rows

import tfembed as te
from tfembed.bulk import embed_with_beam

pytest.importorskip("apache_beam", reason="apache-beam is not installed: pip install 'tfembed[bulk]'")
pytestmark = pytest.mark.filterwarnings("default")  # Beam's own

ROWS = [{"text": f"text number {i}" if i != 5 else " ", "name": f"row-{i}"} for i in range(12)]
SEVERAL = ["--direct_num_workers=2", "--direct_running_mode=multi_processing"]


@pytest.fixture
def python_beyond_a_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python in a folder with a space in its name, which a shell must not take for two words."""
    python = tmp_path / "a folder" / "python"
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))


@pytest.mark.parametrize("pipeline_options", [[], SEVERAL], ids=["one process", "several workers"])
def test_beam_does_what_one_process_does(
    tmp_path: Path, pipeline_options: list[str], python_beyond_a_space: None
) -> None:
    """The file, its metadata and the failures are those of a single process, however many workers there were."""
    module = write_text_module(tmp_path / "module")
    source = write_rows(tmp_path / "a.csv", ROWS)
    options = te.EmbedOptions(id="name", keep=("text",), failures=tmp_path / "one.jsonl", rows_per_part=2)
    one = te.embed_file(module, source, tmp_path / "one.parquet", options)
    beam = embed_with_beam(
        module,
        source,
        tmp_path / "beam.parquet",
        te.EmbedOptions(id="name", keep=("text",), rows_per_part=2),
        pipeline_options,
    )
    assert (beam.num_rows, beam.num_failed) == (one.num_rows, one.num_failed) == (11, 1)
    found, expected = pq.read_table(beam.output), pq.read_table(one.output)
    assert found.equals(expected)
    assert found.schema.metadata == expected.schema.metadata
    failures = tmp_path / "beam.parquet.failures.jsonl"
    assert failures.read_bytes() == (tmp_path / "one.jsonl").read_bytes()
    assert "the text is empty" in json.loads(failures.read_text(encoding="utf-8"))["reason"]


def test_what_was_begun_goes_on_with_beam(tmp_path: Path) -> None:
    """Parts of a single process are taken over; those of other rows are refused."""
    from tfembed.embeddings.embedder import open_embedder
    from tfembed.embeddings.embedding import begun, vectors_of
    from tfembed.embeddings.parts import write_part

    module, source = write_text_module(tmp_path / "module"), write_rows(tmp_path / "a.csv", ROWS[:5])
    output, options = tmp_path / "a.parquet", te.EmbedOptions(rows_per_part=2)
    embedder = open_embedder(module)
    with begun(embedder, source, output, options) as job:
        chunk = next(job.chunks())
        write_part(job.folder, *vectors_of(embedder, chunk, job), job.schema)
        before = (job.folder / "000000.parquet").stat().st_mtime_ns
        part = job.folder / "000000.parquet"
    write_rows(source, [ROWS[0] | {"text": "changed"}, *ROWS[1:5]])
    with pytest.raises(RuntimeError, match="has changed since part of it was embedded"):
        embed_with_beam(module, source, output, options)
    assert part.stat().st_mtime_ns == before
    write_rows(source, ROWS[:5])
    assert embed_with_beam(module, source, output, options).num_rows == 5


def test_an_encoder_in_memory_is_refused(tmp_path: Path) -> None:
    """Workers cannot load what is in the memory of one process."""
    with pytest.raises(ValueError, match="workers need a handle"):
        embed_with_beam(tiny_text_encoder(), tmp_path / "a.csv", tmp_path / "a.parquet")  # type: ignore[arg-type]


def test_a_wrong_option_is_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """An option that Beam does not take is an error with its reason, without the usage of all options."""
    with pytest.raises(ValueError, match=r"does not take '--direct_num_workers=two': argument .*: invalid int value"):
        embed_with_beam(
            "minilm", write_rows(tmp_path / "a.csv"), tmp_path / "a.parquet", None, ["--direct_num_workers=two"]
        )
    assert "usage:" not in capfd.readouterr().err


def test_a_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without apache-beam, the error says what to install."""
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    with pytest.raises(
        ValueError, match=r"--runner beam needs apache_beam\. Install it with: pip install 'tfembed\[bulk\]'"
    ):
        embed_with_beam("minilm", tmp_path / "a.csv", tmp_path / "a.parquet")
