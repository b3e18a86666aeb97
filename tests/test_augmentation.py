"""Augmented copies: other pixels, the same labels, the same copies for the same seed."""

import io

import numpy as np
import pytest
from PIL import ExifTags, Image

import tfembed as te
from tfembed.data import read_images

NOTHING = te.Augmentation(rotation=0, shift=0, zoom=0, brightness=0, contrast=0)


def blob(count=6, channels=3):
    """Grey images with a bright square, left of the middle."""
    pixels = np.full((count, 16, 16, channels), 40, "uint8")
    pixels[:, 5:11, 2:8] = 220
    return pixels


def dataset(examples):
    return te.Dataset.from_arrays(examples, np.arange(len(examples)) % 2, ["a", "b"], validation=0, test=0)


@pytest.mark.parametrize("channels", [1, 3, None])
def test_copies_join_the_training_images(channels):
    """The originals come first, unchanged; then whole rounds of copies, each with its original's label."""
    examples = blob(6, channels or 1)
    examples = examples[..., 0] if channels is None else examples
    data = te.augment(dataset(examples), 2)
    assert data.train.examples.shape == (18, *dataset(examples).train.examples.shape[1:])
    assert data.train.examples.dtype == np.uint8
    np.testing.assert_array_equal(data.train.examples[:6], dataset(examples).train.examples)
    assert data.train.labels.tolist() == [0, 1] * 9
    assert all(not np.array_equal(copy, data.train.examples[0]) for copy in data.train.examples[6:])
    assert len({copy.tobytes() for copy in data.train.examples[6:]}) == 12


def test_the_seed_settles_the_copies():
    """The same seed gives the same copies, though they are made in parallel; another one gives others."""
    first, second, other = (te.augment(dataset(blob()), 3, seed=seed).train.examples for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize(
    ("augmentation", "what"),
    [
        ({}, "nothing"),
        ({"flip": True}, "mirrored"),
        ({"brightness": 0.3}, "brightness"),
        ({"shift": 0.2}, "place"),
        ({"rotation": 45.0}, "shape"),
        ({"zoom": 0.5}, "size"),
    ],
)
def test_each_change_does_what_it_says(augmentation, what):
    """A mirrored copy is the mirror image; brightness moves the mean, shift the middle, zoom the size."""
    nothing = {"rotation": 0.0, "shift": 0.0, "zoom": 0.0, "brightness": 0.0, "contrast": 0.0}
    original = blob(1)[0].astype(float)
    copies = (
        te.augment(dataset(blob(2)), 20, augmentation=te.Augmentation(**nothing | augmentation))
        .train.examples[2:]
        .astype(float)
    )
    equal = np.array([np.array_equal(copy, original) for copy in copies])
    if what == "nothing":
        assert equal.all()
        return
    assert not equal.all()
    bright = copies[..., 0] > 130
    middles = [np.argwhere(each).mean(axis=0) for each in bright]
    sizes = bright.sum(axis=(1, 2))
    if what == "mirrored":
        assert all(np.array_equal(copy, original[:, ::-1]) for copy in copies[~equal])
        assert equal.any()
    elif what == "brightness":
        assert np.ptp(copies.mean(axis=(1, 2, 3))) > 20
    elif what == "place":
        assert np.ptp(middles, axis=0).min() > 1
    elif what == "size":
        assert sizes.min() < 30 < 42 < sizes.max()
    else:
        assert abs(sizes.mean() - 36) < 4


def test_encoded_images_and_files_are_augmented(tmp_path):
    """Copies of images in files are encoded images of their own size, which load as any others, and are trained on and
    measured beside the files.
    """
    paths = []
    for i in range(4):
        Image.fromarray(blob(1)[0][: 10 + 2 * (i % 2)]).save(tmp_path / f"{i}.png")
        paths.append(tmp_path / f"{i}.png")
    data = te.augment(dataset(paths), 1)
    sizes = [Image.open(io.BytesIO(image)).size for image in read_images(list(data.train.examples))]
    assert sizes == [(16, 10), (16, 12)] * 4
    assert data.train.examples[0] == paths[0]
    model = te.build_image_classifier(te.load_encoder("glyphs"), data.class_names)
    assert te.train(model, data, te.linear_probe()).metrics["train"]["accuracy"] >= 0.5


def test_copies_of_photos_are_upright(tmp_path):
    """A copy of a photo that was stored sideways is upright: it holds no orientation any more."""
    tags = Image.Exif()
    tags[ExifTags.Base.Orientation] = 6
    Image.fromarray(blob(1)[0][:10]).save(tmp_path / "sideways.jpg", exif=tags)
    data = te.augment(dataset([tmp_path / "sideways.jpg"] * 4), 1)
    assert {Image.open(io.BytesIO(image)).size for image in data.train.examples[4:]} == {(10, 16)}


def test_what_cannot_be_augmented_is_refused():
    """Texts, no copies and shares that make no sense are errors that say what to pass."""
    texts = te.Dataset.from_arrays(["x", "y"] * 3, ["a", "b"] * 3, validation=0, test=0)
    with pytest.raises(ValueError, match="The data are texts: expected images"):
        te.augment(texts, 1)
    with pytest.raises(ValueError, match="Cannot make 0 copies"):
        te.augment(dataset(blob()), 0)
    with pytest.raises(ValueError, match=r"shift 1.0: pass 0 to below 1"):
        te.Augmentation(shift=1.0)
    with pytest.raises(ValueError, match=r"rotation 200: pass 0 to 180"):
        te.Augmentation(rotation=200)


def test_features_of_copies_are_computed_once():
    """A frozen encoder sees each copy once; training on them reads their features."""
    data = te.augment(dataset(blob()), 2)
    cache = te.FeatureCache.in_memory()
    encoder = te.load_encoder("glyphs")
    model = te.build_image_classifier(encoder, data.class_names)
    te.train(model, data, te.linear_probe(), cache=cache)
    features = cache.get(encoder, data.train.examples, len(encoder.blocks))
    assert cache.get(encoder, te.augment(dataset(blob()), 2).train.examples, len(encoder.blocks)) is features
    assert len(features.lengths) == 18


def test_zeros_change_nothing():
    """An augmentation of zeros gives exact copies."""
    copies = te.augment(dataset(blob()), 1, augmentation=NOTHING).train.examples
    np.testing.assert_array_equal(copies[:6], copies[6:])


def test_copies_are_of_the_group_of_their_original():
    """Copies are marked as derived, and no other split shares a group with them."""
    data = te.Dataset.from_arrays(
        np.arange(20, dtype="uint8")[:, None, None] * np.ones((1, 8, 8), "uint8"), [0, 1] * 10, validation=0.2, test=0.2
    )
    copied = te.augment(data, 2).train
    size = len(data.train)
    assert copied.groups.tolist() == copied.groups[:size].tolist() * 3
    assert len(set(copied.groups)) == size
    assert copied.is_derived.tolist() == [False] * size + [True] * (2 * size)


def test_a_probe_is_not_measured_on_copies_of_what_it_learns():
    """With exact copies of images whose labels are drawn by lot, its loss in cross-validation tells of no knowledge."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (24, 8, 8)).astype("uint8")
    data = te.Dataset.from_arrays(pixels, rng.integers(0, 2, 24), ["a", "b"], validation=0, test=0)
    copied = te.augment(data, 3, augmentation=NOTHING)
    model = te.build_image_classifier(te.load_encoder("glyphs"), data.class_names)
    (phase,) = te.train(model, copied, te.linear_probe()).phases
    assert phase.history["cross_validation_loss"][0] > 0.6
