"""Examples that were typed, or that stand in files which were named."""

from pathlib import Path

import pytest
from tiny_models import write_images

from tfembed.commands.examples import check_text, examples_in, texts_in, texts_of


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with a table, an image under two names, and a file that is named like a word."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.csv").write_text('text,label\n"a, b",x\nc,y\n', encoding="utf-8")
    (tmp_path / "help").write_text("a file", encoding="utf-8")
    write_images(tmp_path / "images")
    image = next((tmp_path / "images").rglob("*.png"))
    image.rename("photo").rename("my photo.png")
    Path("photo").write_bytes(Path("my photo.png").read_bytes())
    return tmp_path


def test_a_table_stands_for_its_texts() -> None:
    """The texts of a table take its place among those that were typed."""
    assert texts_of(["first", "rows.csv", "help"]) == ["first", "a, b", "c", "help"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("my photo.png", "names an image"),
        ("photo", "is an image"),
        ("missing.JPG", "names an image"),
        ("folder/missing.csv", "names a table that does not exist"),
    ],
)
def test_the_name_of_a_file_is_no_text(text: str, message: str) -> None:
    """An image, there or not, and a table that is missing: the error says what was typed."""
    with pytest.raises(ValueError, match=f"{text}' {message}: expected texts, or a table that holds them"):
        texts_of([text])


@pytest.mark.parametrize("text", ["where is scan.png", "end.", "help", "images", "a\0.csv b", "see rows.csv now"])
def test_texts_with_names_in_them_are_texts(text: str) -> None:
    """A sentence that ends in the name of a file, or a word that a file without a suffix is called, is a text."""
    assert texts_of([text]) == [text]


def test_a_table_is_refused_where_one_text_is_asked_for() -> None:
    """A question is a text; it has no rows."""
    with pytest.raises(ValueError, match=r"'rows.csv' is a table: expected texts\. Type the text"):
        check_text("rows.csv")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_text_file_has_a_text_a_line(encoding: str) -> None:
    """Encodings that say what they are can be read; blank lines hold no text."""
    Path("others.txt").write_text("caf\u00e9\n\n f\u00fcr zwei \n", encoding=encoding)
    assert examples_in(Path("others.txt")) == ["caf\u00e9", " f\u00fcr zwei "]


def test_another_encoding_is_named_with_its_line() -> None:
    """Text in WINDOWS-1252 is refused with the line, and how to convert it."""
    Path("others.txt").write_bytes("tea\ncaf\u00e9\n".encode("cp1252"))
    with pytest.raises(ValueError, match=r"others\.txt, line 2: byte 0xe9 .*iconv -f WINDOWS-1252"):
        examples_in(Path("others.txt"))


def test_a_table_of_examples_is_read_by_its_column() -> None:
    """The header and the other columns of a table are no examples."""
    assert examples_in(Path("rows.csv")) == ["a, b", "c"]
    assert texts_in(Path("rows.csv"), "label") == ["x", "y"]


def test_what_operating_systems_leave_in_a_folder_is_no_example(folder: Path) -> None:
    """Hidden files, also in folders of archives, are left out."""
    images = examples_in(folder / "images")
    for name in (".DS_Store", "Thumbs.db", "__MACOSX/cat/._0.png", ".cache/0.png"):
        (folder / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "images" / name).write_bytes(b"?")
    assert examples_in(folder / "images") == images
    assert len(images) > 0
