"""Networks of TorchVision and timm, from their files of weights: the same numbers as theirs, without PyTorch."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import torch_recipe
from safetensors.numpy import save_file

import tfembed as te

DATA = Path(__file__).parent / "data"
SIZE = 64
# What scripts/make_torch_references.py wrote, with the first and last blocks and how many there are.
NETWORKS = {
    "timm/resnet18": (["stem", "layer1_0"], "layer4_1", 9),
    "timm/resnet50": (["stem", "layer1_0"], "layer4_2", 17),
    "timm/resnext50_32x4d": (["stem", "layer1_0"], "layer4_2", 17),
    "timm/vgg16": (["block1", "block2"], "block5", 5),
    "timm/vgg11_bn": (["block1", "block2"], "block5", 5),
    "timm/mobilenetv2_100": (["stem", "blocks_0_0"], "head", 19),
    "timm/mobilenetv3_small_050": (["stem", "blocks_0_0"], "head", 14),
    "timm/mobilenetv3_large_100": (["stem", "blocks_0_0"], "head", 18),
    "timm/efficientnet_b0": (["stem", "blocks_0_0"], "head", 18),
    "timm/tf_efficientnet_b0": (["stem", "blocks_0_0"], "head", 18),
    "timm/efficientnetv2_rw_t": (["stem", "blocks_0_0"], "head", 41),
    "torchvision/resnet18": (["stem", "layer1_0"], "layer4_1", 9),
    "torchvision/densenet121": (["stem", "denseblock1"], "denseblock4", 5),
    "torchvision/mobilenet_v2": (["stem", "features_1"], "head", 19),
    "torchvision/mobilenet_v3_small": (["stem", "features_1"], "head", 13),
    "torchvision/mobilenet_v3_large": (["stem", "features_1"], "head", 17),
    "torchvision/efficientnet_b0": (["stem", "features_1_0"], "head", 18),
    "torchvision/efficientnet_v2_s": (["stem", "features_1_0"], "head", 42),
}


@pytest.fixture(scope="module")
def stored() -> Any:
    return np.load(DATA / "torch_networks.npz")


def weights_of(stored: Any, network: str) -> dict[str, np.ndarray]:
    return torch_recipe.state_dict(torch_recipe.unpacked(stored[f"{network}/shapes"]))


def folder_of(folder: Path, network: str, weights: dict[str, np.ndarray], size: int = SIZE) -> Path:
    """A folder in timm's format."""
    folder.mkdir()
    save_file(weights, folder / "model.safetensors")
    pixels = {"input_size": [3, size, size], "mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic"}
    config = {"architecture": network.split("/")[1], "pretrained_cfg": pixels | {"crop_pct": 0.9, "license": "mit"}}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_every_stored_network_is_tested(stored: Any) -> None:
    """What the script wrote is what is looked at here."""
    assert {name.rpartition("/")[0] for name in stored.files} == set(NETWORKS)


@pytest.mark.parametrize("network", NETWORKS)
def test_features_are_those_of_the_library(tmp_path: Path, stored: Any, network: str) -> None:
    """With the same weights, the embedding is what PyTorch computes, and blocks have names that people know."""
    encoder = te.load_encoder(folder_of(tmp_path / "model", network, weights_of(stored, network)))
    expected = stored[f"{network}/features"]
    found = encoder.body(tf.constant(torch_recipe.normalised(SIZE))).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-4 * max(1.0, np.abs(expected).max()))
    assert encoder.dim == expected.shape[1]
    names = [block.name for block in encoder.blocks]
    first, last, number = NETWORKS[network]
    assert (names[:2], names[-1], len(names)) == (first, last, number)


@pytest.mark.parametrize("network", NETWORKS)
def test_features_are_those_of_the_installed_library(tmp_path: Path, network: str) -> None:
    """The same, against the library itself where it is installed, with its own weights."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: the extra `reference` has it")
    library, name = network.split("/")
    maker = pytest.importorskip(library, reason=f"{library} is not installed: the extra `reference` has it")
    model = (maker.create_model(name) if library == "timm" else maker.models.get_model(name)).eval()
    weights = {key: value.numpy() for key, value in model.state_dict().items()}
    encoder = te.load_encoder(folder_of(tmp_path / "model", network, weights))
    images = torch_recipe.normalised(SIZE)
    with torch.no_grad():
        given = torch.from_numpy(images).permute(0, 3, 1, 2)
        found = getattr(model, "forward_features", getattr(model, "features", None))(given)
    expected = found.relu().mean((2, 3)).numpy()
    np.testing.assert_allclose(encoder.body(tf.constant(images)), expected, atol=1e-4)


@pytest.mark.parametrize("method", ["bilinear", "bicubic"])
def test_pixels_are_those_of_the_library(method: str) -> None:
    """A picture is resized, cut out and scaled as TorchVision does it, but for its rounding to whole numbers."""
    from tfembed.encoders.preprocessing import ImagePreprocessing

    picture = torch_recipe.image(120)[:100]
    expected = np.load(DATA / "torch_pixels.npz")[method]
    layer = ImagePreprocessing((40, 40), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), interpolation=method, crop=0.875)
    found = layer(tf.constant(picture[None]))[0].numpy()
    assert np.abs(found - expected).max() <= 1.01 / 255 / 0.224
    assert np.mean(np.abs(found - expected) > 1e-5) < 0.2  # one level, of rounding in between
    from_bytes = layer(tf.constant([tf.io.encode_png(picture).numpy()]))[0]
    np.testing.assert_allclose(from_bytes, found, atol=1e-5)


def test_a_file_alone_tells_its_network(tmp_path: Path, stored: Any) -> None:
    """A bare file is enough: its names and shapes tell the network; images are as TorchVision has them."""
    network = "torchvision/resnet18"
    weights = weights_of(stored, network) | {
        "fc.weight": np.zeros((7, 512), "float32"),
        "bn1.num_batches_tracked": np.int64(3),
    }
    save_file({name: np.asarray(value) for name, value in weights.items()}, tmp_path / "mine.safetensors")
    encoder = te.load_encoder(tmp_path / "mine.safetensors")
    assert (encoder.spec.name, encoder.spec.image_size, encoder.spec.crop) == ("mine.safetensors", (224, 224), 0.875)
    assert encoder.spec.mean == (0.485, 0.456, 0.406)
    named = te.load_encoder("torchvision:resnet18", weights=tmp_path / "mine.safetensors")
    images = torch_recipe.image(224)[None]
    np.testing.assert_allclose(named(images), encoder(images))


@pytest.mark.parametrize("prefix", ["_orig_mod.", "model.", "module._orig_mod.", "model.backbone."])
def test_prefixes_that_all_names_share_are_taken_off(tmp_path: Path, stored: Any, prefix: str) -> None:
    """State dicts of compiled models and of Lightning are those of the network inside."""
    weights = weights_of(stored, "torchvision/resnet18")
    save_file({f"{prefix}{name}": value for name, value in weights.items()}, tmp_path / "mine.safetensors")
    blocks = te.load_encoder(tmp_path / "mine.safetensors").blocks
    (kernel,) = [v for v in blocks[0].variables if "conv" in v.path]
    np.testing.assert_array_equal(kernel, weights["conv1.weight"].transpose(2, 3, 1, 0))


def test_a_config_tells_the_pixels(tmp_path: Path, stored: Any) -> None:
    """Size, range, interpolation, crop and licence are those of timm's config.json."""
    encoder = te.load_encoder(folder_of(tmp_path / "model", "timm/resnet18", weights_of(stored, "timm/resnet18"), 48))
    spec = encoder.spec
    assert (spec.image_size, spec.mean, spec.scale) == ((48, 48), (0.5,) * 3, (0.5,) * 3)
    assert (spec.interpolation, spec.crop, spec.licence) == ("bicubic", 0.9, "mit")


def test_a_name_on_the_hub_is_fetched(tmp_path: Path, stored: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """`hf://timm/NAME` and `timm:NAME` take config.json and model.safetensors from huggingface_hub's cache."""
    commit = "0" * 40
    base = tmp_path / "hub" / "models--timm--resnet18.a1_in1k"
    (base / "refs").mkdir(parents=True)
    (base / "refs" / "main").write_text(commit)
    (base / "snapshots").mkdir()
    folder_of(base / "snapshots" / commit, "timm/resnet18", weights_of(stored, "timm/resnet18"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    images = torch_recipe.image(SIZE)[None]
    one, other = te.load_encoder("hf://timm/resnet18.a1_in1k"), te.load_encoder("timm:resnet18.a1_in1k")
    np.testing.assert_array_equal(one(images), other(images))
    with pytest.raises(ConnectionError, match=r"hf://timm/resnet34.*config\.json and model\.safetensors") as error:
        te.load_encoder("hf://timm/resnet34.a1_in1k")
    assert "https://huggingface.co/timm/resnet34.a1_in1k/tree/main" in str(error.value)
    assert "\n" not in str(error.value)


def broken(weights: dict[str, np.ndarray], change: str) -> dict[str, np.ndarray]:
    """Weights with something wrong."""
    if change == "missing":
        return {name: value for name, value in weights.items() if name != "layer2.0.bn1.running_mean"}
    if change == "left over":
        return weights | {"layer1.0.se.fc1.weight": np.zeros((4, 64, 1, 1), "float32")}
    if change == "deep stem":
        return {name.replace("conv1.weight", "conv1.0.weight", 1): value for name, value in weights.items()}
    if change == "shape":
        return weights | {"layer1.0.bn1.bias": np.zeros(5, "float32")}
    return {f"{'encoder' if 'conv' in name else 'model'}.{name}": value for name, value in weights.items()}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("missing", "'layer2.0.bn1.running_mean' is missing"),
        ("left over", "nothing in the network takes layer1.0.se.fc1.weight"),
        ("deep stem", "should have 'conv1.weight', which is not there|holds no network that is known"),
        ("shape", r"'layer1.0.bn1.bias' has shape \(5,\)"),
        (
            "two prefixes",
            "no network that is known: its weights are called encoder.*the state dict of ResNet, VGG",
        ),
    ],
)
def test_other_weights_are_refused(tmp_path: Path, stored: Any, change: str, message: str) -> None:
    """What is missing, left over, or of another shape is named, in one line with the file."""
    path = tmp_path / "mine.safetensors"
    save_file(broken(weights_of(stored, "timm/resnet18"), change), path)
    with pytest.raises(ValueError, match=message) as error:
        te.load_encoder(path)
    assert "mine.safetensors" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("handle", "options", "message"),
    [
        ("timm:resnet18", {}, r"needs weights=PATH.*timm:resnet18\.a1_in1k"),
        ("torchvision:resnet18", {"weights": None}, "needs weights=PATH.*applications:ResNet50"),
        ("torchvision:resnet18", {"weights": "none.pth"}, "'none.pth' is no file that ends in .safetensors, .pth"),
        ("torchvision:vgg16", {"weights": "FILE"}, "has the weights of a ResNet, and 'vgg16' is none"),
        ("timm:resnetblur18", {"weights": "FILE"}, "'resnetblur18' is none that is known"),
        ("timm:resnet18", {"weights": "FILE", "pooling": "cls"}, "'cls' is for tokens"),
    ],
)
def test_what_cannot_be_made_is_refused(
    tmp_path: Path, stored: Any, handle: str, options: dict[str, Any], message: str
) -> None:
    """Handles without a file, with another network's, or with a change that weights do not tell."""
    path = tmp_path / "mine.safetensors"
    save_file(weights_of(stored, "timm/resnet18"), path)
    options = {name: path if value == "FILE" else value for name, value in options.items()}
    with pytest.raises(ValueError, match=message):
        te.load_encoder(handle, **options)
