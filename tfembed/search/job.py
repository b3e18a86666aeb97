"""Job: what chief and workers do, each in a process of its own."""

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import tensorflow as tf

from tfembed.data import Dataset
from tfembed.encoders.encoder import Encoder
from tfembed.features import FeatureCache
from tfembed.search.checkpoints import Checkpoints
from tfembed.search.display import SearchDisplay
from tfembed.search.encoders import Encoders
from tfembed.search.folds import make_folds
from tfembed.search.plan import Plan
from tfembed.search.records import Records
from tfembed.search.runner import Runner, is_spent, name_of, run_proposed
from tfembed.search.space import SearchSpace
from tfembed.search.trial import Trial
from tfembed.search.tuner import FOLDER, StudyTuner, make_oracle, stop_when
from tfembed.search.workers import CHIEF, Team, run_team, too_many
from tfembed.search.workshop import Workshop


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What chief and workers do.

    Attributes:
        encoders: How each is loaded.
        data: See `search`.
        plan: How to search.
        space: What may be tried.
        folder: Of the study.
        workers: How many there are.
    """

    encoders: Mapping[str, Callable[[], Encoder]]
    data: Dataset
    plan: Plan
    space: SearchSpace
    folder: Path
    workers: int

    def __call__(self, deaths: int) -> None:
        """Be the chief or a worker, as keras-tuner's environment variables say.

        Args:
            deaths: How many processes died in the place of this one.
        """
        oracle = make_oracle(self.plan, self.space.epochs)
        if os.environ["KERASTUNER_TUNER_ID"] == CHIEF:
            stop_when(oracle, self._is_over)
            StudyTuner(oracle, self.space, self.folder, partial(_not_the_chiefs, self), fresh=False).search()
            return
        for device in tf.config.list_physical_devices("GPU"):
            tf.config.experimental.set_memory_growth(device, True)
        with open(os.devnull, "w", encoding="utf-8") as nowhere:
            shop = open_workshop(Encoders(self.encoders), self.data, self.plan, self.folder, FeatureCache())
            display = SearchDisplay(self.plan, nowhere)
            runner = Runner(shop, self.plan, Records(self.folder / "trials"), display, self.workers)
            self._work(runner, oracle, too_many(deaths))

    def _work(self, runner: Runner, oracle: Any, is_doomed: bool) -> None:
        doomed = [is_doomed]

        def run(number: int, values: dict[str, Any], hp: Any) -> Trial:
            runner.catch_up()
            if doomed.pop() if doomed else False:
                self._give_up(runner, number, values, hp)
            return run_proposed(runner, self.space, number, values, hp)

        # The chief says when time is over.
        StudyTuner(oracle, self.space, self.folder, run, fresh=False).search_until(lambda: False)

    def _is_over(self) -> bool:
        """True once the minutes are spent by the trials that are recorded."""
        trials = [trial for trial in Records(self.folder / "trials").all() if trial.number is not None]
        return is_spent(self.plan, trials, self.workers)

    def _give_up(self, runner: Runner, number: int, values: dict[str, Any], hp: Any) -> None:
        """Mark a trial failed in which processes died again and again."""
        candidate = self.space.candidate(hp)
        name = name_of(candidate, values, len(self.space.encoders) > 1)
        if runner.records.find(candidate.key) is None:
            trial = Trial(key=candidate.key, name=name, candidate=candidate.to_dict(), state="failed")
            reason = "its process died again and again, perhaps for want of memory"
            runner.records.add(replace(trial, number=number, values=values, reason=reason), {})


def _not_the_chiefs(job: Job, number: int, values: dict[str, Any], hp: Any) -> Trial:
    raise NotImplementedError("The chief runs no trials.")


def share_trials(job: Job, team: Team, catch_up: Callable[[], None]) -> None:
    """Run the oracle's trials in several processes at a time.

    Args:
        job: What each of them does.
        team: Who of them this machine starts.
        catch_up: Called now and then, to show what they have done.
    """
    if team.leads:
        shutil.rmtree(job.folder / FOLDER, ignore_errors=True)
    run_team(job, team, len(tf.config.list_physical_devices("GPU")), catch_up)
    catch_up()


def open_workshop(
    encoders: Encoders,
    data: Dataset,
    plan: Plan,
    folder: Path,
    cache: FeatureCache,
    distribution: tf.distribute.Strategy | None = None,
) -> Workshop:
    """Where the trials of a plan are run."""
    return Workshop(
        folds=make_folds(data, plan.folds, plan.seed),
        encoders=encoders,
        seeds=plan.seeds,
        balanced=plan.balanced,
        cache=cache,
        checkpoints=Checkpoints(folder / "phases", distribution),
        distribution=distribution,
    )
