"""Models of transformers: what an encoder makes of a folder is what transformers makes of it.

The folders in `data` are tiny, with random weights; scripts/make_transformers_values.py wrote them and what
transformers computed. Where transformers is installed, it is asked again.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from torch_pickles import torch_names, write_state_dict

import tfembed as te

DATA = Path(__file__).parent / "data"
TEXTS = ["bert", "bert_cased_tanh", "distilbert", "electra", "mpnet", "roberta", "xlm_roberta", "albert", "deberta_v3"]
IMAGES = ["vit", "deit", "dinov2", "dinov2_gated", "dinov2_registers"]


def expected_of(name):
    return json.loads((DATA / name / "expected.json").read_text(encoding="utf-8"))


def expected_rows(name):
    """The texts, with what transformers makes of them, on which it and the tokenizer's own library agree."""
    expected = expected_of(name)
    # transformers 5 leaves out the table of characters that DeBERTa's SentencePiece model holds.
    return expected, [i for i in range(len(expected["texts"])) if name != "deberta_v3" or i != 3]


def copied(name, tmp_path):
    return Path(shutil.copytree(DATA / name, tmp_path / name))


@pytest.mark.parametrize("name", TEXTS)
def test_the_tokens_are_those_of_transformers(name):
    """Accents, spaces of all kinds, invisible characters, other scripts, long texts: the same tokens."""
    expected, rows = expected_rows(name)
    encoder = te.load_encoder(DATA / name)
    prepared, counts = encoder.tokenize(tf.constant(expected["texts"]))
    for i in rows:
        found = prepared["token_ids"].numpy()[i, : counts.numpy()[i]].tolist()
        assert found == expected["tokens"][i], expected["texts"][i]


@pytest.mark.parametrize("name", TEXTS)
def test_embeddings_of_texts_are_those_of_transformers(name):
    """The mean over a text's tokens, and the first one's vector."""
    expected, rows = expected_rows(name)
    for pooling in ("mean", "cls"):
        found = te.load_encoder(DATA / name, pooling=pooling)(expected["texts"]).numpy()
        np.testing.assert_allclose(found[rows], np.array(expected[pooling])[rows], atol=2e-5, err_msg=pooling)


@pytest.mark.parametrize("name", [name for name in TEXTS if "pooled" in expected_of(name)])
def test_the_pooler_is_that_of_transformers(name):
    """`output="pooled_output"` gives the dense layer on the first token."""
    expected = expected_of(name)
    found = te.load_encoder(DATA / name, output="pooled_output")(expected["texts"])
    np.testing.assert_allclose(found, expected["pooled"], atol=2e-5)


@pytest.mark.parametrize("name", IMAGES)
def test_embeddings_of_images_are_those_of_transformers(name):
    """Images of the right size: the same vectors."""
    expected = expected_of(name)
    images = np.random.default_rng(0).integers(0, 256, (2, 20, 20, 3)).astype("uint8")
    images = images[:, : expected["size"], : expected["size"]]
    for pooling in ("cls", "mean"):
        found = te.load_encoder(DATA / name, pooling=pooling)(images)
        np.testing.assert_allclose(found, expected[pooling], atol=2e-5, err_msg=pooling)


@pytest.mark.parametrize("name", ["vit", "dinov2"])
def test_pixels_are_those_of_transformers(name):
    """Larger images are resized, cut out and scaled the same but for the rounding of a pixel; encoded ones too."""
    expected = expected_of(name)["pixels"]
    small = Image.fromarray(np.random.default_rng(1).integers(0, 256, (5, 6, 3)).astype("uint8"))
    large = np.asarray(small.resize((40, 30), Image.Resampling.BICUBIC))
    encoder = te.load_encoder(DATA / name)
    for images in (large[np.newaxis], [tf.io.encode_png(large).numpy()]):
        pixels = encoder.prepare(tf.constant(images))["inputs"].numpy()
        assert pixels.shape == (1, 16, 16, 3)
        np.testing.assert_allclose(pixels[:, ::3, ::3], expected, atol=1.01 / 255 / 0.224)


@pytest.mark.parametrize("name", TEXTS)
def test_transformers_itself_agrees(name):
    """With transformers installed: the same for other texts than the stored ones."""
    transformers = pytest.importorskip("transformers", reason="pip install 'tfembed[reference]'")
    torch = pytest.importorskip("torch", reason="pip install 'tfembed[reference]'")
    texts = ["my quick naïve fox", "Again & again: where?", "is it 12 o'clock"]
    tokenizer = transformers.AutoTokenizer.from_pretrained(DATA / name)
    model = transformers.AutoModel.from_pretrained(DATA / name, dtype="float32")
    with torch.no_grad():
        vectors = model.eval()(**tokenizer(texts, padding=True, return_tensors="pt")).last_hidden_state[:, 0]
    np.testing.assert_allclose(te.load_encoder(DATA / name, pooling="cls")(texts), vectors.numpy(), atol=2e-5)


@pytest.mark.parametrize("name", ["bert", "mpnet", "roberta", "xlm_roberta", "albert"])
def test_tokenizer_json_is_enough(name, tmp_path):
    """A folder with tokenizer.json, and none of the files that it was made of, has the same tokens."""
    folder = copied(name, tmp_path)
    for file in ("vocab.txt", "vocab.json", "merges.txt", "sentencepiece.bpe.model", "spiece.model"):
        (folder / file).unlink(missing_ok=True)
    shutil.copy(DATA / "tokenizer_json" / f"{name}.json", folder / "tokenizer.json")
    expected = expected_of(name)
    np.testing.assert_allclose(te.load_encoder(folder)(expected["texts"]), expected["mean"], atol=2e-5)


def test_a_folder_without_a_vocabulary_says_what_is_missing(tmp_path):
    """Neither vocab.txt nor tokenizer.json: the message names both."""
    folder = copied("bert", tmp_path)
    (folder / "vocab.txt").unlink()
    with pytest.raises(ValueError, match=r"has no vocabulary: expected vocab\.txt, or tokenizer\.json"):
        te.load_encoder(folder)


def test_names_with_a_prefix_and_in_parts_and_in_half_precision_are_read(tmp_path):
    """A file as a model with a head has it, its parts in two files, in bfloat16: the same weights."""
    import ml_dtypes

    folder = copied("bert", tmp_path)
    tensors = {f"bert.{name}": value for name, value in load_file(folder / "model.safetensors").items()}
    tensors["cls.predictions.bias"] = np.zeros(3, "float32")
    halves = {name: value.astype(ml_dtypes.bfloat16) for name, value in tensors.items()}
    names = sorted(halves)
    parts = {"model-1.safetensors": names[::2], "model-2.safetensors": names[1::2]}
    for file, members in parts.items():
        save_file({name: halves[name] for name in members}, folder / file)
    index = {"weight_map": {name: file for file, members in parts.items() for name in members}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "model.safetensors").unlink()
    expected = expected_of("bert")
    found = te.load_encoder(folder)(expected["texts"])
    np.testing.assert_allclose(found, expected["mean"], atol=0.05)
    assert np.abs(found - np.array(expected["mean"])).max() > 1e-5
    (folder / "model-2.safetensors").unlink()
    with pytest.raises(ValueError, match=r"lacks \['model-2.safetensors'\]"):
        te.load_encoder(folder)


def changed(folder, change):
    """Write the weights of a folder again, changed."""
    with safe_open(folder / "model.safetensors", framework="numpy") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  no dictionary
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


def test_no_weight_is_left_out_or_left_over(tmp_path):
    """A tensor that is missing, of another shape, or without a place in the model is an error that names it."""
    cases = {
        "has no tensor 'encoder.layer.1.output.dense.bias'": lambda t: t.pop("encoder.layer.1.output.dense.bias"),
        r"encoder.layer.0.output.dense.bias has shape \(3,\), expected \(8,\)": lambda t: t.update(
            {"encoder.layer.0.output.dense.bias": np.zeros(3, "float32")}
        ),
        "no place for here: encoder.layer.0.adapter.weight": lambda t: t.update(
            {"encoder.layer.0.adapter.weight": np.zeros(3, "float32")}
        ),
        "has no tensor 'embeddings.word_embeddings.weight'": lambda t: t.pop("embeddings.word_embeddings.weight"),
    }
    for i, (message, change) in enumerate(cases.items()):
        folder = copied("bert", tmp_path / str(i))
        changed(folder, change)
        with pytest.raises(ValueError, match=message):
            te.load_encoder(folder)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pth"])
def test_pickles_are_refused_by_name(name, tmp_path):
    """In the folder, or passed as its weights: the message says why not, and what to do."""
    folder = copied("bert", tmp_path)
    pickle = (folder / "model.safetensors").rename(folder / name)
    for weights in ("pretrained", pickle):
        with pytest.raises(ValueError, match=f"in {name}, a pickle.*expected model.safetensors.*trust=True"):
            te.load_encoder(folder, weights=weights)


@pytest.mark.parametrize("parts", [1, 2])
def test_the_tensors_of_a_trusted_pickle_are_read(parts, tmp_path, monkeypatch):
    """pytorch_model.bin, or its parts, give the same embeddings as model.safetensors; nothing but tensors is read."""
    folder, expected = copied("bert", tmp_path), expected_of("bert")
    tensors = list(load_file(folder / "model.safetensors").items())
    (folder / "model.safetensors").unlink()
    for i in range(parts):
        name = "pytorch_model.bin" if parts == 1 else f"pytorch_model-0000{i}-of-00002.bin"
        write_state_dict(torch_names(monkeypatch), folder / name, dict(tensors[i::parts]))
    encoder = te.load_encoder(folder, trust=True)
    np.testing.assert_allclose(encoder(expected["texts"]), expected["mean"], atol=2e-5)


def test_a_torn_file_is_refused(tmp_path):
    """Half a model.safetensors is no model."""
    folder = copied("bert", tmp_path)
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"model\.safetensors cannot be read:.*fetch it again"):
        te.load_encoder(folder)


def test_other_types_are_refused_with_those_that_work(tmp_path):
    """A model type that is not known here: the message lists those that are."""
    (tmp_path / "config.json").write_text('{"model_type": "mamba"}')
    with pytest.raises(ValueError, match=r"of type 'mamba': expected one of texts \(bert, distilbert, roberta.*dinov2"):
        te.load_encoder(tmp_path)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("bert", {"hidden_act": "mish"}, "the activation 'mish': expected one of gelu, gelu_new"),
        ("bert", {"position_embedding_type": "relative_key"}, "positions of type 'relative_key': expected 'absolute'"),
        ("bert", {"is_decoder": True}, "describes a decoder"),
        ("deberta_v3", {"share_att_key": False}, "has share_att_key otherwise than DeBERTa-v3"),
        ("vit", {"image_size": 32}, "makes images of 16 pixels, config.json has positions for 32"),
    ],
)
def test_other_forms_are_refused(name, change, message, tmp_path):
    """What would be computed otherwise than transformers does it is an error, not a difference."""
    folder = copied(name, tmp_path)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(ValueError, match=message):
        te.load_encoder(folder)


def test_the_licence_is_read(tmp_path):
    """The head of README.md names it."""
    folder = copied("vit", tmp_path)
    (folder / "README.md").write_text("---\nlanguage: en\nlicense: mit\n---\n# license: none\n")
    assert te.load_encoder(folder).spec.licence == "mit"
