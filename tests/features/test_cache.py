"""The cache: computed once, found on disk by others, and never taken for the features of something else."""

import json
import resource
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from tiny_encoders import pixels, tiny_image_encoder, tiny_text_encoder

import tfembed as te
from tfembed.features import encode

TEXTS = np.array([f"{'word ' * (i % 3)}{i}"[:16] for i in range(300)], object)


@pytest.fixture(params=["disk", "memory"])
def cache(request, tmp_path):
    return te.FeatureCache(tmp_path / "cache") if request.param == "disk" else te.FeatureCache.in_memory()


def changed(examples):
    """The same examples, the last one a little different."""
    other = examples.copy()
    if other.dtype == object:
        other[-1] += "!"
    else:
        other[-1, 0, 0, 0] ^= 1
    return other


def encoder_and_examples(kind):
    if kind == "text":
        return tiny_text_encoder(), TEXTS[:5]
    return tiny_image_encoder() if kind == "image" else te.load_encoder("glyphs"), pixels(5)


@pytest.mark.parametrize("kind", ["text", "image", "glyphs"])
def test_the_same_is_computed_once(kind, cache):
    """The same encoder, examples and cut give the features that are there already; equal copies count as the same."""
    encoder, examples = encoder_and_examples(kind)
    assert cache.get(encoder, examples, 2) is cache.get(encoder, examples.copy(), 2)


@pytest.mark.parametrize("kind", ["text", "image", "glyphs"])
def test_a_changed_input_is_never_taken_for_the_same(kind, cache):
    """One letter or pixel, another order, fewer examples or another cut give features of their own, and right ones."""
    encoder, examples = encoder_and_examples(kind)
    known = [cache.get(encoder, examples, 2)]
    for given, cut in [(changed(examples), 2), (examples[::-1], 2), (examples[:4], 2), (examples, 1), (examples, 3)]:
        features, rows = cache.get(encoder, given, cut), np.arange(len(given))
        assert all(features is not other for other in known)
        for name, value in encode(encoder, given, cut).batch(rows).items():
            np.testing.assert_array_equal(features.batch(rows)[name], value)
        known.append(features)


@pytest.mark.parametrize("kind", ["text", "image", "glyphs"])
def test_weights_in_front_of_the_cut_count(kind, cache):
    """Any changed weight in front of the cut gives new features; one behind it does not."""
    encoder, examples = encoder_and_examples(kind)
    features = cache.get(encoder, examples, 2)
    for variable in encoder.blocks[2].variables:
        variable.assign(variable * 1.5)
    assert cache.get(encoder, examples, 2) is features
    for block in encoder.blocks[:2]:
        for variable in block.variables:
            before = variable.numpy()
            variable.assign(before + 0.25)
            assert cache.get(encoder, examples, 2) is not features
            variable.assign(before)
    assert cache.get(encoder, examples, 2) is features
    variable = encoder.blocks[0].variables[0]
    variable.assign(variable * 1.5)
    expected, found = encode(encoder, examples, 2), cache.get(encoder, examples, 2)
    for name, value in expected.batch(np.arange(len(examples))).items():
        np.testing.assert_array_equal(found.batch(np.arange(len(examples)))[name], value)
    stale = features.batch(np.arange(len(examples)))
    assert any(not np.array_equal(stale[name], expected.batch(np.arange(len(examples)))[name]) for name in stale)


def entries(folder):
    """Key and time of making of what is stored."""
    return {path.name: json.loads((path / "meta.json").read_text())["about"]["created"] for path in stored(folder)}


def stored(folder):
    return [path for path in folder.iterdir() if path.name != "locks"] if folder.is_dir() else []


@pytest.mark.parametrize("kind", ["text", "image", "glyphs"])
def test_another_cache_finds_what_is_on_disk(kind, tmp_path):
    """A cache on the same folder gives the same features at each cut, without computing anything."""
    encoder, examples = encoder_and_examples(kind)
    rows = np.array([4, 0, 2])
    expected = {cut: te.FeatureCache(tmp_path).get(encoder, examples, cut).batch(rows) for cut in (1, 2, 3)}
    made = entries(tmp_path)
    assert len(made) == 3
    for cut, batch in expected.items():
        found = te.FeatureCache(tmp_path).get(encoder, examples, cut).batch(rows)
        assert found.keys() == batch.keys()
        for name, value in encode(encoder, examples, cut).batch(rows).items():
            assert found[name].dtype == value.dtype
            np.testing.assert_array_equal(found[name], batch[name])
            np.testing.assert_allclose(found[name], value, atol=1e-6)
    assert entries(tmp_path) == made


def test_the_default_folder_is_the_environment_s(feature_folder):
    """Without arguments, features are stored in the folder that TFEMBED_CACHE names."""
    before = set(stored(feature_folder))
    te.FeatureCache().get(tiny_image_encoder(), pixels(7), 2)
    assert len(set(stored(feature_folder)) - before) == 1


@pytest.mark.parametrize("kind", ["text", "image", "glyphs"])
def test_what_is_in_front_of_the_first_block_is_not_stored(kind, tmp_path):
    """Tokens and pixels are made again: at cut 0 the folder stays empty."""
    encoder, examples = encoder_and_examples(kind)
    features = te.FeatureCache(tmp_path).get(encoder, examples, 0)
    assert list(tmp_path.iterdir()) == []
    for name, value in encode(encoder, examples, 0).batch(np.arange(5)).items():
        np.testing.assert_array_equal(features.batch(np.arange(5))[name], value)


def test_a_cache_in_memory_writes_nothing(feature_folder):
    """A cache in memory leaves the folder alone."""
    before = set(stored(feature_folder))
    te.FeatureCache.in_memory().get(tiny_image_encoder(), pixels(8), 2)
    assert set(stored(feature_folder)) == before


def test_damaged_features_are_computed_again(tmp_path):
    """After a byte on disk was altered, the features are right, and a warning says why it took longer."""
    encoder, examples = tiny_image_encoder(), pixels(5)
    te.FeatureCache(tmp_path).get(encoder, examples, 3)
    (file,) = tmp_path.glob("*/1.npy")
    content = bytearray(file.read_bytes())
    content[-2] ^= 64
    file.write_bytes(content)
    with pytest.warns(UserWarning, match=r"damaged \(1.npy was altered\) and are computed again"):
        found = te.FeatureCache(tmp_path).get(encoder, examples, 3)
    np.testing.assert_allclose(found.batch(np.arange(5))["inputs"], encoder(examples), atol=1e-5)


@contextmanager
def full_disk():
    """No file can become larger than a few bytes: to a process that is what a full disk is like."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("cut", [0, 1, 3])
def test_a_full_disk_keeps_features_in_memory(cut, tmp_path):
    """Where the disk is full, a warning of one line says so, the features are right, and nothing is left."""
    encoder, cache = tiny_text_encoder(), te.FeatureCache(tmp_path)
    with full_disk(), pytest.warns(UserWarning, match="kept in memory: .*File too large.*TFEMBED_CACHE") as caught:
        features = cache.get(encoder, TEXTS, cut)
    assert "\n" not in str(caught[0].message)
    assert stored(tmp_path) == []
    expected = encode(encoder, TEXTS, cut).batch(np.array([7, 3]))
    for name, value in features.batch(np.array([7, 3])).items():
        np.testing.assert_array_equal(value, expected[name])


def test_errors_of_the_examples_are_no_errors_of_the_folder(tmp_path):
    """An image that is not there any more is an error, and no reason to try again in memory."""
    with pytest.raises(FileNotFoundError, match=r"gone\.png"):
        te.FeatureCache(tmp_path).get(tiny_image_encoder(), np.array([Path("gone.png")], object), 2)


def test_training_uses_the_cache(tmp_path):
    """A second training on the same data computes no features of the frozen encoder again."""
    data = te.Dataset.from_arrays(pixels(24), np.arange(24) % 2, ["a", "b"], validation=0.25, test=0.25)
    made = []
    for _ in range(2):
        model = te.build_image_classifier(te.load_encoder("glyphs"), data.class_names)
        te.train(model, data, te.linear_probe(), cache=te.FeatureCache(tmp_path))
        made.append(entries(tmp_path))
    assert made[0] == made[1]
    assert len(made[0]) == 3
