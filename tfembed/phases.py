"""Phase: one stage of training with a fixed set of trainable variables. A value; strategies are made of them."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from numbers import Integral, Real
from typing import Any

Selector = bool | int | str | tuple[str | int, ...]
OBJECTIVES = ("labels", "contrastive")
BATCH_NORM = ("auto", "inference", "train", "adapt")

# What each field of a phase may be: its type, the least, and what it must stay below.
_WHOLE = ("epochs", "steps", "batch_size", "patience", "lora_rank")
_REAL = ("learning_rate", "layer_decay", "warmup", "weight_decay", "l2_sp", "label_smoothing", "temperature")
_YES_OR_NO = ("solve", "mixed_precision", "jit_compile")
_AT_LEAST_ONE = ("epochs", "batch_size", "patience", "steps")
_NOT_NEGATIVE = ("weight_decay", "l2_sp", "lora_rank")
_SHARES = ("label_smoothing", "warmup")


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """One stage of training, with a fixed set of trainable variables.

    Attributes:
        name: What people call it.
        unfreeze: What of the encoder trains: False for nothing, True for all, a number of top blocks, names of blocks
            or their places from the input end, "biases", "norms", or a regular expression over variable names. The
            head always trains, unless the objective does without it.
        objective: `"labels"`: what the head says should be the labels. `"contrastive"`: embeddings of the same class
            should be near each other, on batches drawn by class; the head rests.
        solve: Whether a linear head on a frozen encoder is solved to its optimum rather than trained in epochs.
        epochs: At most; training stops when the validation loss no longer falls.
        steps: Batches in all where they are drawn by class; epochs do not count then.
        learning_rate: Of AdamW, for the head and the last block that trains.
        layer_decay: Factor of the learning rate from one block to the one below it, in (0, 1].
        warmup: Share of the steps in which the learning rate rises from 0, in [0, 1).
        batch_size: Examples in a step.
        weight_decay: Of AdamW, towards 0; biases, normalization and other vectors are left out.
        l2_sp: Likewise towards the weights that the phase began with (https://arxiv.org/abs/1802.01483).
        label_smoothing: Share of the probability given to all classes, in [0, 1).
        patience: Epochs without a lower validation loss before training stops.
        temperature: Divides cosines where the objective is contrastive.
        lora_rank: Rank of the update of each attention head that trains in place of the weights; 0 to train the
            weights. See `lora`.
        depths: Cuts whose pooled features are joined to the embedding, ascending, each once; empty for the embedding
            alone.
        mixed_precision: Whether what is run of the encoder computes in bfloat16, where its layers allow it; weights,
            head and loss stay in float32. Faster on GPUs, and on processors, that multiply in bfloat16.
        jit_compile: Whether XLA compiles what is run of the encoder. It does so for each shape of a batch, which takes
            seconds: worth it for images, and for texts where there are many epochs.
        batch_norm: Statistics by which batch norm normalizes in the blocks that train; its scales and offsets train in
            any case. `"inference"`: those that it has, unchanged. `"train"`: those of each batch, which the stored ones
            follow. `"adapt"`: those of the training images, estimated once before the phase and then unchanged.
            `"auto"`: `"inference"` up to 1,000 training examples, and for SavedModels; `"adapt"` beyond; `"train"` for
            networks that were never trained. Frozen blocks keep theirs; without batch norm it has no effect.

    Raises:
        ValueError: If a number is out of its range, or the fields do not go together, naming the phase.

    Example:
        >>> Phase(name="top two", unfreeze=2, learning_rate=1e-4, layer_decay=0.5).epochs
        20
    """

    name: str
    unfreeze: Selector = False
    objective: str = "labels"
    solve: bool = False
    epochs: int = 20
    steps: int = 40
    learning_rate: float = 1e-3
    layer_decay: float = 1.0
    warmup: float = 0.0
    batch_size: int = 16
    weight_decay: float = 0.0
    l2_sp: float = 0.0
    label_smoothing: float = 0.0
    patience: int = 5
    temperature: float = 0.1
    lora_rank: int = 0
    depths: tuple[int, ...] = ()
    mixed_precision: bool = False
    jit_compile: bool = False
    batch_norm: str = "auto"

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise ValueError(f"A phase has the name {self.name!r}: pass a text.")
        for names, convert, expected in (
            (_WHOLE, _whole, "a whole number"),
            (_REAL, _finite, "a number"),
            (_YES_OR_NO, _yes_or_no, "True or False"),
            (("depths",), _depths, "a list of whole numbers"),
            (("unfreeze",), _selector, "True, False, a number of blocks, a list of blocks, or a text"),
        ):
            for name in names:
                self._convert(name, convert, expected)
        self._check_numbers()
        if self.objective not in OBJECTIVES:
            raise ValueError(f"Phase {self.name!r} has objective {self.objective!r}: pass one of {OBJECTIVES}.")
        if self.batch_norm not in BATCH_NORM:
            raise ValueError(f"Phase {self.name!r} has batch_norm {self.batch_norm!r}: pass one of {BATCH_NORM}.")
        if isinstance(self.unfreeze, int) and self.unfreeze < 0:
            raise ValueError(f"Phase {self.name!r} unfreezes {self.unfreeze} blocks: pass 0 or more.")
        if self.unfreeze in (False, ()) and (self.objective == "contrastive" or self.lora_rank):
            what = "contrastive" if self.objective == "contrastive" else "of a low rank"
            raise ValueError(f"Phase {self.name!r} is {what} and unfreezes nothing: pass unfreeze=1 or more.")
        if self.depths and self.unfreeze not in (False, ()):
            raise ValueError(f"Phase {self.name!r} joins depths {self.depths} and unfreezes: pass unfreeze=False.")

    def _convert(self, name: str, convert: Callable[[Any], Any], expected: str) -> None:
        """Give a field the type that it has in JSON: from there, and from NumPy, come others."""
        value = getattr(self, name)
        try:
            object.__setattr__(self, name, convert(value))
        except TypeError as error:
            raise ValueError(f"Phase {self.name!r} has {name} {value!r}: pass {expected}.") from error

    def _check_numbers(self) -> None:
        for name in _AT_LEAST_ONE:
            if getattr(self, name) < 1:
                raise ValueError(f"Phase {self.name!r} has {name} {getattr(self, name)}: pass 1 or more.")
        for name in _NOT_NEGATIVE:
            if getattr(self, name) < 0:
                raise ValueError(f"Phase {self.name!r} has {name} {getattr(self, name)}: pass 0 or more.")
        for name in _SHARES:
            if not 0 <= getattr(self, name) < 1:
                shown = name.replace("_", " ")
                raise ValueError(f"Phase {self.name!r} has {shown} {getattr(self, name)}: pass 0 to below 1.")
        for name in ("learning_rate", "temperature"):
            if getattr(self, name) <= 0:
                shown = name.replace("_", " ")
                raise ValueError(f"Phase {self.name!r} has {shown} {getattr(self, name)}: pass one above 0.")
        if not 0 < self.layer_decay <= 1:
            raise ValueError(f"Phase {self.name!r} has layer decay {self.layer_decay}: pass one above 0, at most 1.")


def phase_from_dict(values: Any) -> Phase:
    """Make a phase of its fields by name.

    Raises:
        ValueError: If one of them is unknown, listing those that are known, or is not what it should be.

    Example:
        >>> phase_from_dict({"name": "probe", "solve": True}).solve
        True
    """
    known = {field.name for field in fields(Phase)}
    if not isinstance(values, dict) or "name" not in values:
        raise ValueError(f"A phase is {values!r}: expected its fields by name, the name of the phase among them.")
    if unknown := set(values) - known:
        raise ValueError(f"A phase has no {sorted(unknown)}: it has {sorted(known)}.")
    return Phase(**values)


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError
    return int(value)


def _finite(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
        raise TypeError
    return float(value)


def describe_undone(phases: Sequence[Mapping[str, Any]]) -> list[str]:
    """Describe each phase that was undone, with the loss that it came to and the one that it had to reach.

    Args:
        phases: Results of the phases of a strategy in their order, as JSON values; see `PhaseResult`.

    Example:
        >>> probe = {"name": "probe", "kept": True}
        >>> losses = {"loss": 0.62, "earlier_loss": 0.29, "judged_on": "validation", "judged_by": "earlier weights"}
        >>> describe_undone([probe, {"name": "fine-tune", "kept": False} | losses])
        ['fine-tune undone: validation loss 0.62, probe 0.29']
    """
    lines, earlier = [], "before"
    for phase in phases:
        if phase["kept"]:
            earlier = phase["name"]
            continue
        line = f"{phase['name']} undone"
        if phase.get("loss") is not None and phase.get("earlier_loss") is not None:
            limit = "always predicting the mean" if phase["judged_by"] == "mean" else earlier
            line += f": {phase['judged_on']} loss {phase['loss']:.3g}, {limit} {phase['earlier_loss']:.3g}"
        lines.append(line)
    return lines


def _yes_or_no(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def _depths(value: Any) -> tuple[int, ...]:
    if not isinstance(value, list | tuple):
        raise TypeError
    return tuple(sorted(set(map(_whole, value))))


def _selector(value: Any) -> Selector:
    if isinstance(value, list | tuple):
        return tuple(each if isinstance(each, str) else _whole(each) for each in value)
    return value if isinstance(value, bool) or (isinstance(value, str) and value) else _whole(value)
