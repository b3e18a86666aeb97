"""Search: find out which encoder, strategy and head serve some data best."""

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import filelock
import tensorflow as tf

from tfembed.data import Dataset, check_dataset
from tfembed.encoders.encoder import Encoder
from tfembed.encoders.loading import load_encoder
from tfembed.features import FeatureCache
from tfembed.features.key import encoder_key
from tfembed.features.unknown_words import warn_of_splits
from tfembed.search.about import about, describe_parts
from tfembed.search.choice import choose
from tfembed.search.display import SearchDisplay
from tfembed.search.encoders import Encoders
from tfembed.search.files import sweep
from tfembed.search.job import Job, open_workshop, share_trials
from tfembed.search.leaderboard import make_leaderboard, ties_in_words
from tfembed.search.plan import Plan, begin, versions
from tfembed.search.records import Records
from tfembed.search.runner import Runner, run_all, run_trials
from tfembed.search.space import SearchSpace, default_space
from tfembed.search.study import Study, load_study
from tfembed.search.tuner import describe, sketch
from tfembed.search.winner import crown
from tfembed.search.workers import Team, team_of, without_role
from tfembed.strategies import Strategy


def search(  # noqa: PLR0913 - all but three have defaults
    encoder: Any,
    data: Dataset,
    *,
    directory: str | os.PathLike[str],
    space: SearchSpace | Callable[..., SearchSpace] = default_space,
    max_trials: int = 12,
    max_minutes: float | None = None,
    oracle: str = "random",
    objective: str | None = None,
    folds: int | None = None,
    repeats: int = 1,
    seed: int = 0,
    balanced: bool = False,
    early_stopping: bool = True,
    mixed_precision: bool = False,
    jit_compile: bool = False,
    cache: FeatureCache | None = None,
    workers: int = 1,
    distribution: tf.distribute.Strategy | None = None,
) -> Study:
    """Search for the best strategy, depth, rate and head, with keras-tuner.

    Trials learn from the training part and are measured on the validation part, or on folds of both. The winner alone
    is trained again on both, and measured on the test part. Baselines are always among the rows: the majority class, a
    linear probe of each encoder, and, of the best encoder, full fine-tuning and the same architecture from scratch.

    The folder keeps every phase and trial that was run. Where a search was interrupted, the same call goes on.

    Args:
        encoder: An encoder, or what `load_encoder` takes; several in a list, or by name in a dictionary, which may also
            hold functions that give an encoder.
        data: With a validation part, unless `folds` is given.
        directory: The study's folder: a new one, or that of the same search.
        space: What may be tried; a function makes it of the encoders by name, and the data.
        max_trials: Without the baselines.
        max_minutes: No trial is begun after it; baselines and the last training come on top.
        oracle: `"random"`, `"bayesian"`, `"hyperband"` or `"grid"`.
        objective: What trials are judged by; by default accuracy, for several labels `micro_f1`, for targets
            `root_mean_squared_error`.
        folds: Folds of training and validation part to measure on; 1 for the validation part; None for 5 folds where
            there are fewer than 30 validation examples.
        repeats: Seeds that each trial is run with, and the winner trained with.
        seed: The first of them; also of the folds and the oracle.
        balanced: Whether every class counts the same, however many examples it has.
        early_stopping: Whether a trial that cannot win is stopped; baselines are not.
        mixed_precision: Whether encoders compute in bfloat16 while they train; for GPUs, see `accelerate`.
        jit_compile: Whether XLA compiles what trains; for GPUs, see `accelerate`.
        cache: Features that are known already.
        workers: Processes that share the trials; each loads the encoders itself, so that none may be an object. On
            several machines, how many there are in all: where keras-tuner's environment variables name this process
            chief or worker, it is that, and a worker gives back the study as it is when the trials are over.
        distribution: Shares each batch of a trial among the devices of this machine, or of several, each of which makes
            the same call with a directory of its own; see `train`. Most trials are too small to gain from it: where
            there are many of them, give each worker a device of its own.

    Raises:
        ValueError: If something of that is wrong, the folder holds another study, or no trial ran to its end.
        OSError: If the disk is full; the same call goes on once there is room.

    Example:
        >>> import tempfile, tfembed as te
        >>> from sklearn.datasets import load_digits
        >>> digits = load_digits()
        >>> pixels = (digits.images * 15).astype("uint8")[:200]
        >>> data = te.Dataset.from_arrays(pixels, digits.target[:200], validation=0.2)
        >>> space = te.SearchSpace(
        ...     encoders=("glyphs",),
        ...     strategy=lambda hp: te.linear_probe(depths=(hp.Choice("depth", [3, 4]),)),
        ...     epochs=1,
        ... )
        >>> study = te.search("glyphs", data, space=space, max_trials=1, directory=tempfile.mkdtemp())
        >>> [row.name for row in study.leaderboard if row.score > 0.5][0].startswith("linear")
        True
    """
    check_dataset(data, "search")
    plan = Plan(
        task=data.task,
        oracle=oracle,
        objective=objective,
        max_trials=max_trials,
        max_minutes=max_minutes,
        folds=folds,
        repeats=repeats,
        seed=seed,
        balanced=balanced,
        early_stopping=early_stopping,
        mixed_precision=mixed_precision,
        jit_compile=jit_compile,
    )
    team = team_of(workers)
    _check_sharing(distribution, team)
    encoders = Encoders(_loaders(encoder, team is not None))
    try:
        with without_role():
            resources = (cache or FeatureCache(), distribution)
            return _search(encoders, data, plan, space, Path(directory), resources, (team, workers))
    finally:
        encoders.restore()


def _search(  # noqa: PLR0913 - the arguments of search, checked
    encoders: Encoders,
    data: Dataset,
    plan: Plan,
    space: SearchSpace | Callable[..., SearchSpace],
    folder: Path,
    resources: tuple[FeatureCache, tf.distribute.Strategy | None],
    shared: tuple[Team | None, int],
) -> Study:
    from tfembed.report import write_report  # it reads studies, and imports from this package

    loaded = {name: encoders.fresh(name) for name in encoders.names}
    _warn_of_texts(loaded, data)
    chosen = _space(space, loaded, data, plan)
    chosen = replace(chosen, strategy=partial(_accelerated, chosen, plan))
    sketched = sketch(chosen)
    description = _describe(plan, sketched, loaded, data)
    description["about"] = about(loaded, data, default_space=space is default_space)
    shop = open_workshop(encoders, data, plan, folder, *resources)
    begin(folder, description)
    team, workers = shared
    job = Job(encoders=encoders.load, data=data, plan=plan, space=chosen, folder=folder, workers=workers)
    if team is not None and not team.leads:
        share_trials(job, team, lambda: None)
        return load_study(folder)
    with _alone(folder), without_repetition(), SearchDisplay(plan, workers=workers) as display:
        sweep(folder)
        display.say(describe(sketched))
        runner = Runner(shop, plan, Records(folder / "trials", shop.distribution), display)
        alone = partial(run_trials, runner, chosen, folder)
        run_all(runner, chosen, alone if team is None else partial(share_trials, job, team, runner.catch_up))
        winner = choose(runner.done, plan)
        ties = ties_in_words(make_leaderboard(runner.done, plan, lambda trial: runner.records.predictions(trial.key)))
        display.say("; ".join(filter(None, (f"winner: {winner.name}", ties, "trained again on all but the test part"))))
        crown(shop, winner, data, folder)
        study = load_study(folder)
        write_report(study, data)
    return study


def _warn_of_texts(encoders: Mapping[str, Encoder], data: Dataset) -> None:
    """Log how many texts each encoder of word vectors knows no word of."""
    splits = {"train": data.train, "validation": data.validation, "test": data.test}
    for encoder in encoders.values():
        warn_of_splits(encoder, {name: split.examples for name, split in splits.items() if len(split)})


def _check_sharing(distribution: tf.distribute.Strategy | None, team: Team | None) -> None:
    if distribution is not None and team is not None:
        raise ValueError("Either trials are shared among processes, or each among devices: pass one of the two.")


def _loaders(given: Any, is_shared: bool) -> dict[str, Callable[[], Encoder]]:
    """How to get each encoder, by name."""
    several = given if isinstance(given, list | tuple) else [given]
    pairs = list(given.items()) if isinstance(given, Mapping) else [(_name(each), each) for each in several]
    loaders: dict[str, Callable[[], Encoder]] = {}
    for name, each in pairs:
        if name in loaders:
            raise ValueError(
                f"Encoder {name!r} is given twice: pass each once, or name one of them with load_encoder(..., name=)."
            )
        if isinstance(each, Encoder) and is_shared:
            raise ValueError(f"Workers load their encoders themselves: pass a handle in the place of {name!r}.")
        if isinstance(each, Encoder):
            loaders[name] = partial(_itself, each)
        else:
            loaders[name] = each if callable(each) else partial(load_encoder, each)
    return loaders


def _name(encoder: Any) -> str:
    return encoder.spec.name if isinstance(encoder, Encoder) else os.fspath(encoder)


def _itself(encoder: Encoder) -> Encoder:
    return encoder


def _space(
    given: SearchSpace | Callable[..., SearchSpace], loaded: Mapping[str, Encoder], data: Dataset, plan: Plan
) -> SearchSpace:
    for name, encoder in loaded.items():
        if encoder.spec.kind != data.kind:
            raise ValueError(
                f"Encoder {name!r} is of {encoder.spec.kind}s, the data are {data.kind}s: pass one of them."
            )
    if given is default_space:
        given = partial(default_space, folds=plan.folds, seed=plan.seed)
    space = given if isinstance(given, SearchSpace) else given(loaded, data)
    if set(space.encoders) != set(loaded):
        raise ValueError(
            f"The search space has encoders {list(space.encoders)}, the search was given {list(loaded)}: pass the same."
        )
    return space


def _accelerated(space: SearchSpace, plan: Plan, hp: Any) -> Strategy:
    strategy = space.strategy(hp)
    return plan.accelerated(strategy) if isinstance(strategy, Strategy) else strategy  # the space says what is wrong


def _describe(plan: Plan, sketched: dict[str, Any], loaded: Mapping[str, Encoder], data: Dataset) -> dict[str, Any]:
    """All that the trials depend on, by topic, as JSON values."""
    return {
        "plan": asdict(plan),
        "space": sketched,
        "encoders": {name: encoder_key(encoder) for name, encoder in loaded.items()},
        "data": describe_parts(data),
        "source": data.source,
        "versions": versions(),
    }


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Be the only search in a folder; a process that is killed lets go of it."""
    lock = filelock.FileLock(folder / ".lock")
    try:
        lock.acquire(blocking=False)
    except filelock.Timeout:
        raise ValueError(f"Another process searches in {folder}: wait for it, or pass another folder.") from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def without_repetition() -> Iterator[None]:
    """Say once what would be said again for each trial or seed, and not that many models are traced."""
    said = set()

    def is_wanted(record: logging.LogRecord) -> bool:
        message = record.getMessage()
        is_new = message not in said and "triggered tf.function retracing" not in message
        said.add(message)
        return is_new

    loggers = [logging.getLogger(name) for name in ("tensorflow", "tfembed.features.lengths")]
    for logger in loggers:
        logger.addFilter(is_wanted)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(is_wanted)
