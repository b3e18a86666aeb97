"""The nearest of some names."""

import subprocess
import sys

import pytest

import tfembed as te
from tfembed.encoders.loading import load_encoder
from tfembed.spelling import did_you_mean, nearest_names
from tfembed.strategies import parse_strategy


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("minlm", ["minilm"]), ("Min-iLM", ["minilm"]), ("glyph", ["glyphs"]), ("nobody", []), ("", [])],
)
def test_a_slip_is_near_to_what_was_meant(name: str, nearest: list[str]) -> None:
    """A letter too few, another case or a dash lead to the name; what is like none of them leads to none."""
    assert nearest_names(name, ["minilm", "glyphs", "use"]) == nearest


def test_several_names_may_be_as_near() -> None:
    """The nearest is named first, and a second one that is near too."""
    assert did_you_mean("texts", ["label", "text", "text2"]) == " Did you mean 'text' or 'text2'?"


@pytest.mark.parametrize(("typed", "meant"), [("lpft", "lp_ft"), ("load_texts", "load_text"), ("Datasets", "Dataset")])
def test_public_names_that_are_not_there_say_which_is(typed: str, meant: str) -> None:
    """`te.lpft` raises an AttributeError that names `lp_ft`; hasattr answers False."""
    with pytest.raises(AttributeError, match=f"module 'tfembed' has no attribute '{typed}'. Did you mean '{meant}'"):
        getattr(te, typed)
    assert not hasattr(te, typed)


@pytest.mark.parametrize(
    ("typed", "meant"), [("lp_fit:1", "lp_ft:1"), ("linear-prob", "linear_probe"), ("lpft", "lp_ft:K")]
)
def test_strategies_that_are_not_there_say_which_is(typed: str, meant: str) -> None:
    """The nearest strategy is named as it would be typed, with the number that was."""
    with pytest.raises(ValueError, match=f"Unknown strategy '{typed}'. Did you mean {meant}.* Pass linear_probe"):
        parse_strategy(typed)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("minlm", "minilm"), ("aplications:ResNet50", "applications:"), ("applications:ResNet5", "ResNet50")],
)
def test_encoders_that_are_not_there_say_which_is(typed: str, meant: str) -> None:
    """The nearest name of the catalog, scheme or network is named."""
    with pytest.raises(ValueError, match=f"Did you mean '{meant}'"):
        load_encoder(typed)


def test_names_are_looked_up_without_tensorflow() -> None:
    """What is only misspelled does not wait for TensorFlow."""
    program = (
        "import sys, tfembed\n"
        "try:\n"
        "    tfembed.lpft\n"
        "except AttributeError as error:\n"
        "    print(error, 'tensorflow' in sys.modules)\n"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout == "module 'tfembed' has no attribute 'lpft'. Did you mean 'lp_ft'? False\n"
