"""Studies that took seconds, of texts and of pictures."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_encoders import pixels, tiny_image_encoder, tiny_text_encoder

import tfembed as te
from tfembed.search import runner

NASTY = "<script>document.title = 'broken into'</script><img src=x onerror=\"document.title = 'broken into'\"> & \"so\""
CLASSES = ("<b>yes</b>", "a_class_with_quite_a_long_name_that_does_not_break")


def strategy(hp: Any) -> te.Strategy:
    """One or two blocks for two epochs; the last choice asks for more blocks than there are."""
    return tuned(hp.Choice("blocks", [1, 2, 9]))


def tuned(blocks: int) -> te.Strategy:
    return te.Strategy(
        name=f"tuned({blocks})",
        phases=(te.Phase(name="tune", unfreeze=blocks, epochs=2, learning_rate=3e-2, batch_size=9, layer_decay=0.5),),
    )


def write_texts(file: Path) -> Path:
    """A table of 60 texts, most of them nasty, whose labels cannot be told from them."""
    with file.open("w", newline="", encoding="utf-8") as opened:
        writer = csv.writer(opened)
        writer.writerow(["words", "answer"])
        writer.writerows([f"{NASTY} {i} {'long' * 40}", CLASSES[(i // 3) % 2]] for i in range(60))
    return file


@pytest.fixture(scope="session")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_texts(tmp_path_factory.mktemp("texts") / "texts.csv")


def load(file: Path) -> te.Dataset:
    return te.load_text(file, text="words", label="answer", validation=0.3, test=0.3).few_shot(9)


def search(folder: Path, data: te.Dataset, encoder: Any, **options: Any) -> te.Study:
    """A trial that is like the baseline, and no costly baselines."""
    space = te.SearchSpace(encoders=(encoder.spec.name,), strategy=lambda hp: te.linear_probe(), epochs=2)
    given = {"space": space, "max_trials": 1, "folds": 1, "oracle": "grid"} | options
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "thorough", lambda *_: {})
        return te.search(encoder, data, directory=folder, **given)


@pytest.fixture(scope="session")
def text_study(texts: Path, tmp_path_factory: pytest.TempPathFactory) -> te.Study:
    """Three trials with two seeds; one of them fails."""
    encoder = tiny_text_encoder()
    space = te.SearchSpace(encoders=(encoder.spec.name,), strategy=strategy, epochs=2)
    folder = tmp_path_factory.mktemp("studies") / "a <i>study</i>"
    return search(folder, load(texts), encoder, space=space, max_trials=3, repeats=2)


@pytest.fixture(scope="session")
def image_data() -> te.Dataset:
    return te.Dataset.from_arrays(pixels(60), np.arange(60) % 3, ["a", "b", "c"], validation=0.3)


@pytest.fixture(scope="session")
def image_study(image_data: te.Dataset, tmp_path_factory: pytest.TempPathFactory) -> te.Study:
    return search(tmp_path_factory.mktemp("studies") / "pictures", image_data, tiny_image_encoder())
