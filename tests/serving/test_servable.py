"""Any SavedModel is served: without inputs, without batch dimension, with defaults, with every type."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from served_models import write_everything, write_half_plus

from tfembed.serving.inference import Inference
from tfembed.serving.servable import LoadOptions, Servable
from tfembed.serving.status import Code, ServingError


def test_strings_and_bytes(ask: Any) -> None:
    """Text comes back as text, and as base64 where the name of the output ends in _bytes."""
    status, found = ask("everything:predict", {"signature_name": "strings", "instances": [["a", "ß"]]})
    assert status == 200
    assert found["predictions"] == [
        {"upper": ["A", "ß"], "raw_bytes": [{"b64": "YQ=="}, {"b64": "w58="}], "lengths": [1, 2]}
    ]


def test_a_signature_without_inputs(ask: Any) -> None:
    """It is asked with an empty object."""
    assert ask("everything:predict", {"signature_name": "constant", "inputs": {}}) == (200, {"outputs": 1.5})


def test_no_batch_dimension_and_defaults(ask: Any) -> None:
    """Scalars are fed as scalars; an input with a default may be left out."""
    body = {"signature_name": "scalars", "inputs": {"a": 1.0, "b": 2.0}}
    assert ask("everything:predict", body) == (200, {"outputs": 3.0})
    assert ask("everything:predict", {"signature_name": "scalars", "inputs": {"a": 1.0}}) == (200, {"outputs": 11.0})
    status, found = ask("everything:predict", {"signature_name": "scalars", "inputs": {"b": 1.0}})
    assert (status, found) == (400, {"error": "Missing named input: a in 'inputs' object."})
    body = {"signature_name": "scalars", "instances": [{"a": 1.0, "b": 2.0}, {"a": 2.0, "b": 3.0}]}
    assert ask("everything:predict", body) == (200, {"predictions": [3.0, 5.0]})


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64", "int8", "uint8", "int16", "int32", "uint32"])
def test_types(ask: Any, dtype: str) -> None:
    """Every numeric type goes through the model and comes back."""
    status, found = ask("everything:predict", {"signature_name": dtype, "instances": [0, 1, 100]})
    assert (status, found) == (200, {"predictions": [0, 1, 100]})


def test_large_integers_and_bools(ask: Any) -> None:
    """64 bits are kept to the last one."""
    for dtype, values in (("int64", [-(2**63), 2**63 - 1]), ("uint64", [0, 2**64 - 1]), ("bool", [True, False])):
        assert ask("everything:predict", {"signature_name": dtype, "instances": values}) == (
            200,
            {"predictions": values},
        )


def test_an_error_of_the_model(ask: Any) -> None:
    """What the graph itself refuses is answered with its code."""
    status, found = ask("everything:predict", {"signature_name": "checked", "instances": [-1.0]})
    assert status == 400
    assert "negative" in found["error"]


def test_an_unknown_tag(models: Path) -> None:
    """A SavedModel without the tags that are served cannot be loaded."""
    with pytest.raises(ServingError) as caught:
        Servable("m", 1, models / "half_plus_two" / "123", LoadOptions(tags=("gpu",)))
    assert caught.value.code is Code.NOT_FOUND
    assert "gpu" in caught.value.message


def test_a_deadline_that_is_over(models: Path) -> None:
    """A request whose time is up is not run."""
    servable = Servable("m", 1, models / "half_plus_two" / "123", LoadOptions())
    with pytest.raises(ServingError, match="DEADLINE_EXCEEDED"):
        Inference(servable, deadline=0.0).predict({"x": np.float32([1])})
    servable.unload()


def test_an_unloaded_servable_takes_nobody(tmp_path: Path) -> None:
    """Who comes after the unloading began is sent away."""
    servable = Servable("m", 1, write_half_plus(tmp_path / "1"), LoadOptions())
    servable.unload()
    assert servable.acquire() is False


def test_what_may_be_batched(tmp_path: Path) -> None:
    """Only tensors with any number of rows are put together with those of others."""
    servable = Servable("m", 1, write_everything(tmp_path / "1"), LoadOptions())
    by_name = {name: [info.name for info in found.inputs.values()] for name, found in servable.signatures.items()}
    assert servable.takes_batches(tuple(by_name["row_sums"]))
    assert not servable.takes_batches(tuple(by_name["scalars"]))
    assert not servable.takes_batches(())
    servable.unload()
