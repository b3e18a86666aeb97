"""Write what PyTorch, TorchVision and timm make of random weights, for tests that run where they are not installed.

Run in an environment of its own, from the root of the repository:

    python -m venv reference
    reference/bin/pip install torch torchvision timm --index-url https://download.pytorch.org/whl/cpu
    reference/bin/python scripts/make_torch_references.py

It writes tests/encoders/data/torch_networks.npz: for each network the names and shapes of its weights, and what it
makes of two pictures; torch_pixels.npz: what transforms make of a picture; and two small files of `torch.save`.
"""

import sys
from pathlib import Path

import numpy as np
import timm
import torch
import torchvision
from PIL import Image
from torchvision.transforms import v2

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))
import torch_recipe  # noqa: E402  from the tests

FOLDER = ROOT / "tests" / "encoders" / "data"
SIZE = 64
TIMM = (
    "resnet18",
    "resnet50",
    "resnext50_32x4d",
    "vgg16",
    "vgg11_bn",
    "mobilenetv2_100",
    "mobilenetv3_small_050",
    "mobilenetv3_large_100",
    "efficientnet_b0",
    "tf_efficientnet_b0",
    "efficientnetv2_rw_t",
)
TORCHVISION = (
    "resnet18",
    "densenet121",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "mobilenet_v3_large",
    "efficientnet_b0",
    "efficientnet_v2_s",
)


def features(model: torch.nn.Module, library: str, name: str, images: torch.Tensor) -> torch.Tensor:
    """What a network makes of images in front of its classifier."""
    if library == "timm":
        found = model.forward_features(images)
        if name.startswith("mobilenetv3"):
            return model.forward_head(found, pre_logits=True)
        return found.mean((2, 3))
    if name.startswith("resnet"):
        model.fc = torch.nn.Identity()
        return model(images)
    found = model.features(images)
    found = torch.relu(found) if name.startswith("densenet") else found
    return found.mean((2, 3))


def reference(library: str, name: str) -> dict[str, np.ndarray]:
    """Names and shapes of a network's weights, and what it makes of two pictures."""
    make = timm.create_model if library == "timm" else torchvision.models.get_model
    model = make(name).eval()
    shapes = {key: tuple(value.shape) for key, value in model.state_dict().items() if "num_batches" not in key}
    # the classifiers of VGG alone are as large as everything else
    weights = torch_recipe.state_dict({key: shape for key, shape in shapes.items() if np.prod(shape) < 1e7})
    model.load_state_dict({key: torch.from_numpy(value) for key, value in weights.items()}, strict=False)
    images = torch.from_numpy(torch_recipe.normalised(SIZE)).permute(0, 3, 1, 2)
    with torch.no_grad():
        found = features(model, library, name, images)
    print(f"{library:12} {name:24} {tuple(found.shape)} largest {found.abs().max():.3f}")
    shapes = {key: shape for key, shape in shapes.items() if np.prod(shape) < 1e7}
    return {
        f"{library}/{name}/shapes": torch_recipe.packed(shapes),
        f"{library}/{name}/features": found.numpy(),
    }


def pixels() -> dict[str, np.ndarray]:
    """What the transforms of evaluation make of a picture that is not square."""
    picture = Image.fromarray(torch_recipe.image(120)[:100])
    found = {}
    for method in ("bilinear", "bicubic"):
        steps = [v2.Resize(int(40 / 0.875), v2.InterpolationMode(method)), v2.CenterCrop(40), v2.ToImage()]
        steps += [v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])]
        found[method] = v2.Compose(steps)(picture).permute(1, 2, 0).numpy()
    return found


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    torch.set_num_threads(1)
    found: dict[str, np.ndarray] = {}
    for library, names in (("timm", TIMM), ("torchvision", TORCHVISION)):
        for name in names:
            found |= reference(library, name)
    np.savez_compressed(FOLDER / "torch_networks.npz", **found)
    np.savez_compressed(FOLDER / "torch_pixels.npz", **pixels())
    torch.manual_seed(0)
    small = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    weights = small.state_dict() | {"half": torch.arange(6).reshape(2, 3).T.to(torch.bfloat16)}
    torch.save({"state_dict": weights, "epoch": 3}, FOLDER / "small.pth")
    torch.save(weights, FOLDER / "small_legacy.pth", _use_new_zipfile_serialization=False)
    np.savez_compressed(FOLDER / "small.npz", **{name: value.float().numpy() for name, value in weights.items()})


if __name__ == "__main__":
    main()
