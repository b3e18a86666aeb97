"""The only module that knows keras-tuner: its oracles propose trials, its Tuner runs them."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras_tuner
from keras_tuner.engine import trial as kt_trial

from tfembed.search.plan import Plan
from tfembed.search.space import SearchSpace
from tfembed.search.trial import Trial

FOLDER = "tuner"  # of keras-tuner, in the study's
_PAUSE = 0.2  # seconds
_DRAWS = 16  # of a space, that say whether it is the same
_INITIAL = 5  # random trials before Bayesian optimisation begins
_FACTOR = 3  # of Hyperband: one in so many goes on
# A grid is gone through as it was declared, and the first rounds of Hyperband are short anyway.
_IN_THEIR_OWN_ORDER = (keras_tuner.oracles.HyperbandOracle, keras_tuner.oracles.GridSearchOracle)

# From the number of a trial, its values, and the hyperparameters to what the trial came to.
RunTrial = Callable[[int, dict[str, Any], Any], Trial]


class StudyTuner(keras_tuner.Tuner):
    """Asks an oracle for trials and has them run, those that cost little first.

    Its folder is keras-tuner's own, and is written anew each time: what was run is known to the study, whose trials
    are whole at any time, while keras-tuner's files may be torn. An oracle that is told the same results in the same
    order proposes the same trials, so that a study goes on where it was.

    Args:
        oracle: From `make_oracle`.
        space: What may be tried.
        folder: Of the study.
        run: Runs a trial, or knows what it came to.
        cost: Of the candidate that hyperparameters stand for; None for the oracle's own order.
        fresh: Whether to empty keras-tuner's folder first; of several processes none may.
    """

    def __init__(
        self,
        oracle: keras_tuner.Oracle,
        space: SearchSpace,
        folder: Path,
        run: RunTrial,
        cost: Callable[[Any], float] | None = None,
        *,
        fresh: bool = True,
    ) -> None:
        oracle.verbose = 0
        super().__init__(oracle, space.candidate, directory=str(folder), project_name=FOLDER, overwrite=fresh)
        self._run, self._cost = run, cost

    def search_until(self, is_over: Callable[[], bool]) -> None:
        """Run trials until the oracle has no more, or time is over.

        Args:
            is_over: Asked before each trial.
        """
        waiting = self._drawn_ahead()
        while not is_over():
            trial = waiting.pop(0) if waiting else self.oracle.create_trial(self.tuner_id)
            if trial.status == kt_trial.TrialStatus.IDLE:  # it waits for what other workers come to
                time.sleep(_PAUSE)
                continue
            if trial.status != kt_trial.TrialStatus.RUNNING:
                return
            self.on_trial_begin(trial)
            found = self._run(int(trial.trial_id), dict(trial.hyperparameters.values), trial.hyperparameters)
            if found.state == "failed":
                trial.status, trial.message = kt_trial.TrialStatus.FAILED, found.reason
            else:
                self.oracle.update_trial(trial.trial_id, found.metrics)
                trial.status = kt_trial.TrialStatus.COMPLETED
            self.on_trial_end(trial)

    def _drawn_ahead(self) -> list[Any]:
        """The trials that do not depend on what others come to, the cheapest first."""
        oracle, cost = self.oracle, self._cost
        if cost is None or isinstance(oracle, _IN_THEIR_OWN_ORDER):
            return []
        is_bayesian = isinstance(oracle, keras_tuner.oracles.BayesianOptimizationOracle)
        most = _INITIAL if is_bayesian else oracle.max_trials
        drawn = [oracle.create_trial(f"{self.tuner_id}-{i}") for i in range(most)]
        running = [trial for trial in drawn if trial.status == kt_trial.TrialStatus.RUNNING]
        return sorted(running, key=lambda trial: cost(trial.hyperparameters))


def stop_when(oracle: keras_tuner.Oracle, is_over: Callable[[], bool]) -> keras_tuner.Oracle:
    """Have an oracle propose no more trials once time is over, and return it.

    A chief must do so itself: it waits for workers that leave without having been told to.
    """
    propose = oracle.populate_space
    stop = {"status": kt_trial.TrialStatus.STOPPED}
    oracle.populate_space = lambda trial_id: stop if is_over() else propose(trial_id)
    return oracle


def make_oracle(plan: Plan, epochs: int) -> keras_tuner.Oracle:
    """keras-tuner's oracle of a plan.

    Args:
        plan: How to search.
        epochs: At most, for Hyperband.
    """
    options: dict[str, Any] = {
        "objective": keras_tuner.Objective(plan.objective, plan.direction),
        "seed": plan.seed + 1,  # 0 would be drawn anew each time
        "max_consecutive_failed_trials": 10**9,  # the search goes on
    }
    if plan.oracle == "hyperband":
        oracle = keras_tuner.oracles.HyperbandOracle(max_epochs=epochs, factor=_FACTOR, **options)
        oracle.max_trials = plan.max_trials
        return oracle
    if plan.oracle == "bayesian":
        return keras_tuner.oracles.BayesianOptimizationOracle(
            max_trials=plan.max_trials, num_initial_points=_INITIAL, **options
        )
    kinds = {"random": keras_tuner.oracles.RandomSearchOracle, "grid": keras_tuner.oracles.GridSearchOracle}
    return kinds[plan.oracle](max_trials=plan.max_trials, **options)


def sketch(space: SearchSpace) -> dict[str, Any]:
    """What tells a space from another one, as JSON values: its hyperparameters, and what some draws stand for."""
    plan = Plan(task="classification", max_trials=_DRAWS)
    with tempfile.TemporaryDirectory() as folder:
        tuner = StudyTuner(make_oracle(plan, space.epochs), space, Path(folder), _not_run)
        drawn = [tuner.oracle.create_trial(f"draw-{i}").hyperparameters for i in range(_DRAWS)]
        hyperparameters = [each.get_config() for each in tuner.oracle.get_space().space]
        names = [type(each).__name__ for each in tuner.oracle.get_space().space]
    configs = [{"kind": n, **_plain(config)} for n, config in zip(names, hyperparameters, strict=True)]
    draws = [space.candidate(hp).key for hp in drawn if hp.values or not configs]
    return {"encoders": list(space.encoders), "hyperparameters": configs, "draws": draws, "epochs": space.epochs}


def _not_run(number: int, values: dict[str, Any], hp: Any) -> Trial:
    raise NotImplementedError("Drawn trials are not run.")


def _plain(config: dict[str, Any]) -> dict[str, Any]:
    """A hyperparameter's config as JSON values."""
    plain = {name: value for name, value in config.items() if name != "conditions" and value is not None}
    conditions = [condition["config"] for condition in config.get("conditions", ())]
    return plain | ({"conditions": conditions} if conditions else {})


def describe(sketched: dict[str, Any]) -> str:
    """The search space in words, a line for each hyperparameter."""
    lines = [f"encoders: {', '.join(sketched['encoders'])}"]
    for each in sketched["hyperparameters"]:
        if "values" in each:
            what = ", ".join(map(str, each["values"]))
        elif "min_value" in each:
            what = f"{each['min_value']} to {each['max_value']}"
            what += f", {each['sampling']} scale" if each.get("sampling") not in (None, "linear") else ""
        else:
            what = f"always {each['value']}" if "value" in each else "yes or no"
        for condition in each.get("conditions", ()):
            what += f"; where {condition['name']} is {' or '.join(map(str, condition['values']))}"
        lines.append(f"{each['name']}: {what}")
    return "\n".join(lines)
