"""Candidate: one thing to try. A value: encoder, strategy and head."""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

from tfembed.heads import Head
from tfembed.strategies import Strategy, strategy_from_json


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One thing to try.

    Attributes:
        encoder: Its name in the search space.
        strategy: What is trained, in which phases.
        head: What is put on the embedding.
        pretrained: Whether the encoder begins with its own weights; False for random ones.
    """

    encoder: str
    strategy: Strategy
    head: Head
    pretrained: bool = True

    def to_dict(self) -> dict[str, Any]:
        """The candidate as JSON values."""
        values: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return values

    @property
    def key(self) -> str:
        """A name for the candidate: 16 hexadecimal digits, the same in every process."""
        text = json.dumps(self.to_dict(), sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def candidate_from_dict(values: dict[str, Any]) -> Candidate:
    """Read a candidate that `to_dict` wrote.

    Example:
        >>> from tfembed.heads import linear_head
        >>> from tfembed.strategies import lp_ft
        >>> candidate = Candidate(encoder="minilm", strategy=lp_ft(1), head=linear_head())
        >>> candidate_from_dict(candidate.to_dict()) == candidate
        True
    """
    return Candidate(
        encoder=values["encoder"],
        strategy=strategy_from_json(json.dumps(values["strategy"])),
        head=Head(**values["head"] | {"units": tuple(values["head"]["units"])}),
        pretrained=values["pretrained"],
    )
