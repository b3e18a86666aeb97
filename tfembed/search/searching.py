"""Search: find out which encoder, strategy and head serve some data best."""

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import filelock

from tfembed.data import Dataset
from tfembed.encoders.encoder import Encoder
from tfembed.encoders.loading import load_encoder
from tfembed.features import FeatureCache
from tfembed.features.key import encoder_key
from tfembed.search.checkpoints import Checkpoints
from tfembed.search.display import SearchDisplay
from tfembed.search.encoders import Encoders
from tfembed.search.files import sweep
from tfembed.search.folds import content_key, make_folds
from tfembed.search.plan import Plan, begin, versions
from tfembed.search.records import Records
from tfembed.search.runner import Runner, run_all
from tfembed.search.space import SearchSpace, default_space
from tfembed.search.study import Study, load_study
from tfembed.search.tuner import describe, sketch
from tfembed.search.winner import choose, crown
from tfembed.search.workshop import Workshop


def search(  # noqa: PLR0913 - all but three have defaults
    encoder: Encoder | str | Sequence[Encoder | str],
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
    cache: FeatureCache | None = None,
) -> Study:
    """Search for the best strategy, depth, rate and head, with keras-tuner.

    Trials learn from the training part and are measured on the validation part, or on folds of both. The winner alone
    is trained again on both, and measured on the test part. Baselines are always among the rows: the majority class, a
    linear probe of each encoder, and, of the best encoder, full fine-tuning and the same architecture from scratch.

    The folder keeps every phase and trial that was run. Where a search was interrupted, the same call goes on.

    Args:
        encoder: An encoder, or what `load_encoder` takes; several to search among them.
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
        early_stopping: Whether a trial that cannot win is stopped.
        cache: Features that are known already.

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
        >>> study.leaderboard[-1].name
        'majority class'
    """
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
    )
    encoders = Encoders(_loaders(encoder))
    try:
        return _search(encoders, data, plan, space, Path(directory), cache or FeatureCache())
    finally:
        encoders.restore()


def _search(
    encoders: Encoders,
    data: Dataset,
    plan: Plan,
    space: SearchSpace | Callable[..., SearchSpace],
    folder: Path,
    cache: FeatureCache,
) -> Study:
    loaded = {name: encoders.fresh(name) for name in encoders.names}
    chosen = _space(space, loaded, data)
    sketched = sketch(chosen)
    description = _describe(plan, sketched, loaded, data)
    shop = Workshop(
        folds=make_folds(data, plan.folds, plan.seed),
        encoders=encoders,
        seeds=plan.seeds,
        balanced=plan.balanced,
        cache=cache,
        checkpoints=Checkpoints(folder / "phases"),
    )
    begin(folder, description)
    with _alone(folder), _without_advice(), SearchDisplay(plan) as display:
        sweep(folder)
        display.say(describe(sketched))
        runner = Runner(shop, plan, Records(folder / "trials"), display)
        run_all(runner, chosen, folder)
        winner = choose(runner.done, plan)
        display.say(f"winner: {winner.name}; trained again on all but the test part")
        crown(shop, winner, data, folder)
    return load_study(folder)


def _loaders(given: Any) -> dict[str, Callable[[], Encoder]]:
    """How to get each encoder, by name."""
    several = list(given) if isinstance(given, list | tuple) else [given]
    loaders: dict[str, Callable[[], Encoder]] = {}
    for each in several:
        name = each.spec.name if isinstance(each, Encoder) else os.fspath(each)
        if name in loaders:
            raise ValueError(f"Encoder {name!r} is given twice: pass each once.")
        loaders[name] = partial(_itself, each) if isinstance(each, Encoder) else partial(load_encoder, each)
    return loaders


def _itself(encoder: Encoder) -> Encoder:
    return encoder


def _space(
    given: SearchSpace | Callable[..., SearchSpace], loaded: Mapping[str, Encoder], data: Dataset
) -> SearchSpace:
    for name, encoder in loaded.items():
        if encoder.spec.kind != data.kind:
            raise ValueError(
                f"Encoder {name!r} is of {encoder.spec.kind}s, the data are {data.kind}s: pass one of them."
            )
    space = given if isinstance(given, SearchSpace) else given(loaded, data)
    if set(space.encoders) != set(loaded):
        raise ValueError(
            f"The search space has encoders {list(space.encoders)}, the search was given {list(loaded)}: pass the same."
        )
    return space


def _describe(plan: Plan, sketched: dict[str, Any], loaded: Mapping[str, Encoder], data: Dataset) -> dict[str, Any]:
    """All that the trials depend on, by topic, as JSON values."""
    parts = {"train": data.train, "validation": data.validation, "test": data.test}
    contents = {name: f"{len(split)} examples, {content_key(split)}" for name, split in parts.items()}
    return {
        "plan": asdict(plan),
        "space": sketched,
        "encoders": {name: encoder_key(encoder) for name, encoder in loaded.items()},
        "data": {"task": data.task, "classes": list(data.class_names), **contents},
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
def _without_advice() -> Iterator[None]:
    """Keep quiet that many models are traced: each trial has its own."""

    def is_wanted(record: logging.LogRecord) -> bool:
        return "triggered tf.function retracing" not in record.getMessage()

    logger = logging.getLogger("tensorflow")
    logger.addFilter(is_wanted)
    try:
        yield
    finally:
        logger.removeFilter(is_wanted)
