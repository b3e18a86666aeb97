"""Rows of tables, one after the other."""

from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tfembed.data.table_rows import Row, rows_of


def test_rows_come_before_the_file_is_read(tmp_path: Path) -> None:
    """A fault far behind in a file does not keep its first rows from being read: they are not read together."""
    lines = ["text", *(f"line {i}" for i in range(100_000)), '"never closed']
    (tmp_path / "a.csv").write_text("\n".join(lines), encoding="utf-8")
    rows = rows_of(tmp_path / "a.csv", ["text"])
    assert list(islice(rows, 2)) == [Row(number=2, cells=("line 0",)), Row(number=3, cells=("line 1",))]
    with pytest.raises(ValueError, match="line 100002: not valid CSV"):
        list(rows)


def test_parquet_comes_in_batches(tmp_path: Path) -> None:
    """Row numbers go on from batch to batch."""
    pq.write_table(pa.table({"text": [str(i) for i in range(9000)]}), tmp_path / "a.parquet")
    rows = list(rows_of(tmp_path / "a.parquet", ["text"]))
    assert [row.number for row in rows] == list(range(1, 9001))
    assert rows[-1].cells == ("8999",)


@pytest.mark.parametrize(
    ("name", "content", "problems"),
    [
        ("a.csv", "text,n\na,1\nb\n\nc,2\n\n", {3: "1 fields where line 1 has 2", 4: "the line is empty"}),
        (
            "a.jsonl",
            '{"text": 1}\n[]\n\n{"other": 2}\n{\n\n',
            {2: "found list", 3: "not valid", 4: "there is no column", 5: "not"},
        ),
    ],
)
def test_a_malformed_row_is_a_row_with_a_problem(
    tmp_path: Path, name: str, content: str, problems: dict[int, str]
) -> None:
    """What is wrong with one row does not end the others; empty lines at the end are no rows."""
    (tmp_path / name).write_text(content, encoding="utf-8")
    rows = {row.number: row for row in rows_of(tmp_path / name, ["text"])}
    assert {number: row.problem[: len(problems[number])] for number, row in rows.items() if row.problem} == problems
    assert len(rows) == {"a.csv": 4, "a.jsonl": 5}[name]
