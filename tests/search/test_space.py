"""What a search tries where it is not told."""

from pathlib import Path

import keras
import keras_tuner
import numpy as np
import pytest
from tiny_encoders import pixels, tiny_image_encoder, tiny_text_encoder
from tiny_models import write_noisy_module
from tiny_studies import data, tiny

import tfembed as te
from tfembed.builders import build_model
from tfembed.features import FeatureCache
from tfembed.search import searching
from tfembed.search.candidate import Candidate
from tfembed.search.folds import make_folds
from tfembed.search.plan import Plan
from tfembed.search.space import default_space
from tfembed.search.tuner import StudyTuner, make_oracle
from tfembed.train import fit


def _drawn(
    encoders: dict[str, te.Encoder], given: te.Dataset, folder: Path, folds: int | None = None
) -> list[Candidate]:
    """What some draws of the default space stand for."""
    space, plan = default_space(encoders, given, folds=folds), Plan(task=given.task, max_trials=60)
    oracle = StudyTuner(make_oracle(plan, space.epochs), space, folder, lambda *trial: None).oracle
    drawn = [oracle.create_trial(str(i)).hyperparameters for i in range(plan.max_trials)]
    return [space.candidate(hp) for hp in drawn if hp.values]  # a small space has fewer


@pytest.fixture(scope="module")
def candidates(tmp_path_factory: pytest.TempPathFactory) -> list[Candidate]:
    """Drawn of two encoders, one of them with fewer blocks and without norms."""
    return _drawn({"shallow": tiny(), "deep": te.load_encoder("glyphs")}, data(), tmp_path_factory.mktemp("drawn"))


def test_each_encoder_is_tried_as_deep_as_it_goes(candidates: list[Candidate]) -> None:
    """A shallow encoder in the space keeps no other from what it can bear."""
    depths = {
        name: {each.strategy.phases[1].unfreeze for each in candidates if each.encoder == name and _is_deep(each)}
        for name in ("shallow", "deep")
    }
    assert depths == {"shallow": {1}, "deep": {1, 2, 4}}
    kinds = {name: {_kind(e.strategy) for e in candidates if e.encoder == name} for name in ("shallow", "deep")}
    assert "norms" in kinds["deep"] - kinds["shallow"]


def _kind(strategy: te.Strategy) -> str:
    return strategy.name.partition(",")[0]


def test_batch_norm_is_tried_in_every_way_that_an_encoder_has(candidates: list[Candidate], tmp_path: Path) -> None:
    """A SavedModel hides its batch norm, and cannot be adapted; where there is none, there is nothing to try."""
    layers = _drawn({"layers": tiny_image_encoder()}, data(), tmp_path)
    tried = {
        name: {phase.batch_norm for each in drawn for phase in each.strategy.phases if phase.unfreeze}
        for name, drawn in {
            "shallow": [each for each in candidates if each.encoder == "shallow"],
            "deep": [each for each in candidates if each.encoder == "deep"],
            "layers": layers,
        }.items()
    }
    assert tried == {
        "shallow": {"auto"},
        "deep": {"inference", "train"},
        "layers": {"inference", "train", "adapt"},
    }
    hp = keras_tuner.HyperParameters()
    default_space({"layers": tiny_image_encoder()}, data()).candidate(hp)
    assert next(each.values for each in hp.space if each.name == "batch_norm")[0] == "inference"  # for few examples


def test_nothing_is_tried_that_an_encoder_cannot_bear(candidates: list[Candidate]) -> None:
    """Every candidate can be carried out by its own encoder."""
    encoders = {"shallow": tiny(), "deep": te.load_encoder("glyphs")}
    assert {each.encoder for each in candidates} == set(encoders)
    for each in candidates:
        each.strategy.describe(encoders[each.encoder])


def test_encoders_that_are_alike_share_their_hyperparameters(tmp_path: Path) -> None:
    """What is learnt of a rate with one serves the other: no names in front of the hyperparameters."""
    hp = keras_tuner.HyperParameters()
    default_space({"one": tiny(), "other": tiny("other", seed=7)}, data()).candidate(hp)
    assert {each.name for each in hp.space} >= {"encoder", "strategy", "blocks", "learning_rate"}
    texts = te.Dataset.from_arrays(["a b", "b c", "c d", "d e"], [0.1, 0.5, 0.9, 1.3], validation=0, test=0)
    names = {each.strategy.name for each in _drawn({"words": tiny_text_encoder()}, texts, tmp_path)}
    assert not any(name.startswith("contrastive") for name in names)  # it is for classes


def _few(count: int, validation: int) -> te.Dataset:
    """So many examples of each of three classes to train on, and so many to validate on."""
    nothing = te.Split(examples=pixels(0), labels=np.zeros(0, int))
    splits = [te.Split(examples=pixels(3 * n), labels=np.arange(3 * n) % 3) for n in (count, validation)]
    names = {"train": splits[0], "validation": splits[1], "test": nothing}
    return te.Dataset(**names, class_names=("a", "b", "c"), kind="image", task="classification", source="drawn", seed=0)


def _refused(candidates: list[Candidate], encoder: te.Encoder, given: te.Dataset, folds: int | None) -> list[str]:
    """Why training would refuse some of the candidates, on any of the folds."""
    found = []
    for strategy in {each.strategy.name: each.strategy for each in candidates}.values():
        for fold in make_folds(given, folds, 0).datasets:
            encoder.unfreeze(False)
            encoder.join(())
            try:
                model = build_model(encoder, fold, te.linear_head())
                fit(model, fold, strategy, seed=0, run=lambda *_, **__: None, cache=FeatureCache())
            except ValueError as error:
                found.append(f"{strategy.name}: {error}")
    return found


@pytest.mark.parametrize(
    ("count", "validation", "folds", "has_pairs"),
    [
        (3, 0, None, True),  # 3 folds: 2 of a class are left
        (3, 0, 2, True),  # 2 of one class at least are left by each of the 2 folds
        (4, 0, 2, True),
        (2, 0, None, False),
        (2, 10, None, True),  # the validation part is large enough
        (1, 10, None, False),
        (1, 10, 2, True),  # folds of both
        (1, 1, None, False),
    ],
)
def test_few_examples_are_drawn_together_where_each_fold_has_two_of_a_class(
    count: int, validation: int, folds: int | None, has_pairs: bool, tmp_path: Path
) -> None:
    """Contrastive strategies are proposed where they can be run on each fold; training refuses nothing proposed."""
    encoder, given = tiny(), _few(count, validation)
    candidates = _drawn({"tiny": encoder}, given, tmp_path, folds)
    assert any(each.strategy.name.startswith("contrastive") for each in candidates) == has_pairs
    assert _refused(candidates, encoder, given, folds) == []


def test_a_search_makes_its_default_space_for_its_folds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside the validation part each class has one example to train on, in folds of both it has several."""
    spaces = []

    def stop(space: te.SearchSpace) -> None:
        spaces.append(space)
        raise KeyboardInterrupt

    monkeypatch.setattr(searching, "sketch", stop)
    for folds in (1, 2):
        with pytest.raises(KeyboardInterrupt):
            te.search(tiny(), _few(1, 10), directory=tmp_path / "study", folds=folds)
    kinds = []
    for space in spaces:
        hp = keras_tuner.HyperParameters()
        space.candidate(hp)
        kinds.append(next(each.values for each in hp.space if each.name == "strategy"))
    assert ["contrastive" in each for each in kinds] == [False, True]


def test_an_encoder_that_cannot_be_cut_joins_no_depths(tmp_path: Path) -> None:
    """What cannot be cut has no features at depths between: the probe is on the embedding alone."""
    encoder = te.load_encoder(write_noisy_module(tmp_path / "noisy", 0.5), kind="image")
    candidates = _drawn({"noisy": encoder}, _few(3, 0), tmp_path)
    assert {each.strategy.name for each in candidates} >= {"linear_probe", "lp_ft(1)"}
    assert _refused(candidates, encoder, _few(3, 0), None) == []
    assert encoder.spec.depths == ()


@pytest.mark.parametrize("count", [4, 2_100, 20_100])
def test_an_encoder_without_weights_is_probed(count: int, tmp_path: Path) -> None:
    """Nothing of it can be unfrozen, whatever the size of the data."""
    image = keras.Input((2, 2, 3))
    encoder = te.load_encoder(keras.Model(image, keras.layers.Flatten()(image)))
    given = te.Dataset.from_arrays(np.zeros([count, 2, 2, 3], "uint8"), np.arange(count) % 2, test=0, validation=0)
    candidates = _drawn({"flat": encoder}, given, tmp_path)
    assert {each.strategy.name for each in candidates} == {"linear_probe"}


def _is_deep(candidate: Candidate) -> bool:
    return candidate.strategy.name.startswith("lp_ft")
