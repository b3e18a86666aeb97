"""What a search tries where it is not told."""

from pathlib import Path

import keras_tuner
import pytest
from tiny_encoders import tiny_text_encoder
from tiny_studies import data, tiny

import tfembed as te
from tfembed.search.candidate import Candidate
from tfembed.search.plan import Plan
from tfembed.search.space import default_space
from tfembed.search.tuner import StudyTuner, make_oracle


def _drawn(encoders: dict[str, te.Encoder], given: te.Dataset, folder: Path) -> list[Candidate]:
    """What some draws of the default space stand for."""
    space, plan = default_space(encoders, given), Plan(task=given.task, max_trials=60)
    oracle = StudyTuner(make_oracle(plan, space.epochs), space, folder, lambda *trial: None).oracle
    return [space.candidate(oracle.create_trial(str(i)).hyperparameters) for i in range(plan.max_trials)]


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
    kinds = {name: {e.strategy.name for e in candidates if e.encoder == name} for name in ("shallow", "deep")}
    assert "norms" in kinds["deep"] - kinds["shallow"]


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


def _is_deep(candidate: Candidate) -> bool:
    return candidate.strategy.name.startswith("lp_ft")
