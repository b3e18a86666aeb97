"""The logs, read back as TensorBoard reads them."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tensorboard.plugins.hparams import plugin_data_pb2

import tfembed as te
from tfembed.report.tensorboard_logs import write_logs


def values(folder: Path) -> Iterator[tuple[int, tf.compat.v1.Summary.Value]]:
    for file in folder.glob("events.*"):
        for record in tf.data.TFRecordDataset(str(file)):
            event = tf.compat.v1.Event.FromString(record.numpy())
            yield from ((event.step, value) for value in event.summary.value)


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    found: dict[str, list[tuple[int, float]]] = {}
    for step, value in values(folder):
        if value.metadata.plugin_data.plugin_name == "scalars":
            found.setdefault(value.tag, []).append((step, float(tf.make_ndarray(value.tensor))))
    return found


def test_every_trial_has_its_scalars(text_study: te.Study) -> None:
    """One run for each trial, with its metrics, what it cost, and what its epochs came to."""
    logs = text_study.folder / "tensorboard"
    assert len([path for path in logs.iterdir() if path.is_dir()]) == len(text_study.trials)
    trial = next(trial for trial in text_study.trials if trial.curve)
    found = scalars(logs / f"{trial.number:03d}-{trial.key}")
    assert found["validation/accuracy"] == [(0, pytest.approx(trial.metrics["accuracy"]))]
    assert found["cost/trained_parameters"] == [(0, trial.trained_parameters)]
    assert found["epochs/val_loss"] == [(i, pytest.approx(loss)) for i, loss in enumerate(trial.curve, 1)]


def test_a_trial_that_was_stopped_has_no_score_to_be_ranked_by(text_study: te.Study, tmp_path: Path) -> None:
    """What it came to on some of the folds is not put beside what others came to on all; its epochs are there."""
    trial = next(trial for trial in text_study.trials if trial.curve)
    logs = write_logs(
        replace(text_study, folder=tmp_path, trials=(replace(trial, state="stopped"),), result=None), None
    )
    found = scalars(logs / f"{trial.number:03d}-{trial.key}")
    assert not any(name.startswith("validation/") for name in found)
    assert len(found["epochs/val_loss"]) == len(trial.curve)


def test_hyperparameters_are_there(text_study: te.Study) -> None:
    """The HParams page has a column for what the oracle chose, and a row for each trial."""
    logs = text_study.folder / "tensorboard"
    experiment = next(v for _, v in values(logs) if v.metadata.plugin_data.plugin_name == "hparams")
    data = plugin_data_pb2.HParamsPluginData.FromString(experiment.metadata.plugin_data.content)
    assert [each.name for each in data.experiment.hparam_infos] == ["trial", "blocks"]
    trial = next(trial for trial in text_study.trials if trial.number == 1)
    session = {v.tag: v for _, v in values(logs / f"001-{trial.key}")}["_hparams_/session_start_info"]
    start = plugin_data_pb2.HParamsPluginData.FromString(session.metadata.plugin_data.content).session_start_info
    assert start.hparams["blocks"].number_value == trial.values["blocks"]


def test_the_projector_has_embeddings_and_texts(text_study: te.Study) -> None:
    """A row for each validation example, with label and text on one line each."""
    logs = text_study.folder / "tensorboard"
    embeddings = np.loadtxt(logs / "embeddings.tsv", delimiter="\t")
    lines = (logs / "labels.tsv").read_text(encoding="utf-8").splitlines()
    assert embeddings.shape == (18, 6)
    assert lines[0] == "label\ttext"
    assert len(lines) == 19
    assert {line.split("\t")[0] for line in lines[1:]} == set(text_study.description["data"]["classes"])
    assert 'tensor_path: "embeddings.tsv"' in (logs / "projector_config.pbtxt").read_text(encoding="utf-8")
