"""Searches small enough to run in seconds: an encoder of two dense layers, and images that are bright or dark."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
from tiny_encoders import pixels

import tfembed as te
from tfembed.encoders.encoder import Encoder
from tfembed.encoders.preprocessing import ImagePreprocessing
from tfembed.encoders.spec import EncoderSpec

CLASSES = ["dark", "bright"]


def tiny(name: str = "tiny", seed: int = 0, dropout: float = 0.1) -> Encoder:
    """Two dense layers with dropout between them, always with the same weights; frozen."""
    image = keras.Input((8, 8, 3), name="image")
    x = keras.layers.Flatten()(image)
    for i in (1, 2):
        drawn = keras.initializers.GlorotUniform(seed=seed + i)
        x = keras.layers.Dense(4, activation="tanh", kernel_initializer=drawn, name=f"block_{i}")(x)
        x = keras.layers.Dropout(dropout, seed=i)(x)
    spec = EncoderSpec(name=name, handle=name, kind="image", image_size=(8, 8))
    encoder = Encoder(spec, keras.Model(image, x, name=name), ImagePreprocessing((8, 8)))
    encoder.unfreeze(False)
    return encoder


def data(count: int = 60, **parts: Any) -> te.Dataset:
    """Images of noise, half of them a little brighter."""
    rng = np.random.default_rng(0)
    shown = (
        pixels(count) // 2 + (np.arange(count) % 2)[:, None, None, None] * 10 + rng.integers(0, 40, (count, 1, 1, 1))
    )
    options = {"validation": 0.3, "test": 0.2} | parts
    return te.Dataset.from_arrays(shown.astype("uint8"), np.arange(count) % 2, CLASSES, **options)


def strategy(hp: Any) -> te.Strategy:
    """One block, at some rate, for two epochs."""
    return te.lp_ft(1, learning_rate=hp.Float("rate", 1e-3, 1e-1, sampling="log"), epochs=2)


def probes(hp: Any) -> te.Strategy:
    """What is quickest: probes with the head trained in epochs, at some rate."""
    rate = hp.Choice("rate", [1e-3, 3e-3, 1e-2, 3e-2])
    return te.Strategy(name="probe", phases=(te.Phase(name="probe", epochs=3, learning_rate=rate),))


def space(**options: Any) -> te.SearchSpace:
    return te.SearchSpace(**{"encoders": ("tiny",), "strategy": strategy, "epochs": 2} | options)


def study(folder: Path, **options: Any) -> te.Study:
    """Search with the tiny encoder."""
    given = {"encoder": tiny(), "data": data(), "space": space(), "max_trials": 3, "folds": 1} | options
    return te.search(given.pop("encoder"), given.pop("data"), directory=folder, **given)


def comparable(found: te.Study) -> Any:
    """All that two runs of the same search must agree in: everything but times."""
    timed = ("seconds", "spent", "ended")

    def without(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: without(each) for name, each in value.items() if name not in timed}
        return [without(each) for each in value] if isinstance(value, list | tuple) else value

    rows = [[getattr(row, name) for name in row.__slots__ if name not in timed] for row in found.leaderboard]
    return without([rows, [trial.to_dict() for trial in found.trials], found.result])
