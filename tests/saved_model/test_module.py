"""Loading modules: what is recorded, what is refused, and building on variables that exist."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow as tf

from tfembed.saved_model.module import fingerprint, load, load_folder


def test_lists_variables_trainable_ones_first_and_the_order_of_their_creation(batch_norm):
    module = load(batch_norm)
    names = [variable.name.removesuffix(":0") for variable in module.variables]
    assert names == ["bn/beta", "bn/gamma", "bn/moving_mean", "bn/moving_variance"]
    assert {id(variable) for variable in module.variables} <= {id(variable) for variable in module.created}
    assert module.trainable_ids == {id(variable) for variable in module.variables[:2]}


def test_builds_on_variables_that_exist(half_plus_one):
    plain = load(half_plus_one)
    place = [variable is plain.variables[0] for variable in plain.created].index(True)
    mine = tf.Variable([[9.0]])
    module = load_folder(half_plus_one, reuse={place: mine})
    assert module.variables[0] is mine
    mine.assign([[3.0]])
    assert module.loaded(tf.constant([[2.0]])) == 7.0


def test_refuses_to_build_on_a_variable_of_another_shape(half_plus_one):
    with pytest.raises(ValueError, match=r"has shape .* expected \(7,\) and float32"):
        load_folder(half_plus_one, reuse={0: tf.Variable(tf.zeros([7]))})


def test_a_callable_excludes_options_for_loading():
    for options in ({"tags": []}, {"options": tf.saved_model.LoadOptions()}):
        with pytest.raises(ValueError, match="mutually exclusive"):
            load(tf.math.square, **options)


def test_load_options_reach_the_loader(plus_one):
    options = tf.saved_model.LoadOptions(experimental_io_device="/job:nowhere")
    with pytest.raises((ValueError, tf.errors.OpError), match="nowhere"):
        load(plus_one, options=options)
    assert load(plus_one, options=tf.saved_model.LoadOptions()).loaded(1.0) == 2.0


def test_a_fingerprint_follows_the_graph_not_the_place(half_plus_one, plus_one, tmp_path):
    shutil.copytree(half_plus_one, tmp_path / "copy")
    assert fingerprint(str(tmp_path / "copy")) == fingerprint(half_plus_one) != fingerprint(plus_one)
    with pytest.raises(ValueError, match="No SavedModel"):
        fingerprint(str(tmp_path))


def test_text_ops_are_registered_when_a_module_has_them(tmp_path):
    """In processes of their own: once imported, tensorflow_text's ops stay registered."""
    write = f"""
import tensorflow as tf, tensorflow_text as text
module = tf.train.Checkpoint()
module.__call__ = tf.function(text.case_fold_utf8, input_signature=[tf.TensorSpec([None], tf.string)])
tf.saved_model.save(module, {str(tmp_path)!r})
"""
    read = f"""
import sys
from tfembed.saved_model.module import load
assert "tensorflow_text" not in sys.modules and "tensorflow_hub" not in sys.modules
print(load({str(tmp_path)!r}).loaded(["ABC"]).numpy()[0].decode())
"""
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", write], check=True, capture_output=True)
    output = subprocess.run([sys.executable, "-c", read], check=True, capture_output=True, cwd=root, text=True)
    assert output.stdout.strip() == "abc"
