"""Modules of TF Hub and Kaggle: found in their caches without a network, and what is known of them by their names."""

import hashlib
import io
import os
import shutil
import tarfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tiny_models import write_text_module

import tfembed as te
from tfembed.encoders.hub_families import family_of, image_size
from tfembed.encoders.request import name_of

NNLM = "https://tfhub.dev/google/nnlm-en-dim50/2"
MOBILENET = "https://tfhub.dev/google/imagenet/mobilenet_v2_035_96/feature_vector/5"
SMALL_BERT = "https://tfhub.dev/tensorflow/small_bert/bert_en_uncased_L-2_H-128_A-2/2"
PREPROCESS = "https://tfhub.dev/tensorflow/bert_en_uncased_preprocess/3"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Empty caches, and no network."""
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "tfhub"))
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "kaggle"))
    monkeypatch.setattr("urllib.request.OpenerDirector.open", _offline)
    monkeypatch.setattr("socket.getaddrinfo", _offline)
    return tmp_path / "tfhub"


def _offline(*_: Any, **__: Any) -> None:
    from urllib.error import URLError

    raise URLError("no network here")


def put(cache: Path, address: str, module: str) -> Path:
    """Put a module where tensorflow_hub would, had it downloaded it."""
    target = cache / hashlib.sha1(address.encode()).hexdigest()
    shutil.copytree(module, target)
    (cache / f"{target.name}.descriptor.txt").write_text(f"Module: {address}")
    return target


@pytest.fixture(scope="session")
def vectors(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A module from texts to vectors of length 4."""
    return write_text_module(tmp_path_factory.mktemp("vectors") / "module")


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A module from images of any size to the mean colour of each half, and their height."""
    folder = tmp_path_factory.mktemp("images") / "module"
    module = tf.train.Checkpoint()
    module.w = tf.Variable(tf.eye(3), name="w")

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3])])
    def call(pixels: tf.Tensor) -> tf.Tensor:
        height = tf.ones_like(pixels[:, 0, 0, :1]) * tf.cast(tf.shape(pixels)[1], tf.float32)
        return tf.concat([tf.reduce_mean(pixels, (1, 2)) @ module.w, height], axis=1)

    module.__call__, module.variables, module.trainable_variables = call, [module.w], [module.w]
    tf.saved_model.save(module, str(folder))
    return str(folder)


@pytest.fixture(scope="session")
def bert_pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """An encoder of tokens and its preprocessing, with the inputs and outputs of TF Hub's transformers."""
    root = tmp_path_factory.mktemp("bert")
    names = ("input_word_ids", "input_mask", "input_type_ids")
    before = tf.train.Checkpoint()

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def tokens(texts: tf.Tensor) -> dict[str, tf.Tensor]:
        letters = tf.cast(tf.io.decode_raw(texts, tf.uint8, fixed_length=16), tf.int32)
        return dict(zip(names, (letters, tf.cast(letters > 0, tf.int32), tf.zeros_like(letters)), strict=True))

    before.__call__ = tokens
    tf.saved_model.save(before, str(root / "preprocess"))
    encoder = tf.train.Checkpoint()
    encoder.table = tf.Variable(tf.random.stateless_normal([256, 6], [0, 1]), name="word_embeddings/table")
    spec = {name: tf.TensorSpec([None, None], tf.int32, name) for name in names}

    @tf.function(input_signature=[spec])
    def call(inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        vectors = tf.gather(encoder.table, inputs["input_word_ids"])
        return {"pooled_output": vectors[:, 0], "sequence_output": vectors}

    encoder.__call__, encoder.variables, encoder.trainable_variables = call, [encoder.table], [encoder.table]
    tf.saved_model.save(encoder, str(root / "encoder"))
    return str(root / "encoder"), str(root / "preprocess")


def test_a_module_in_the_cache_is_taken(cache: Path, vectors: str) -> None:
    """What tensorflow_hub downloaded once is found by its address, and gives what the folder gives."""
    put(cache, NNLM, vectors)
    texts = ["a refund", "where is it"]
    np.testing.assert_array_equal(te.load_encoder(NNLM)(texts), te.load_encoder(vectors)(texts))
    assert te.load_encoder(NNLM).spec.licence == te.load_encoder("nnlm_50").spec.licence == "Apache-2.0"
    assert te.load_encoder(vectors).spec.licence == "unknown"


@pytest.mark.parametrize("load_format", ["AUTO", "COMPRESSED", "UNCOMPRESSED"])
def test_the_format_does_not_matter_for_what_is_there(
    cache: Path, vectors: str, monkeypatch: pytest.MonkeyPatch, load_format: str
) -> None:
    """A module in the cache is not asked for on the web, however it would be downloaded."""
    monkeypatch.setenv("TFHUB_MODEL_LOAD_FORMAT", load_format)
    put(cache, NNLM, vectors)
    assert te.load_encoder(NNLM).spec.kind == "text"


def test_a_compressed_module_is_downloaded_once(cache: Path, vectors: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The archive that the web serves is unpacked into the cache, whole, and not asked for again."""
    packed, asked = io.BytesIO(), []
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        tar.add(vectors, arcname=".")

    def serve(_: Any, request: Any, *__: Any, **___: Any) -> Any:
        asked.append(request.full_url)
        response = io.BytesIO(packed.getvalue())
        response.geturl = lambda: request.full_url  # type: ignore[attr-defined]
        return response

    monkeypatch.setattr("urllib.request.OpenerDirector.open", serve)
    for _ in range(2):
        assert te.load_encoder(NNLM).dim == te.load_encoder(vectors).dim
    assert asked == [f"{NNLM}?tf-hub-format=compressed"]
    assert not [name for name in os.listdir(cache) if name.endswith((".tmp", ".lock"))]


def test_an_uncompressed_module_is_copied_once(cache: Path, vectors: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of an object store is copied into the cache, whole, and not asked for again."""
    remote = "ram://bucket/nnlm"
    for place, _, files in os.walk(vectors):
        target = f"{remote}/{os.path.relpath(place, vectors)}"
        tf.io.gfile.makedirs(target)
        for file in files:
            tf.io.gfile.copy(os.path.join(place, file), f"{target}/{file}", overwrite=True)
    monkeypatch.setenv("TFHUB_MODEL_LOAD_FORMAT", "UNCOMPRESSED")
    asked = SimpleNamespace(resolve=lambda _: remote)  # what tensorflow_hub would ask the web for
    monkeypatch.setattr("tfembed.saved_model.handles._tensorflow_hub", lambda: asked)
    expected = te.load_encoder(vectors)(["a refund"])
    np.testing.assert_array_equal(te.load_encoder(NNLM)(["a refund"]), expected)
    tf.io.gfile.rmtree(remote)
    np.testing.assert_array_equal(te.load_encoder(NNLM)(["a refund"]), expected)
    assert not [name for name in os.listdir(cache) if name.endswith(".tmp")]


def test_offline_the_error_says_what_to_put_where(cache: Path) -> None:
    """The address of the archive, and the folder that it belongs into."""
    with pytest.raises(ConnectionError, match="no network here") as error:
        te.load_encoder(NNLM)
    assert f"{NNLM}?tf-hub-format=compressed" in str(error.value)
    assert str(cache / hashlib.sha1(NNLM.encode()).hexdigest()) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "handle",
    [
        "kaggle://google/nnlm/tensorFlow2/en-dim50/1",
        "https://www.kaggle.com/models/google/nnlm/tensorFlow2/en-dim50/1",
    ],
)
def test_what_kagglehub_downloaded_is_taken(tmp_path: Path, vectors: str, handle: str) -> None:
    """A module in kagglehub's cache is found by its handle and by its page; a download that was cut off is not."""
    place = tmp_path / "kaggle" / "models" / "google" / "nnlm" / "tensorFlow2" / "en-dim50"
    shutil.copytree(vectors, place / "1")
    with pytest.raises(ConnectionError, match="en-dim50/1"):
        te.load_encoder(handle)
    (place / "1.complete").touch()
    assert te.load_encoder(handle).dim == te.load_encoder(vectors).dim


def test_a_wrong_name_on_kaggle_says_what_is_expected() -> None:
    """What is not of Kaggle's form is told at once."""
    with pytest.raises(ValueError, match=r"kaggle://OWNER/MODEL/FRAMEWORK/VARIATION/VERSION"):
        te.load_encoder("kaggle://nnlm")


def test_texts_get_the_preprocessing_that_belongs_to_them(cache: Path, bert_pair: tuple[str, str]) -> None:
    """The preprocessing of a well-known family is found by the encoder's name: one handle is enough."""
    put(cache, SMALL_BERT, bert_pair[0])
    put(cache, PREPROCESS, bert_pair[1])
    encoder = te.load_encoder(SMALL_BERT)
    pair = te.load_encoder(bert_pair[0], preprocessing=bert_pair[1])
    texts = ["a refund", "x"]
    np.testing.assert_array_equal(encoder(texts), pair(texts))
    assert (encoder.spec.preprocessing, encoder.dim) == (PREPROCESS, 6)
    assert te.load_encoder(SMALL_BERT, pooling="mean").spec.output == "sequence_output"


def test_preprocessing_never_trains(bert_pair: tuple[str, str], caplog: pytest.LogCaptureFixture) -> None:
    """A module in front of the encoder stays frozen when the encoder is unfrozen, and nothing is logged about it."""
    encoder = te.load_encoder(bert_pair[0], preprocessing=bert_pair[1])
    encoder.unfreeze(True)
    encoder(["a refund"], training=True)
    assert not encoder.preprocessing.trainable
    assert "trainable" not in caplog.text


def test_images_get_the_size_that_the_name_says(cache: Path, images: str) -> None:
    """A module that takes images of any size gets those that it was trained on, with values from 0 to 1."""
    put(cache, MOBILENET, images)
    encoder = te.load_encoder(MOBILENET)
    assert encoder.spec.image_size == (96, 96)
    found = encoder(np.full([1, 8, 8, 3], 255, "uint8"))
    np.testing.assert_allclose(found, [[1.0, 1.0, 1.0, 96.0]], atol=1e-5)


def test_tf1_modules_are_taken(cache: Path, tmp_path: Path) -> None:
    """A module in the format of TF1 Hub, from texts to vectors, is an encoder that never trains."""
    folder = tmp_path / "tf1"
    v1 = tf.compat.v1
    builder = v1.saved_model.builder.SavedModelBuilder(str(folder))
    with tf.Graph().as_default(), v1.Session() as session:
        texts = v1.placeholder(tf.string, [None])
        row = v1.get_variable("row", initializer=[[0.5, 2.0]], use_resource=True)
        session.run(v1.global_variables_initializer())
        output = tf.cast(tf.strings.length(texts), tf.float32)[:, None] @ row
        info = v1.saved_model.build_tensor_info
        signature = v1.saved_model.build_signature_def({"text": info(texts)}, {"default": info(output)})
        builder.add_meta_graph_and_variables(session, [], signature_def_map={"default": signature})
    builder.save()
    (folder / "tfhub_module.pb").write_bytes(b"\x08\x03")
    put(cache, "https://tfhub.dev/google/nnlm-en-dim50/1", str(folder))
    encoder = te.load_encoder("https://tfhub.dev/google/nnlm-en-dim50/1")
    np.testing.assert_allclose(encoder(["ab", "abcd"]), [[1.0, 4.0], [2.0, 8.0]])


def test_a_module_brings_its_own_weights(vectors: str) -> None:
    """Weights for a module would be ignored, and are refused."""
    with pytest.raises(ValueError, match="brings its own"):
        te.load_encoder(vectors, weights=None)


SIZES = {
    "https://tfhub.dev/google/imagenet/mobilenet_v2_100_224/feature_vector/5": 224,
    "https://tfhub.dev/google/imagenet/mobilenet_v3_small_075_224/feature_vector/5": 224,
    "https://tfhub.dev/google/imagenet/mobilenet_v1_050_160/feature_vector/5": 160,
    "https://www.kaggle.com/models/google/mobilenet-v2/tensorFlow2/035-128-feature-vector/2": 128,
    "https://tfhub.dev/google/imagenet/efficientnet_v2_imagenet21k_ft1k_xl/feature_vector/2": 512,
    "https://tfhub.dev/google/imagenet/efficientnet_v2_imagenet1k_b3/feature_vector/2": 300,
    "https://tfhub.dev/tensorflow/efficientnet/b4/feature-vector/1": 380,
    "https://tfhub.dev/tensorflow/efficientnet/lite3/feature-vector/2": 280,
    "https://tfhub.dev/google/bit/m-r101x3/1": 224,
    "https://tfhub.dev/google/imagenet/inception_v3/feature_vector/5": 299,
    "https://tfhub.dev/google/imagenet/inception_resnet_v2/feature_vector/5": 299,
    "https://tfhub.dev/google/imagenet/nasnet_large/feature_vector/5": 331,
    "https://tfhub.dev/google/imagenet/pnasnet_large/feature_vector/5": 331,
    "https://tfhub.dev/google/imagenet/nasnet_mobile/feature_vector/5": 224,
    "https://tfhub.dev/google/imagenet/resnet_v2_152/feature_vector/5": 224,
    "https://tfhub.dev/google/nnlm-en-dim50/2": None,
    "models/mobilenet_v2_100_224": None,
}


@pytest.mark.parametrize("handle", SIZES)
def test_sizes_by_name(handle: str) -> None:
    """The sizes that the modules' documentation recommends; none for others, and for folders."""
    assert image_size(handle) == (None if SIZES[handle] is None else (SIZES[handle],) * 2)


PREPROCESSING = {
    "https://tfhub.dev/tensorflow/small_bert/bert_en_uncased_L-4_H-512_A-8/2": "bert_en_uncased_preprocess/3",
    "https://tfhub.dev/tensorflow/bert_en_cased_L-12_H-768_A-12/4": "bert_en_cased_preprocess/3",
    "https://tfhub.dev/tensorflow/bert_en_wwm_cased_L-24_H-1024_A-16/4": "bert_en_cased_preprocess/3",
    "https://tfhub.dev/tensorflow/bert_multi_cased_L-12_H-768_A-12/4": "bert_multi_cased_preprocess/3",
    "https://tfhub.dev/tensorflow/bert_zh_L-12_H-768_A-12/4": "bert_zh_preprocess/3",
    "https://tfhub.dev/tensorflow/albert_en_base/3": "albert_en_preprocess/3",
    "https://tfhub.dev/google/electra_small/2": "bert_en_uncased_preprocess/3",
    "https://tfhub.dev/google/experts/bert/pubmed/2": "bert_en_uncased_preprocess/3",
    "https://tfhub.dev/google/LaBSE/2": "multilingual-preprocess/2",
    "https://www.kaggle.com/models/tensorflow/bert/tensorFlow2/bert-en-uncased-l-4-h-512-a-8/2": (
        "bert_en_uncased_preprocess/3"
    ),
}


@pytest.mark.parametrize("handle", PREPROCESSING)
def test_preprocessing_by_name(handle: str) -> None:
    """The preprocessing that the modules' documentation names."""
    family = family_of(handle)
    assert family is not None
    assert str(family.preprocessing).endswith(f"/{PREPROCESSING[handle]}")


NAMES = {
    NNLM: "nnlm-en-dim50",
    MOBILENET: "mobilenet_v2_035_96",
    SMALL_BERT: "bert_en_uncased_L-2_H-128_A-2",
    "https://tfhub.dev/tensorflow/efficientnet/b0/feature-vector/1": "efficientnet-b0",
    "https://tfhub.dev/google/bit/m-r50x1/1": "m-r50x1",
    "https://www.kaggle.com/models/google/mobilenet-v2/tensorFlow2/035-96-feature-vector/2": (
        "mobilenet-v2-035-96-feature-vector"
    ),
    "kaggle://google/nnlm/tensorFlow2/en-dim50/1": "nnlm-en-dim50",
    "kaggle://keras/bert/keras/bert_tiny_en_uncased/2": "bert_tiny_en_uncased",
    "hf://timm/resnet18.a1_in1k": "resnet18.a1_in1k",
    "applications:MobileNetV2?alpha=0.35": "MobileNetV2?alpha=0.35",
    "models/mine/": "mine",
}


@pytest.mark.parametrize("handle", NAMES)
def test_a_version_is_no_name(handle: str) -> None:
    """A leaderboard with two modules has two names, and not the numbers of their versions."""
    assert name_of(handle) == NAMES[handle]
