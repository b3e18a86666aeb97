"""Writing a report, and writing it again."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import NASTY, load, search, write_texts
from tiny_encoders import pixels, tiny_image_encoder, tiny_text_encoder

import tfembed as te
from tfembed.cli import cli
from tfembed.report.writing import write_report
from tfembed.search.files import write_json
from tfembed.search.leaderboard import ties_in_words

SHOWN = "&lt;script&gt;document.title"


def html(study: te.Study) -> str:
    return (study.folder / "report.html").read_text(encoding="utf-8")


def test_a_search_ends_with_a_report(text_study: te.Study) -> None:
    """Page and logs lie in the study's folder, and nothing half-written beside them."""
    assert SHOWN in html(text_study)
    assert (text_study.folder / "tensorboard").is_dir()
    assert list(text_study.folder.glob(".aside*")) == []
    assert NASTY not in html(text_study)


def test_the_figures_are_those_of_the_study(text_study: te.Study) -> None:
    """The test score, each validation score and each name are on the page."""
    shown = html(text_study)
    assert text_study.result is not None
    assert f"{100 * text_study.result['test']['accuracy']:.1f} %" in shown
    for row in text_study.leaderboard:
        assert row.name in shown
        assert row.score is None or f'data-value="{row.score}"' in shown
    assert "failed" in shown
    assert "Cannot select the top 9 blocks" in shown
    assert "Apache-2.0" not in shown  # the tiny encoder's licence is unknown, and is said to be
    assert "<dd>unknown</dd>" in shown


def test_texts_are_read_again(text_study: te.Study) -> None:
    """`tfembed report` makes the data anew as they were made for the search."""
    before = html(text_study)
    run = CliRunner().invoke(cli, ["report", str(text_study.folder), "--json"])
    assert json.loads(run.stdout) == {"report": str(text_study.folder / "report.html")}
    assert html(text_study) == before


def test_missing_and_other_texts_are_said_to_be(tmp_path: Path) -> None:
    """Where the file is gone or has changed, all else is shown, and what to do."""
    file = write_texts(tmp_path / "texts.csv")
    study = search(tmp_path / "study", load(file), tiny_text_encoder())
    content = file.read_text(encoding="utf-8")
    file.write_text(content.replace("longlong", "other"), encoding="utf-8")
    write_report(study)
    assert SHOWN not in html(study)
    assert "The texts are not shown: " in html(study)
    assert "was searched on other data: data, train: " in html(study)
    file.unlink()
    write_report(study)
    assert "texts.csv" in html(study).split("The texts are not shown: ")[1][:200]
    assert "Calibration" in html(study)
    file.write_text(content, encoding="utf-8")
    write_report(study)
    assert SHOWN in html(study)


def test_ties_are_told(text_study: te.Study) -> None:
    """Labels that cannot be told from texts leave the trials within the noise: rows and the verdict say so."""
    ties = ties_in_words(text_study.leaderboard)
    assert ties.startswith("tied with ")
    assert html(text_study).count(">tie with the winner") == sum(row.tie for row in text_study.leaderboard)
    assert f"By a paired test on the validation examples it is {ties}." in html(text_study)


def test_data_from_python_are_passed(image_study: te.Study, image_data: te.Dataset) -> None:
    """Pictures that were in memory only can be passed; others are refused, naming what differs."""
    assert "data:image/png" in html(image_study)
    write_report(image_study)
    assert "data:image/png" not in html(image_study)
    assert "The images are not shown: the data were made in Python. Pass them" in html(image_study)
    write_report(image_study, image_data)
    assert "data:image/png" in html(image_study)
    other = te.Dataset.from_arrays(pixels(60, seed=1), np.arange(60) % 3, ["a", "b", "c"], validation=0.3)
    with pytest.raises(ValueError, match=r"searched on other data: data, train: '.*' there, '.*' now"):
        write_report(image_study, other)


def test_a_study_that_is_not_done(text_study: te.Study, tmp_path: Path) -> None:
    """A report can be written at any time: before the first trial, and before the winner is trained."""
    write_json(tmp_path / "study.json", text_study.description)
    write_report(te.load_study(tmp_path))
    empty = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "0 trials and 0 baselines so far; none has come to its end." in empty
    (tmp_path / "trials").mkdir()
    for path in (text_study.folder / "trials").iterdir():
        (tmp_path / "trials" / path.name).write_bytes(path.read_bytes())
    write_report(te.load_study(tmp_path))
    begun = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "The search is not done" in begun
    assert "The winner on the validation part" in begun


@pytest.mark.parametrize("task", ["regression", "multi_label"])
def test_other_tasks(task: str, tmp_path: Path) -> None:
    """Targets have a diagram in place of confusions; several labels have precision and recall."""
    rng = np.random.default_rng(0)
    labels = rng.normal(size=40) if task == "regression" else (rng.random((40, 3)) < 0.5).astype(int)
    names = None if task == "regression" else ["a", "b", "c"]
    data = te.Dataset.from_arrays(pixels(40), labels, names, validation=0.3, task=task)
    study = search(tmp_path / "study", data, tiny_image_encoder())
    shown = html(study)
    assert ("said against true" in shown) == (task == "regression")
    assert ("Expected calibration error" in shown) == (task == "multi_label")
    assert ("<th>precision</th>" in shown) == (task == "multi_label")
    assert "Confusion matrix" not in shown
    assert "data:image/png" in shown


def test_no_study_is_one_line(tmp_path: Path) -> None:
    """What is no study is refused, saying what one is."""
    run = CliRunner().invoke(cli, ["report", str(tmp_path)])
    assert isinstance(run.exception, ValueError)
    assert "is no study: expected study.json" in str(run.exception)


def test_a_report_does_not_wait_for_tensorflow(text_study: te.Study) -> None:
    """`tfembed report` reads a study and writes page and logs without importing TensorFlow or Keras."""
    program = (
        "import sys; sys.argv = ['tfembed', 'report', sys.argv[1]]\n"
        "from tfembed.cli import main; main()\n"
        "print(sorted({'tensorflow', 'keras', 'keras_tuner'} & set(sys.modules)))\n"
    )
    command = [sys.executable, "-c", program, str(text_study.folder)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == "[]"
    assert (text_study.folder / "report.html").exists()
