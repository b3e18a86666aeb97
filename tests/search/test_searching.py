"""A search from end to end."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_encoders import tiny_text_encoder
from tiny_studies import comparable, data, probes, space, study, tiny

import tfembed as te
from tfembed.search import session, workshop
from tfembed.search.leaderboard import ties_in_words
from tfembed.search.session import Session


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> te.Study:
    """A search of three trials."""
    return study(tmp_path_factory.mktemp("studies") / "first")


def test_the_leaderboard_has_trials_and_baselines(found: te.Study) -> None:
    """Three trials and four baselines are there, sorted by the objective, the ones that nothing beats marked."""
    rows = found.leaderboard
    assert {row.name for row in rows if row.baseline} == {
        "majority class",
        "linear probe",
        "full fine-tuning",
        "from scratch, 2 epochs",
    }
    assert sum(not row.baseline for row in rows) == 3
    scores = [row.score for row in rows]
    assert scores == sorted(scores, reverse=True)
    by_name = {row.name: row for row in rows}
    assert by_name["majority class"].score == 0.5
    assert by_name["linear probe"].trained_parameters == 10
    assert by_name["full fine-tuning"].trained_parameters == by_name["from scratch, 2 epochs"].trained_parameters > 700
    assert by_name["from scratch, 2 epochs"].export_bytes > 4 * 700
    for row in rows:
        beaten = any(
            (o.score, -o.trained_parameters, -o.export_bytes) != (row.score, -row.trained_parameters, -row.export_bytes)
            and o.score >= row.score
            and o.trained_parameters <= row.trained_parameters
            and o.export_bytes <= row.export_bytes
            for o in rows
        )
        assert row.pareto == (not beaten)


def test_the_winner_is_trained_on_all_but_the_test_part(found: te.Study) -> None:
    """The best model is the winner's: it scores on the test part what the result says, and ships."""
    model = found.best_model()
    assert te.evaluate(model, data().test)["accuracy"] == found.result["test"]["accuracy"]
    assert found.result["name"] == next(r.name for r in found.leaderboard if r.state == "completed")
    run = found.result["runs"][0]
    # as many examples as training and validation part have: 60 without the 12 of the test part
    assert round(run["metrics"]["train"]["accuracy"] * 48, 6).is_integer()
    assert all("val_loss" not in phase["history"] for phase in run["phases"])
    assert te.load_run(found.folder)[1]["encoder"] == "tiny"


def test_a_search_says_who_ties_with_the_winner(
    quick: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """On 18 examples the rates make no difference that is more than noise: the last line counts and names them."""
    found = study(tmp_path / "study", space=space(strategy=probes), early_stopping=False)
    ties = ties_in_words(found.leaderboard)
    assert ties.startswith("tied with ")
    said = capsys.readouterr().err.splitlines()
    assert said[-1] == f"winner: {found.result['name']}; {ties}; trained again on all but the test part"


def test_the_winner_is_calibrated_as_its_trial_was(found: te.Study) -> None:
    """Its validation examples are trained on now: the temperature is the one that they gave before."""
    winner = next(trial for trial in found.trials if trial.name == found.result["name"])
    expected = [execution["temperature"] for execution in winner.executions]
    assert expected[0] != 1
    assert float(found.best_model().layers[-1].temperature) == pytest.approx(
        np.exp(np.mean(np.log(expected))), rel=1e-5
    )


def test_a_trial_says_what_it_did(found: te.Study) -> None:
    """Each trial has its values, its phases with their histories, and what it says of validation examples."""
    trial = next(trial for trial in found.trials if trial.number is not None and trial.state == "completed")
    assert set(trial.values) == {"rate"}
    phases = trial.executions[0]["phases"]
    assert [phase["name"] for phase in phases] == ["probe", "fine-tune", "solve"]
    assert len(phases[1]["history"]["val_loss"]) == 2
    said = found.predictions(trial)
    assert said["outputs"].shape == (18, 2)
    assert (said["outputs"].argmax(axis=1) == said["labels"]).mean() == trial.metrics["accuracy"]
    assert np.array_equal(data().validation.labels[said["rows"]], said["labels"])
    assert trial.seconds > 0
    assert trial.ended >= trial.spent > 0


def test_the_test_part_is_touched_by_the_winner_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While trials run, no data set in sight has a test example, nor do pixels of one reach a model."""
    seen = []

    def spied(plain: Any) -> Any:
        def spy(model: Any, given: te.Dataset, *args: Any, **options: Any) -> te.Result:
            seen.append(given)
            return plain(model, given, *args, **options)

        return spy

    for name in ("fit", "execute"):  # of trials, and of the winner
        monkeypatch.setattr(workshop, name, spied(getattr(workshop, name)))
    dataset = data()
    study(tmp_path / "study", max_trials=1, space=space(strategy=probes))
    held = {example.tobytes() for example in dataset.test.examples}
    assert len(seen) == 5
    for given in seen:
        assert len(given.test) == 0
        assert not held & {e.tobytes() for split in (given.train, given.validation) for e in split.examples}


def test_a_known_phase_is_not_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The probe is run once for all trials; with the phases kept, a search without records trains nothing at all."""
    ran = []
    run_phase = session.run_phase

    def spy(parts: Any, given: te.Dataset, phase: te.Phase, **options: Any) -> Any:
        ran.append(phase.name)
        return run_phase(parts, given, phase, **options)

    monkeypatch.setattr(session, "run_phase", spy)
    first = study(tmp_path / "study", max_trials=2, early_stopping=False)
    assert ran.count("probe") == 1 + any("probe" in each["name"] for each in first.result["runs"][0]["phases"])
    assert ran.count("fine-tune") <= 4  # of two trials and full fine-tuning, and perhaps of the winner
    assert ran.count("scratch") == 1
    ran.clear()
    for path in (tmp_path / "study" / "trials").iterdir():
        path.unlink()
    again = study(tmp_path / "study", max_trials=2, early_stopping=False)
    assert ran == []
    assert comparable(again) == comparable(first)


def test_a_finished_search_is_not_run_again(found: te.Study, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same call returns the same study, and trains nothing."""
    monkeypatch.setattr(Session, "run", lambda *_, **__: pytest.fail("something was trained"))
    assert comparable(study(found.folder)) == comparable(found)


def test_more_trials_go_on_from_the_ones_there_are(quick: None, tmp_path: Path) -> None:
    """With more trials allowed, those that were run stay as they were."""
    few = study(tmp_path / "study", max_trials=1, space=space(strategy=probes))
    more = study(tmp_path / "study", max_trials=3, space=space(strategy=probes))
    known = {trial.key: trial for trial in few.trials}
    assert {trial.key for trial in more.trials} >= set(known)
    assert sum(trial.number is not None for trial in more.trials) == 3
    assert all(trial.spent == known[trial.key].spent for trial in more.trials if trial.key in known)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": data(62)}, r"data, train: '\d+ examples, \w+' there, '\d+ examples, \w+' now"),
        ({"space": space(epochs=3)}, "space, epochs: 2 there, 3 now"),
        (
            {
                "space": space(
                    strategy=lambda hp: te.lp_ft(1, learning_rate=hp.Float("rate", 1e-3, 0.2, sampling="log"))
                )
            },
            "space, hyperparameters, rate, max_value: 0.1 there, 0.2 now; space, draws: the same values stand",
        ),
        (
            {"space": space(strategy=lambda hp: te.lp_ft(hp.Choice("blocks", [1, 3])))},
            "rate: {'kind': 'Float'.* there, None now; space, hyperparameters, blocks: None there",
        ),
        (
            {"space": space(head=lambda hp: te.mlp_head([4]))},
            "holds another study: space, draws: the same values stand",
        ),
        ({"seed": 1}, "plan, seed: 0 there, 1 now"),
        ({"repeats": 2, "folds": 2}, "plan, folds: 1 there, 2 now; plan, repeats: 1 there, 2 now"),
        ({"early_stopping": False}, "plan, early_stopping: True there, False now"),
    ],
)
def test_another_search_is_refused_in_the_same_folder(found: te.Study, change: Any, message: str) -> None:
    """Other data, another space, seed or way to measure are refused, and the message says what differs."""
    before = sorted(found.folder.rglob("*"))
    with pytest.raises(ValueError, match=message):
        study(found.folder, **change)
    assert sorted(found.folder.rglob("*")) == before


def test_the_same_data_in_another_place_are_the_same(found: te.Study) -> None:
    """A file that was moved, or is named from another folder, holds what was searched on: the study goes on."""
    moved = replace(data(), source="elsewhere/images")
    assert comparable(study(found.folder, data=moved)) == comparable(found)
    assert te.load_study(found.folder).description["source"] == "elsewhere/images"


def test_another_encoder_is_refused_in_the_same_folder(found: te.Study) -> None:
    """An encoder of the same name with other weights is another one."""
    encoder = tiny()
    encoder.blocks[0].variables[0].assign(encoder.blocks[0].variables[0] + 0.1)
    with pytest.raises(ValueError, match="holds another study: encoders, tiny: '"):
        study(found.folder, encoder=encoder)


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    """No study is begun among other files."""
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="exists already and is no study"):
        study(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_the_encoder_is_given_back_as_it_was(tmp_path: Path) -> None:
    """After a search the caller's encoder has the weights that it had, and is frozen."""
    encoder = tiny()
    before = [variable.numpy().copy() for block in encoder.blocks for variable in block.variables]
    study(tmp_path / "study", encoder=encoder, space=space(strategy=probes), max_trials=1)
    after = [variable.numpy() for block in encoder.blocks for variable in block.variables]
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    assert not encoder.trainable_variables


def test_folds_and_seeds(quick: None, tmp_path: Path) -> None:
    """With folds every example but the test ones is predicted once, and each seed has its own score and spread."""
    found = study(tmp_path / "study", folds=3, repeats=2, max_trials=1, space=space(strategy=probes))
    trial = next(trial for trial in found.trials if trial.number == 0)
    assert [(run["seed"], run["fold"]) for run in trial.executions] == [(s, f) for s in (0, 1) for f in range(3)]
    said = found.predictions(trial)
    assert sorted(said["rows"]) == list(range(48))
    first = [run["metrics"]["accuracy"] for run in trial.executions[:3]]
    second = [run["metrics"]["accuracy"] for run in trial.executions[3:]]
    assert trial.metrics["accuracy"] == pytest.approx((np.mean(first) + np.mean(second)) / 2)
    assert trial.spread["accuracy"] == pytest.approx(abs(np.mean(first) - np.mean(second)) / 2)
    assert [run["seed"] for run in found.result["runs"]] == [0, 1]
    tests = [run["metrics"]["test"]["accuracy"] for run in found.result["runs"]]
    assert found.result["test"]["accuracy"] == pytest.approx(np.mean(tests))
    assert found.result["spread"]["accuracy"] == pytest.approx(np.std(tests))


@pytest.mark.parametrize("oracle", ["bayesian", "hyperband", "grid"])
def test_every_oracle_proposes_different_trials(quick: None, oracle: str, tmp_path: Path) -> None:
    """Each of keras-tuner's oracles runs its trials, none of them twice; those of Hyperband for few epochs first."""
    found = study(tmp_path / oracle, oracle=oracle, max_trials=4, space=space(strategy=probes, epochs=3))
    trials = [trial for trial in found.trials if trial.number is not None]
    assert len({tuple(sorted(trial.values.items())) for trial in trials}) == len(trials)
    assert len(trials) == 4 if oracle != "bayesian" else 3 <= len(trials) <= 4
    if oracle == "hyperband":
        assert {trial.values["tuner/epochs"] for trial in trials} <= {1, 3}


def test_several_encoders_in_one_space(quick: None, tmp_path: Path) -> None:
    """Encoders are chosen between, each has its probe, and the best one is fine-tuned in full."""
    wide = space(encoders=("tiny", "other"), strategy=lambda hp: te.linear_probe(depths=(1,)))
    both = [tiny(), tiny("other", seed=7)]
    found = study(tmp_path / "study", encoder=both, space=wide, oracle="grid")
    names = {row.name for row in found.leaderboard}
    assert {"linear probe of tiny", "linear probe of other"} <= names
    assert {trial.candidate["encoder"] for trial in found.trials if trial.number is not None} == {"tiny", "other"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"oracle": "luck"}, "Unknown oracle 'luck': pass one of random, bayesian, hyperband, grid"),
        ({"objective": "luck"}, "Unknown objective 'luck' of a classification: pass one of accuracy, macro_f1, loss"),
        ({"max_trials": 0}, "max_trials=0"),
        ({"max_minutes": 0}, "max_minutes=0"),
        ({"folds": 99}, "folds=99: expected 1, or 2 to 24"),
        ({"space": space(encoders=("minilm",))}, "has encoders .'minilm'., the search was given .'tiny'."),
        ({"space": space(strategy=lambda hp: "lp_ft")}, "gave str and Head: expected a Strategy"),
        ({"data": data(validation=0), "folds": 1}, "no validation part to choose by: pass folds=2"),
    ],
)
def test_what_makes_no_sense_is_refused(options: Any, message: str, tmp_path: Path) -> None:
    """Nothing is begun with an unknown oracle, too many folds, or a space of something else."""
    with pytest.raises(ValueError, match=message):
        study(tmp_path / "study", **options)
    assert not (tmp_path / "study").exists()


def test_encoders_must_suit_the_data(tmp_path: Path) -> None:
    """An encoder of texts is refused for images, and so is one that is given twice."""
    with pytest.raises(ValueError, match="is of texts, the data are images"):
        te.search(tiny_text_encoder(), data(), directory=tmp_path / "study")
    with pytest.raises(ValueError, match="'tiny' is given twice"):
        te.search([tiny()] * 2, data(), directory=tmp_path / "study")


def test_strategies_are_the_users_own(quick: None, tmp_path: Path) -> None:
    """What the user's function gives is what is trained."""
    own = te.Strategy(name="mine", phases=(te.Phase(name="only", unfreeze=1, epochs=1),))
    found = study(tmp_path / "study", max_trials=1, space=space(strategy=lambda hp: own), early_stopping=False)
    trial = next(trial for trial in found.trials if trial.number == 0)
    assert trial.name == "mine"
    assert [phase["name"] for phase in trial.executions[0]["phases"]] == ["only"]


def test_acceleration_reaches_trials_and_baselines(tmp_path: Path) -> None:
    """All that is trained in epochs is accelerated. With another choice it is another study."""
    found = study(tmp_path / "study", max_trials=1, mixed_precision=True)
    strategies = [trial.to_dict()["candidate"]["strategy"] for trial in found.trials if trial.candidate]
    phases = [phase for strategy in strategies for phase in strategy["phases"]]
    assert len(strategies) == 4
    assert [phase["mixed_precision"] for phase in phases] == [not phase["solve"] for phase in phases]
    with pytest.raises(ValueError, match="plan, mixed_precision: True there, False now"):
        study(tmp_path / "study", max_trials=1)


def test_without_a_test_part_there_is_a_model_and_no_test_score(quick: None, tmp_path: Path) -> None:
    """The winner is trained all the same."""
    found = study(tmp_path / "study", data=data(test=0), max_trials=1, space=space(strategy=probes))
    assert found.result["test"] == {}
    assert found.best_model() is not None
