"""Train `glyphs`, the image encoder that ships with tfembed, on rendered letters and digits.

    python scripts/make_glyphs.py --out tfembed/resources/glyphs --seed 0

Needs matplotlib for its fonts. Takes 13 minutes of processor time: 7 on two free cores, 14 on two busy ones.

Result, seed 0: 320,552 parameters, 1.5 MB, 92.4 % of the last 25,600 training images (47 classes) named rightly. On
scikit-learn's handwritten digits, which it never saw, 5 labelled examples a class drawn with seeds 0, 1, 2 and the
other 1,747 for the test: logistic regression on the frozen features gets 94.2, 95.1, 96.1 %; on the 8x8 pixels, 83.8,
87.5, 86.4 %. tests/test_glyphs.py does both again.

What repeats: the images, bit by bit for a seed, as long as matplotlib's fonts, Pillow, NumPy and SciPy are the same;
and the trained values, bit by bit for a seed on one machine with one version of TensorFlow. Another machine may add in
another order, and then the values drift apart over the steps.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow is imported, or it talks about missing GPUs

import glyphs_drawing
import glyphs_network
import numpy as np
import tensorflow as tf

NUM_THREADS = 2
REPORT_EVERY = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What is drawn and how it is learned; the defaults made the encoder that ships.

    Attributes:
        learning_rate: The highest, reached after the warmup; a half cosine takes it to zero.
        warmup_share: Part of the steps, in [0, 1).
        momentum: Nesterov's, in [0, 1).
        fonts: File names among those that matplotlib ships.
        classes: One string of look-alike characters per class.
    """

    seed: int = 0
    num_steps: int = 1200
    batch_size: int = 256
    learning_rate: float = 0.1
    warmup_share: float = 0.05
    momentum: float = 0.9
    fonts: tuple[str, ...] = glyphs_drawing.FONT_FILES
    classes: tuple[str, ...] = glyphs_drawing.CLASSES

    def __post_init__(self) -> None:
        if self.num_steps < 1 or self.batch_size < 2:
            raise ValueError(
                f"A recipe needs at least 1 step and, for batch norm, batches of at least 2; got "
                f"num_steps={self.num_steps} and batch_size={self.batch_size}. Raise the one that is too small."
            )

    def rate_at(self, step: int) -> float:
        """The learning rate of a step: linear warmup, then a half cosine.

        Example:
            >>> [round(Recipe(num_steps=4, warmup_share=0.25).rate_at(step), 3) for step in range(4)]
            [0.1, 0.075, 0.025, 0.0]
        """
        done = (step + 1) / self.num_steps
        if done < self.warmup_share:
            return self.learning_rate * done / self.warmup_share
        rest = (done - self.warmup_share) / (1 - self.warmup_share)
        return self.learning_rate * 0.5 * (1 + float(np.cos(np.pi * rest)))


Step = Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]


def make_step(variables: glyphs_network.Variables, recipe: Recipe) -> Step:
    """Compile a training step: (images, labels, learning rate) -> (cross-entropy, accuracy) of the batch.

    It owns a linear head, which does not outlive the training.
    """
    head = tf.Variable(tf.zeros((glyphs_network.DIM, len(recipe.classes))), name="head/kernel")
    trained = [*(v for v in variables.values() if v.trainable), head]
    speeds = [tf.Variable(tf.zeros_like(v), trainable=False) for v in trained]

    @tf.function(autograph=False)
    def step(images: tf.Tensor, labels: tf.Tensor, rate: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            logits = glyphs_network.forward(variables, images, training=True) @ head
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
            penalty = tf.add_n([tf.nn.l2_loss(v) for v in trained if len(v.shape) > 1])
            total = loss + glyphs_network.L2_STRENGTH * penalty
        for variable, speed, gradient in zip(trained, speeds, tape.gradient(total, trained), strict=True):
            speed.assign(recipe.momentum * speed + gradient)
            variable.assign_sub(rate * (gradient + recipe.momentum * speed))
        return loss, tf.reduce_mean(tf.cast(tf.equal(tf.argmax(logits, axis=1), labels), tf.float32))

    return step


def train(recipe: Recipe, report: Callable[[str], object] = print) -> dict[str, tf.Variable]:
    """Draw and learn until the recipe's steps are done; every image is drawn once and seen once.

    Returns:
        The encoder's variables by name, as `glyphs_network.make_variables` names them.
    """
    atlas = glyphs_drawing.load_atlas(recipe.fonts, recipe.classes)
    rng = np.random.default_rng(recipe.seed)
    variables = glyphs_network.make_variables(recipe.seed)
    step = make_step(variables, recipe)
    start, recent = time.monotonic(), []
    for i in range(recipe.num_steps):
        images, labels = glyphs_drawing.draw(atlas, rng, recipe.batch_size)
        measured = step(tf.constant(images), tf.constant(labels), tf.constant(recipe.rate_at(i), tf.float32))
        recent.append([float(value) for value in measured])
        if (i + 1) % REPORT_EVERY == 0 or i + 1 == recipe.num_steps:
            loss, accuracy = np.mean(recent, axis=0)
            seconds = time.monotonic() - start
            report(f"step {i + 1} of {recipe.num_steps}: loss {loss:.3f}, accuracy {accuracy:.3f}, {seconds:.0f} s")
            recent.clear()
    return variables


def main() -> None:
    """Parse the command line, train, save."""
    parser = argparse.ArgumentParser(description="Train the image encoder that ships with tfembed.")
    parser.add_argument("--out", type=Path, required=True, help="folder of the SavedModel; must be new or empty")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=Recipe().num_steps)
    options = parser.parse_args()
    if options.out.exists() and any(options.out.iterdir()):
        sys.exit(
            f"{options.out} is not empty, and old and new files would mix there. Remove it or name another folder."
        )
    tf.config.threading.set_intra_op_parallelism_threads(NUM_THREADS)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.config.experimental.enable_op_determinism()
    variables = train(Recipe(seed=options.seed, num_steps=options.steps), lambda line: print(line, flush=True))
    glyphs_network.save(variables, options.out)
    print(f"{sum(v.shape.num_elements() for v in variables.values()):,} parameters saved in {options.out}")


if __name__ == "__main__":
    main()
