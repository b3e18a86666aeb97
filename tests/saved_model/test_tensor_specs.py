"""Nests of tensors: from Python values, and to JSON and back."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfembed.saved_model.tensor_specs import SeenCalls, any_batch, as_tensors, from_json, to_json, to_keras, to_tf


@pytest.mark.parametrize(
    ("value", "shape", "dtype"),
    [
        (["a", "b"], (2,), tf.string),
        ([["a"], ("b",)], (2, 1), tf.string),
        ("a", (), tf.string),
        (1.5, (), tf.float32),
        ([[1, 2]], (1, 2), tf.int32),
        ([np.float32(1), 2.0], (2,), tf.float32),
        (np.array(["a", "bb"]), (2,), tf.string),
    ],
)
def test_plain_values_are_one_tensor(value, shape, dtype):
    tensor = as_tensors(value)
    assert (tensor.shape, tensor.dtype) == (shape, dtype)


def test_containers_of_tensors_stay_nests():
    tensor, ragged = tf.constant([1.0]), tf.ragged.constant([[1.0], []])
    nest = as_tensors({"list": [tensor, np.ones(2)], "tuple": (ragged, ["a"]), "symbol": keras.Input((1,))})
    assert nest["list"][0] is tensor
    assert nest["tuple"][0] is ragged
    assert nest["tuple"][1].dtype == tf.string
    assert isinstance(nest["symbol"], keras.KerasTensor)


def test_rows_of_unequal_length_are_refused():
    with pytest.raises(ValueError, match=r"Cannot make a tensor of .*tf\.ragged\.constant"):
        as_tensors([["a", "b"], ["c"]])


def test_specifications_survive_json():
    nest = {
        "dense": [keras.KerasTensor((None, 3), "int32")],
        "ragged": (to_keras(tf.RaggedTensorSpec([None, None, 4], tf.float32, 1)),),
        "sparse": to_keras(tf.SparseTensorSpec([None, 5], tf.float16)),
    }
    again = from_json(json.loads(json.dumps(to_json(nest))))
    assert isinstance(again["ragged"], tuple)
    assert keras.tree.map_structure(to_tf, again) == keras.tree.map_structure(to_tf, nest)


def test_any_batch_leaves_the_other_sizes():
    nest = any_batch([tf.zeros([2, 3]), tf.zeros([])])
    assert [tuple(each.shape) for each in nest] == [(None, 3), ()]


def test_seen_calls_are_found_by_their_inputs_and_have_a_limit():
    seen = SeenCalls()
    assert seen.find(keras.KerasTensor((None, 1))) is None
    for size in range(1, 100):
        seen.note(keras.KerasTensor((None, size)), [keras.KerasTensor((None, 2 * size))])
    described = json.loads(json.dumps(seen.describe()))
    assert len(described) < 20
    again = SeenCalls(described)
    assert again.find(keras.KerasTensor((None, 3)))[0].shape == (None, 6)
    assert again.find(keras.KerasTensor((None, 99))) is None
    assert SeenCalls(described[:1]).find(keras.KerasTensor((None, 99)))[0].shape == (None, 2)
