"""`tfembed embed`, `index`, `query` and `evaluate-embeddings`."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from tiny_models import write_text_module
from tiny_tables import write_rows

from tfembed.cli import cli, main
from tfembed.embeddings.stored import read_column
from tfembed.index.opening import readable

ROWS = [
    {"text": text, "kind": kind, "price": i}
    for i, (text, kind) in enumerate(
        [
            ("my money back", "refund"),
            ("I want my money", "refund"),
            ("good morning", "greeting"),
            ("good day", "greeting"),
        ]
    )
]


def _run(*arguments: object) -> str:
    """What a command prints; its error, if it raises one."""
    result = CliRunner().invoke(cli, [str(each) for each in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def _error(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one line that is wrong with a command."""
    monkeypatch.setattr(sys, "argv", ["tfembed", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a table, an encoder, and embeddings that the command wrote."""
    folder = tmp_path_factory.mktemp("place")
    write_text_module(folder / "words")
    write_rows(folder / "a.csv", ROWS)
    keep = ("--keep", "text", "--keep", "kind")
    _run("embed", folder / "a.csv", folder / "a.parquet", "--encoder", folder / "words", *keep)
    return folder


def test_embed_says_what_it_wrote(place: Path, tmp_path: Path) -> None:
    """A line for people, values for scripts; failures are counted and named."""
    words = ("--encoder", place / "words")
    assert "4 embeddings of 8 numbers" in _run("embed", place / "a.csv", tmp_path / "a.parquet", *words)
    source = write_rows(tmp_path / "b.csv", [*ROWS, ROWS[0] | {"text": ""}])
    failures = tmp_path / "failed.jsonl"
    printed = _run("embed", source, tmp_path / "b.parquet", *words, "--failures", failures, "--json")
    found = json.loads(printed)
    assert (found["num_rows"], found["num_failed"]) == (4, 1)
    printed = _run("embed", source, tmp_path / "c.parquet", *words, "--failures", tmp_path / "more.jsonl")
    assert "1 rows that could not be embedded" in printed
    assert read_column(place / "a.parquet", "kind") == [row["kind"] for row in ROWS]


def test_samples_have_names(place: Path, tmp_path: Path) -> None:
    """What ships with the package is embedded by its name."""
    _run("embed", "intents", tmp_path / "a.parquet", "--encoder", place / "words", "--keep", "intent")
    assert len(read_column(tmp_path / "a.parquet", "intent")) == 644


def test_index_and_query(place: Path, tmp_path: Path) -> None:
    """Embeddings are indexed and found, with the encoder that the collection names."""
    pytest.importorskip("pymilvus", reason="pymilvus is not installed: pip install 'tfembed[index]'")
    base = tmp_path / "a.db"
    assert "4 rows written, 4 in all" in _run("index", base, place / "a.parquet")
    (line,) = _run("query", base, "my money back", "--limit", 1).splitlines()
    assert line.split() == ["1.0000", "0", "my", "money", "back", "refund"]
    (answer,) = json.loads(_run("query", base, "my money", "--where", 'kind == "greeting"', "--json"))
    assert {each["columns"]["kind"] for each in answer["found"]} == {"greeting"}
    assert "no row meets" in _run("query", base, "my money", "--where", 'kind == "x"')


def test_data_are_embedded_and_indexed(place: Path, tmp_path: Path) -> None:
    """Data go into a collection in one command."""
    pytest.importorskip("pymilvus", reason="pymilvus is not installed: pip install 'tfembed[index]'")
    options = ("--encoder", place / "words", "--keep", "kind", "--type", "hnsw")
    found = json.loads(_run("index", tmp_path / "a.db", place / "a.csv", *options, "--json"))
    assert (found["written"], found["rows"]) == (4, 4)


def test_a_hit_can_be_read_without_keep(place: Path, tmp_path: Path) -> None:
    """Of data that are indexed, the texts are kept where no column is named."""
    pytest.importorskip("pymilvus", reason="pymilvus is not installed: pip install 'tfembed[index]'")
    _run("index", tmp_path / "a.db", place / "a.csv", "--encoder", place / "words")
    (line,) = _run("query", tmp_path / "a.db", "my money back", "--limit", 1).splitlines()
    assert line.endswith("my money back")


def test_a_collection_on_a_read_only_disk_is_asked(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy is asked where the disk cannot be written to; nothing is written beside the collection."""
    pytest.importorskip("pymilvus", reason="pymilvus is not installed: pip install 'tfembed[index]'")
    base = tmp_path / "a.db"
    _run("index", base, place / "a.parquet")
    before = sorted((str(path), path.stat().st_mtime_ns) for path in tmp_path.rglob("*"))
    can = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: can(path, mode) and Path(path) not in (base, base.parent))
    with readable(base) as path:
        assert path != base
        assert path.exists()
    assert "my money back" in _run("query", base, "my money back", "--limit", 1)
    assert sorted((str(path), path.stat().st_mtime_ns) for path in tmp_path.rglob("*")) == before


def test_evaluation(place: Path, tmp_path: Path) -> None:
    """Labels and scored pairs are measured; the page is written."""
    printed = _run("evaluate-embeddings", place / "a.parquet", "--label", "kind", "--report", tmp_path / "a.html")
    assert "mean_average_precision" in printed
    assert (tmp_path / "a.html").read_text(encoding="utf-8").count("<circle") == 4
    pairs = [
        {"sentence1": "my money", "sentence2": "my money", "score": 5},
        {"sentence1": "my money", "sentence2": "good morning", "score": 1},
        {"sentence1": "my money back", "sentence2": "my money", "score": 4},
    ]
    table = write_rows(tmp_path / "pairs.csv", pairs)
    found = json.loads(_run("evaluate-embeddings", place / "a.parquet", "--pairs", table, "--json"))
    assert found == {"pairs": 3, "spearman": 1.0}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("embed", "none.csv", "out.parquet"), "none.csv: there is no such file"),
        (("embed", "{place}/a.csv", "out.txt"), "ends in .parquet or .npy"),
        (("embed", "{place}/a.csv", "out.parquet", "--beam-options", "--x=1"), "--beam-options are of --runner beam"),
        (("index", "a.txt", "{place}/a.parquet"), "expected a file that ends in .db"),
        (("query", "a.db", "text"), "There is no collection 'a' yet"),
        (("evaluate-embeddings", "{place}/a.parquet"), "Say what to measure by"),
        (("evaluate-embeddings", "{place}/a.csv", "--label", "kind"), "holds no embeddings"),
        (("index", "a.db", "{place}/a.parquet", "--keep", "kind"), "are for data"),
    ],
)
def test_what_is_wrong_is_one_line(
    place: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    message: str,
) -> None:
    """Bad input is one line and exit code 2."""
    if arguments[0] in ("index", "query"):
        pytest.importorskip("pymilvus", reason="pymilvus is not installed: pip install 'tfembed[index]'")
    monkeypatch.chdir(tmp_path)
    assert message in _error(monkeypatch, capsys, *(each.format(place=place) for each in arguments))


def test_help_does_not_import_pymilvus() -> None:
    """The command line starts without what only an index needs."""
    program = "import sys, tfembed.cli; print({'pymilvus', 'apache_beam', 'pyarrow', 'tensorflow'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"
