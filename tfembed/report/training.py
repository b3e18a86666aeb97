"""What each strategy trained, in words, and how far it got."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tfembed.phases import describe_undone
from tfembed.search.trial import Trial


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseStory:
    """What a phase of a trial did, in its first execution.

    Attributes:
        name: The phase's.
        trained: What could change.
        parameters: How many values that were.
        how: At which rate, for how long.
        once: What was computed once.
        seconds: What it took.
        remark: What one would not expect: that it was undone, or the encoder not cut.
    """

    name: str
    trained: str
    parameters: int
    how: str
    once: str
    seconds: float
    remark: str


def phase_stories(trial: Trial, encoders: Mapping[str, Any]) -> tuple[PhaseStory, ...]:
    """Tell what a trial trained, phase by phase; nothing of one that failed before its first phase ended.

    Args:
        trial: With its candidate and executions.
        encoders: What is known of each, with its `blocks`; see `about`.
    """
    if not trial.executions or trial.candidate is None:
        return ()
    known = encoders.get(trial.candidate["encoder"], {}).get("blocks", ())
    blocks = [block["name"] for block in known]
    planned = trial.candidate["strategy"]["phases"]
    done = trial.executions[0]["phases"]
    return tuple(_story(phase, done[: i + 1], blocks) for i, phase in enumerate(planned[: len(done)]))


def _story(phase: Mapping[str, Any], done: Sequence[Mapping[str, Any]], blocks: Sequence[str]) -> PhaseStory:
    result = done[-1]
    remarks = [] if result["kept"] else [describe_undone(done)[-1].removeprefix(f"{result['name']} ")]
    if result["not_cut"]:
        remarks.append(f"not cut: {result['not_cut']}")
    return PhaseStory(
        name=phase["name"],
        trained=_trained(phase, blocks),
        parameters=result["trained_parameters"],
        how=_how(phase, result),
        once=_once(phase, blocks, result["num_frozen"]),
        seconds=result["seconds"],
        remark="; ".join(remarks),
    )


def _trained(phase: Mapping[str, Any], blocks: Sequence[str]) -> str:
    unfreeze = phase["unfreeze"]
    if unfreeze in (False, 0, [], ()):
        return "the head"
    if unfreeze is True:
        what = "all blocks"
    elif isinstance(unfreeze, int):
        what = span(blocks[-unfreeze:]) if blocks else f"the top {unfreeze} blocks"
    elif isinstance(unfreeze, str):
        what = f"{unfreeze} of all blocks" if unfreeze in ("biases", "norms") else f"what matches {unfreeze}"
    else:
        what = span([blocks[each] if isinstance(each, int) and blocks else str(each) for each in unfreeze])
    if phase["lora_rank"]:
        what = f"additions of rank {phase['lora_rank']} to the attention of {what}"
    return what if phase["objective"] == "contrastive" else f"{what} and the head"


def _how(phase: Mapping[str, Any], result: Mapping[str, Any]) -> str:
    epochs = max((len(values) for values in result["history"].values()), default=0)
    if phase["solve"] and not epochs:
        return "solved to its optimum"
    rate = f"rate {phase['learning_rate']:.3g}"
    if phase["layer_decay"] < 1:
        rate += f", times {phase['layer_decay']:g} for each block further down"
    if phase["objective"] == "contrastive":
        return f"{phase['steps']} steps on batches drawn by class, {rate}"
    return f"{epochs} of at most {phase['epochs']} epochs, {rate}"


def _once(phase: Mapping[str, Any], blocks: Sequence[str], num_frozen: int) -> str:
    if num_frozen == 0:
        return "nothing of the encoder"
    if num_frozen < len(blocks):
        return span(blocks[:num_frozen])
    depths = ", ".join(map(str, phase["depths"]))
    return f"the embeddings, joined with depths {depths}" if depths else "the embeddings"


def span(names: Sequence[str]) -> str:
    """Names in a row, in short.

    Example:
        >>> span(["a", "b", "c"]), span(["a"])
        ('a to c', 'a')
    """
    return ", ".join(names) if len(names) <= 2 else f"{names[0]} to {names[-1]}"
