"""Modules of random graphs: every cut computes and trains what the whole does."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from test_cut import batch, check_everywhere
from tiny_modules import ROWS, cut_up, publish, weight


def random_call(rng, kernels):
    """A function of dense layers, each of the last value and perhaps an earlier one: added, joined, passed by."""
    plan = [
        (kernel, int(rng.integers(0, i + 1)), str(rng.choice(["add", "multiply", "concat", "residual", "alone"])))
        for i, kernel in enumerate(kernels)
    ]

    def call(x):
        values = [x]
        for kernel, earlier, kind in plan:
            last, other = values[-1], values[earlier]
            if kind == "multiply":
                made = tf.tanh((last * other) @ kernel)
            elif kind == "concat":
                made = tf.tanh(tf.concat([last, other], axis=1) @ tf.concat([kernel, kernel[::-1]], axis=0))
            elif kind == "residual":
                made = other + tf.tanh(last @ kernel)
            elif kind == "add":
                made = tf.tanh((last + other) @ kernel)
            else:
                made = tf.tanh(last @ kernel)
            values.append(made)
        return values[-1] + values[len(values) // 2]

    return call


@pytest.mark.parametrize("seed", range(8))
def test_a_random_graph_is_cut_everywhere(tmp_path: Path, seed: int) -> None:
    """At each cut, the values and the gradients are those of the whole, whatever passes by a block."""
    rng = np.random.default_rng(seed)
    kernels = [weight(f"block_{i}/kernel", 4, 4, seed=10 * seed + i) for i in range(int(rng.integers(3, 6)))]
    module = publish(tmp_path / "module", random_call(rng, kernels), kernels, (ROWS,))
    graph = cut_up(module)
    assert [block.name for block in graph.blocks] == [f"block_{i}" for i in range(len(kernels))]
    check_everywhere(graph, module, batch(5, 4, seed=seed))
