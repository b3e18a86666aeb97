"""What the page says to type does what it says."""

import json
from pathlib import Path
from typing import Any

import plain_modules
import pytest
from tiny_encoders import tiny_text_encoder

import tfembed as te
from tfembed.report.repetition import _load_encoder, snippets
from tfembed.search.about import about
from tfembed.search.trial import Trial


@pytest.fixture
def typed(text_study: te.Study, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The snippets by title; the encoder that they load is the tiny one."""
    monkeypatch.setattr(te, "load_encoder", lambda handle, pooling: tiny_text_encoder())
    return {snippet.title: snippet.code for snippet in snippets(text_study, tuned(text_study))}


def tuned(study: te.Study) -> Trial:
    """A trial that trained blocks."""
    return next(trial for trial in study.trials if trial.name == "tuned(2)")


def test_the_winner_comes_out_again(typed: dict[str, str], text_study: te.Study) -> None:
    """Data, strategy and seed are those of the trial: so are its metrics."""
    names: dict[str, Any] = {}
    exec(typed["The winner alone, trained on the training part"], names)
    assert names["result"].metrics["validation"] == tuned(text_study).executions[0]["metrics"]
    assert names["result"].strategy.to_json() == json.dumps((tuned(text_study).candidate or {})["strategy"])


def test_the_search_is_the_same_one(
    typed: dict[str, str], text_study: te.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The call has the data, the folder and all of the plan; a space of one's own is asked for."""
    asked: dict[str, Any] = {}

    def search(encoder: te.Encoder, data: te.Dataset, **options: Any) -> None:
        asked.update(options, data=data)

    monkeypatch.setattr(te, "search", search)
    exec(typed["The search in Python"], {})
    assert len(asked.pop("data").train) == 18
    assert asked.pop("space") is ...
    assert asked == {
        "directory": str(text_study.folder), "oracle": "grid", "max_trials": 3, "folds": 1, "repeats": 2,
    }  # fmt: skip


def test_an_encoder_is_loaded_as_it_was(image_data: te.Dataset) -> None:
    """What it computes in and the tokens that it keeps are part of it: without them it would be another one."""
    given = te.load_encoder("minilm", compute="bfloat16", sequence_length=24)
    described = about({"minilm": given, "plain": te.load_encoder("minilm")}, image_data, default_space=True)["encoders"]
    names = {"te": te}
    again = eval(_load_encoder("minilm", described["minilm"]), names)
    assert (again.compute, again.sequence_length, again.chooses_length) == ("bfloat16", 24, False)
    assert _load_encoder("minilm", described["plain"]) == "te.load_encoder('minilm')"


def test_a_signature_is_part_of_how_an_encoder_is_loaded(tmp_path: Path, image_data: te.Dataset) -> None:
    """A SavedModel with signatures alone is loaded by the same signature and output."""
    given = te.load_encoder(plain_modules.write_keras_export(tmp_path / "module"))
    described = about({"mine": given}, image_data, default_space=True)["encoders"]["mine"]
    assert _load_encoder("mine", described).endswith("output='output_0', signature='serving_default')")


def test_commands_name_the_folder(typed: dict[str, str], text_study: te.Study) -> None:
    """A folder with spaces is quoted."""
    folder = f"'{text_study.folder}'"
    assert typed["Use it, and look closer"].splitlines() == [
        f"tfembed export {folder} 'saved_models/{text_study.folder.name}'",
        f"tfembed report {folder}",
        f"tensorboard --logdir {folder}/tensorboard",
    ]


def test_the_command_line_that_searched_is_kept(
    monkeypatch: pytest.MonkeyPatch, image_data: te.Dataset, glyphs: te.Encoder
) -> None:
    """`tfembed search` is told as it was typed; other programs are not."""
    monkeypatch.setattr("sys.argv", [str(Path("bin", "tfembed")), "search", "my data.csv", "--out", "runs/a"])
    found = about({"glyphs": glyphs}, image_data, default_space=True)
    assert found["command"] == "tfembed search 'my data.csv' --out runs/a"
    monkeypatch.setattr("sys.argv", ["train.py", "search"])
    assert about({"glyphs": glyphs}, image_data, default_space=True)["command"] is None
