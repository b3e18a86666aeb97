"""The catalogue says what is so."""

import keras_hub
import pytest

import tfembed as te
from tfembed.encoders.catalog import CATALOG, SPECS
from tfembed.encoders.catalog.towers import TOWERS
from tfembed.encoders.hub_families import family_of, image_size
from tfembed.encoders.spec import EncoderSpec
from tfembed.encoders.towers import FAMILIES

OFFLINE = [name for name, spec in CATALOG.items() if spec.handle.startswith(("applications:", "resource:"))]
# Networks that take seconds to make; the others of their families are made.
SLOW = {"convnext_base", "densenet201", "resnet101", "vgg19", "efficientnet_b3"}


def test_there_are_enough() -> None:
    """Texts and images, from several sources, each with its dimension; parameters where they are known."""
    assert len(CATALOG) == len(SPECS) >= 60, "a name stands there twice"
    assert {spec.kind for spec in CATALOG.values()} == {"text", "image"}
    assert [name for name, spec in CATALOG.items() if not spec.dim] == []
    unknown = {name for name, spec in CATALOG.items() if spec.parameters is None}
    assert unknown == {"use_large", "use_multilingual"}, "their documentation does not say"


def test_minilm_has_the_parameters_of_the_table(minilm: te.Encoder) -> None:
    """Those of its blocks; the pooler is none of them."""
    assert sum(block.num_parameters for block in minilm.blocks) == CATALOG["minilm"].parameters


@pytest.mark.parametrize("name", [name for name in OFFLINE if name not in SLOW])
def test_dimension_and_parameters_are_those_of_the_encoder(name: str) -> None:
    """Made with random weights, an encoder has the dimension and the parameters that the table has."""
    spec = CATALOG[name]
    encoder = te.load_encoder(name, **({"weights": None} if spec.handle.startswith("applications:") else {}))
    assert encoder.body.output.shape[-1] == spec.dim if hasattr(encoder.body, "output") else encoder.dim == spec.dim
    if spec.parameters is not None:
        assert sum(block.num_parameters for block in encoder.blocks) == spec.parameters


@pytest.mark.parametrize("name", [name for name, spec in CATALOG.items() if spec.handle.startswith("https:")])
def test_the_catalogue_agrees_with_the_table_of_families(name: str) -> None:
    """Size and preprocessing of an entry are those that its handle alone would get."""
    spec = CATALOG[name]
    if spec.kind == "image":
        assert image_size(spec.handle) == spec.image_size
    family = family_of(spec.handle)
    assert spec.preprocessing == (family.preprocessing if family and spec.kind == "text" else None)


@pytest.mark.parametrize("spec", TOWERS, ids=lambda spec: spec.name)
def test_encoders_of_both_are_presets_of_keras_hub(spec: EncoderSpec) -> None:
    """Known to KerasHub, under the same name; what the tower for images leaves is as large as that for texts is."""
    total = keras_hub.models.Backbone.presets[spec.name]["metadata"]["params"]
    texts = {("clip", 512): 63_428_096, ("clip", 768): 123_650_304, ("siglip", 768): 110_271_808}
    texts |= {("siglip", 1024): 336_194_624, ("siglip2", 768): 282_303_808, ("siglip2", 1024): 565_570_624}
    family = spec.name.split("_")[0]
    assert total - spec.parameters == texts[family, spec.dim] + (1 if family == "clip" else 2)  # those of the logits


def test_the_tower_of_clip_has_the_parameters_of_the_table() -> None:
    """Counted in the network, made with random weights; its tower for texts is a small one here."""
    images = keras_hub.models.CLIPVisionEncoder(
        patch_size=32, hidden_dim=768, num_layers=12, num_heads=12, intermediate_dim=3072
    )
    texts = keras_hub.models.CLIPTextEncoder(
        vocabulary_size=8, embedding_dim=4, hidden_dim=4, num_layers=1, num_heads=1, intermediate_dim=4
    )
    backbone = keras_hub.models.CLIPBackbone(images, texts, projection_dim=512)
    layers = FAMILIES["CLIPBackbone"].layers["image"](backbone)
    spec = CATALOG["clip_vit_base_patch32"]
    assert sum(layer.count_params() for layer in layers.values() if layer.built) == spec.parameters
    assert images.image_shape[:2] == spec.image_size
