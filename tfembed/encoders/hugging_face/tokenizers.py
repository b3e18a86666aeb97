"""From a folder's vocabulary to the layer that makes tokens of texts, as the tokenizer of transformers would."""

import base64
from typing import Any

from tfembed.encoders.hugging_face.folder import Folder
from tfembed.encoders.text_tokens import TextTokens, Writing

_CONFIG, _WHOLE = "tokenizer_config.json", "tokenizer.json"
_MOST_TOKENS = 512
_PIECES = ("sentencepiece.bpe.model", "spiece.model", "spm.model", "sentencepiece.model", "tokenizer.model")


def text_tokens(folder: Folder, model_type: str, max_length: int, *, prefix: str, lowercase: bool) -> TextTokens:
    """The layer that makes tokens of texts.

    Args:
        folder: With the vocabulary: vocab.txt, vocab.json with merges.txt, a SentencePiece model, or tokenizer.json.
        model_type: As config.json calls it; it names the tokenizer where tokenizer_config.json does not.
        max_length: Tokens kept of a text.
        prefix: Stands in front of every text.
        lowercase: Whether texts are in small letters, whatever the tokenizer does.

    Raises:
        ValueError: If there is no vocabulary, or it is of a kind that is not known here.
    """
    import keras_hub

    models, rules = keras_hub.models, folder.read_if_there(_CONFIG)
    kind = _kind(folder, rules, model_type)
    writing = Writing(prefix=prefix, lowercase=lowercase)
    if kind == "wordpiece":
        writing, cjk = _wordpiece_writing(folder, rules, writing)
        tokenizer = models.BertTokenizer(_word_pieces(folder), split_on_cjk=cjk)
        preprocessor: Any = models.TextClassifierPreprocessor(tokenizer, sequence_length=max_length)
    elif kind == "bytes":
        prefixed = rules.get("add_prefix_space", False)
        tokenizer = models.RobertaTokenizer(*_byte_pairs(folder), add_prefix_space=prefixed)
        preprocessor = models.RobertaTextClassifierPreprocessor(tokenizer, sequence_length=max_length)
    elif kind == "xlm-roberta":
        tokenizer = models.XLMRobertaTokenizer(_sentence_pieces(folder))
        preprocessor = models.XLMRobertaTextClassifierPreprocessor(tokenizer, sequence_length=max_length)
    elif kind == "albert":
        writing = _albert_writing(rules, writing)
        tokenizer = models.AlbertTokenizer(_sentence_pieces(folder))
        preprocessor = models.AlbertTextClassifierPreprocessor(tokenizer, sequence_length=max_length)
    else:
        writing = Writing(prefix=prefix, lowercase=lowercase or rules.get("do_lower_case", False))
        tokenizer = models.DebertaV3Tokenizer(_sentence_pieces(folder))
        preprocessor = models.DebertaV3TextClassifierPreprocessor(tokenizer, sequence_length=max_length)
    return TextTokens(preprocessor, writing)


def usual_length(folder: Folder) -> int:
    """How many tokens of a text the tokenizer keeps, 512 at the most."""
    return int(min(folder.read_if_there(_CONFIG).get("model_max_length", _MOST_TOKENS), _MOST_TOKENS))


# By the name of the tokenizer without what all of them are called, and by the type of the model.
_KINDS = {
    "Bert": "wordpiece",
    "DistilBert": "wordpiece",
    "Electra": "wordpiece",
    "MPNet": "wordpiece",
    "Roberta": "bytes",
    "XLMRoberta": "xlm-roberta",
    "Albert": "albert",
    "DebertaV2": "deberta-v2",
    "bert": "wordpiece",
    "distilbert": "wordpiece",
    "electra": "wordpiece",
    "mpnet": "wordpiece",
    "roberta": "bytes",
    "xlm-roberta": "xlm-roberta",
    "albert": "albert",
    "deberta-v2": "deberta-v2",
}


def _kind(folder: Folder, rules: dict[str, Any], model_type: str) -> str:
    name = str(rules.get("tokenizer_class") or "").removesuffix("Fast").removesuffix("Tokenizer")
    if name in ("", "PreTrained", "PreTrainedTokenizer", "Tokenizers", "TokenizersBackend"):
        name = model_type
    if name not in _KINDS:
        raise ValueError(
            f"{folder.handle!r} has a tokenizer of type {name!r}: expected one of BERT, DistilBERT, ELECTRA, MPNet, "
            "RoBERTa, XLM-RoBERTa, ALBERT or DeBERTa-v3. Take another model."
        )
    return _KINDS[name]


def _whole(folder: Folder, kind: str, files: str) -> dict[str, Any]:
    """The model inside tokenizer.json, where the vocabulary does not lie in files of its own."""
    if not folder.has(_WHOLE):
        raise ValueError(
            f"{folder.handle!r} has no vocabulary: expected {files}, or {_WHOLE}, in {folder.path}. Copy it there."
        )
    model = folder.read(_WHOLE)["model"]
    if model.get("type", kind) != kind:
        raise ValueError(
            f"{_WHOLE} of {folder.handle!r} has a vocabulary of type {model['type']!r}: expected {kind!r}, as "
            f"{_CONFIG} and config.json say. Fetch the files again."
        )
    return model


def _word_pieces(folder: Folder) -> list[str]:
    """The vocabulary in its order, with the names that BERT gives to special tokens; MPNet has two sets of them."""
    if folder.has("vocab.txt"):
        words = folder.lines("vocab.txt")
    else:
        numbers = _whole(folder, "WordPiece", "vocab.txt")["vocab"]
        words = sorted(numbers, key=numbers.__getitem__)
    if "<s>" not in words:
        return words
    usual = {"<s>": "[CLS]", "</s>": "[SEP]", "<pad>": "[PAD]", "<mask>": "[MASK]"}
    return [usual.get(word, f"{word} unused" if word in usual.values() else word) for word in words]


def _wordpiece_writing(folder: Folder, rules: dict[str, Any], writing: Writing) -> tuple[Writing, bool]:
    """How a text is written before it is split into word pieces, and whether Chinese characters stand alone."""
    if not rules and folder.has(_WHOLE):
        normalizer = folder.read(_WHOLE).get("normalizer") or {}
        names = {"do_lower_case": "lowercase", "tokenize_chinese_chars": "handle_chinese_chars"}
        rules = {ours: normalizer.get(theirs, False) for ours, theirs in names.items()}
        rules["strip_accents"] = normalizer.get("strip_accents")
    lowercase = rules.get("do_lower_case", True)
    strips = rules.get("strip_accents")
    accents = "NFD" if (lowercase if strips is None else strips) else None
    found = Writing(clean=True, accents=accents, lowercase=lowercase or writing.lowercase, prefix=writing.prefix)
    return found, rules.get("tokenize_chinese_chars", True)


def _albert_writing(rules: dict[str, Any], writing: Writing) -> Writing:
    return Writing(
        quotes=True,
        accents=None if rules.get("keep_accents", False) else "NFKD",
        lowercase=rules.get("do_lower_case", True) or writing.lowercase,
        prefix=writing.prefix,
    )


def _byte_pairs(folder: Folder) -> tuple[dict[str, int], list[str]]:
    if folder.has("vocab.json") and folder.has("merges.txt"):
        merges = [line for line in folder.lines("merges.txt") if line and not line.startswith("#version")]
        return folder.read("vocab.json"), merges
    model = _whole(folder, "BPE", "vocab.json and merges.txt")
    return model["vocab"], [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]


def _sentence_pieces(folder: Folder) -> bytes:
    name = next((name for name in _PIECES if folder.has(name)), None)
    if name is not None:
        return (folder.path / name).read_bytes()
    model = _whole(folder, "Unigram", " or ".join(_PIECES[:3]))
    return _pieces_of(model["vocab"], _character_map(folder.read(_WHOLE).get("normalizer")))


def _character_map(normalizer: dict[str, Any] | None) -> bytes:
    """The table of how characters are written, out of the steps of a tokenizer.json."""
    steps = [normalizer, *(normalizer or {}).get("normalizers", ())] if normalizer else []
    found = [step["precompiled_charsmap"] for step in steps if step.get("type") == "Precompiled"]
    return base64.b64decode(found[0]) if found else b""


def _pieces_of(vocabulary: list[tuple[str, float]], character_map: bytes) -> bytes:
    """A SentencePiece model of the vocabulary in a tokenizer.json."""
    from sentencepiece import sentencepiece_model_pb2

    proto = sentencepiece_model_pb2.ModelProto()
    kinds = sentencepiece_model_pb2.ModelProto.SentencePiece
    names = [name for name, _ in vocabulary]
    fairseq = names[:4] == ["<s>", "<pad>", "</s>", "<unk>"]  # which counts otherwise than SentencePiece does
    ordered = [("<unk>", 0.0), ("<s>", 0.0), ("</s>", 0.0), *vocabulary[4:]] if fairseq else vocabulary
    for name, score in ordered:
        if fairseq and name == "<mask>":
            continue
        kind = kinds.CONTROL if name in ("<s>", "</s>", "<pad>", "[PAD]", "[CLS]", "[SEP]", "[MASK]") else kinds.NORMAL
        kind = kinds.UNKNOWN if name in ("<unk>", "[UNK]") else kind
        proto.pieces.add(piece=name, score=score, type=kind)
    proto.trainer_spec.model_type = sentencepiece_model_pb2.TrainerSpec.UNIGRAM
    unknown = next(i for i, piece in enumerate(proto.pieces) if piece.type == kinds.UNKNOWN)
    proto.trainer_spec.unk_id, proto.trainer_spec.unk_piece = unknown, proto.pieces[unknown].piece
    proto.normalizer_spec.precompiled_charsmap = character_map
    proto.normalizer_spec.add_dummy_prefix = proto.normalizer_spec.remove_extra_whitespaces = True
    proto.normalizer_spec.escape_whitespaces = True
    return proto.SerializeToString()
