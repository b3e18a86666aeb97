"""Logs for TensorBoard: scalars and hyperparameters of each trial, and the winner's embeddings.

They are written without TensorFlow, which a report would wait for: a file of events is a row of messages.
"""

import shutil
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf import text_format
from safetensors.numpy import load
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import summary_v2 as hparams
from tensorboard.plugins.projector import projector_config_pb2
from tensorboard.plugins.scalar.summary import scalar_pb
from tensorboard.summary.writer.record_writer import RecordWriter

from tfembed.data import Dataset
from tfembed.search.choice import EMBEDDED, embedded_part
from tfembed.search.study import Study
from tfembed.search.trial import Trial

TENSORBOARD = "tensorboard"


def write_logs(study: Study, data: Dataset | None) -> Path:
    """Write the folder `tensorboard` of a study, in the place of one that is there.

    Args:
        study: Also one that is not done; the embeddings come with the winner.
        data: What was searched on, for the texts beside the embeddings; None where it is not at hand.

    Returns:
        The folder.

    Raises:
        OSError: If it cannot be written.
    """
    target = study.folder / TENSORBOARD
    aside = study.folder / f".aside-{TENSORBOARD}-{uuid.uuid4().hex}"
    aside.mkdir()
    try:
        _write_hyperparameters(study, aside)
        for trial in study.trials:
            _write_trial(study, trial, aside / _run_name(trial))
        _write_embeddings(study, data, aside)
        shutil.rmtree(target, ignore_errors=True)
        aside.rename(target)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return target


def _write_hyperparameters(study: Study, folder: Path) -> None:
    """What the columns of the HParams page are."""
    names = dict.fromkeys(name for trial in study.trials for name in _values(trial))
    metrics = [hparams.Metric(f"validation/{name}") for name in _metrics(study)]
    config = hparams.hparams_config_pb(hparams=[hparams.HParam(name) for name in names], metrics=metrics)
    _write_events(folder, [(0, config)])


def _write_trial(study: Study, trial: Trial, folder: Path) -> None:
    events = [(0, hparams.hparams_pb(_values(trial), trial_id=trial.key))]
    # those of a stopped trial are of a part of the folds, and no rank is to be read from them
    for name, value in (trial.metrics if trial.state == "completed" else {}).items():
        events.append((0, scalar_pb(f"validation/{name}", value)))
    for name, value in (("trained_parameters", trial.trained_parameters), ("seconds", trial.seconds)):
        events.append((0, scalar_pb(f"cost/{name}", float(value))))
    epoch = 0
    for phase in trial.executions[0]["phases"] if trial.executions else ():
        for name, values in phase["history"].items():
            events += [(epoch + i, scalar_pb(f"epochs/{name}", value)) for i, value in enumerate(values, 1)]
        epoch += max((len(values) for values in phase["history"].values()), default=0)
    folder.mkdir()
    _write_events(folder, events)


def _write_events(folder: Path, events: list[tuple[int, Summary]]) -> None:
    """Write summaries, each with its step, as one file of events."""
    now = time.time()
    with open(folder / f"events.out.tfevents.{int(now)}.tfembed", "xb") as file:
        writer = RecordWriter(file)
        writer.write(Event(wall_time=now, file_version="brain.Event:2").SerializeToString())
        for step, summary in events:
            writer.write(Event(wall_time=now, step=step, summary=summary).SerializeToString())


def _write_embeddings(study: Study, data: Dataset | None, folder: Path) -> None:
    """The winner's embeddings, with labels and texts, for the projector."""
    path = study.folder / EMBEDDED
    if study.result is None or not path.exists():
        return
    known = load(path.read_bytes())
    np.savetxt(folder / "embeddings.tsv", known["embeddings"], fmt="%.6g", delimiter="\t", encoding="utf-8")
    labels = [_label(study, label) for label in known["labels"]]
    texts = embedded_part(data).examples.tolist() if data is not None and data.kind == "text" else None
    rows = labels if texts is None else ["label\ttext", *map("\t".join, zip(labels, map(_cell, texts), strict=True))]
    (folder / "labels.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    embedding = projector_config_pb2.EmbeddingInfo(
        tensor_name="winner", tensor_path="embeddings.tsv", metadata_path="labels.tsv"
    )
    config = projector_config_pb2.ProjectorConfig(embeddings=[embedding])
    (folder / "projector_config.pbtxt").write_text(text_format.MessageToString(config), encoding="utf-8")


def _values(trial: Trial) -> Mapping[str, Any]:
    """The hyperparameters that the oracle chose; a baseline has its name."""
    return {"trial": trial.name, **{name: value for name, value in trial.values.items() if "/" not in name}}


def _metrics(study: Study) -> list[str]:
    return list(dict.fromkeys(name for trial in study.trials for name in trial.metrics))


def _run_name(trial: Trial) -> str:
    """A folder's name: `baseline-`, or the trial's number, and the key."""
    return f"{'baseline' if trial.number is None else f'{trial.number:03d}'}-{trial.key}"


def _label(study: Study, label: Any) -> str:
    names = study.description["data"]["classes"]
    if study.plan.task == "regression":
        return f"{float(label):.6g}"
    if study.plan.task == "multi_label":
        return _cell(", ".join(names[i] for i in np.flatnonzero(label)) or "none")
    return _cell(names[int(label)])


def _cell(text: str) -> str:
    """A text as one cell of a table."""
    return " ".join(text.split())
