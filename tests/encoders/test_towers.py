"""CLIP, SigLIP and MetaCLIP 2: one tower embeds texts, one images, as KerasHub's own backbone does."""

from pathlib import Path
from typing import Any

import keras
import keras_hub
import numpy as np
import pytest
import tensorflow as tf
from tiny_presets import TOWERS, write_towers

import tfembed as te
from tfembed.encoders.towers import space_of
from tfembed.search.encoders import randomize

# Digits, accents, capitals and spaces are where KerasHub's tokenizer in a graph goes astray from CLIP's own.
SENTENCES = ["a Red shoe", "where is my 2024 card", "École, isn't it? Ça va", "blue\u00a0shoe", "again and again " * 9]
PICTURES = np.random.default_rng(0).integers(0, [[[[256]]], [[[180]]], [[[90]]], [[[20]]]], (4, 20, 28, 3), "uint8")


@pytest.fixture(scope="module", params=TOWERS)
def preset(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A preset of each family: its name, folder, backbone and preprocessor."""
    folder = tmp_path_factory.mktemp(request.param) / "preset"
    return request.param, folder, *write_towers(request.param, folder)


def logits(name: str, backbone: Any, preprocessor: Any, texts: list[str]) -> np.ndarray:
    """What KerasHub computes of all images and texts, outside of graphs, as cosines."""
    lowered = tf.constant([text.lower() for text in texts]) if name != "clip" else tf.constant(texts)
    given = preprocessor({"prompts": lowered, "images": tf.constant(PICTURES)})
    found = backbone({each: given[each] for each in ("images", "token_ids")})["text_logits"]
    head = next(layer for layer in backbone.layers if layer.name.endswith("_head"))
    bias = getattr(head, "logit_bias", None)
    return (np.asarray(found) - (0.0 if bias is None else float(bias))) / np.exp(float(head.logit_scale))


def test_cosines_are_those_of_the_backbone(preset: Any) -> None:
    """Of vectors of length 1 that the towers make of raw texts and images; alone, in a batch, and in a graph."""
    name, folder, backbone, preprocessor = preset
    images, texts = te.load_encoder(folder), te.load_encoder(folder, kind="text")
    pictures, words = images(PICTURES).numpy(), texts(SENTENCES).numpy()
    for vectors in (pictures, words):
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-6)
    expected = logits(name, backbone, preprocessor, SENTENCES)
    assert expected.std(axis=0).min() > 0.01
    assert expected.std(axis=1).min() > 0.01
    np.testing.assert_allclose(words @ pictures.T, expected, atol=2e-6)
    alone = np.concatenate([texts([sentence]).numpy() for sentence in SENTENCES])
    in_graph = tf.function(texts, autograph=False)(tf.constant(SENTENCES)).numpy()
    np.testing.assert_allclose(alone, words, atol=2e-6)
    np.testing.assert_allclose(in_graph, words, atol=2e-6)
    encoded = tf.constant([tf.io.encode_png(each).numpy() for each in PICTURES])
    np.testing.assert_allclose(images(encoded), pictures, atol=2e-6)


def test_each_tower_says_what_it_is(preset: Any) -> None:
    """Kind, size, length of an embedding, parameters; blocks have names that people know and hold all weights once."""
    name, folder, backbone, _ = preset
    counted = 0
    for kind in ("image", "text"):
        encoder = te.load_encoder(folder, kind=kind)
        last = "head" if name == "siglip" else "projection"
        assert [block.name for block in encoder.blocks] == ["embeddings", "layer_0", "layer_1", last]
        spec = encoder.spec
        assert (spec.kind, spec.both, encoder.dim) == (kind, True, 8 if name == "siglip" else 6)
        assert spec.image_size == ((16, 16) if kind == "image" else None)
        assert spec.parameters == sum(block.num_parameters for block in encoder.blocks)
        counted += spec.parameters
    assert counted == backbone.count_params() - (2 if name == "siglip" else 1)  # what scales and shifts the logits


def test_both_share_a_space_until_one_is_trained(preset: Any, tmp_path: Path) -> None:
    """Its name is the same for both towers and every loading, another for other weights, and lost by training."""
    name, folder, _, _ = preset
    images, texts = te.load_encoder(folder), te.load_encoder(folder, kind="text")
    space = space_of(images)
    assert space is not None
    assert space == space_of(texts) == space_of(te.load_encoder(folder))
    write_towers(name, tmp_path / "other", seed=1)
    assert space_of(te.load_encoder(tmp_path / "other")) not in (None, space)
    kernel = images.blocks[1].variables[2]
    kernel.assign(kernel * 2.0)
    assert space_of(images) not in (None, space)
    assert space_of(te.load_encoder("glyphs")) is None


def test_the_other_tower_of_a_file_of_weights(preset: Any, tmp_path: Path) -> None:
    """Both towers take their part of a file of weights; random ones have no space in common."""
    _, folder, backbone, _ = preset
    backbone.save_weights(tmp_path / "all.weights.h5")
    loaded = [te.load_encoder(folder, kind=kind, weights=tmp_path / "all.weights.h5") for kind in ("image", "text")]
    assert space_of(loaded[0]) == space_of(loaded[1]) == space_of(te.load_encoder(folder))
    drawn = [te.load_encoder(folder, kind=kind, weights=None) for kind in ("image", "text")]
    assert space_of(drawn[0]) != space_of(drawn[1])


def test_a_tower_begins_from_scratch(preset: Any) -> None:
    """As a search makes its baselines of an encoder: each weight has a name that says how it begins."""
    for kind in ("image", "text"):
        randomize(te.load_encoder(preset[1], kind=kind), seed=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "texts"}, "Unknown kind 'texts': pass one of text, image, or None"),
        ({"pooling": "mean"}, "pooling='mean': encoder 'preset' makes one vector of each image.*Leave it out"),
        ({"output": "x", "kind": "text"}, "output='x': encoder 'preset' makes one vector of each text.*Leave it out"),
        ({"sequence_length": 99, "kind": "text"}, "sequence_length=99: encoder 'preset' has positions for at most"),
    ],
)
def test_what_a_tower_has_not(preset: Any, options: dict[str, Any], message: str) -> None:
    """Options that a tower does not have are refused in a line."""
    with pytest.raises(ValueError, match=message) as error:
        te.load_encoder(preset[1], **options)
    assert "\n" not in str(error.value)


def test_other_encoders_embed_one_kind() -> None:
    """To want the other kind of an encoder of one is an error that says what it embeds; its own kind may be said."""
    assert te.load_encoder("glyphs", kind="image").dim == 192
    with pytest.raises(ValueError, match=r"'glyphs' embeds images alone, no texts\. Take another encoder, or one that"):
        te.load_encoder("glyphs", kind="text")


def test_a_preset_without_its_tokenizer_says_so(tmp_path: Path) -> None:
    """What is missing is named where it is needed: images need no tokenizer."""
    write_towers("clip", tmp_path / "clip")
    (tmp_path / "clip" / "tokenizer.json").unlink()
    (tmp_path / "clip" / "preprocessor.json").unlink()
    assert te.load_encoder(tmp_path / "clip").dim == 6
    with pytest.raises(ValueError, match=r"not whole: `tokenizer.json` doesn't exist.*save_to_preset"):
        te.load_encoder(tmp_path / "clip", kind="text")


def test_other_networks_of_both_are_refused(tmp_path: Path) -> None:
    """One that makes text of images is no encoder; the error names those that are."""
    models = keras_hub.models
    backbone = models.PaliGemmaBackbone(
        vocabulary_size=16,
        image_size=8,
        num_layers=1,
        num_query_heads=1,
        num_key_value_heads=1,
        hidden_dim=4,
        intermediate_dim=4,
        head_dim=4,
        vit_patch_size=4,
        vit_num_heads=1,
        vit_hidden_dim=4,
        vit_num_layers=1,
        vit_intermediate_dim=4,
    )
    backbone.save_to_preset(str(tmp_path / "pali"))
    with pytest.raises(ValueError, match=r"PaliGemmaBackbone, which takes.*a tower for each \(CLIPBackbone"):
        te.load_encoder(tmp_path / "pali")


@pytest.mark.parametrize("handle", ["clip_vit_base_patch32", "keras_hub:siglip_base_patch16_224"])
def test_presets_are_known_by_name(handle: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Offline, a preset that is not in the cache is an error that says where to put it."""

    def unreachable(*_: Any, **__: Any) -> Any:
        raise ConnectionError("Max retries exceeded")

    monkeypatch.setattr(keras_hub.models.Backbone, "from_preset", unreachable)
    with pytest.raises(ConnectionError, match="could not be downloaded: Max retries exceeded"):
        te.load_encoder(handle, kind="text")


def test_embed_takes_either(tmp_path: Path) -> None:
    """Of a handle the tower is loaded that the data are for; an encoder in memory names the other one."""
    folder = tmp_path / "preset"
    write_towers("siglip", folder)
    images = te.load_encoder(folder)
    np.testing.assert_allclose(te.embed(folder, PICTURES), images(PICTURES), atol=2e-6)
    expected = te.load_encoder(folder, kind="text")(SENTENCES)
    np.testing.assert_allclose(te.embed(folder, SENTENCES), expected, atol=2e-6)
    with pytest.raises(ValueError, match=r"expected images, which .* takes\. Its other tower takes texts"):
        te.embed(images, SENTENCES)
    data = te.Dataset.from_arrays(SENTENCES, [0, 1, 0, 1, 0], validation=0, test=0)
    assert te.knn_head(folder, data, neighbours=1).predict(SENTENCES[1:2])[0].label == "1"


def test_a_text_tower_is_limited_and_packed_as_it_was_trained(tmp_path: Path) -> None:
    """CLIP keeps the first tokens and the end; SigLIP reads padding too, so that every text has the full length."""
    for name in ("clip", "siglip"):
        keras.utils.set_random_seed(0)
        write_towers(name, tmp_path / name)
    clip = te.load_encoder(tmp_path / "clip", kind="text", sequence_length=5)
    tokens = clip.prepare(tf.constant(["a red blue shoe again"]))["token_ids"].numpy()[0]
    assert (tokens[0], tokens[-1], len(tokens)) == (*sorted(tokens)[-2:], 5)
    prepared = te.load_encoder(tmp_path / "siglip", kind="text").prepare(tf.constant(["a red shoe"]))
    assert {key: value.shape.as_list() for key, value in prepared.items()} == {"token_ids": [1, 16]}
    with pytest.raises(ValueError, match="takes no tokens with a padding mask"):
        te.load_encoder(tmp_path / "siglip", kind="text", sequence_length=5)
