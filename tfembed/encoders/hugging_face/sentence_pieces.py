"""A SentencePiece model of the vocabulary in a tokenizer.json."""

import base64
from collections.abc import Iterable
from typing import Any

from tfembed.encoders.added_tokens import AddedToken

_SPACE = "\u2581"
_SPACES = "\t\n\v\f\r\x85\xa0\u1680" + "".join(map(chr, range(0x2000, 0x200B))) + "\u2028\u2029\u202f\u205f\u3000"


def sentence_piece_model(model: dict[str, Any], added: Iterable[AddedToken], characters: str, *, trims: bool) -> bytes:
    """Make a SentencePiece model that gives the ids of a Unigram model.

    Args:
        model: Model in a tokenizer.json, of type Unigram.
        added: Tokens that are taken out of texts before they are split.
        characters: Table of how characters are written, in base64; empty for none.
        trims: Whether spaces around texts, and all but the first of several, are left out, and a space is put in front.
    """
    from sentencepiece import sentencepiece_model_pb2

    proto = sentencepiece_model_pb2.ModelProto()
    kinds = sentencepiece_model_pb2.ModelProto.SentencePiece
    taken = {token.id: token.content for token in added}
    for i, (name, score) in enumerate(model["vocab"]):
        kind = kinds.NORMAL
        if i == model["unk_id"]:
            kind = kinds.UNKNOWN
        elif taken.get(i) == name or not name:
            kind = kinds.CONTROL
        elif _SPACE in name[1:]:  # no word has a space in it
            kind = kinds.UNUSED
        proto.pieces.add(piece=name or f"[no token {i}]", score=score, type=kind)
    trainer, normalizer = proto.trainer_spec, proto.normalizer_spec
    trainer.model_type = sentencepiece_model_pb2.TrainerSpec.UNIGRAM
    trainer.unk_id, trainer.unk_piece = model["unk_id"], proto.pieces[model["unk_id"]].piece
    normalizer.precompiled_charsmap = base64.b64decode(characters)
    normalizer.add_dummy_prefix = normalizer.remove_extra_whitespaces = trims
    normalizer.escape_whitespaces = True
    return proto.SerializeToString()


def plain_spaces(characters: str, *, splits: bool) -> str:
    """List the characters that count as a plain space between words.

    Args:
        characters: Table of how characters are written, in base64; empty for none.
        splits: Whether words are split at white space of all kinds, whatever the table says.
    """
    from sentencepiece import SentencePieceProcessor

    if splits or not characters:
        return _SPACE + (_SPACES if splits else "")
    model = {"vocab": [["<unk>", 0.0], ["a", 0.0]], "unk_id": 0}
    processor = SentencePieceProcessor(model_proto=sentence_piece_model(model, [], characters, trims=False))
    return _SPACE + "".join(space for space in _SPACES if processor.normalize(f"a{space}b") == f"a{_SPACE}b")
