"""The image encoder that ships with the package, and the recipe that made it."""

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "tfembed" / "resources" / "glyphs"
BLOCKS = ("stem", "stage_1", "stage_2", "stage_3", "stage_4")
DIM = 192
SHOTS = 5
FEATURE_FLOOR = 0.92  # measured: 0.942, 0.951 and 0.961 for seeds 0, 1 and 2


@pytest.fixture(scope="session")
def glyphs() -> Any:
    """The committed encoder; tests that change its variables load their own."""
    return tf.saved_model.load(str(FOLDER))


@pytest.fixture(scope="session")
def images() -> tf.Tensor:
    return tf.constant(np.random.default_rng(0).random((6, 32, 32, 3), dtype=np.float32))


@pytest.fixture(scope="session")
def recipe() -> Iterator[ModuleType]:
    """scripts/make_glyphs.py as a module, with the folder of its sibling files importable as when it runs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "scripts"))
        spec = importlib.util.spec_from_file_location("make_glyphs", ROOT / "scripts" / "make_glyphs.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        patch.setitem(sys.modules, "make_glyphs", module)  # dataclasses look their module up there
        spec.loader.exec_module(module)
        yield module


@pytest.fixture(scope="session")
def tiny(recipe: ModuleType) -> Any:
    """Three steps on two classes of one font."""
    return recipe.Recipe(num_steps=3, batch_size=8, fonts=("cmtt10.ttf",), classes=("0Oo", "7"))


def by_name(module: Any) -> dict[str, tf.Variable]:
    return {v.name.removesuffix(":0"): v for v in module.variables}


def test_it_is_under_two_megabytes() -> None:
    """The whole SavedModel takes less than 2 MB on disk."""
    assert sum(f.stat().st_size for f in FOLDER.rglob("*") if f.is_file()) < 2_000_000


def test_call_maps_images_to_features(glyphs: Any, images: tf.Tensor) -> None:
    """A batch of any size gives one finite vector of 192 numbers per image, for both values of `training`."""
    for training in (False, True):
        features = tf.saved_model.load(str(FOLDER))(images, training=training)
        assert features.shape == (6, DIM)
        assert features.dtype == tf.float32
        assert np.isfinite(features).all()
    assert glyphs(images[:1]).shape == (1, DIM)


def test_training_defaults_to_false(glyphs: Any, images: tf.Tensor) -> None:
    """Without the argument, the encoder infers; and it has exactly the two traces, over the one input shape."""
    np.testing.assert_array_equal(glyphs(images), glyphs(images, training=False))
    signatures = [f.structured_input_signature[0] for f in glyphs.__call__.concrete_functions]
    assert sorted(training for _, training in signatures) == [False, True]
    assert {inputs for inputs, _ in signatures} == {tf.TensorSpec((None, 32, 32, 3), tf.float32, name="inputs")}


def test_inference_is_deterministic_and_leaves_every_variable_alone(images: tf.Tensor) -> None:
    """Two calls with training=False give the same features, and no variable moves."""
    module = tf.saved_model.load(str(FOLDER))
    before = {name: v.numpy() for name, v in by_name(module).items()}
    np.testing.assert_array_equal(module(images, training=False), module(images, training=False))
    for name, v in by_name(module).items():
        np.testing.assert_array_equal(v, before[name], err_msg=name)


def test_training_moves_the_moving_statistics_only(images: tf.Tensor) -> None:
    """A call with training=True moves every moving mean and variance, and nothing else."""
    module = tf.saved_model.load(str(FOLDER))
    before = {name: v.numpy() for name, v in by_name(module).items()}
    module(images, training=True)
    moved = {name for name, v in by_name(module).items() if not np.array_equal(v, before[name])}
    assert moved == {name for name in before if "/moving_" in name}
    assert moved


def test_an_image_is_encoded_alone_in_inference_and_with_its_batch_in_training(glyphs: Any, images: tf.Tensor) -> None:
    """Inference normalises by the moving statistics, training by the batch."""
    np.testing.assert_allclose(glyphs(images)[:2], glyphs(images[:2]), rtol=1e-4, atol=1e-5)
    module = tf.saved_model.load(str(FOLDER))
    assert not np.allclose(module(images, training=True)[:2], module(images[:2], training=True), rtol=1e-2)


def test_variables_are_grouped_in_blocks_from_input_to_output(glyphs: Any) -> None:
    """Every variable's name starts with its block's, and the blocks come in the order in which they act."""
    names = list(by_name(glyphs))
    assert tuple(dict.fromkeys(name.split("/")[0] for name in names)) == BLOCKS
    assert "stage_2/conv_1/kernel" in names
    assert {name.split("/")[-1] for name in names} == {"kernel", "scale", "offset", "moving_mean", "moving_variance"}


def test_trainable_variables_are_all_but_the_statistics(glyphs: Any) -> None:
    """`trainable_variables` are the variables marked trainable: all but the moving statistics."""
    expected = [v.name for v in glyphs.variables if "/moving_" not in v.name]
    assert [v.name for v in glyphs.trainable_variables] == expected
    assert all(v.trainable for v in glyphs.trainable_variables)


def test_regularization_losses_follow_the_kernels() -> None:
    """Each kernel has one penalty, callable without arguments, positive, and zero for a kernel of zeros."""
    module = tf.saved_model.load(str(FOLDER))
    kernels = [v for name, v in by_name(module).items() if name.endswith("/kernel")]
    assert len(module.regularization_losses) == len(kernels)
    assert all(float(loss()) > 0 for loss in module.regularization_losses)
    for kernel in kernels:
        kernel.assign(tf.zeros_like(kernel))
    assert all(float(loss()) == 0 for loss in module.regularization_losses)


def test_gradients_reach_every_trainable_variable(images: tf.Tensor) -> None:
    """The loaded module can be fine-tuned: no trainable variable is cut off from the features."""
    module = tf.saved_model.load(str(FOLDER))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.square(module(images, training=True)))
    gradients = tape.gradient(loss, module.trainable_variables)
    cut_off = [v.name for v, g in zip(module.trainable_variables, gradients, strict=True) if g is None]
    assert cut_off == []


def test_drawing_repeats_for_a_seed(recipe: ModuleType) -> None:
    """The same seed draws the same images and labels; another seed draws others."""
    drawing = recipe.glyphs_drawing
    (images, labels), (again, labels_again), (other, _) = (
        drawing.draw(drawing.load_atlas(("DejaVuSans.ttf",), ("0Oo", "3", "Xx")), np.random.default_rng(seed), 40)
        for seed in (5, 5, 6)
    )
    assert images.shape == (40, 32, 32, 3)
    assert images.dtype == np.float32
    assert images.min() >= 0
    assert images.max() <= 1
    assert set(labels) == {0, 1, 2}
    np.testing.assert_array_equal(images, again)
    np.testing.assert_array_equal(labels, labels_again)
    assert not np.array_equal(images, other)


def test_every_font_has_every_character(recipe: ModuleType) -> None:
    """The atlas holds 62 characters of 22 fonts, each with ink that differs from the font's other characters."""
    drawing = recipe.glyphs_drawing
    assert sorted("".join(drawing.CLASSES)) == sorted({*"".join(drawing.CLASSES)})
    assert len("".join(drawing.CLASSES)) == 62
    for name in drawing.FONT_FILES:
        font = drawing.ImageFont.truetype(str(drawing.font_folder() / name), size=96)
        renderings = [drawing.render(font, c) for c in ("A", "7", "Q", "e", "m")]
        assert all(r.sum() > 100 for r in renderings)
        assert len({r.tobytes() for r in renderings}) == 5, name


def test_thinning_keeps_a_line_one_pixel_wide(recipe: ModuleType) -> None:
    """A bar is thinned to a line along its middle."""
    bar = np.zeros((1, 20, 20), dtype=bool)
    bar[0, 2:18, 7:12] = True
    line = recipe.glyphs_drawing.thin(bar)[0]
    assert (line[6:14].sum(axis=1) == 1).all()
    assert line[6:14, 9].all()


def test_upscaling_is_the_one_of_tf_image_resize(recipe: ModuleType) -> None:
    """Low resolutions are blown up just as a user's small images will be by tf.image.resize."""
    small = np.random.default_rng(0).random((8, 8), dtype=np.float32)
    up = recipe.glyphs_drawing._upscaling(8)
    expected = tf.image.resize(small[..., None], (32, 32), antialias=False)[..., 0]
    np.testing.assert_allclose(up @ small @ up.T, expected, atol=1e-5)


def test_the_recipe_makes_what_is_committed(recipe: ModuleType, tiny: Any, glyphs: Any, tmp_path: Path) -> None:
    """Three steps of the recipe give a SavedModel with the committed one's variables, shapes and traces."""
    lines: list[str] = []
    recipe.glyphs_network.save(recipe.train(tiny, lines.append), tmp_path / "made")
    made = tf.saved_model.load(str(tmp_path / "made"))
    assert {n: (v.shape, v.trainable) for n, v in by_name(made).items()} == {
        n: (v.shape, v.trainable) for n, v in by_name(glyphs).items()
    }
    assert list(by_name(made)) == list(by_name(glyphs))
    assert len(made.__call__.concrete_functions) == 2
    assert len(lines) == 1
    assert lines[0].startswith("step 3 of 3: loss ")


def test_the_recipes_network_is_the_committed_one(recipe: ModuleType, glyphs: Any, images: tf.Tensor) -> None:
    """The recipe's network with the committed values computes the committed features: code and file belong together."""
    features = recipe.glyphs_network.forward(by_name(glyphs), images, training=False)
    np.testing.assert_allclose(features, glyphs(images), rtol=1e-4, atol=1e-5)


def test_training_repeats_for_a_seed(recipe: ModuleType, tiny: Any) -> None:
    """The same recipe gives the same values, up to the order in which threads add."""
    first, second = (recipe.train(tiny, lambda line: None) for _ in range(2))
    start = recipe.glyphs_network.make_variables(tiny.seed)
    assert not np.array_equal(first["stem/conv/kernel"], start["stem/conv/kernel"])
    for name, value in first.items():
        np.testing.assert_allclose(value, second[name], rtol=1e-4, atol=1e-5, err_msg=name)


def test_the_learning_rate_rises_and_falls(recipe: ModuleType) -> None:
    """It warms up linearly to the recipe's rate and ends at zero."""
    rates = [recipe.Recipe(num_steps=100, warmup_share=0.1).rate_at(step) for step in range(100)]
    assert max(rates) == pytest.approx(0.1)
    assert rates[:10] == pytest.approx([0.01 * (i + 1) for i in range(10)])
    assert rates[9:] == sorted(rates[9:], reverse=True)
    assert rates[-1] == pytest.approx(0)


def test_a_recipe_without_steps_is_refused(recipe: ModuleType) -> None:
    """A recipe that cannot run says which number is wrong."""
    with pytest.raises(ValueError, match="num_steps=0"):
        recipe.Recipe(num_steps=0)


def test_frozen_features_transfer_to_handwritten_digits(glyphs: Any) -> None:
    """With 5 labelled digits a class, logistic regression on the features beats the one on pixels, for each seed.

    The digits took no part in the encoder's training.
    """
    pixels, labels = load_digits(return_X_y=True)
    small = np.round(pixels.reshape(-1, 8, 8, 1) * 255 / 16).astype(np.uint8).astype(np.float32)
    large = tf.image.resize(small, (32, 32), antialias=False) / 255
    features = glyphs(tf.repeat(large, 3, axis=-1), training=False).numpy()
    # Each has the scaling that serves it better.
    scores = np.array(
        [
            [few_shot_accuracy(*each, labels, seed) for each in ((StandardScaler(), features), (None, pixels / 16))]
            for seed in range(3)
        ]
    )
    assert (scores[:, 0] > scores[:, 1]).all(), scores
    assert scores[:, 0].mean() > FEATURE_FLOOR, scores


def few_shot_accuracy(scaler: StandardScaler | None, inputs: np.ndarray, labels: np.ndarray, seed: int) -> float:
    """Accuracy on the rest after 5 examples a class, the regularisation chosen by cross-validation over those."""
    rng = np.random.default_rng(seed)
    shots = np.concatenate([rng.choice(np.flatnonzero(labels == c), SHOTS, replace=False) for c in range(10)])
    rest = np.setdiff1d(np.arange(len(labels)), shots)
    search = GridSearchCV(
        make_pipeline(scaler, LogisticRegression(max_iter=2000)),
        {"logisticregression__C": [0.001, 0.01, 0.1, 1, 10, 100]},
        scoring="neg_log_loss",  # accuracy ties on so few examples
        cv=StratifiedKFold(SHOTS, shuffle=True, random_state=seed),
    )
    best = search.fit(inputs[shots], labels[shots]).best_estimator_
    return float(best.score(inputs[rest], labels[rest]))
