"""Telling modules whose training uses statistics of the batch from those with dropout, seeds and counters alone."""

from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf
from tiny_modules import ROWS, norm_and_dropout, publish

from tfembed.saved_model.batch_statistics import uses_batch_statistics
from tfembed.saved_model.layer import HubLayer


def test_a_module_with_batch_norm_uses_statistics_of_the_batch_in_training_alone(tmp_path: Path) -> None:
    """Of its two traced functions, the one for training does."""
    module = norm_and_dropout(tmp_path / "module")
    concretes = module.__call__.concrete_functions
    found = {uses_batch_statistics(each): each.structured_input_signature[0][1] for each in concretes}
    assert found == {True: True, False: False}
    assert HubLayer(str(tmp_path / "module")).updates_statistics


@pytest.mark.parametrize("counts", [False, True])
def test_dropout_and_counters_are_no_statistics(counts: bool, tmp_path: Path) -> None:
    """Whole numbers that a module stores are seeds, or steps."""
    kernel, step = tf.Variable(tf.eye(4), name="kernel"), tf.Variable(0, trainable=False, name="step")

    def call(x: tf.Tensor, training: bool = False) -> Any:
        if training and counts:
            step.assign_add(1)
        return tf.nn.dropout(x @ kernel, 0.5) if training else x @ kernel

    publish(tmp_path / "module", call, [kernel, step], (ROWS, True), (ROWS, False))
    layer = HubLayer(str(tmp_path / "module"))
    assert not layer.updates_statistics
    layer.fixed_statistics = True
    assert not layer.runs_fixed


def test_a_module_without_a_function_for_training_has_none(tmp_path: Path) -> None:
    """It runs the same in both modes."""
    kernel = tf.Variable(tf.eye(4), name="kernel")
    publish(tmp_path / "module", lambda x: x @ kernel, [kernel], (ROWS,))
    assert not HubLayer(str(tmp_path / "module")).updates_statistics
