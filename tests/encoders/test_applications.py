"""Networks of keras.applications: pixels, blocks, weights."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny_encoders import pixels

import tfembed as te
from tfembed.encoders.application_table import FAMILIES, RANGES
from tfembed.encoders.applications import parse_variant
from tfembed.features.key import encoder_key

MODULES = {
    "VGG16": "vgg16",
    "VGG19": "vgg19",
    "ResNet50": "resnet",
    "ResNet50V2": "resnet_v2",
    "MobileNet": "mobilenet",
    "MobileNetV2": "mobilenet_v2",
    "MobileNetV3Small": "mobilenet_v3",
    "DenseNet121": "densenet",
    "InceptionV3": "inception_v3",
    "InceptionResNetV2": "inception_resnet_v2",
    "Xception": "xception",
    "NASNetMobile": "nasnet",
    "EfficientNetB0": "efficientnet",
    "EfficientNetV2B0": "efficientnet_v2",
    "ConvNeXtTiny": "convnext",
}
# The smallest of each family, at a size that it takes; its first and last blocks, and how many there are.
SMALLEST = {
    "VGG16?size=32": (["block1", "block2"], ["block5"], 5),
    "ResNet50?size=32": (["stem", "conv2_block1"], ["conv5_block2", "conv5_block3"], 17),
    "ResNet50V2?size=32": (["stem", "conv2_block1"], ["conv5_block3"], 17),
    "MobileNet?size=32&alpha=0.25": (["stem", "block_1"], ["block_13"], 14),
    "MobileNetV2?size=32&alpha=0.35": (["stem", "block_1"], ["block_16", "Conv_1"], 18),
    "MobileNetV3Small?size=32": (["stem", "block_1"], ["block_10", "conv_1"], 12),
    "MobileNetV3Large?size=32": (["stem", "block_1"], ["block_14", "conv_1"], 16),
    "DenseNet121?size=32": (["stem", "conv2_block1"], ["conv5_block16"], 59),
    "InceptionV3?size=75": (["stem", "mixed0"], ["mixed9", "mixed10"], 12),
    "InceptionResNetV2?size=75": (["stem", "mixed_5b", "block35_1"], ["block8_10", "conv_7b"], 45),
    "Xception?size=71": (["block1", "block2"], ["block13", "block14"], 14),
    "NASNetMobile?size=32": (["stem_1", "stem_2", "cell_0"], ["cell_10", "cell_11", "cell_12"], 16),
    "EfficientNetB0?size=32": (["stem", "block1"], ["block7", "top"], 9),
    "EfficientNetV2B0?size=32": (["stem", "block1"], ["block6", "top"], 8),
    "ConvNeXtTiny?size=32": (["stem", "stage_0_block_0"], ["stage_3_block_1", "stage_3_block_2"], 22),
}


@pytest.mark.parametrize("name", MODULES)
def test_pixels_are_those_of_preprocess_input(name: str) -> None:
    """Pixels come out as the network's own `preprocess_input` makes them; for some of them it does nothing."""
    from tfembed.encoders.preprocessing import ImagePreprocessing

    images = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3)).astype("uint8")
    expected = getattr(keras.applications, MODULES[name]).preprocess_input(images.astype("float32").copy())
    given = RANGES[FAMILIES[name].range]
    found = ImagePreprocessing((8, 8), given.mean, given.scale, given.channels)(tf.constant(images))
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_the_table_has_all_of_keras() -> None:
    """Every network of keras.applications is in the table, of the size that its classifier takes."""
    networks = {name for name in dir(keras.applications) if name[0].isupper()}
    assert set(FAMILIES) == networks


@pytest.mark.parametrize("handle", SMALLEST)
def test_blocks_have_the_names_that_people_know(handle: str) -> None:
    """Blocks go from input to output, hold every weight once, and compute what Keras's own network computes."""
    keras.utils.set_random_seed(0)
    encoder = te.load_encoder(f"applications:{handle}", weights=None)
    names = [block.name for block in encoder.blocks]
    first, last, number = SMALLEST[handle]
    assert (names[: len(first)], names[-len(last) :]) == (first, last)
    assert len(names) == number
    in_blocks = [id(variable) for block in encoder.blocks for variable in block.variables]
    weights = [weight for weight in encoder.body.weights if "seed_generator" not in weight.path]
    assert sorted(in_blocks) == sorted(map(id, weights))
    variant = parse_variant(handle)
    options = {**variant.options, "include_top": False, "weights": None, "pooling": "avg"}
    plain = getattr(keras.applications, variant.name)(input_shape=(variant.size, variant.size, 3), **options)
    plain.set_weights(encoder.body.get_weights())
    images = np.random.default_rng(0).normal(size=(1, variant.size, variant.size, 3)).astype("float32")
    np.testing.assert_allclose(encoder.body(images), plain(images), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("handle", ["ConvNeXtTiny?size=32", "InceptionResNetV2?size=75", "MobileNetV3Small?size=32"])
def test_networks_with_layers_of_their_own_are_made_again_of_their_config(handle: str) -> None:
    """Layers that Keras has for one network alone are found again when a file is read."""
    encoder = te.load_encoder(f"applications:{handle}", weights=None)
    config = keras.saving.serialize_keras_object(encoder)
    again = keras.saving.deserialize_keras_object(config)
    assert [block.name for block in again.blocks] == [block.name for block in encoder.blocks]


def test_the_middle_of_a_network_can_be_cut_between_named_blocks() -> None:
    """Where branches join, a block ends, and what crosses the cut is one tensor."""
    encoder = te.load_encoder("applications:InceptionV3?size=75", weights=None)
    images = tf.constant(pixels(2))
    prefix, suffix = encoder.cut(6)
    features = prefix(images)
    assert len(features) == 1
    np.testing.assert_allclose(suffix(features), encoder(images), rtol=1e-4, atol=1e-5)


def test_the_same_network_has_the_same_key_in_every_process(tmp_path: Path) -> None:
    """What else a process made does not change what features are known by."""
    program = (
        "import sys, keras, tfembed as te\n"
        "from tfembed.features.key import encoder_key, feature_key\n"
        "import numpy as np\n"
        "for _ in range(int(sys.argv[1])): keras.layers.Conv2D(1, 1), keras.Input((3,)), keras.layers.Add()\n"
        "encoder = te.load_encoder('applications:Xception?size=71', weights=sys.argv[2])\n"
        "print(feature_key(encoder, np.zeros([1, 8, 8, 3], 'uint8'), 3), encoder_key(encoder))\n"
    )
    keras.utils.set_random_seed(0)
    weights = tmp_path / "xception.weights.h5"
    plain = keras.applications.Xception(include_top=False, weights=None, input_shape=(71, 71, 3))
    plain.save_weights(weights)
    keys = set()
    for number in ("0", "3"):
        run = subprocess.run(
            [sys.executable, "-c", program, number, str(weights)], capture_output=True, text=True, check=True
        )
        keys.add(run.stdout.splitlines()[-1])
    assert len(keys) == 1


@pytest.mark.parametrize("suffix", [".weights.h5", ".h5"])
def test_weights_come_from_a_file(tmp_path: Path, suffix: str) -> None:
    """A file that `save_weights` wrote is read; the encoder gives what that network gives."""
    keras.utils.set_random_seed(0)
    plain = keras.applications.MobileNetV2(
        alpha=0.35, include_top=False, weights=None, input_shape=(32, 32, 3), pooling="avg"
    )
    path = tmp_path / f"mobilenet{suffix}"
    plain.save_weights(path) if suffix == ".weights.h5" else plain.save(path)
    encoder = te.load_encoder("applications:MobileNetV2?alpha=0.35&size=32", weights=path)
    images = pixels(2)
    resized = tf.image.resize(tf.constant(images), (32, 32)) / 127.5 - 1.0
    np.testing.assert_allclose(encoder(images), plain(resized), rtol=1e-4, atol=1e-5)
    assert (encoder.dim, encoder.spec.image_size) == (1280, (32, 32))


@pytest.mark.parametrize(
    ("handle", "options", "message"),
    [
        ("MobileNetV5", {}, "has no 'MobileNetV5'. Did you mean 'MobileNetV2' .*Choose one of VGG16, .*ConvNeXtXLarge"),
        (
            "ResNet50?alpha=0.5",
            {},
            r"Cannot read 'ResNet50\?alpha=0.5': expected ResNet50, with a number",
        ),
        ("MobileNetV2?alpha=wide", {}, "with a number for each of size, alpha"),
        ("ResNet50?size=8", {"weights": None}, "Cannot make applications:ResNet50.*at least 32"),
        ("ResNet50?size=32", {"weights": None, "pooling": "cls"}, "'cls' is for tokens"),
        (
            "ResNet50?size=32",
            {"weights": None, "output": "conv9"},
            "no such layer.*conv1_pad.*conv5_block3",
        ),
        ("ResNet50?size=32", {"weights": "none.h5"}, "'none.h5' does not exist: .*takes a .h5 or .weights.h5 file"),
    ],
)
def test_what_cannot_be_made_is_refused(handle: str, options: dict[str, Any], message: str) -> None:
    """Each mistake is one line that says what would be right."""
    with pytest.raises(ValueError, match=message) as error:
        te.load_encoder(f"applications:{handle}", **options)
    assert "\n" not in str(error.value)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    """A file of another width, of another format, or that is none, is told in one line."""
    other = tmp_path / "other.weights.h5"
    keras.applications.MobileNet(alpha=0.25, include_top=False, weights=None, input_shape=(32, 32, 3)).save_weights(
        other
    )
    (tmp_path / "text.weights.h5").write_text("no weights")
    (tmp_path / "text.txt").write_text("no weights")
    for name in ("other.weights.h5", "text.weights.h5", "text.txt"):
        with pytest.raises(ValueError, match="applications:MobileNetV2") as error:
            te.load_encoder("applications:MobileNetV2?size=32", weights=tmp_path / name)
        assert "\n" not in str(error.value)
        assert name in str(error.value)


@pytest.mark.parametrize(
    ("handle", "file"), [("ResNet50", "resnet50_weights"), ("NASNetMobile", "nasnet_mobile_no_top.h5")]
)
def test_offline_the_error_says_which_file_to_put_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, handle: str, file: str
) -> None:
    """The address that cannot be reached, and where Keras would look for the file."""

    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr("keras.src.backend.config._KERAS_DIR", str(tmp_path))
    monkeypatch.setattr("keras.src.utils.file_utils.urlretrieve", _fails)
    with pytest.raises(ConnectionError, match=r"https://storage.googleapis.com/.*") as error:
        te.load_encoder(f"applications:{handle}")
    assert "\n" not in str(error.value)
    assert f"models/{file}" in str(error.value)
    assert "weights=None" in str(error.value)


def _fails(*_: Any) -> None:
    from urllib.error import URLError

    raise URLError("no network here")


def test_weights_that_were_put_there_are_not_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies where the message said is taken, without a look at the network."""
    keras.utils.set_random_seed(0)
    plain = keras.applications.MobileNetV2(alpha=0.35, include_top=False, weights=None, input_shape=(96, 96, 3))
    name = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_96_no_top.h5"
    (tmp_path / "models").mkdir()
    plain.save(tmp_path / "models" / name)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr("keras.src.backend.config._KERAS_DIR", str(tmp_path))
    monkeypatch.setattr("keras.src.utils.file_utils.urlretrieve", _fails)
    encoder = te.load_encoder("applications:MobileNetV2?alpha=0.35&size=96")
    np.testing.assert_allclose(encoder.body.get_weights()[0], plain.get_weights()[0])


def test_an_embedding_of_a_layer_in_the_middle() -> None:
    """`output` names a layer: what leads to it is the encoder, its pixels are averaged."""
    encoder = te.load_encoder("applications:ResNet50?size=32", weights=None, output="conv3_block4_out")
    assert encoder.dim == 512
    assert encoder.blocks[-1].name == "conv3_block4"


def test_a_frozen_network_keeps_its_statistics() -> None:
    """Batch norm of frozen blocks does not move while the last block trains; that of the last block does."""
    data = te.Dataset.from_arrays(pixels(12), [0, 1] * 6, validation=0, test=0)
    encoder = te.load_encoder("applications:MobileNetV2?alpha=0.35&size=32", weights=None)
    model = te.build_image_classifier(encoder, data.class_names)
    statistics = {v.path: v for block in encoder.blocks for v in block.variables if "moving" in v.path}
    before = {path: variable.numpy() for path, variable in statistics.items()}
    phase = te.Phase(name="top", unfreeze=1, epochs=1, learning_rate=1e-2, batch_size=4)
    te.train(model, data, te.Strategy(name="top", phases=(phase,)))
    moved = {path.split("/")[0] for path, v in statistics.items() if not np.array_equal(before[path], v.numpy())}
    assert moved == {"Conv_1_bn"}
    assert encoder_key(encoder)


def test_real_weights_tell_blood_cells(shared: Path) -> None:
    """Frozen MobileNetV2 of ImageNet, from a file, random 80/20 split of BCCD: at least 95 %."""
    data = te.load_images(shared / "data" / "bccd" / "crops", validation=0, test=0.2)
    weights = shared / "weights" / "mobilenet_v2_0.35_224_no_top.weights.h5"
    encoder = te.load_encoder("applications:MobileNetV2?alpha=0.35", weights=weights)
    result = te.train(te.build_image_classifier(encoder, data.class_names), data, te.linear_probe())
    assert result.metrics["test"]["accuracy"] >= 0.95
