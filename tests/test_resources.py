"""The text data that ships with the package: complete, balanced, and free of near-duplicates.

Near-duplicates are looked for over every pair of texts of a file, not over one split: where no two texts of the whole
file are alike, no split, whatever its seed or its sizes, can have a text on one side and its twin on the other.
"""

import csv
import importlib.resources
import io
import re
from collections import Counter

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer

COLUMNS = {
    "intents.csv": ["text", "intent"],
    "intents_out_of_scope.csv": ["text"],
    "reviews.csv": ["text", "sentiment"],
}
MAX_TOKEN_JACCARD = 0.75
MAX_TRIGRAM_COSINE = 0.85
MIN_TOKENS_FOR_JACCARD = 4  # below, one shared word is already most of the set: "who made you", "who are you"

each_file = pytest.mark.parametrize("name", COLUMNS)


def read_table(name: str) -> list[list[str]]:
    """All rows with the header; refuses bytes that are not UTF-8 and quoting that is not CSV."""
    raw = (importlib.resources.files("tfembed") / "resources" / name).read_bytes()
    return list(csv.reader(io.StringIO(raw.decode("utf-8"), newline=""), strict=True))


def read_texts(name: str) -> list[str]:
    return [row[0] for row in read_table(name)[1:]]


def read_labels(name: str) -> Counter[str]:
    return Counter(row[1] for row in read_table(name)[1:])


def plain(text: str) -> str:
    """Casefolded, without punctuation, with single spaces: what two texts must not share."""
    return " ".join(re.sub(r"[^\w\s]", "", text.casefold()).split())


def near_duplicates(texts: list[str]) -> list[str]:
    """One line for each pair that is too much alike, with both texts in it."""
    cleaned = [plain(text) for text in texts]
    tokens = CountVectorizer(binary=True, token_pattern=r"\S+").fit_transform(cleaned)
    sizes = np.asarray(tokens.sum(axis=1)).ravel()
    shared = (tokens @ tokens.T).toarray()
    jaccard = shared / np.maximum(sizes[:, None] + sizes[None, :] - shared, 1)
    jaccard[np.maximum(sizes[:, None], sizes[None, :]) < MIN_TOKENS_FOR_JACCARD] = 0.0
    trigrams = TfidfVectorizer(analyzer="char", ngram_range=(3, 3)).fit_transform(cleaned)
    cosine = (trigrams @ trigrams.T).toarray()
    alike = np.triu((jaccard >= MAX_TOKEN_JACCARD) | (cosine >= MAX_TRIGRAM_COSINE), k=1)
    return [
        f"{texts[i]!r} and {texts[j]!r} (token Jaccard {jaccard[i, j]:.2f}, trigram cosine {cosine[i, j]:.2f})"
        for i, j in np.argwhere(alike)
    ]


@each_file
def test_tables_have_their_columns_and_one_value_for_each(name: str) -> None:
    """The header is the documented one, and every row has exactly as many values as the header."""
    header, *rows = read_table(name)
    assert header == COLUMNS[name]
    assert [row for row in rows if len(row) != len(header)] == []


@each_file
def test_files_are_utf8_with_unix_line_ends(name: str) -> None:
    """A file decodes as UTF-8, has no byte order mark, and its lines end with a line feed, the last one too."""
    text = (importlib.resources.files("tfembed") / "resources" / name).read_bytes().decode("utf-8")
    assert not text.startswith("\ufeff")
    assert "\r" not in text
    assert text.endswith("\n")


@each_file
def test_values_are_neither_empty_nor_padded(name: str) -> None:
    """No value is empty, starts or ends with white space, or has two spaces in a row."""
    assert [row for row in read_table(name) for value in row if not value or value != " ".join(value.split())] == []


def test_intents_are_many_and_balanced() -> None:
    """There are at least 12 intents in snake_case, each with the same number of utterances, between 44 and 48."""
    counts = read_labels("intents.csv")
    assert len(counts) >= 12
    assert len(set(counts.values())) == 1, counts
    assert 44 <= min(counts.values()) <= 48
    assert [label for label in counts if not re.fullmatch(r"[a-z]+(_[a-z]+)*", label)] == []


def test_out_of_scope_utterances_are_many() -> None:
    """There are at least 80 utterances that belong to no intent."""
    assert len(read_texts("intents_out_of_scope.csv")) >= 80


def test_reviews_are_many_and_balanced() -> None:
    """There are at least 320 reviews, exactly half of them positive and half negative."""
    counts = read_labels("reviews.csv")
    assert set(counts) == {"positive", "negative"}
    assert counts["positive"] == counts["negative"] >= 160


def test_reviews_have_3_to_60_words() -> None:
    """A review has at least 3 and at most 60 words."""
    assert [text for text in read_texts("reviews.csv") if not 3 <= len(text.split()) <= 60] == []


@each_file
def test_readme_states_the_number_of_rows(name: str) -> None:
    """The README beside the files says of each how many rows it has."""
    readme = (importlib.resources.files("tfembed") / "resources" / "README.md").read_text(encoding="utf-8")
    assert f"| `{name}` | {len(read_texts(name))} |" in readme


@each_file
def test_no_text_occurs_twice(name: str) -> None:
    """No two texts of a file are the same once case and punctuation are put aside."""
    counts = Counter(plain(text) for text in read_texts(name))
    assert {text: count for text, count in counts.items() if count > 1} == {}


@each_file
def test_no_pair_is_nearly_the_same(name: str) -> None:
    """No two texts of a file are near-duplicates, so that every possible split is free of them."""
    found = near_duplicates(read_texts(name))
    assert not found, "near-duplicates; rewrite one of each pair:\n" + "\n".join(found)


def test_out_of_scope_is_disjoint_from_the_intents() -> None:
    """No out-of-scope utterance is an utterance of an intent, or nearly so."""
    inside, outside = read_texts("intents.csv"), read_texts("intents_out_of_scope.csv")
    assert {plain(text) for text in inside} & {plain(text) for text in outside} == set()
    found = near_duplicates(inside + outside)
    assert not found, "near-duplicates among the intents and the out-of-scope texts:\n" + "\n".join(found)


@pytest.mark.parametrize(
    "pair",
    [
        ("Please cancel my trip to Rome.", "cancel my trip to rome, please!!"),
        ("i want to cancel my trip to rome", "i want to cancel my trip to paris"),
        ("rescheduling fee", "rescheduling fees?"),
    ],
    ids=["words in another order", "a slot filled anew", "too short for token sets"],
)
def test_a_near_duplicate_would_be_found(pair: tuple[str, str]) -> None:
    """The check finds a text that comes back with its order, a slot or a letter changed, and names both."""
    found = near_duplicates([*read_texts("intents.csv"), *pair])
    assert len(found) == 1
    assert repr(pair[0]) in found[0]
    assert repr(pair[1]) in found[0]
