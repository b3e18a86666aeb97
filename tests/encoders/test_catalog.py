"""The catalogue says what is so."""

import pytest

import tfembed as te
from tfembed.encoders.catalog import CATALOG, SPECS
from tfembed.encoders.hub_families import family_of, image_size

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
