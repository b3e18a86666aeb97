"""Strategies are values."""

import json

import pytest

import tfembed as te


@pytest.mark.parametrize(
    "strategy",
    [
        te.linear_probe(),
        te.top_blocks(2, learning_rate=1e-5, epochs=3),
        te.lp_ft(1),
        te.full(),
        te.Strategy(
            name="own",
            phases=(
                te.Phase(name="a", unfreeze=("stem", "top"), batch_size=4, weight_decay=0.1, label_smoothing=0.2),
                te.Phase(name="b", unfreeze="biases", patience=2),
            ),
        ),
    ],
    ids=lambda strategy: strategy.name,
)
def test_strategies_survive_json(strategy):
    """What to_json writes is JSON, and strategy_from_json makes the same strategy of it, booleans and names kept."""
    text = strategy.to_json()
    assert json.loads(text)["name"] == strategy.name
    read = te.strategy_from_json(text)
    assert read == strategy
    assert [type(phase.unfreeze) for phase in read.phases] == [type(phase.unfreeze) for phase in strategy.phases]


def test_the_strategies_unfreeze_what_they_say():
    """A probe unfreezes nothing and solves; probe and fine-tune do one after the other; full unfreezes everything."""
    phases = {s.name: [(p.unfreeze, p.solve) for p in s.phases] for s in (te.linear_probe(), te.lp_ft(2), te.full())}
    assert phases == {"linear_probe": [(False, True)], "lp_ft(2)": [(False, True), (2, False)], "full": [(True, False)]}
    assert te.top_blocks(3).phases[0].unfreeze == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"unfreeze": -1}, "'p' unfreezes -1 blocks: pass 0 or more"),
        ({"epochs": 0}, "epochs 0: pass 1 or more"),
        ({"batch_size": 0}, "batch_size 0: pass 1 or more"),
        ({"patience": 0}, "patience 0: pass 1 or more"),
        ({"learning_rate": 0.0}, "learning rate 0.0: pass one above 0"),
        ({"label_smoothing": 1.0}, "label smoothing 1.0: pass 0 to below 1"),
        ({"label_smoothing": -0.1}, "label smoothing -0.1"),
    ],
)
def test_phases_are_checked(options, message):
    """A value that makes no sense is refused, naming the phase, the value and what to pass; from JSON too."""
    with pytest.raises(ValueError, match=message):
        te.Phase(name="p", **options)
    with pytest.raises(ValueError, match=message):
        te.strategy_from_json(json.dumps({"name": "s", "phases": [{"name": "p", **options}]}))


def test_lists_of_blocks_become_tuples():
    """Block names may come as a list; the phase stays hashable."""
    phase = te.Phase(name="p", unfreeze=["a", "b"])
    assert phase.unfreeze == ("a", "b")
    assert isinstance(hash(phase), int)


def test_a_strategy_has_phases():
    """A strategy without phases is refused."""
    with pytest.raises(ValueError, match="'s' has no phases"):
        te.Strategy(name="s", phases=())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no json", "no strategy as to_json writes it"),
        ("[]", "no strategy as to_json writes it"),
        ('{"name": "s"}', "phases"),
        ('{"name": "s", "phases": [{}]}', "name"),
        ('{"name": "s", "phases": [{"name": "p", "rate": 1}]}', r"no \['rate'\]: it has \['batch_size'"),
        ('{"name": "s", "phases": []}', "has no phases"),
    ],
)
def test_json_of_no_strategy_is_refused(text, message):
    """The message names what is missing or too much."""
    with pytest.raises(ValueError, match=message):
        te.strategy_from_json(text)
