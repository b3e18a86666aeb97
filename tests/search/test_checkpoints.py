"""Phases are known again by all that they depend on, and by nothing less."""

from dataclasses import replace
from typing import Any

import pytest
from tiny_studies import CLASSES, tiny

import tfembed as te
from tfembed.predict import ModelParts, parts_of
from tfembed.search.checkpoints import phase_key

PHASE = te.Phase(name="tune", unfreeze=1, epochs=2)
GIVEN = {"data": "a", "seed": 0, "balanced": False}


def _parts(**options: Any) -> ModelParts:
    parts = parts_of(te.build_image_classifier(tiny(**options), CLASSES))
    parts.head.set_weights([weight * 0 + 0.5 for weight in parts.head.get_weights()])
    return parts


def _moved(weight: Any) -> ModelParts:
    parts = _parts()
    weight(parts).assign(weight(parts) + 0.1)
    return parts


def test_the_same_phase_of_the_same_model_is_known() -> None:
    """A model that was made again has the same key, and the name of a phase changes nothing."""
    assert phase_key(_parts(), PHASE, GIVEN) == phase_key(_parts(), replace(PHASE, name="other"), GIVEN)


@pytest.mark.parametrize(
    "other",
    [
        lambda: (_parts(seed=5), PHASE, GIVEN),
        lambda: (_parts(dropout=0.3), PHASE, GIVEN),
        lambda: (_moved(lambda parts: parts.encoder.blocks[0].variables[0]), PHASE, GIVEN),
        lambda: (_moved(lambda parts: parts.head.weights[0]), PHASE, GIVEN),
        lambda: (_parts(), replace(PHASE, epochs=3), GIVEN),
        lambda: (_parts(), PHASE, GIVEN | {"data": "b"}),
        lambda: (_parts(), PHASE, GIVEN | {"seed": 1}),
        lambda: (_parts(), PHASE, GIVEN | {"balanced": True}),
    ],
    ids=["encoder", "dropout", "encoder's weight", "head's weight", "phase", "data", "seed", "balance"],
)
def test_whatever_a_phase_depends_on_makes_another(other: Any) -> None:
    """Another encoder, with a head that begins the same, is another phase; so is every other difference."""
    assert phase_key(*other()) != phase_key(_parts(), PHASE, GIVEN)
