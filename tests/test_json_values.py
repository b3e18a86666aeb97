"""JSON as its standard has it."""

import json
import math

import numpy as np
from tiny_encoders import pixels

import tfembed as te
from tfembed.json_values import to_json, with_nan
from tfembed.search.trial import Trial, trial_from_dict


def _strict(text: str) -> object:
    """Read JSON as every other reader does: NaN and Infinity are no values."""

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)


def test_what_is_no_finite_number_is_null() -> None:
    """NaN and infinities become null at any depth; everything else stays."""
    values = {"a": [1.5, math.nan, (math.inf, -math.inf)], "b": {"c": np.float64("nan")}, "d": "NaN", "e": None, "f": 2}
    expected = {"a": [1.5, None, [None, None]], "b": {"c": None}, "d": "NaN", "e": None, "f": 2}
    assert _strict(to_json(values)) == expected


def test_numbers_are_read_back_as_they_were() -> None:
    """A trial without a finite metric is the same trial after it was written and read."""
    phases = [{"name": "probe", "history": {"val_loss": [0.5, math.nan]}}]
    run = {"seed": 0, "fold": 0, "metrics": {"r2": math.nan}, "temperature": None, "phases": phases}
    trial = Trial(key="a", name="a", state="failed", metrics={"r2": math.nan}, executions=(run,))
    again = trial_from_dict(_strict(to_json(trial.to_dict())))  # type: ignore[arg-type]
    assert repr(again) == repr(trial)
    assert repr(with_nan([None, {"a": None}])) == "[nan, {'a': nan}]"


def test_a_run_without_finite_metrics_is_json(tmp_path) -> None:  # type: ignore[no-untyped-def]
    """R2 of a single example is no number: the record of the run has null in its place."""
    data = te.Dataset.from_arrays(pixels(4), [0.5, 1.5, 2.5, 3.5], validation=0, test=0.25)
    model = te.build_image_regressor(te.load_encoder("glyphs"))
    result = te.train(model, data, "linear_probe")
    assert math.isnan(result.metrics["test"]["r2"])
    record = _strict((te.save_run(tmp_path / "run", model, result, {}) / "run.json").read_text(encoding="utf-8"))
    assert record["result"]["metrics"]["test"]["r2"] is None  # type: ignore[index]
