"""From a tokenizer.json to the layer that makes the same tokens in the graph."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import keras

from tfembed.encoders.added_tokens import AddedToken, Frame
from tfembed.encoders.byte_pairs import BytePairs
from tfembed.encoders.hugging_face.folder import Folder
from tfembed.encoders.hugging_face.sentence_pieces import plain_spaces, sentence_piece_model
from tfembed.encoders.hugging_face.tokenizer_files import CONFIG, read_tokenizer
from tfembed.encoders.text_tokenizer import OUTPUTS, TextTokenizer, TokenizerRules
from tfembed.encoders.text_tokens import Writing
from tfembed.encoders.word_pieces import WordPieces

_MOST_TOKENS = 512
_MODELS = ("WordPiece", "BPE", "Unigram")
_ACCENTS = ("NFD", "NFKD")
# Steps before SentencePiece in the order in which a text is written here; some of them may be missing.
_NORMALIZERS = {
    (*quotes, *accents, *letters, *table)
    for quotes in ((), ("Replace",))
    for accents in ((), *((form, "StripAccents") for form in _ACCENTS))
    for letters in ((), ("Lowercase",))
    for table in ((), ("Precompiled",))
}
# What a model may do otherwise, and what it must have there.
_USUAL = {
    "continuing_subword_prefix": ("##", "", None),
    "end_of_word_suffix": ("", None),
    "byte_fallback": (False, None),
    "ignore_merges": (False, None),
    "dropout": (0, None),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerOptions:
    """What a folder says of tokens outside of its tokenizer.

    Attributes:
        max_length: Tokens kept of a text.
        rows: Rows of the table of embeddings.
        prefix: Text in front of every text.
        lowercase: Whether texts are in small letters, whatever the tokenizer does.
        outputs: Names of what the layer gives; see TextTokenizer.
    """

    max_length: int
    rows: int
    prefix: str = ""
    lowercase: bool = False
    outputs: tuple[str, ...] = OUTPUTS


def text_tokenizer(folder: Folder, model_type: str, options: TokenizerOptions) -> TextTokenizer:
    """Make the layer from texts to tokens.

    Args:
        folder: Folder with a tokenizer.
        model_type: Type of the model in config.json.
        options: What else is said of tokens.

    Raises:
        ValueError: If there is no tokenizer, if it is of a form that is not built here, or if it has more tokens than
            the table of embeddings has rows.
    """
    content = read_tokenizer(folder, model_type)
    if folder.read_if_there(CONFIG).get("truncation_side", "right") != "right":
        raise _refused(folder, "cuts texts off on the left", '"truncation_side": "right"')
    added = _added_tokens(folder, content)
    model = content["model"]
    kind = model.get("type") or ("Unigram" if isinstance(model["vocab"], list) else "WordPiece")
    for name, usual in _USUAL.items():
        if model.get(name) not in usual:
            raise _refused(folder, f"{name}={model[name]!r}", "the usual model of BERT, RoBERTa or XLM-RoBERTa")
    if kind == "WordPiece":
        tokenizer, normalizer = _word_pieces(folder, content)
    elif kind == "BPE":
        tokenizer, normalizer = _byte_pairs(folder, content)
    elif kind == "Unigram":
        tokenizer, normalizer = _sentence_pieces(folder, content, added)
    else:
        raise _refused(folder, f"a vocabulary of type {kind!r}", ", ".join(_MODELS))
    searched = _as_normalized(added, normalizer)
    if kind != "BPE" and any(token.normalized and not token.content.strip() for token in searched):
        raise _refused(folder, "added tokens of which the normalizer leaves white space or nothing", "others")
    rules = TokenizerRules(
        before=Writing(prefix=options.prefix, lowercase=options.lowercase),
        added=searched,
        normalizer=normalizer,
        frame=_frame(folder, content, added),
        max_length=options.max_length,
    )
    _check_rows(folder, model["vocab"], rules, options.rows)
    return TextTokenizer(tokenizer, rules, options.outputs)


def usual_length(folder: Folder) -> int:
    """Number of tokens of a text that the tokenizer keeps, 512 at the most."""
    return int(min(folder.read_if_there(CONFIG).get("model_max_length", _MOST_TOKENS), _MOST_TOKENS))


def _refused(folder: Folder, form: str, expected: str) -> ValueError:
    return ValueError(
        f"The tokenizer of {folder.handle!r} has a form that cannot be built into a graph: {form}. Expected "
        f"{expected}. Take another model."
    )


def _added_tokens(folder: Folder, content: dict[str, Any]) -> tuple[AddedToken, ...]:
    if single := [token["content"] for token in content["added_tokens"] if token.get("single_word")]:
        raise _refused(folder, f"tokens that are whole words alone: {', '.join(single[:4])}", '"single_word": false')
    names = ("content", "id", "lstrip", "rstrip", "normalized")
    tokens = [{name: token[name] for name in names if name in token} for token in content["added_tokens"]]
    return tuple(AddedToken(**token) for token in tokens if token["content"])


def _as_normalized(added: Iterable[AddedToken], normalizer: Writing) -> tuple[AddedToken, ...]:
    """Write tokens that are searched in normalized texts as these are written."""
    plain = replace(normalizer, leading_space=False)
    return tuple(
        replace(token, content=plain.apply([token.content])[0].numpy().decode()) if token.normalized else token
        for token in added
    )


def _steps(step: dict[str, Any] | None) -> list[dict[str, Any]]:
    """Take sequences of steps apart."""
    if not step:
        return []
    inner = step.get("normalizers") or step.get("pretokenizers") or step.get("processors")
    return (
        [each for part in inner for each in _steps(part)] if inner else ([] if step["type"] == "Sequence" else [step])
    )


def _names(steps: Iterable[dict[str, Any]]) -> str:
    return ", ".join(step["type"] for step in steps) or "none"


def _word_pieces(folder: Folder, content: dict[str, Any]) -> tuple[keras.layers.Layer, Writing]:
    steps, splitters = _steps(content.get("normalizer")), _steps(content.get("pre_tokenizer"))
    if [step["type"] for step in splitters] != ["BertPreTokenizer"]:
        raise _refused(folder, f"words split by {_names(splitters)}", "BertPreTokenizer")
    if [step["type"] for step in steps] != ["BertNormalizer"] or not steps[0].get("clean_text", True):
        raise _refused(folder, f"texts normalized by {_names(steps)}", "BertNormalizer with clean_text")
    rules, model = steps[0], content["model"]
    lowercase, strips = rules.get("lowercase", True), rules.get("strip_accents")
    ids = dict(model["vocab"])
    words = {number: word for word, number in ids.items()}
    layer = WordPieces(
        model.get("unk_token") or "[UNK]",
        rules.get("handle_chinese_chars", True),
        model.get("max_input_chars_per_word") or 100,
    )
    if layer.unknown not in ids:
        raise _refused(folder, f"a vocabulary without {layer.unknown!r}", "a token for unknown words")
    layer.set_vocabulary([words.get(i, f"[no token {i}]") for i in range(1 + max(words))])
    accents = "NFD" if (lowercase if strips is None else strips) else None
    return layer, Writing(clean=True, accents=accents, lowercase=lowercase)


def _byte_pairs(folder: Folder, content: dict[str, Any]) -> tuple[keras.layers.Layer, Writing]:
    steps, splitters = _steps(content.get("normalizer")), _steps(content.get("pre_tokenizer"))
    if steps:
        raise _refused(folder, f"texts normalized by {_names(steps)}", "none before byte pairs")
    if [step["type"] for step in splitters] != ["ByteLevel"] or not splitters[0].get("use_regex", True):
        raise _refused(folder, f"words split by {_names(splitters)}", "ByteLevel with use_regex")
    model = content["model"]
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
    layer = BytePairs()
    layer.set_vocabulary(model["vocab"], merges, model.get("unk_token"))
    return layer, Writing(leading_space=splitters[0].get("add_prefix_space", False))


def _sentence_pieces(
    folder: Folder, content: dict[str, Any], added: tuple[AddedToken, ...]
) -> tuple[keras.layers.Layer, Writing]:
    import keras_hub

    steps, splitters = _steps(content.get("normalizer")), _steps(content.get("pre_tokenizer"))
    names = [step["type"] for step in splitters]
    if names not in (["Metaspace"], ["WhitespaceSplit", "Metaspace"]):
        raise _refused(folder, f"words split by {_names(splitters)}", "Metaspace")
    space = splitters[-1]
    scheme = space.get("prepend_scheme", "always" if space.get("add_prefix_space", True) else "never")
    if scheme != "always" or space.get("replacement", "\u2581") != "\u2581":
        raise _refused(folder, f"words marked otherwise than each in front ({scheme})", '"prepend_scheme": "always"')
    writing = _normalizer(folder, steps)
    splits = names[0] == "WhitespaceSplit"
    characters = next((step["precompiled_charsmap"] for step in steps if step["type"] == "Precompiled"), "")
    writing = replace(writing, plain_spaces=plain_spaces(characters, splits=splits), leading_space=not splits)
    proto = sentence_piece_model(content["model"], added, characters, trims=splits)
    return keras_hub.tokenizers.SentencePieceTokenizer(proto), writing


def _normalizer(folder: Folder, steps: list[dict[str, Any]]) -> Writing:
    """How texts are written before SentencePiece, which looks up the table of characters itself."""
    options: dict[str, Any] = {}
    order = []
    for step in steps:
        kind, pattern = step["type"], (step.get("pattern") or {})
        if kind == "Replace" and pattern.get("Regex") == " {2,}" and step["content"] in (" ", "\u2581"):
            options |= {"single_spaces": True}
        elif kind == "Strip" and step.get("strip_right", True):
            options |= {"strips": "both" if step.get("strip_left", True) else "right"}
        elif kind == "Replace" and pattern.get("String") in ("``", "''") and step["content"] == '"':
            options |= {"quotes": True}
            order.append("Replace")
        else:
            order.append(f"{kind} of {pattern}" if kind == "Replace" else kind)
    if tuple(dict.fromkeys(order)) not in _NORMALIZERS:
        raise _refused(folder, f"texts normalized by {_names(steps)}", "the steps of XLM-RoBERTa or ALBERT")
    accents = next((kind for kind in order if kind in _ACCENTS), None)
    return Writing(accents=accents, marks=accents is not None, lowercase="Lowercase" in order, **options)


def _frame(folder: Folder, content: dict[str, Any], added: tuple[AddedToken, ...]) -> Frame:
    """Tokens around a text."""
    start: list[int] = []
    end: list[int] = []
    for step in _steps(content.get("post_processor")):
        if step["type"] in ("BertProcessing", "RobertaProcessing"):
            start, end = [step["cls"][1]], [step["sep"][1]]
        elif step["type"] == "TemplateProcessing":
            place = next(i for i, entry in enumerate(step["single"]) if "Sequence" in entry)
            ids = [
                step["special_tokens"][entry["SpecialToken"]["id"]]["ids"] if "SpecialToken" in entry else []
                for entry in step["single"]
            ]
            start, end = ([number for some in side for number in some] for side in (ids[:place], ids[place:]))
        elif step["type"] != "ByteLevel":
            raise _refused(folder, f"tokens put around texts by {step['type']}", "TemplateProcessing")
    pad = next((token.id for token in added if token.content == content["pad_token"]), 0)
    return Frame(start=tuple(start), end=tuple(end), pad=pad)


def _check_rows(folder: Folder, vocabulary: Any, rules: TokenizerRules, rows: int) -> None:
    """Check that there is a row for each token.

    Raises:
        ValueError: If there is none.
    """
    size = len(vocabulary) if isinstance(vocabulary, list) else 1 + max(vocabulary.values(), default=-1)
    size = max([size, *(1 + token.id for token in rules.added)])
    if size > rows:
        raise ValueError(
            f"The vocabulary of {folder.handle!r} has {size:,} tokens, and its embeddings have {rows:,} rows: expected "
            "a row for each token. If tokens were added, resize the model with resize_token_embeddings of transformers "
            "and save both again; else vocabulary and weights are of different models."
        )
