"""Encoders by short name: one literal table."""

from tfembed.encoders.catalog_models import MODELS
from tfembed.encoders.spec import EncoderSpec

_SPECS = (
    EncoderSpec(
        name="minilm",
        handle="keras_hub:all_minilm_l6_v2_en",
        kind="text",
        output="sequence_output",
        pooling="mean",
        normalize=True,
        licence="Apache-2.0",
        source="sentence-transformers/all-MiniLM-L6-v2",
        good_for="English sentences; small and quick",
    ),
    EncoderSpec(
        name="glyphs",
        handle="resource:glyphs",
        kind="image",
        image_size=(32, 32),
        licence="Apache-2.0",
        source="trained by scripts/make_glyphs.py on rendered letters and digits",
        good_for="characters and small drawings; ships with tfembed",
    ),
    EncoderSpec(
        name="nnlm",
        handle="https://tfhub.dev/google/nnlm-en-dim128/2",
        kind="text",
        licence="Apache-2.0",
        source="TF Hub",
        good_for="English text as a bag of words; very quick",
    ),
    EncoderSpec(
        name="use",
        handle="https://tfhub.dev/google/universal-sentence-encoder/4",
        kind="text",
        licence="Apache-2.0",
        source="TF Hub",
        good_for="English sentences and short paragraphs",
    ),
    EncoderSpec(
        name="small_bert",
        handle="https://tfhub.dev/tensorflow/small_bert/bert_en_uncased_L-4_H-512_A-8/1",
        preprocessing="https://tfhub.dev/tensorflow/bert_en_uncased_preprocess/3",
        kind="text",
        output="pooled_output",
        licence="Apache-2.0",
        source="TF Hub",
        good_for="English text to fine-tune on",
    ),
    EncoderSpec(
        name="mobilenet_v2",
        handle="https://tfhub.dev/google/imagenet/mobilenet_v2_100_224/feature_vector/5",
        kind="image",
        image_size=(224, 224),
        licence="Apache-2.0",
        source="TF Hub, trained on ImageNet",
        good_for="photographs; quick",
    ),
    EncoderSpec(
        name="efficientnet_v2_b0",
        handle="https://tfhub.dev/google/imagenet/efficientnet_v2_imagenet1k_b0/feature_vector/2",
        kind="image",
        image_size=(224, 224),
        licence="Apache-2.0",
        source="TF Hub, trained on ImageNet",
        good_for="photographs; more accurate than mobilenet_v2",
    ),
)

CATALOG: dict[str, EncoderSpec] = {spec.name: spec for spec in (*_SPECS, *MODELS)}
