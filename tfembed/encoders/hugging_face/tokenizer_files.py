"""The tokenizer of a folder in the form of tokenizer.json, whichever files it lies in."""

import base64
from typing import Any

from tfembed.encoders.hugging_face.folder import Folder

TOKENIZER, CONFIG = "tokenizer.json", "tokenizer_config.json"
_SPECIAL, _ADDED = "special_tokens_map.json", "added_tokens.json"
_SENTENCE_PIECES = ("sentencepiece.bpe.model", "spiece.model", "spm.model", "sentencepiece.model", "tokenizer.model")
_ROLES = ("pad", "unk", "cls", "sep", "mask")
_BERT = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_ROBERTA = ("<pad>", "<unk>", "<s>", "</s>", "<mask>")
_OWN_NAMES = {
    "bert": _BERT,
    "mpnet": ("<pad>", "[UNK]", "<s>", "</s>", "<mask>"),
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
    "albert": ("<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"),
    "deberta-v2": _BERT,
}
# By the name of the tokenizer without what all of them are called, and by the type of the model.
_KINDS = {
    "Bert": "bert",
    "DistilBert": "bert",
    "Electra": "bert",
    "MPNet": "mpnet",
    "Roberta": "roberta",
    "XLMRoberta": "xlm-roberta",
    "Albert": "albert",
    "DebertaV2": "deberta-v2",
    "distilbert": "bert",
    "electra": "bert",
} | {kind: kind for kind in _OWN_NAMES}
_GENERAL = ("PreTrained", "PreTrainedTokenizer", "Tokenizers", "TokenizersBackend")
_METASPACE = {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always", "split": True}
_WORDS = {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, _METASPACE]}


def read_tokenizer(folder: Folder, model_type: str) -> dict[str, Any]:
    """Read a tokenizer.

    tokenizer.json counts where there is one, but for what tokenizer_config.json says of letters and spaces; without it,
    the same is made of vocab.txt, of vocab.json and merges.txt, or of a SentencePiece model, as transformers does.

    Args:
        folder: Folder with the files.
        model_type: Type of the model in config.json; it names the tokenizer where tokenizer_config.json does not.

    Returns:
        The content of a tokenizer.json, with all added tokens, and the name of the padding token as `pad_token`.

    Raises:
        ValueError: If there is no vocabulary, or it is of an unknown kind.
    """
    rules = folder.read_if_there(CONFIG)
    name = str(rules.get("tokenizer_class") or "").removesuffix("Fast").removesuffix("Tokenizer")
    is_general = name in _GENERAL
    kind = _KINDS.get(model_type if is_general or not name else name)
    if folder.has(TOKENIZER):
        tokenizer = folder.read(TOKENIZER)
        if not is_general:
            _override(tokenizer, rules)
    elif kind is None:
        raise ValueError(
            f"{folder.handle!r} has a tokenizer of type {name!r} and no {TOKENIZER}: expected one of BERT, DistilBERT, "
            "ELECTRA, MPNet, RoBERTa, XLM-RoBERTa, ALBERT or DeBERTa-v3. Save it with transformers as a fast one, or "
            "take another model."
        )
    else:
        tokenizer = _make(folder, kind, rules)
    names = _special_names(folder, rules, kind)
    _add_tokens(tokenizer, folder, rules, set(names.values()))
    return tokenizer | {"pad_token": names.get("pad")}


def _override(tokenizer: dict[str, Any], rules: dict[str, Any]) -> None:
    """Let tokenizer_config.json have its way with letters and spaces, as the classes of transformers do."""
    normalizer, splitter = tokenizer.get("normalizer") or {}, tokenizer.get("pre_tokenizer") or {}
    for rule, step, option in (
        ("do_lower_case", normalizer, "lowercase"),
        ("strip_accents", normalizer, "strip_accents"),
        ("tokenize_chinese_chars", normalizer, "handle_chinese_chars"),
        ("add_prefix_space", splitter, "add_prefix_space"),
    ):
        if rule in rules and step.get("type") in ("BertNormalizer", "ByteLevel"):
            step[option] = rules[rule]


def _special_names(folder: Folder, rules: dict[str, Any], kind: str | None) -> dict[str, str]:
    """Names of the special tokens, by their role."""
    names = dict(zip(_ROLES, _OWN_NAMES[kind], strict=True)) if kind and not folder.has(TOKENIZER) else {}
    for source in (folder.read_if_there(_SPECIAL), rules):
        tokens = {role: source.get(f"{role}_token") for role in _ROLES}
        names |= {role: _content(token) for role, token in tokens.items() if token}
    return names


def _content(token: Any) -> str:
    return str(token["content"] if isinstance(token, dict) else token)


def _add_tokens(tokenizer: dict[str, Any], folder: Folder, rules: dict[str, Any], special: set[str]) -> None:
    """Complete the added tokens with those of other files, which transformers adds as well."""
    listed = {_content(token): token for token in tokenizer.get("added_tokens") or ()}
    decoder = {int(number): token for number, token in (rules.get("added_tokens_decoder") or {}).items()}
    more = [{"id": number, **token} for number, token in decoder.items()]
    for content, number in folder.read_if_there(_ADDED).items():
        is_special = content in special
        more.append({"id": number, "content": content, "special": is_special, "normalized": not is_special})
    for token in more:
        listed.setdefault(token["content"], token)
    tokenizer["added_tokens"] = list(listed.values())


def _make(folder: Folder, kind: str, rules: dict[str, Any]) -> dict[str, Any]:
    """Make the content of a tokenizer.json out of older files."""
    names = _special_names(folder, rules, kind)
    if kind in ("bert", "mpnet"):
        tokenizer = _word_pieces(folder, rules, names["unk"])
    elif kind == "roberta":
        tokenizer = _byte_pairs(folder, rules)
    else:
        tokenizer = _sentence_pieces(folder, rules, kind)
    vocabulary = tokenizer["model"]["vocab"]
    ids = vocabulary if isinstance(vocabulary, dict) else {piece: i for i, (piece, _) in enumerate(vocabulary)}
    ids = ids | folder.read_if_there(_ADDED)
    strips = kind not in ("bert", "deberta-v2")
    tokenizer["added_tokens"] = [
        {"id": ids[name], "content": name, "lstrip": strips and role == "mask", "special": True}
        for role, name in names.items()
        if name in ids
    ]
    if lost := [names[role] for role in ("cls", "sep", "unk") if names[role] not in ids]:
        raise ValueError(
            f"The vocabulary of {folder.handle!r} lacks {', '.join(lost)}, special tokens that {CONFIG} or its class "
            "names. Fetch the files again."
        )
    frame = {side: [names[side], ids[names[side]]] for side in ("cls", "sep")}
    return tokenizer | {"post_processor": {"type": "BertProcessing", **frame}}


def _missing(folder: Folder, files: str) -> ValueError:
    return ValueError(
        f"{folder.handle!r} has no vocabulary: expected {files}, or {TOKENIZER}, in {folder.path}. Copy it there."
    )


def _word_pieces(folder: Folder, rules: dict[str, Any], unknown: str) -> dict[str, Any]:
    if not folder.has("vocab.txt"):
        raise _missing(folder, "vocab.txt")
    vocabulary = {word: i for i, word in enumerate(folder.lines("vocab.txt"))}
    normalizer = {
        "type": "BertNormalizer",
        "clean_text": True,
        "handle_chinese_chars": rules.get("tokenize_chinese_chars", True),
        "strip_accents": rules.get("strip_accents"),
        "lowercase": rules.get("do_lower_case", True),
    }
    model = {"type": "WordPiece", "unk_token": unknown, "vocab": vocabulary}
    return {"normalizer": normalizer, "pre_tokenizer": {"type": "BertPreTokenizer"}, "model": model}


def _byte_pairs(folder: Folder, rules: dict[str, Any]) -> dict[str, Any]:
    if not (folder.has("vocab.json") and folder.has("merges.txt")):
        raise _missing(folder, "vocab.json and merges.txt")
    merges = [line for line in folder.lines("merges.txt") if line and not line.startswith("#version")]
    splitter = {"type": "ByteLevel", "add_prefix_space": rules.get("add_prefix_space", False)}
    model = {"type": "BPE", "vocab": folder.read("vocab.json"), "merges": merges}
    return {"normalizer": None, "pre_tokenizer": splitter, "model": model}


def _sentence_pieces(folder: Folder, rules: dict[str, Any], kind: str) -> dict[str, Any]:
    from sentencepiece import sentencepiece_model_pb2

    name = next((name for name in _SENTENCE_PIECES if folder.has(name)), None)
    if name is None:
        raise _missing(folder, " or ".join(_SENTENCE_PIECES[:3]))
    try:
        proto = sentencepiece_model_pb2.ModelProto.FromString((folder.path / name).read_bytes())
    except Exception as error:  # protobuf's errors have no class in common between its versions
        raise ValueError(f"{folder.path / name} is no SentencePiece model: {error}. Fetch the file again.") from error
    pieces = [[piece.piece, piece.score] for piece in proto.pieces]
    unknown = next(i for i, piece in enumerate(proto.pieces) if piece.type == piece.UNKNOWN)
    if kind == "xlm-roberta":  # whose ids are those of fairseq
        pieces, unknown = [[token, 0.0] for token in ("<s>", "<pad>", "</s>", "<unk>")] + pieces[3:], 3
        pieces.append(["<mask>", 0.0])
    elif kind == "deberta-v2" and "[MASK]" not in dict(pieces):
        pieces.append(["[MASK]", 0.0])
    steps = _albert_steps(rules) if kind == "albert" else []
    if kind == "deberta-v2" and rules.get("do_lower_case", False):
        steps.append({"type": "Lowercase"})
    characters = base64.b64encode(proto.normalizer_spec.precompiled_charsmap).decode()
    steps += [{"type": "Precompiled", "precompiled_charsmap": characters}] if characters else []
    model = {"type": "Unigram", "unk_id": unknown, "vocab": pieces}
    normalizer = {"type": "Sequence", "normalizers": steps}
    return {"normalizer": normalizer, "pre_tokenizer": _WORDS, "model": model}


def _albert_steps(rules: dict[str, Any]) -> list[dict[str, Any]]:
    steps: list[dict[str, Any]] = [
        {"type": "Replace", "pattern": {"String": quotes}, "content": '"'} for quotes in ("``", "''")
    ]
    if not rules.get("keep_accents", False):
        steps += [{"type": "NFKD"}, {"type": "StripAccents"}]
    return steps + [{"type": "Lowercase"}] * bool(rules.get("do_lower_case", True))
