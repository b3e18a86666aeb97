"""The winner: trained again on all that is not test, and measured on the test part, which nothing else has touched."""

import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
from safetensors.numpy import save

from tfembed.data import Dataset
from tfembed.distribution import everywhere
from tfembed.encoders.encoder import INPUTS
from tfembed.intervals import confidence_intervals
from tfembed.predict import evaluate, parts_of, predict_quietly
from tfembed.runs import BEST, save_run
from tfembed.search.about import describe_parts
from tfembed.search.candidate import candidate_from_dict
from tfembed.search.choice import EMBEDDED, RESULT, TEST, embedded_part
from tfembed.search.files import read_json, write_json, write_whole
from tfembed.search.folds import content_key, pooled
from tfembed.search.session import Session
from tfembed.search.trial import Trial
from tfembed.search.workshop import Workshop
from tfembed.strategies import Strategy


def settle(strategy: Strategy, trial: Trial) -> Strategy:
    """A strategy without choices: what was chosen on validation examples is fixed, since now they are trained on.

    Phases train for as many epochs as their best ones had, in the mean over seeds and folds; phases that were undone,
    more often than not, are left out.
    """
    settled = []
    for i, phase in enumerate(strategy.phases):
        runs = [execution["phases"][i] for execution in trial.executions]
        losses = [run["history"]["val_loss"] for run in runs if run["history"].get("val_loss")]
        if 2 * sum(run["kept"] for run in runs) < len(runs):
            continue
        epochs = round(float(np.mean([np.argmin(each) + 1 for each in losses]))) if losses else phase.epochs
        settled.append(replace(phase, epochs=epochs))
    return replace(strategy, phases=tuple(settled)) if settled else strategy


def crown(shop: Workshop, trial: Trial, data: Dataset, folder: Path) -> dict[str, Any]:
    """Train the winner on training and validation part with every seed, and measure it on the test part.

    The model of the first seed is kept as a run in the folder `best`, what all came to in `result.json`, what the first
    one says of the test part in `test.safetensors`, and its embeddings of `embedded_part` in `embeddings.safetensors`.

    Args:
        shop: What trials share.
        trial: The winner.
        data: With its test part.
        folder: Of the study.

    Returns:
        The result, as JSON values; one that is there already is not found anew.
    """
    candidate = candidate_from_dict(trial.candidate or {})
    candidate = replace(candidate, strategy=settle(candidate.strategy, trial))
    nothing = data.test.subset([])
    everything = replace(data, train=pooled(data), validation=nothing, test=nothing)
    key = f"{content_key(everything.train)}-{content_key(data.test)}"
    identity = {"trial": trial.key, "candidate": candidate.to_dict(), "data": key, "seeds": list(shop.seeds)}
    path, best = folder / RESULT, folder / BEST
    known: dict[str, Any] = read_json(path) if path.exists() and best.exists() else {}
    if everywhere(shop.distribution, all(known.get(name) == value for name, value in identity.items())):
        return known
    path.unlink(missing_ok=True)
    shutil.rmtree(best, ignore_errors=True)
    runs = []
    intervals: dict[str, tuple[float, float]] = {}
    for seed in shop.seeds:
        session, model = Session(shop.checkpoints, key), shop.model(candidate, everything, seed)
        result = shop.train(candidate, model, everything, session, seed)
        _take_temperature(model, trial)
        if len(data.test):
            test = evaluate(model, data.test, cache=shop.cache)
            result = replace(result, metrics=result.metrics | {"test": test})
        if seed == shop.seeds[0]:
            if len(data.test):
                outputs = predict_quietly(model, data.test.examples, shop.cache).probabilities
                write_whole(folder / TEST, save({"labels": data.test.labels, "outputs": outputs}))
                intervals = confidence_intervals(data.task, data.test, outputs)
                sizes = result.sizes | {"test": len(data.test)}
                result = replace(result, intervals={"test": intervals}, sizes=sizes)
            _keep_embeddings(shop, model, data, folder)
            record: dict[str, Any] = {
                "data": data.source,
                "kind": data.kind,
                "encoder": candidate.encoder,
                "class_names": list(data.class_names),
            }
            record |= {"recipe": data.recipe and asdict(data.recipe), "content": describe_parts(data)}
            save_run(best, model, result, record)
        phases = [asdict(phase) for phase in result.phases]
        runs.append({"seed": seed, "metrics": result.metrics, "seconds": result.seconds, "phases": phases})
    found = identity | {"name": trial.name, "runs": runs, "num_test": len(data.test)} | _means(runs)
    found["intervals"] = {name: list(bounds) for name, bounds in intervals.items()}
    write_json(path, found)
    return found


def _take_temperature(model: keras.Model, trial: Trial) -> None:
    """Calibrate the winner as its trial was, on validation examples: now that they are trained on, they say nothing."""
    found = [execution["temperature"] for execution in trial.executions if execution["temperature"] is not None]
    if found:
        parts_of(model).last.temperature.assign(float(np.exp(np.mean(np.log(found)))))


def _keep_embeddings(shop: Workshop, model: keras.Model, data: Dataset, folder: Path) -> None:
    encoder, part = parts_of(model).encoder, embedded_part(data)
    source = shop.cache.get(encoder, part.examples, len(encoder.blocks))
    embeddings = np.asarray(source.batch(np.arange(len(part)))[INPUTS], "float32")
    write_whole(folder / EMBEDDED, save({"embeddings": embeddings, "labels": part.labels}))


def _means(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean and standard deviation of the test metrics over the seeds."""
    tests = [run["metrics"].get("test", {}) for run in runs]
    means = {name: float(np.mean([test[name] for test in tests])) for name in tests[0]}
    spread = {name: float(np.std([test[name] for test in tests])) for name in tests[0]} if len(tests) > 1 else {}
    return {"test": means, "spread": spread}
