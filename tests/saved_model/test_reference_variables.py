"""Modules as TF1 Hub really wrote them: with reference variables, in parts, with vocabularies and several outputs."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import tfembed as te
from tfembed.saved_model.reference_variables import with_resource_variables

v1 = tf.compat.v1
TEXTS = ["the refund", "lost card", "never heard", ""]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache."""
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def module(tmp_path: Path) -> tuple[str, np.ndarray]:
    """A module in the form of nnlm's first version, and what TF1 itself makes of TEXTS.

    A vocabulary in a file, its vectors in two parts, a layer behind, a counter that is changed when it is called, and
    an output besides the default one.
    """
    vocabulary = tmp_path / "tokens.txt"
    vocabulary.write_text("the\na\nrefund\ncard\nlost", encoding="utf-8")
    normal = v1.random_normal_initializer
    folder = tmp_path / "module"
    with tf.Graph().as_default(), v1.Session() as session:
        texts, file = v1.placeholder(tf.string, [None]), tf.constant(str(vocabulary))
        v1.add_to_collection(v1.GraphKeys.ASSET_FILEPATHS, file)
        lines = (tf.string, tf.lookup.TextFileIndex.WHOLE_LINE, tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER)
        table = tf.lookup.StaticVocabularyTable(tf.lookup.TextFileInitializer(file, *lines), 1)
        parts = v1.fixed_size_partitioner(2)
        vectors = v1.get_variable(
            "embeddings", [6, 8], partitioner=parts, initializer=normal(seed=1), use_resource=False
        )
        kernel = v1.get_variable("dnn/kernel", [8, 4], initializer=normal(seed=2), use_resource=False)
        calls = v1.get_variable("calls", [], initializer=v1.zeros_initializer(), use_resource=False, trainable=False)
        words = v1.string_split(texts)
        places = tf.SparseTensor(words.indices, table.lookup(words.values), words.dense_shape)
        pooled = v1.nn.safe_embedding_lookup_sparse(list(vectors), places, combiner="sqrtn", partition_strategy="div")
        counted = v1.assign_add(calls, 1.0)
        outputs = {"default": tf.tanh(pooled @ kernel) + 0.0 * counted, "pooled": pooled}
        session.run([v1.global_variables_initializer(), v1.tables_initializer()])
        _write(folder, session, texts, outputs)
        return str(folder), session.run(outputs["default"], {texts: TEXTS})


def _write(folder: Path, session: Any, texts: Any, outputs: dict[str, Any]) -> None:
    builder, info = v1.saved_model.builder.SavedModelBuilder(str(folder)), v1.saved_model.build_tensor_info
    given = {name: info(tensor) for name, tensor in outputs.items()}
    builder.add_meta_graph_and_variables(
        session,
        [],
        signature_def_map={"default": v1.saved_model.build_signature_def({"text": info(texts)}, given)},
        assets_collection=v1.get_collection(v1.GraphKeys.ASSET_FILEPATHS),
        main_op=v1.tables_initializer(),
    )
    builder.save()
    (folder / "tfhub_module.pb").write_bytes(b"\x08\x03")


def test_variables_are_seen_in_blocks(module: tuple[str, np.ndarray]) -> None:
    """What TF1 computed comes out, and each variable is in a block, between which the module can be cut."""
    folder, expected = module
    encoder = te.load_encoder(folder)
    np.testing.assert_allclose(encoder(TEXTS), expected, atol=1e-6)
    assert [block.name for block in encoder.blocks] == ["embeddings", "dnn", "calls"]
    assert sum(block.num_parameters for block in encoder.blocks) == 6 * 8 + 8 * 4 + 1
    prefix, suffix = encoder.cut(1)
    np.testing.assert_allclose(suffix(prefix(TEXTS)), expected, atol=1e-6)


def test_another_output_can_be_asked_for(module: tuple[str, np.ndarray]) -> None:
    """A module of TF1 gives its default output, or the one that is named."""
    assert (te.load_encoder(module[0]).dim, te.load_encoder(module[0], output="pooled").dim) == (4, 8)


def test_it_is_trained_on_exported_and_written_again(module: tuple[str, np.ndarray], tmp_path: Path) -> None:
    """A head trains on it; the export passes its gate with the vocabulary filled; as a module it comes back."""
    encoder = te.load_encoder(module[0])
    data = te.Dataset.from_arrays([f"{text}{' ' * i}" for i in range(10) for text in TEXTS[:2]], ["money", "loss"] * 10)
    model = te.build_text_classifier(encoder, data.class_names)
    assert te.train(model, data, te.linear_probe()).metrics["test"]["accuracy"] == 1.0
    te.export(model, tmp_path / "exported", examples=TEXTS[:3])
    again = te.load_encoder(te.export_module(encoder, tmp_path / "again"))
    np.testing.assert_allclose(again(TEXTS), module[1], atol=1e-6)
    assert [block.name for block in again.blocks] == ["embeddings", "dnn", "calls"]


def test_its_blocks_stay_frozen(module: tuple[str, np.ndarray]) -> None:
    """The format of TF1 does not say what trains, so that unfreezing is refused, in words."""
    data = te.Dataset.from_arrays([f"{text}{' ' * i}" for i in range(10) for text in TEXTS[:2]], ["money", "loss"] * 10)
    model = te.build_text_classifier(te.load_encoder(module[0]), data.class_names)
    with pytest.raises(ValueError, match=r"lists no trainable_variables.*Train a head on it"):
        te.train(model, data, te.top_blocks(2))


def test_it_is_written_anew_once(module: tuple[str, np.ndarray], cache: Path) -> None:
    """The folder in the cache is taken again; the module's own is left as it was."""
    before = Path(module[0], "saved_model.pb").read_bytes()
    found = with_resource_variables(module[0], str(cache))
    assert with_resource_variables(module[0], str(cache)) == found != module[0]
    assert with_resource_variables(found, str(cache)) == found
    assert Path(module[0], "saved_model.pb").read_bytes() == before
    assert [path.name for path in cache.iterdir()] == [Path(found).name]


def test_what_is_no_module_of_tf1_hub_trains(module: tuple[str, np.ndarray]) -> None:
    """A SavedModel of TF1 for TensorFlow Serving gives the same by its signature, and gradients reach its blocks."""
    (Path(module[0]) / "tfhub_module.pb").unlink()
    encoder = te.load_encoder(module[0], output="default")
    assert encoder.spec.signature == "default"
    np.testing.assert_allclose(encoder(TEXTS), module[1], atol=1e-5)
    prefix, suffix = encoder.cut(1)
    np.testing.assert_allclose(suffix(prefix(TEXTS)), module[1], atol=1e-5)
    encoder.unfreeze(["dnn"])
    assert encoder.flags == [False, True, False]
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(encoder(TEXTS, training=True) ** 2)
    (gradient,) = tape.gradient(loss, [variable.value for variable in encoder.trainable_variables])
    assert float(tf.reduce_max(tf.abs(gradient))) > 0
