"""Logs for TensorBoard: scalars and hyperparameters of each trial, and the winner's embeddings."""

import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from safetensors.numpy import load
from tensorboard.plugins import projector
from tensorboard.plugins.hparams import api as hparams
from tensorboard.plugins.projector import projector_config_pb2

from tfembed.data import Dataset
from tfembed.search.study import Study
from tfembed.search.trial import Trial
from tfembed.search.winner import EMBEDDED, embedded_part

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
    with tf.summary.create_file_writer(str(folder)).as_default(step=0):
        hparams.hparams_config(hparams=[hparams.HParam(name) for name in names], metrics=metrics)


def _write_trial(study: Study, trial: Trial, folder: Path) -> None:
    with tf.summary.create_file_writer(str(folder)).as_default():
        hparams.hparams(_values(trial), trial_id=trial.key)
        # those of a stopped trial are of a part of the folds, and no rank is to be read from them
        for name, value in (trial.metrics if trial.state == "completed" else {}).items():
            tf.summary.scalar(f"validation/{name}", value, step=0)
        for name, value in (("trained_parameters", trial.trained_parameters), ("seconds", trial.seconds)):
            tf.summary.scalar(f"cost/{name}", float(value), step=0)
        epoch = 0
        for phase in trial.executions[0]["phases"] if trial.executions else ():
            for name, values in phase["history"].items():
                for i, value in enumerate(values, 1):
                    tf.summary.scalar(f"epochs/{name}", value, step=epoch + i)
            epoch += max((len(values) for values in phase["history"].values()), default=0)


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
    projector.visualize_embeddings(str(folder), projector_config_pb2.ProjectorConfig(embeddings=[embedding]))


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
