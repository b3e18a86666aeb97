"""Encoders by short name: one literal table, its longer parts in modules of their own."""

from tfembed.encoders.catalog.hub import HUB
from tfembed.encoders.catalog.images import APPLICATIONS, TIMM
from tfembed.encoders.catalog.models import MODELS
from tfembed.encoders.catalog.towers import TOWERS
from tfembed.encoders.spec import EncoderSpec

SPECS = (
    EncoderSpec(
        name="minilm",
        handle="keras_hub:all_minilm_l6_v2_en",
        kind="text",
        output="sequence_output",
        pooling="mean",
        normalize=True,
        dim=384,
        parameters=22_565_376,
        licence="Apache-2.0",
        source="sentence-transformers/all-MiniLM-L6-v2",
        good_for="English sentences; small and quick",
    ),
    EncoderSpec(
        name="glyphs",
        handle="resource:glyphs",
        kind="image",
        image_size=(32, 32),
        dim=192,
        parameters=320_552,
        licence="Apache-2.0",
        source="trained by scripts/make_glyphs.py on rendered letters and digits",
        good_for="characters and small drawings; ships with tfembed",
    ),
    *HUB,
    *APPLICATIONS,
    *TIMM,
    *MODELS,
    *TOWERS,
)

CATALOG: dict[str, EncoderSpec] = {spec.name: spec for spec in SPECS}
