"""Strategies are values."""

import json
import math

import numpy as np
import pytest
from tiny_encoders import tiny_image_encoder

import tfembed as te


@pytest.mark.parametrize(
    "strategy",
    [
        te.linear_probe(),
        te.top_blocks(2, learning_rate=1e-5, epochs=3),
        te.lp_ft(1),
        te.full(),
        te.only_block(2),
        te.only_block("stem"),
        te.gradual(2),
        te.biases(),
        te.norms(),
        te.lora(4, num_unfrozen=2),
        te.contrastive(2, steps=7),
        te.linear_probe(depths=(2, 4)),
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
    assert phases == {
        "linear_probe": [(False, True)],
        "lp_ft(2)": [(False, True), (2, False), (False, True)],
        "full": [(True, False), (False, True)],
    }
    assert te.top_blocks(3).phases[0].unfreeze == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"unfreeze": -1}, "'p' unfreezes -1 blocks: pass 0 or more"),
        ({"epochs": 0}, "epochs 0: pass 1 or more"),
        ({"batch_size": 0}, "batch_size 0: pass 1 or more"),
        ({"patience": 0}, "patience 0: pass 1 or more"),
        ({"learning_rate": 0.0}, "learning rate 0.0: pass one above 0"),
        ({"layer_decay": 0.0}, "layer decay 0.0: pass one above 0, at most 1"),
        ({"layer_decay": 1.1}, "layer decay 1.1"),
        ({"warmup": 1.0}, "warmup 1.0: pass 0 to below 1"),
        ({"l2_sp": -1.0}, "l2_sp -1.0: pass 0 or more"),
        ({"weight_decay": -0.1}, "weight_decay -0.1: pass 0 or more"),
        ({"steps": 0}, "steps 0: pass 1 or more"),
        ({"temperature": 0.0}, "temperature 0.0: pass one above 0"),
        ({"objective": "fun"}, "objective 'fun': pass one of"),
        ({"batch_norm": "fixed"}, r"batch_norm 'fixed': pass one of \('auto', 'inference', 'train', 'adapt'\)"),
        ({"objective": "contrastive"}, "contrastive and unfreezes nothing: pass unfreeze=1 or more"),
        ({"lora_rank": 4}, "of a low rank and unfreezes nothing"),
        ({"depths": (1,), "unfreeze": 1}, r"joins depths \(1,\) and unfreezes: pass unfreeze=False"),
        ({"label_smoothing": 1.0}, "label smoothing 1.0: pass 0 to below 1"),
        ({"label_smoothing": -0.1}, "label smoothing -0.1"),
        ({"epochs": 1.5}, "epochs 1.5: pass a whole number"),
        ({"epochs": "3"}, "epochs '3': pass a whole number"),
        ({"batch_size": True}, "batch_size True: pass a whole number"),
        ({"learning_rate": math.nan}, "learning_rate nan: pass a number"),
        ({"l2_sp": math.inf}, "l2_sp inf: pass a number"),
        ({"solve": "no"}, "solve 'no': pass True or False"),
        ({"depths": 3}, "depths 3: pass a list of whole numbers"),
        ({"unfreeze": ""}, "unfreeze '': pass True, False, a number of blocks"),
        ({"unfreeze": None}, "unfreeze None: pass True, False"),
        ({"unfreeze": [1.5]}, r"unfreeze \[1.5\]: pass True, False"),
    ],
)
def test_phases_are_checked(options, message):
    """A value that makes no sense is refused, naming the phase, the value and what to pass; from JSON too."""
    with pytest.raises(ValueError, match=message):
        te.Phase(name="p", **options)
    with pytest.raises(ValueError, match=message):
        te.strategy_from_json(json.dumps({"name": "s", "phases": [{"name": "p", **options}]}))


def test_a_strategy_treats_batch_norm_alike_in_all_phases_with_gradients():
    """It is a copy, with a name of its own; JSON keeps it, and JSON from before there was a choice is read."""
    strategy = te.gradual(2).with_batch_norm("adapt")
    assert strategy.name == "gradual(2), batch norm adapt"
    assert [phase.batch_norm for phase in strategy.phases] == ["auto", "adapt", "adapt", "auto"]
    assert te.strategy_from_json(strategy.to_json()) == strategy
    old = json.loads(te.lp_ft(1).to_json())
    for phase in old["phases"]:
        del phase["batch_norm"]
    assert te.strategy_from_json(json.dumps(old)) == te.lp_ft(1)
    with pytest.raises(ValueError, match="Phase 'fine-tune' has batch_norm 'off': pass one of"):
        te.lp_ft(1).with_batch_norm("off")


def test_lists_of_blocks_become_tuples():
    """Block names may come as a list; the phase stays hashable."""
    phase = te.Phase(name="p", unfreeze=["a", "b"])
    assert phase.unfreeze == ("a", "b")
    assert isinstance(hash(phase), int)


def test_numbers_of_numpy_are_numbers():
    """A strategy made of what NumPy counted or drew is the same value, and goes to JSON."""
    strategy = te.top_blocks(np.int64(2), learning_rate=np.float32(0.5), epochs=np.int32(3))
    assert strategy == te.top_blocks(2, learning_rate=0.5, epochs=3)
    assert te.strategy_from_json(strategy.to_json()) == strategy


@pytest.mark.parametrize("unfreeze", [True, False, 0, 1])
def test_everything_is_not_one_block(unfreeze):
    """True and False stay what they are, and numbers of blocks too, also from JSON: True is all, 1 the top block."""
    strategy = te.Strategy(name="s", phases=(te.Phase(name="p", unfreeze=unfreeze),))
    for each in (strategy, te.strategy_from_json(strategy.to_json())):
        assert type(each.phases[0].unfreeze) is type(unfreeze)
        assert each.phases[0].unfreeze == unfreeze


def test_additions_of_no_rank_are_refused():
    """What would train the weights themselves is not called LoRA."""
    with pytest.raises(ValueError, match="rank 0: pass 1 or more"):
        te.lora(0)


def test_a_strategy_has_phases():
    """A strategy without phases is refused."""
    with pytest.raises(ValueError, match="'s' has no phases"):
        te.Strategy(name="s", phases=())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no json", "no strategy as to_json writes it"),
        ("[]", "no strategy as to_json writes it"),
        ('{"name": "s"}', "expected the fields name, phases"),
        ('{"name": "s", "phases": [], "epochs": 3}', r"found \['epochs', 'name', 'phases'\]"),
        ('{"name": 3, "phases": [{"name": "p"}]}', "the name 3: pass a text"),
        ('{"name": "s", "phases": "p"}', "has phases 'p': expected a list"),
        ('{"name": "s", "phases": ["p"]}', "A phase is 'p': expected its fields by name"),
        ('{"name": "s", "phases": [{}]}', "A phase is {}: expected its fields by name"),
        ('{"name": "s", "phases": [{"name": "p", "rate": 1}]}', r"no \['rate'\]: it has \['batch_norm'"),
        ('{"name": "s", "phases": []}', "has no phases"),
    ],
)
def test_json_of_no_strategy_is_refused(text, message):
    """The message names what is missing or too much."""
    with pytest.raises(ValueError, match=message):
        te.strategy_from_json(text)


AUTO = "in inference mode; beyond 1,000 training images in inference mode with statistics of the training images"


def test_strategies_say_what_they_do(capsys):
    """describe prints, phase by phase, what trains, how many values, at what rate, and what is computed once."""
    encoder = tiny_image_encoder()
    encoder.unfreeze("norms")
    before = [variable.trainable for variable in encoder.variables]
    te.lp_ft(1).describe(encoder)
    te.gradual(2).describe(encoder)
    te.contrastive(3).with_batch_norm("adapt").describe(encoder)
    assert [variable.trainable for variable in encoder.variables] == before
    assert capsys.readouterr().out.splitlines() == [
        "lp_ft(1)",
        "  1 probe: only the head trains, solved to its optimum; computed once: the embeddings",
        "  2 fine-tune: block_3 (152 values) and the head train for up to 20 epochs at learning rate 0.0001; "
        f"batch norm {AUTO}; computed once: block_1, block_2",
        "  3 solve: only the head trains, solved to its optimum; computed once: the embeddings",
        "gradual(2)",
        "  1 probe: only the head trains, solved to its optimum; computed once: the embeddings",
        "  2 top 1: block_3 (152 values) and the head train for up to 3 epochs at learning rate 0.0001, times 0.4 for "
        f"each block further down; batch norm {AUTO}; computed once: block_1, block_2",
        "  3 top 2: block_2, block_3 (304 values) and the head train for up to 3 epochs at learning rate 0.0001, times "
        f"0.4 for each block further down; batch norm {AUTO}; computed once: block_1",
        "  4 solve: only the head trains, solved to its optimum; computed once: the embeddings",
        "contrastive(3), batch norm adapt",
        "  1 contrastive: block_1 to block_3 (420 values) train for 40 steps at learning rate 0.0001, on batches drawn "
        "by class; the head rests; batch norm in inference mode with statistics of the training images; computed "
        "once: nothing of the encoder",
        "  2 probe: only the head trains, solved to its optimum; computed once: the embeddings",
    ]


def test_what_cannot_be_described_leaves_the_encoder_as_it_was():
    """A phase that unfreezes too much is an error that lists the blocks, and the flags are put back."""
    encoder = tiny_image_encoder()
    encoder.unfreeze(1)
    with pytest.raises(ValueError, match="Cannot select the top 9 blocks: there are 3"):
        te.top_blocks(9).describe(encoder)
    with pytest.raises(ValueError, match=r"depths \[9\]: the encoder has 3 blocks, pass depths from 1 to 2"):
        te.linear_probe(depths=(1, 9)).describe(encoder)
    assert encoder.num_frozen == 2


@pytest.mark.parametrize("depths", [3, "12", ("a",)])
def test_depths_are_a_list_of_whole_numbers(depths):
    """Anything else is refused in the words of the argument."""
    with pytest.raises(ValueError, match=r"depths .*: pass a list of whole numbers"):
        te.linear_probe(depths=depths)


def test_a_probe_of_no_depths_is_the_plain_one():
    """An empty list is as good as an empty tuple."""
    assert te.linear_probe(depths=[]) == te.linear_probe()


@pytest.mark.parametrize("strategy", [te.lp_ft, te.top_blocks])
def test_a_strategy_that_fine_tunes_unfreezes_a_block(strategy):
    """No block to fine-tune is refused, and the strategy for that is named."""
    with pytest.raises(ValueError, match=rf"{strategy.__name__}\(0\) fine-tunes no block: .* or take linear_probe"):
        strategy(0)
