"""Tokenizers of Hugging Face: the ids are those that the library `tokenizers` makes of the same tokenizer.json."""

import json
import shutil
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from safetensors.numpy import load_file, save_file
from spared_gate import spared_gate
from tiny_presets import copy_folder

import tfembed as te
from tfembed.encoders.byte_pairs import BytePairs
from tfembed.encoders.hugging_face.folder import Folder
from tfembed.encoders.hugging_face.tokenizers import TokenizerOptions, text_tokenizer

tokenizers = pytest.importorskip("tokenizers", reason="tokenizers is not installed: pip install tokenizers")

DATA = Path(__file__).parent / "data"
KINDS = ["bert", "mpnet", "roberta", "xlm_roberta", "albert"]
TYPES = {"xlm_roberta": "xlm-roberta"}
TEXTS = [
    *("", " ", "hello  world", "Hello WORLD!", "  both ends  ", "a\n\nb", "a\t\tb  \n", "\n\n", "a\r\nb", "x  ", "६ x"),
    *(
        "a\u00a0b\u3000c",
        "caf\u00e9 cafe\u0301",
        "\u0130stanbul",
        "\u03a3\u03af\u03c3\u03c5\u03c6\u03bf\u03c2",
        "\u00df",
    ),
    *(
        "日本 語",
        "한국어",
        "ไทย",
        "हिन्दी",
        "😀👨\u200d👩",
        "zero\u200bwidth\ufeff",
        "so\u00adft",
        "\u2028x\x85y",
        "\x01",
    ),
    *(
        "[CLS] in [SEP] text [MASK]",
        "<s> in </s> text <mask>",
        "a[MASK]b",
        "  <mask>  .",
        "[mask] [UNK]<unk><pad>[PAD]",
    ),
    *(
        "[ORDER]",
        "a [ORDER] b",
        "x[ORDER]y",
        "[order] x",
        "[ORDER][ORDER]",
        "a NewToken b",
        "newtokens",
        "New",
        "É é",
        "a.b (x) $",
    ),
    *("``q'' 'n' \"x\"", "don't I'LL we've", "1,234.5 ½", "x" * 120, "é" * 110, "##ing ##", "\ufb01ne", "''`` ''"),
]
ADDED = [
    ("[ORDER]", {"special": True}),
    ("NewToken", {"normalized": True, "lstrip": True}),
    ("\u00c9", {"normalized": True}),
    ("\u00e9", {"normalized": False}),
    ("caf", {"normalized": False, "lstrip": True, "rstrip": True}),
    ("New", {}),
    ("[ORDER][", {"normalized": False}),
    *((token, {}) for token in ("a.b", "(x)", "$", "|", "\\")),
]


def content_of(kind: str) -> dict[str, Any]:
    """A small tokenizer.json; that of byte pairs joins line feeds, spaces and tabs too, as that of GPT-2 does."""
    content = json.loads((DATA / "tokenizer_json" / f"{kind}.json").read_text(encoding="utf-8"))
    if kind == "roberta":
        for character in "\u010a\u0120\u0109":
            content["model"]["vocab"][2 * character] = len(content["model"]["vocab"])
            content["model"]["merges"].append([character, character])
        content["model"]["merges"] = [
            " ".join(merge) if isinstance(merge, list) else merge for merge in content["model"]["merges"]
        ]
    return content


def folder_with(place: Path, content: dict[str, Any], rules: dict[str, Any] | None = None) -> Path:
    """A folder with a tokenizer alone."""
    place.mkdir()
    (place / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    (place / "tokenizer_config.json").write_text(json.dumps(rules or {"tokenizer_class": "PreTrainedTokenizerFast"}))
    return place


def ids_of(folder: Path, texts: list[str], model_type: str = "bert") -> list[list[int]]:
    layer = text_tokenizer(Folder(folder, "model"), model_type, TokenizerOptions(max_length=400, rows=10**6))
    tokens = {name: np.asarray(value) for name, value in layer(tf.constant(texts)).items()}
    return [ids[mask].tolist() for ids, mask in zip(tokens["token_ids"], tokens["padding_mask"], strict=True)]


def expected_ids(tokenizer: Any, texts: list[str]) -> list[list[int]]:
    tokenizer.no_truncation()
    return [tokenizer.encode(text).ids for text in texts]


def check_equal(folder: Path, tokenizer: Any, model_type: str = "bert") -> None:
    for text, ids, expected in zip(
        TEXTS, ids_of(folder, TEXTS, model_type), expected_ids(tokenizer, TEXTS), strict=True
    ):
        assert ids == expected, ascii(text)


def with_added(content: dict[str, Any], added: list[Any]) -> Any:
    tokenizer = tokenizers.Tokenizer.from_str(json.dumps(content))
    for token, options in added:
        tokenizer.add_tokens([tokenizers.AddedToken(token, **options)])
    return tokenizer


@pytest.mark.parametrize("added", [[], ADDED], ids=["as it is", "with added tokens"])
@pytest.mark.parametrize("kind", KINDS)
def test_ids_are_those_of_the_library(kind: str, added: list[Any], tmp_path: Path) -> None:
    """Texts of many scripts, runs of spaces and line feeds, special tokens inside of texts, and added tokens."""
    tokenizer = with_added(content_of(kind), added)
    folder = folder_with(tmp_path / "model", json.loads(tokenizer.to_str()))
    check_equal(folder, tokenizer, TYPES.get(kind, kind))


@pytest.mark.parametrize(("kind", "change"), [("roberta", {"add_prefix_space": True}), ("xlm_roberta", {})])
def test_each_piece_between_added_tokens_begins_with_a_space(kind: str, change: dict[str, Any], tmp_path: Path) -> None:
    """Where texts begin with a space, what stands behind an added token does too, whether that is normalized or not."""
    content = content_of(kind)
    content["pre_tokenizer"] |= change
    if kind == "xlm_roberta":  # as newer conversions have it
        content["pre_tokenizer"] = {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always"}
        several = {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": "\u2581"}
        strip = {"type": "Strip", "strip_left": False, "strip_right": True}
        content["normalizer"] = {"type": "Sequence", "normalizers": [content["normalizer"], strip, several]}
    tokenizer = with_added(content, [("[ORDER]", {"normalized": True}), ("NewToken", {"normalized": False})])
    folder = folder_with(tmp_path / "model", json.loads(tokenizer.to_str()))
    check_equal(folder, tokenizer, TYPES.get(kind, kind))


@pytest.mark.parametrize("text", ["a a a", "aaaaa", "aaaa aaa", "", "b"])
def test_equal_neighbors_are_joined_from_the_left(text: str) -> None:
    """Of an odd number of equal tokens the last one is left."""
    vocabulary = {"a": 0, "aa": 1, "\u0120": 2, "b": 3}
    layer = BytePairs()
    layer.set_vocabulary(vocabulary, ["a a"])
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, [("a", "a")]))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    assert layer(tf.constant([text])).to_list() == [tokenizer.encode(text).ids]


def test_bytes_that_the_vocabulary_lacks_become_the_unknown_token() -> None:
    """With a token for unknown bytes these get it; without, they are left out."""
    for unknown, expected in (("?", [[0, 1, 0]]), (None, [[0, 0]])):
        layer = BytePairs()
        layer.set_vocabulary({"a": 0, "?": 1}, [], unknown)
        assert layer(tf.constant(["aba"])).to_list() == expected


@pytest.mark.parametrize("tokenizer_class", ["PreTrainedTokenizerFast", "TokenizersBackend"])
def test_the_case_of_tokenizer_json_counts_for_general_classes(tokenizer_class: str, tmp_path: Path) -> None:
    """Where no class says otherwise, a cased tokenizer.json keeps capital letters; a BERT class has its own rule."""
    content = content_of("bert")
    content["normalizer"]["lowercase"] = False
    cased = tokenizers.Tokenizer.from_str(json.dumps(content))
    check_equal(folder_with(tmp_path / "cased", content, {"tokenizer_class": tokenizer_class}), cased)
    rules = {"tokenizer_class": "BertTokenizer", "do_lower_case": True}
    lower = tokenizers.Tokenizer.from_str(json.dumps(content_of("bert")))
    check_equal(folder_with(tmp_path / "lower", content, rules), lower)


@pytest.mark.parametrize("file", ["added_tokens.json", "tokenizer_config.json"])
@pytest.mark.parametrize("has_tokenizer_json", [False, True])
def test_added_tokens_of_other_files_count(file: str, has_tokenizer_json: bool, tmp_path: Path) -> None:
    """Tokens that stand beside vocab.txt, or beside a tokenizer.json that lacks them, are not split."""
    folder = Path(shutil.copytree(DATA / "bert", tmp_path / "model"))
    content = content_of("bert")
    if has_tokenizer_json:
        (folder / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    number = len(content["model"]["vocab"])
    rules = json.loads((folder / "tokenizer_config.json").read_text())
    if file == "added_tokens.json":
        (folder / file).write_text(json.dumps({"[ORDER]": number}))
    else:
        token = {"content": "[ORDER]", "normalized": False, "special": True}
        (folder / file).write_text(json.dumps(rules | {"added_tokens_decoder": {str(number): token}}))
    tokenizer = with_added(content, [("[ORDER]", {"normalized": False})])
    texts = ["my [ORDER] card", "x[ORDER]y [MASK]"]
    assert ids_of(folder, texts) == expected_ids(tokenizer, texts)


def bert_with_unigram(folder: Path) -> Path:
    """The layout of paraphrase-multilingual-MiniLM-L12-v2: a BERT with the tokenizer.json of XLM-RoBERTa."""
    content = content_of("xlm_roberta")
    (folder / "vocab.txt").unlink()
    (folder / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    names = {
        "unk_token": "<unk>",
        "sep_token": "</s>",
        "pad_token": "<pad>",
        "cls_token": "<s>",
        "mask_token": "<mask>",
    }
    rules = {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": 40, **names}
    (folder / "tokenizer_config.json").write_text(json.dumps(rules))
    config = json.loads((folder / "config.json").read_text())
    config["vocab_size"] = len(content["model"]["vocab"])
    (folder / "config.json").write_text(json.dumps(config))
    tensors = load_file(folder / "model.safetensors")
    name = next(name for name in tensors if name.endswith("word_embeddings.weight"))
    rng = np.random.default_rng(0)
    tensors[name] = rng.normal(0, 0.3, (config["vocab_size"], config["hidden_size"])).astype("float32")
    save_file(tensors, folder / "model.safetensors")
    return folder


def test_a_bert_with_a_unigram_vocabulary_loads(tmp_path: Path) -> None:
    """Its embeddings are the normalized means of what the body makes of the ids of the library, text by text."""
    folder = bert_with_unigram(copy_folder("sentences_mean", tmp_path / "model"))
    encoder = te.load_encoder(folder)
    tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    texts = ["hello world", "Hello <mask> WORLD", "日本 語 karte", "caf\u00e9\u3000x"]
    for text, embedding in zip(texts, np.asarray(encoder(texts)), strict=True):
        ids = np.array([tokenizer.encode(text).ids], np.int32)
        vectors = np.asarray(encoder.body({"token_ids": ids, "padding_mask": np.ones_like(ids)}))[0]
        mean = vectors.mean(axis=0)
        np.testing.assert_allclose(embedding, mean / np.linalg.norm(mean), atol=1e-5, err_msg=text)


def test_a_vocabulary_larger_than_the_embeddings_is_refused(tmp_path: Path) -> None:
    """Tokens that were added to the tokenizer and not to the weights: the message has both numbers, and what to do."""
    folder = Path(shutil.copytree(DATA / "bert", tmp_path / "model"))
    rows = json.loads((folder / "config.json").read_text())["vocab_size"]
    (folder / "added_tokens.json").write_text(json.dumps({"[ORDER]": rows}))
    with pytest.raises(ValueError, match=rf"has {rows + 1:,} tokens.*{rows:,} rows.*resize_token_embeddings") as caught:
        te.load_encoder(folder)
    assert "\n" not in str(caught.value)


REPLACE = {"type": "Replace", "pattern": {"String": "a"}, "content": "b"}
REFUSED: dict[str, Any] = {
    "a whole word": ("bert", {}, {"single_word": True}, "tokens that are whole words alone: x"),
    "white space": ("bert", {}, {"content": " ", "normalized": True}, "leaves white space or nothing"),
    "nothing": ("bert", {}, {"content": "\u200d", "normalized": True}, "leaves white space or nothing"),
    "a replacement": ("xlm_roberta", {"normalizer": REPLACE}, None, "texts normalized by Replace"),
    "a normalizer": ("roberta", {"normalizer": {"type": "NFC"}}, None, "texts normalized by NFC"),
    "words": ("bert", {"pre_tokenizer": {"type": "Whitespace"}}, None, "words split by Whitespace"),
    "a space in front": (
        "xlm_roberta",
        {"pre_tokenizer": {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "first"}},
        None,
        r"words marked otherwise than each in front \(first\)",
    ),
}


@pytest.mark.parametrize("form", REFUSED)
def test_forms_that_are_not_built_are_refused(form: str, tmp_path: Path) -> None:
    """What would give other ids than the library is an error with one line that names the form."""
    kind, change, token, message = REFUSED[form]
    content = content_of(kind) | change
    if token is not None:
        content["added_tokens"].append({"id": len(content["model"]["vocab"]), "content": "x"} | token)
    with pytest.raises(ValueError, match=message) as caught:
        ids_of(folder_with(tmp_path / "model", content), ["a"], TYPES.get(kind, kind))
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")
def test_saved_and_exported_byte_pairs_are_the_same(tmp_path: Path) -> None:
    """A `.keras` file and an export give the embeddings of the encoder that they were made of."""
    model = te.build_text_classifier(te.load_encoder(DATA / "roberta"), ["a", "b"])
    texts = ["a\n\nb  c", "x [MASK] <mask> y", "日本 café"]
    expected = te.embed(model, texts)
    model.save(tmp_path / "model.keras")
    np.testing.assert_allclose(te.embed(keras.models.load_model(tmp_path / "model.keras"), texts), expected, atol=1e-5)
    with spared_gate():
        te.export(model, tmp_path / "exported")
    np.testing.assert_allclose(te.embed(str(tmp_path / "exported"), texts), expected, atol=1e-5)
