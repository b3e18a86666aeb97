"""Reading word vectors from files: every format gives the same rows, and what is damaged is named."""

import gzip
import logging
from pathlib import Path

import numpy as np
import pytest
from tiny_vectors import WORDS, vectors, write, write_fasttext, write_text, write_word2vec

from tfembed.encoders.words.fasttext import read_fasttext
from tfembed.encoders.words.files import read_text, read_word2vec

WRITERS = {
    "GloVe": (read_text, write_text, {}, ".txt"),
    "Word2Vec as text": (read_text, write_text, {"header": True}, ".txt"),
    "fastText as text": (read_text, write_text, {"header": True}, ".vec"),
    "Word2Vec": (read_word2vec, write_word2vec, {}, ".bin"),
    "Word2Vec without line feeds": (read_word2vec, write_word2vec, {"line_feeds": False}, ".bin"),
    "fastText without n-grams": (read_fasttext, write_fasttext, {"num_buckets": 0}, ".bin"),
    "supervised fastText": (read_fasttext, write_fasttext, {"num_buckets": 0, "labels": ["__label__a"]}, ".bin"),
}


@pytest.mark.parametrize("gz", ["", ".gz"])
@pytest.mark.parametrize("kind", WRITERS)
def test_every_format_gives_the_same_rows(kind: str, gz: str, tmp_path: Path) -> None:
    """A row of zeros for unknown words, and then one for each word, in the order of the file."""
    read, write_to, options, suffix = WRITERS[kind]
    table = read(write_to(tmp_path / f"words{suffix}{gz}", **options))
    assert [word.decode() for word in table.words] == list(WORDS)
    assert table.vectors.dtype == np.float32
    np.testing.assert_array_equal(table.vectors, np.concatenate([np.zeros([1, 4]), vectors()]))
    assert (table.counts is not None) == ("fastText" in kind and "text" not in kind.split())


def test_counts_of_fasttext_are_kept(tmp_path: Path) -> None:
    """How often words were seen is in the file."""
    table = read_fasttext(write_fasttext(tmp_path / "words.bin"))
    assert table.counts is not None
    assert table.counts.tolist() == [100 - i for i in range(len(WORDS))]


def test_the_rows_of_a_large_file_come_in_pieces(tmp_path: Path) -> None:
    """More rows than are read at a time, in every format."""
    words = [f"w{i}" for i in range(2500)]
    for read, write_to, suffix in ((read_text, write_text, ".txt"), (read_word2vec, write_word2vec, ".bin")):
        table = read(write_to(tmp_path / f"words{suffix}", words))
        assert [word.decode() for word in table.words] == words
        np.testing.assert_array_equal(table.vectors[1:], vectors(words))
    table = read_fasttext(write_fasttext(tmp_path / "fast.bin", words, num_buckets=0))
    np.testing.assert_array_equal(table.vectors[1:], vectors(words))


def test_words_with_spaces(tmp_path: Path) -> None:
    """The last numbers of a line are the vector; what is in front of them is the word, as in glove.840B."""
    file = write(tmp_path / "words.txt", b"a 1 2\n. . . 3 4\nat name@domain.com 5 6\n")
    table = read_text(file)
    assert table.words == (b"a", b". . .", b"at name@domain.com")
    assert table.vectors[1:].tolist() == [[1, 2], [3, 4], [5, 6]]


def test_spaces_at_the_end_and_empty_lines(tmp_path: Path) -> None:
    """Word2Vec writes a space behind the last number, and editors add empty lines."""
    table = read_text(write(tmp_path / "words.vec", b"2 3\r\na 1 2 3 \r\nb 4 5 6 \r\n\r\n\n"))
    assert table.words == (b"a", b"b")
    assert table.vectors[2].tolist() == [4, 5, 6]


FORMS = {
    "two spaces behind the word": b"the  1 2\nqueen  3 4\n",
    "two spaces between numbers": b"the 1  2\nqueen 3  4\n",
    "tabs": b"the\t1\t2\nqueen\t3\t4\n",
    "a tab behind the word": b"the\t1 2\nqueen\t3 4\t\n",
    "a space in front": b" the 1 2\n queen 3 4\n",
    "a byte order mark": b"\xef\xbb\xbfthe 1 2\nqueen 3 4\n",
    "a header behind a byte order mark": b"\xef\xbb\xbf2 2\nthe 1 2\nqueen 3 4\n",
    "a header with a tab": b"2\t2\nthe\t1\t2\nqueen\t3\t4\n",
}


@pytest.mark.parametrize("gz", ["", ".gz"])
@pytest.mark.parametrize("form", FORMS)
def test_gaps_and_byte_order_marks_are_no_letters_of_words(form: str, gz: str, tmp_path: Path) -> None:
    """Words are the same whatever stands between them and their numbers, and in front of the first one."""
    table = read_text(write(tmp_path / f"words.txt{gz}", FORMS[form]))
    assert table.words == (b"the", b"queen")
    assert table.vectors[1:].tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize("kind", WRITERS)
def test_words_in_latin_1_are_refused(kind: str, tmp_path: Path) -> None:
    """No text has a word that is not in UTF-8: the row of the first one is named, with what to do."""
    read, write_to, options, suffix = WRITERS[kind]
    file = write_to(tmp_path / f"words{suffix}", ("the", "café", "tree", "é"), **options)
    file.write_bytes(file.read_bytes().replace("é".encode(), b"\xe9"))
    message = r"row 2: the word b'caf\\xe9' is not in UTF-8, .*iconv -f ISO-8859-1 -t UTF-8\.$"
    with pytest.raises(ValueError, match=message):
        read(file)


def test_a_few_words_that_were_cut_off_are_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Among words in UTF-8, one that ends in the middle of a character is counted, and the file is read."""
    content = "café 1 2\nübung 3 4\n".encode() + b"caf\xc3 5 6\n"
    with caplog.at_level(logging.WARNING):
        table = read_text(write(tmp_path / "words.txt", content))
    assert len(table.words) == 3
    assert r"1 words are not in UTF-8, so no text has them; the first is b'caf\xc3' in row 3." in caplog.text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PK\x03\x04 and more", "is a zip archive. Unpack it"),
        (gzip.compress(b"a 1 2\n"), "is gzipped. Let its name end in .gz"),
        ("a 1 2\n".encode("utf-16"), "is in UTF-16. Convert it to UTF-8: iconv -f UTF-16 -t UTF-8"),
        (b"<!DOCTYPE html><html>", "is a web page. Fetch the file itself"),
    ],
)
def test_files_of_another_kind_are_named(content: bytes, message: str, tmp_path: Path) -> None:
    """An archive, a web page and UTF-16 are told by their first bytes, whatever the file is called."""
    for name, read in (("words.txt", read_text), ("words.bin", read_word2vec), ("fast.bin", read_fasttext)):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=message) as caught:
            read(tmp_path / name)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".txt", ".bin"])
def test_of_a_word_that_comes_twice_the_first_counts(
    suffix: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """So it is in gensim; a warning says how many."""
    read, write_to = (read_text, write_text) if suffix == ".txt" else (read_word2vec, write_word2vec)
    words = ["king", "tree", "king", "man"]
    with caplog.at_level(logging.WARNING):
        table = read(write_to(tmp_path / f"words{suffix}", words))
    assert table.words == (b"king", b"tree", b"man")
    np.testing.assert_array_equal(table.vectors[1:], vectors(words)[[0, 1, 3]])
    assert "1 rows are of words that were there before" in caplog.text


def test_a_row_for_unknown_words_is_taken_from_the_file(tmp_path: Path) -> None:
    """Where a file has a vector of `<unk>`, unknown words begin with it."""
    table = read_text(write(tmp_path / "words.txt", b"a 1 2\n<unk> 5 6\n"))
    assert table.vectors.tolist() == [[5, 6], [1, 2], [5, 6]]


BAD_TEXT = {
    "a number is missing": (b"a 1 2\nb 1\n", "row 2: expected a word and 2 numbers, found 1 behind 'b'"),
    "a number too many": (b"a 1 2\nb 1 2 3\n", "row 2: expected a word and 2 numbers, found 3 behind 'b'"),
    "no number": (b"a 1 2\nb 1 x\n", "row 2: expected 2 finite numbers behind 'b', found '1 x'"),
    "not finite": (b"a 1 2\nb 1 nan\n", "row 2: expected 2 finite numbers behind 'b'"),
    "fewer rows than it says": (b"3 2\na 1 2\nb 1 2\n", "row 3: the file ends; its header says that there are 3 words"),
    "more rows than it says": (b"1 2\na 1 2\nb 1 2\n", "row 2: the header says that there are 1 words"),
    "a header that cannot be": (b"999999999999 300\na 1 2\n", "999,999,999,999 words of 300 numbers are expected"),
    "nothing": (b"", "is empty: expected a word and its numbers in each line"),
    "empty lines": (b"\n\n", "is empty: expected a word and its numbers in each line"),
    "no vectors": (b"hello\n", "1 words of 0 numbers are expected"),
}


@pytest.mark.parametrize("gz", ["", ".gz"])
@pytest.mark.parametrize("kind", BAD_TEXT)
def test_damaged_text_is_named(kind: str, gz: str, tmp_path: Path) -> None:
    """One line with the file, the row, what was expected and what is there."""
    content, message = BAD_TEXT[kind]
    file = write(tmp_path / f"words.txt{gz}", content)
    with pytest.raises(ValueError, match=r"words\.txt") as caught:
        read_text(file)
    assert message.partition(", and it has")[0] in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_bad_row_far_into_the_file_is_named(tmp_path: Path) -> None:
    """Rows are read by the thousand, and the very one is named."""
    rows = [b"w%d 1 2" % i for i in range(2500)]
    rows[1777] = b"w1777 1 oh"
    with pytest.raises(ValueError, match=r"row 1,778: expected 2 finite numbers behind 'w1777', found '1 oh'"):
        read_text(write(tmp_path / "words.txt", b"\n".join(rows)))


@pytest.mark.parametrize("read_from", ["word2vec", "fasttext"])
def test_truncated_binary_files_are_named(read_from: str, tmp_path: Path) -> None:
    """Wherever the file ends too early, the message says in which row, plain or gzipped."""
    read, write_to = (read_word2vec, write_word2vec) if read_from == "word2vec" else (read_fasttext, write_fasttext)
    content = write_to(tmp_path / "whole.bin").read_bytes()
    content = content.removesuffix(b"output matrix").removesuffix(b"\n")
    for length in (0, 3, 30, len(content) // 2, len(content) - 1):
        for file in (tmp_path / "torn.bin", tmp_path / "torn.bin.gz"):
            write(file, content[:length])
            with pytest.raises(ValueError, match=r"torn\.bin") as caught:
                read(file)
            assert "\n" not in str(caught.value)


def test_a_torn_gzip_file_is_named(tmp_path: Path) -> None:
    """Damage of the compression is told from damage of what is in it."""
    packed = gzip.compress(write_word2vec(tmp_path / "words.bin").read_bytes())
    for content in (packed[:-20], b"not gzip at all"):
        (tmp_path / "torn.bin.gz").write_bytes(content)
        with pytest.raises(ValueError, match=r"torn\.bin\.gz, row \d+: the file is damaged"):
            read_word2vec(tmp_path / "torn.bin.gz")


def test_too_long_binary_files_are_named(tmp_path: Path) -> None:
    """More rows than the header says are no file to trust."""
    content = write_word2vec(tmp_path / "words.bin").read_bytes()
    (tmp_path / "words.bin").write_bytes(content + b"more \0\0\0\0")
    with pytest.raises(ValueError, match="row 13: the header says that there are 12 words, and there is more"):
        read_word2vec(tmp_path / "words.bin")


def test_each_binary_format_is_told_from_the_other(tmp_path: Path) -> None:
    """Who says word2vec: of a file of fastText, or the other way round, is told what to say."""
    with pytest.raises(ValueError, match="fasttext:PATH"):
        read_word2vec(write_fasttext(tmp_path / "fast.bin"))
    with pytest.raises(ValueError, match="word2vec:PATH"):
        read_fasttext(write_word2vec(tmp_path / "words.bin"))


def test_quantised_models_are_refused(tmp_path: Path) -> None:
    """Of a model that was quantised, the one that it was made from is needed."""
    content = write_fasttext(tmp_path / "fast.bin", num_buckets=0).read_bytes()
    place = content.rindex(vectors().astype("<f4").tobytes()) - 17
    (tmp_path / "fast.bin").write_bytes(content[:place] + b"\1" + content[place + 1 :])
    with pytest.raises(ValueError, match=r"quantised .* Pass the \.bin file that was not quantised, or the \.vec file"):
        read_fasttext(tmp_path / "fast.bin")
