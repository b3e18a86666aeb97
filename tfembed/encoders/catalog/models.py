"""Encoders of KerasHub and of the Hugging Face Hub, by short name: a literal table."""

from tfembed.encoders.spec import EncoderSpec

# Name, handle, length of an embedding, parameters of the blocks (those of a pooler are not loaded), licence of the
# weights, what it is good for.
_TEXTS = (
    (
        "minilm_l12",
        "hf://sentence-transformers/all-MiniLM-L12-v2",
        384,
        33_211_392,
        "Apache-2.0",
        "English sentences; twice the layers of minilm",
    ),
    (
        "mpnet_base",
        "hf://sentence-transformers/all-mpnet-base-v2",
        768,
        108_894_336,
        "Apache-2.0",
        "English sentences; accurate",
    ),
    (
        "distilroberta",
        "hf://sentence-transformers/all-distilroberta-v1",
        768,
        81_525_504,
        "Apache-2.0",
        "English sentences",
    ),
    (
        "multilingual_minilm",
        "hf://sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2",
        384,
        117_505_152,
        "Apache-2.0",
        "sentences in 50 languages",
    ),
    ("bge_small", "hf://BAAI/bge-small-en-v1.5", 384, 33_211_392, "MIT", "English search and sentences"),
    ("bge_base", "hf://BAAI/bge-base-en-v1.5", 768, 108_890_112, "MIT", "English search and sentences"),
    ("e5_small", "hf://intfloat/e5-small-v2", 384, 33_211_392, "MIT", "English search; write 'query: ' in front"),
    (
        "multilingual_e5_small",
        "hf://intfloat/multilingual-e5-small",
        384,
        117_505_152,
        "MIT",
        "100 languages; write 'query: ' in front",
    ),
    ("gte_small", "hf://thenlper/gte-small", 384, 33_211_392, "MIT", "English search and sentences"),
    ("gte_base", "hf://thenlper/gte-base", 768, 108_890_112, "MIT", "English search and sentences"),
    (
        "bert_tiny",
        "keras_hub:bert_tiny_en_uncased",
        128,
        4_369_408,
        "Apache-2.0",
        "trying out; English text to fine-tune on",
    ),
    ("bert_base", "keras_hub:bert_base_en_uncased", 768, 108_891_648, "Apache-2.0", "English text to fine-tune on"),
    (
        "distilbert",
        "keras_hub:distil_bert_base_en_uncased",
        768,
        66_362_880,
        "Apache-2.0",
        "English text to fine-tune on; quick",
    ),
    (
        "roberta_base",
        "keras_hub:roberta_base_en",
        768,
        124_052_736,
        "MIT",
        "English text to fine-tune on, in capitals too",
    ),
    (
        "albert_base",
        "keras_hub:albert_base_en_uncased",
        768,
        11_092_992,
        "Apache-2.0",
        "English text to fine-tune on; a small file",
    ),
    (
        "deberta_v3_small",
        "keras_hub:deberta_v3_small_en",
        768,
        141_304_320,
        "MIT",
        "English text to fine-tune on; accurate",
    ),
    (
        "electra_small",
        "keras_hub:electra_small_discriminator_uncased_en",
        256,
        13_483_008,
        "Apache-2.0",
        "English text to fine-tune on; quick",
    ),
    (
        "xlm_roberta_base",
        "keras_hub:xlm_roberta_base_multi",
        768,
        277_450_752,
        "MIT",
        "text in 100 languages to fine-tune on",
    ),
)
_IMAGES = (
    ("resnet18_keras_hub", "keras_hub:resnet_18_imagenet", 512, 11_186_112, "Apache-2.0", "photographs; quick"),
    ("resnet50_keras_hub", "keras_hub:resnet_50_imagenet", 2048, 23_561_152, "Apache-2.0", "photographs"),
    ("vgg16_keras_hub", "keras_hub:vgg_16_imagenet", 512, 14_714_688, "Apache-2.0", "photographs; a plain design"),
    (
        "efficientnet_b0_keras_hub",
        "keras_hub:efficientnet_b0_ra_imagenet",
        1280,
        4_049_564,
        "Apache-2.0",
        "photographs; small and accurate",
    ),
    ("densenet121_keras_hub", "keras_hub:densenet_121_imagenet", 1024, 7_037_504, "Apache-2.0", "photographs"),
    (
        "vit_base",
        "hf://google/vit-base-patch16-224-in21k",
        768,
        85_798_656,
        "Apache-2.0",
        "photographs to fine-tune on",
    ),
    ("dinov2_small", "hf://facebook/dinov2-small", 384, 21_628_800, "Apache-2.0", "pictures of all kinds"),
    ("dinov2_base", "hf://facebook/dinov2-base", 768, 85_724_928, "Apache-2.0", "pictures of all kinds"),
)

MODELS = tuple(
    EncoderSpec(
        name=name,
        handle=handle,
        kind=kind,
        dim=dim,
        parameters=parameters,
        licence=licence,
        source=handle.replace("hf://", "https://huggingface.co/").replace("keras_hub:", "KerasHub, "),
        good_for=good_for,
    )
    for kind, rows in (("text", _TEXTS), ("image", _IMAGES))
    for name, handle, dim, parameters, licence, good_for in rows
)
