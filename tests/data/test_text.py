"""Texts from CSV, TSV, JSONL and Parquet files."""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tfembed.data import load_text

ROWS = [(f"text {i}", ["bye", "hello", "thanks"][i % 3]) for i in range(30)]


@pytest.fixture
def write(tmp_path):
    """Write a file of the given name and content, and return its path."""

    def write_file(name, content):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write_file


def all_of(path, **options):
    return load_text(path, validation=0, test=0, **options)


def csv_of(rows=ROWS, header="text,label"):
    return "\n".join([header, *(f"{text},{label}" for text, label in rows)]) + "\n"


@pytest.mark.parametrize(
    ("name", "content", "options"),
    [
        ("a.csv", csv_of(), {}),
        ("a.CSV", csv_of(), {}),
        ("a.csv", "\ufeff" + csv_of(), {}),
        ("a.csv", csv_of().replace("\n", "\r\n") + "\r\n\r\n", {}),
        ("a.csv", csv_of().replace(",", ";"), {}),
        ("a.csv", csv_of().replace(",", "\t"), {}),
        ("a.csv", csv_of().replace(",", "|"), {}),
        ("a.csv", csv_of().replace(",", "|").split("\n", 1)[1], {"text": 0, "label": 1}),
        ("a.csv", csv_of().encode("utf-16"), {}),
        ("a.csv", csv_of().encode("utf-16-le"), {}),
        ("a.csv", csv_of().encode("utf-16-be"), {}),
        ("a.csv", csv_of().encode("utf-32"), {}),
        ("a.txt", csv_of().replace(",", "\t").encode("utf-16"), {}),
        ("a.csv", "sep=;\r\n" + csv_of().replace(",", ";").replace("\n", "\r\n"), {}),
        ("a.csv", "sep=|\n" + csv_of().replace(",", "|").split("\n", 1)[1], {"text": 0, "label": 1}),
        ("a.csv", 'text;label;"note, ours"\n' + csv_of().replace(",", ";").replace("\n", ";x\n").split("\n", 1)[1], {}),
        ("a.csv", csv_of(header="intent,utterance"), {"text": "intent", "label": "utterance"}),
        ("a.csv", csv_of().split("\n", 1)[1], {"text": 0, "label": 1}),
        ("a.tsv", csv_of().replace(",", "\t"), {}),
        ("a.txt", csv_of().split("\n", 1)[1].replace(",", "  \t"), {"text": 0, "label": 1}),
        ("a.jsonl", "\n".join(json.dumps({"text": t, "label": y, "extra": 1}) for t, y in ROWS), {}),
        ("a.ndjson", "".join(json.dumps({"label": y, "text": t}) + "\r\n" for t, y in ROWS), {}),
    ],
)
def test_one_table_in_every_format(write, name, content, options):
    """The same rows come out of CSV, TSV and JSONL, whatever the encoding, separator and line that announces it."""
    data = all_of(write(name, content), **options)
    assert [text.rstrip() for text in data.train.examples] == [text for text, _ in ROWS]
    assert [data.class_names[label] for label in data.train.labels] == [label for _, label in ROWS]
    assert (data.kind, data.task) == ("text", "classification")


def test_parquet(tmp_path):
    """Texts, dictionary-encoded labels and lists of labels come out of Parquet."""
    path = tmp_path / "a.parquet"
    texts, labels = zip(*ROWS, strict=True)
    table = {"text": texts, "label": pa.array(labels).dictionary_encode(), "tags": [[y, "all"] for y in labels]}
    pq.write_table(pa.table(table), path)
    assert all_of(path).train.examples.tolist() == list(texts)
    assert all_of(path, label="tags").class_names == ("all", "bye", "hello", "thanks")


def test_quotes_and_line_breaks_in_csv(write):
    """A quoted text keeps its commas, quotes and line breaks."""
    content = 'text,label\n"a, ""b""\nc",x\nd,x\ne,y\nf,y\n'
    assert all_of(write("a.csv", content)).train.examples[0] == 'a, "b"\nc'


def test_quotes_in_tsv_are_characters(write):
    """TSV has no quoting: an opening quote does not swallow the lines after it."""
    content = 'he said "no\t0\n"quoted"\t1\nlast \x85 line\t0\nreally\t1\n'
    data = all_of(write("a.txt", content), text=0, label=1)
    assert data.train.examples.tolist() == ['he said "no', '"quoted"', "last \x85 line", "really"]


def test_a_long_text_is_read_whole(write):
    """A text of 200,000 characters is read from CSV."""
    data = all_of(write("a.csv", csv_of([*ROWS, ("x" * 200_000, "bye")])))
    assert len(data.train.examples[-1]) == 200_000


def test_a_line_separator_inside_json_ends_no_line(write):
    """U+2028 may stand in a JSON text."""
    content = '{"text": "a\u2028b", "label": 0}\n{"text": "c", "label": 1}\n'
    assert all_of(write("a.jsonl", content)).train.examples[0] == "a\u2028b"


def test_labels_of_several_kinds(write):
    """JSONL labels may be numbers, lists or targets; cells with a separator hold several labels or none."""

    def jsonl(labels):
        return "\n".join(json.dumps({"text": f"t{i}", "label": label}) for i, label in enumerate(labels))

    assert all_of(write("a.jsonl", jsonl([0, 1]))).class_names == ("0", "1")
    assert all_of(write("b.jsonl", jsonl([0.5, 1]))).task == "regression"
    assert all_of(write("c.jsonl", jsonl([["a"], [], ["b", "a"]]))).train.labels.tolist() == [[1, 0], [0, 0], [1, 1]]
    cells = all_of(write("a.csv", "text,label\nt,a\nu,|\nv,b | a\n"), label_separator="|")
    assert (cells.task, cells.train.labels.tolist()) == ("multi_label", [[1, 0], [0, 0], [1, 1]])


@pytest.mark.parametrize(
    ("cell", "separator", "labels"),
    [
        ("a|b|", "|", [1, 1]),
        ("|a", "|", [1, 0]),
        ("||", "|", [0, 0]),
        ("b, a, ", ", ", [1, 1]),
        ("a b ", " ", [1, 1]),
        ("a;b;", "; ", [1, 1]),
    ],
)
def test_separators_at_the_ends_of_a_cell_separate_nothing(write, cell, separator, labels):
    """Labels are the same with a separator before the first or behind the last."""
    data = all_of(write("a.tsv", f"text\tlabel\nt\t{cell}\nu\ta\nv\tb\n"), label_separator=separator)
    assert data.train.labels[0].tolist() == labels


def test_lines_are_counted_below_a_line_that_announces_the_separator(write):
    """The line of a fault is that of the file, `sep=;` included."""
    with pytest.raises(ValueError, match=r"a\.csv, line 4: the label is missing"):
        all_of(write("a.csv", "sep=;\ntext;label\nt;a\nu;\n"))


def test_regression_and_names_for_numbers(write):
    """Numbers of a CSV are classes unless a regression is asked for, and positions in the class names given."""
    path = write("a.csv", csv_of([("a", 0), ("b", 1), ("c", 1), ("d", 0)]))
    assert all_of(path, task="regression").train.labels.tolist() == [0, 1, 1, 0]
    named = all_of(path, class_names=["negative", "positive"])
    assert (named.class_names, named.train.labels.tolist()) == (("negative", "positive"), [0, 1, 1, 0])


def test_the_split_is_seeded(write):
    """The same file and seed give the same parts, another seed gives others."""
    path = write("a.csv", csv_of())
    assert load_text(path, seed=1).test.examples.tolist() == load_text(path, seed=1).test.examples.tolist()
    assert load_text(path, seed=1).test.examples.tolist() != load_text(path, seed=2).test.examples.tolist()


def test_a_second_file_is_the_test(write):
    """A test file is read whole, with the classes of the first file, and may lack some of them."""
    data = load_text(write("a.csv", csv_of()), test=write("b.csv", "label,text\nthanks,ta\n"), validation=0.2)
    assert (len(data.train), len(data.validation)) == (24, 6)
    assert (data.test.examples.tolist(), data.test.labels.tolist()) == (["ta"], [2])


def test_an_unknown_label_in_the_test_file_is_named(write):
    """A label that the training file lacks is an error with file and line of the test file."""
    test = write("b.csv", "text,label\nhi,hello\nciao,by\n")
    with pytest.raises(ValueError, match=r"b\.csv, line 3: the label 'by' is none of the 3 classes.*mean 'bye'"):
        load_text(write("a.csv", csv_of()), test=test)


FAULTS = {
    "missing column": (
        "a.csv",
        csv_of(),
        {"text": "utterance"},
        r"a\.csv: .* no column 'utterance', only 'text', 'label'",
    ),
    "position too high": ("a.csv", csv_of(), {"text": 0, "label": 2}, r"a\.csv: there is no column 2, only 0, 1"),
    "name and position": ("a.csv", csv_of(), {"text": 0}, r"expected all names, or all positions"),
    "column twice": ("a.csv", csv_of(header="text,text"), {"label": "text"}, r"a\.csv, line 1: two columns .*'text'"),
    "empty text": ("a.csv", "text,label\nx,a\n ,b\n", {}, r"a\.csv, line 3: the text is empty"),
    "empty text after a line break": ("a.csv", 'text,label\n"x\ny",a\n"",b\n', {}, r"a\.csv, line 4: .* is empty"),
    "missing label": ("a.csv", "text,label\nx,a\ny,\n", {}, r"a\.csv, line 3: the label is missing"),
    "missing last label of a TSV": ("a.tsv", "text\tlabel\nx\ta\ny\t\n", {}, r"a\.tsv, line 3: the label is missing"),
    "missing label of several": (
        "a.csv",
        "text,label\nx,a\ny,a||b\n",
        {"label_separator": "|"},
        r"a\.csv, line 3: the label is missing",
    ),
    "undecodable": (
        "a.csv",
        b"text,label\r\nx,a\r\ncaf\xe9,b\r\n",
        {},
        r"a\.csv, line 3: byte 0xe9 at offset 20 .*not UTF-8",
    ),
    "label once": (
        "a.csv",
        csv_of([*ROWS, ("x", "rare")]),
        {"test": 0.2},
        r"a\.csv, line 32: the label 'rare' is seen only once",
    ),
    "numbers as classes": (
        "a.csv",
        "text,label\nx,0.5\ny,1.5\n",
        {"test": 0.2},
        r"a\.csv, line 2: .*pass task='regression'",
    ),
    "ragged": ("a.csv", "text,label\nx,a\nno, thanks,b\n", {}, r"a\.csv, line 3: 3 fields where line 1 has 2"),
    "open quote": ("a.csv", 'text,label\nx,a\n"y,b\nz,c\n', {}, r"a\.csv, line 3: not valid CSV"),
    "text after a quote": ("a.csv", 'text,label\n"y"z,b\n', {}, r"a\.csv, line 2: not valid CSV"),
    "empty line": ("a.csv", "text,label\nx,a\n\ny,b\n", {}, r"a\.csv, line 3: the line is empty"),
    "malformed JSON": (
        "a.jsonl",
        '{"text": "x", "label": 1}\n{"text": }\n',
        {},
        r"a\.jsonl, line 2: not valid JSON at column 10",
    ),
    "JSON of another type": ("a.jsonl", '["x", 1]\n', {}, r"a\.jsonl, line 1: found list, expected an object"),
    "JSON without a field": (
        "a.jsonl",
        '{"text": "x", "label": 1}\n{"text": "y"}\n',
        {},
        r"a\.jsonl, line 2: there is no column 'label', only 'text'",
    ),
    "JSON number as text": ("a.jsonl", '{"text": 5, "label": 1}\n', {}, r"line 1: expected a text, found 5"),
    "JSON null": ("a.jsonl", '{"text": "x", "label": null}\n', {}, r"a\.jsonl, line 1: the label is missing"),
    "half a surrogate pair": ("a.jsonl", '{"text": "x\\ud83d", "label": 1}\n', {}, r"line 1: character 1 .*surrogate"),
    "JSON object as label": ("a.jsonl", '{"text": "x", "label": {}}\n', {}, r"a\.jsonl, line 1: \{\} is no class"),
    "not a number": (
        "a.csv",
        "text,label\nx,1\ny,two\n",
        {"task": "regression"},
        r"a\.csv, line 3: the target 'two' is not a finite",
    ),
    "NaN": ("a.csv", "text,label\nx,1\ny,NaN\n", {"task": "regression"}, r"a\.csv, line 3: the target 'NaN' is not"),
    "empty file": ("a.csv", b"", {}, r"a\.csv is empty"),
    "blank file": ("a.jsonl", "\n \n", {}, r"a\.jsonl is empty"),
    "header only": ("a.csv", "text,label\n", {}, r"a\.csv has a header but no rows"),
    "one class": ("a.csv", csv_of([("x", "a"), ("y", "a")]), {}, r"a\.csv has only one class \('a'\)"),
    "bad UTF-16": ("a.csv", csv_of().encode("utf-16")[:-1], {}, r"a\.csv: not valid utf-16 .*as UTF-8"),
    "converted twice": (
        "a.csv",
        csv_of().encode("utf-16").decode("latin-1"),
        {},
        r"a\.csv: the first line holds zero bytes, as UTF-16 does that was converted",
    ),
    "commas in TSV": ("a.tsv", csv_of(), {}, r"only 'text,label'.* has no tab but ',': .* must be named a\.csv"),
    "only an announcement": ("a.csv", "sep=;\n", {}, r"a\.csv, line 1: the line is empty"),
    "no separator": ("a.csv", csv_of(), {"label_separator": ""}, "label_separator='' separates nothing"),
    "label between separators": (
        "a.csv",
        "text,label\nt,a|b\nu,a||b\n",
        {"label_separator": "|"},
        r"a\.csv, line 3: the label is missing",
    ),
    "unknown suffix": ("a.xlsx", "text,label\n", {}, r"a\.xlsx: the suffix '\.xlsx' .*expected \.csv, \.tsv"),
    "not Parquet": ("a.parquet", "text,label\n", {}, r"a\.parquet: not a readable Parquet file"),
    "empty Parquet": ("a.parquet", b"", {}, r"a\.parquet: not a readable Parquet file"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_named_with_file_and_line(write, fault):
    """Each fault of a table is a one-line error with the file and the line that an editor shows."""
    name, content, options, message = FAULTS[fault]
    with pytest.raises(ValueError, match=message) as caught:
        load_text(write(name, content), **{"validation": 0, "test": 0} | options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"text": ["x"], "label": [None]}, r"a\.parquet, row 1: the label is missing"),
        ({"text": ["x", None], "label": [0, 1]}, r"a\.parquet, row 2: the text is missing"),
        ({"text": ["x"], "class": [0]}, r"a\.parquet: there is no column 'label', only 'text', 'class'"),
        (
            {"text": pa.array([], pa.string()), "label": pa.array([], pa.string())},
            r"a\.parquet has .* no rows",
        ),
        (
            {"text": pa.Array.from_buffers(pa.string(), 2, pa.array([b"ok", b"a\xff"]).buffers()), "label": [0, 1]},
            r"a\.parquet, row 2: byte 0xff at offset 1 of the text is not UTF-8",
        ),
    ],
)
def test_faults_of_parquet_are_named_with_their_row(tmp_path, table, message):
    """A Parquet file has rows instead of lines; its faults name them."""
    pq.write_table(pa.table(table), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=message):
        all_of(tmp_path / "a.parquet")


def test_positions_are_not_for_tables_with_names(tmp_path, write):
    """JSONL and Parquet have names for their columns: a position is refused."""
    pq.write_table(pa.table({"text": ["x"], "label": [0]}), tmp_path / "a.parquet")
    for path in (tmp_path / "a.parquet", write("a.jsonl", '{"text": "x", "label": 1}\n')):
        with pytest.raises(ValueError, match="there is no column 0, only text, label"):
            all_of(path, text=0, label=1)


def test_a_missing_file_is_named(tmp_path):
    """A file that does not exist is a FileNotFoundError, a folder a ValueError."""
    with pytest.raises(FileNotFoundError, match=r"none\.csv: there is no such file"):
        load_text(tmp_path / "none.csv")
    with pytest.raises(ValueError, match="is a folder: expected a table"):
        load_text(tmp_path)


def test_banking77(shared):
    """Banking77 has 77 classes, 10,003 training rows and 3,080 test rows, commas and line breaks in texts included."""
    folder = shared / "data" / "banking77"
    data = load_text(folder / "train.csv", label="category", test=folder / "test.csv")
    assert len(data.class_names) == 77
    assert len(data.train) + len(data.validation) == 10_003
    assert len(data.test) == 3_080
    assert sorted(data.class_names, key=str) == sorted(json.loads((folder / "categories.json").read_text()))
    assert len(data.few_shot(10).train) == 770


@pytest.mark.parametrize("name", ["amazon_cells", "imdb", "yelp"])
def test_uci_sentiment(shared, name):
    """Each of the three sentiment files has 1,000 rows, half of them positive, quotes and all."""
    path = shared / "data" / "uci_sentiment" / f"{name}_labelled.txt"
    data = all_of(path, text=0, label=1, class_names=["negative", "positive"])
    assert np.bincount(data.train.labels).tolist() == [500, 500]


def test_a_data_frame_is_a_table(write):
    """A DataFrame gives what the same file gives; it cannot be read again, so that there is no recipe."""
    frame, file = pd.DataFrame(ROWS, columns=["text", "label"]), all_of(write("a.csv", csv_of()))
    data = all_of(frame)
    assert data.train.examples.tolist() == file.train.examples.tolist()
    assert data.train.labels.tolist() == file.train.labels.tolist()
    assert (data.class_names, data.source, data.recipe) == (file.class_names, "DataFrame", None)
    renamed = frame.rename(columns={"text": "said", "label": "intent"}).assign(who=[i // 6 for i in range(30)])
    grouped = load_text(renamed, text="said", label="intent", groups="who", test=renamed.iloc[:6], validation=0)
    assert (len(grouped.test), grouped.train.groups is None) == (6, False)
    targets = all_of(frame.assign(label=[i + 0.5 for i in range(30)]))
    assert (targets.task, targets.train.labels[1]) == ("regression", 1.5)


def test_errors_about_a_data_frame_name_the_row():
    """A column that is not there, a missing text and no rows are refused, rows counted as pandas counts them."""
    frame = pd.DataFrame(ROWS, columns=["text", "label"])
    with pytest.raises(ValueError, match="DataFrame: there is no column 'labels', only 'text', 'label'"):
        load_text(frame, label="labels")
    with pytest.raises(ValueError, match="DataFrame, row 2: the text is missing"):
        load_text(frame.assign(text=[text if i != 2 else None for i, text in enumerate(frame.text)]))
    with pytest.raises(ValueError, match="The DataFrame has no rows"):
        load_text(frame.iloc[:0])


@pytest.mark.parametrize(("name", "content"), [("a.csv", csv_of()), ("a.jsonl", '{"text": "x", "label": "y"}\n')])
def test_a_misspelled_column_says_which_is_near(name, content, write):
    """The nearest column is named beside all that there are."""
    with pytest.raises(ValueError, match=r"no column 'lable', only 'text', 'label'\. Did you mean 'label'"):
        all_of(write(name, content), label="lable")
