"""How to repeat a study: the exact commands and Python."""

import shlex
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any

from tfembed.data.recipe import recipe_from_dict
from tfembed.encoders.catalog import CATALOG
from tfembed.encoders.request import PRETRAINED
from tfembed.heads import Head
from tfembed.search.candidate import Candidate, candidate_from_dict
from tfembed.search.plan import OBJECTIVES, Plan
from tfembed.search.study import Study
from tfembed.search.trial import Trial

_BUILDERS = {
    ("text", "regression"): "build_text_regressor",
    ("image", "regression"): "build_image_regressor",
    ("text", "classification"): "build_text_classifier",
    ("image", "classification"): "build_image_classifier",
    ("text", "multi_label"): "build_text_classifier",
    ("image", "multi_label"): "build_image_classifier",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Snippet:
    """Something to type.

    Attributes:
        title: What it does.
        code: What to type.
    """

    title: str
    code: str


def snippets(study: Study, winner: Trial | None) -> tuple[Snippet, ...]:
    """What to type to go on with a study, to repeat it, to repeat its winner alone, and to use it."""
    about, folder = study.description["about"], shlex.quote(str(study.folder))
    found = []
    if about["command"]:
        found.append(
            Snippet(title="On the command line; in the same folder it goes on where it was", code=about["command"])
        )
    found.append(Snippet(title="The search in Python", code=_search(study)))
    if winner is not None and winner.candidate is not None:
        candidate = candidate_from_dict(winner.candidate)
        if candidate.pretrained:
            code = _winner(study, candidate)
            found.append(Snippet(title="The winner alone, trained on the training part", code=code))
    used = [
        f"tfembed export {folder} {shlex.quote(f'saved_models/{study.folder.name}')}",
        f"tfembed report {folder}",
        f"tensorboard --logdir {folder}/tensorboard",
    ]
    found.append(Snippet(title="Use it, and look closer", code="\n".join(used)))
    return tuple(found)


def _data(study: Study) -> str:
    recipe = study.description["about"]["data"]["recipe"]
    if recipe is not None:
        return f"data = {recipe_from_dict(recipe).to_python()}"
    sizes = ", ".join(f"{name} {study.description['data'][name]}" for name in ("train", "validation", "test"))
    return f"data = ...  # {study.description['source']}: {sizes}"


def _search(study: Study) -> str:
    about = study.description["about"]
    encoders = [_load_encoder(name, spec) for name, spec in about["encoders"].items()]
    arguments = {"directory": str(study.folder)} | _chosen(study.plan)
    lines = [
        f"    {encoders[0]}," if len(encoders) == 1 else f"    [{', '.join(encoders)}],",
        "    data,",
        *([] if about["default_space"] else ["    space=...,  # it was not the default one: pass the same"]),
        *(f"    {name}={value!r}," for name, value in arguments.items()),
    ]
    return "\n".join(["import tfembed as te\n", _data(study), "study = te.search(", *lines, ")"])


def _chosen(plan: Plan) -> dict[str, Any]:
    """What a plan has in place of the defaults."""
    usual = Plan(task=plan.task)
    chosen = {each.name: getattr(plan, each.name) for each in fields(Plan) if each.name != "task"}
    if plan.objective == next(iter(OBJECTIVES[plan.task])):
        del chosen["objective"]
    return {name: value for name, value in chosen.items() if value != getattr(usual, name)}


def _load_encoder(name: str, spec: Mapping[str, Any]) -> str:
    """An expression for an encoder of the search."""
    options = {"kind": spec["kind"]} if spec.get("both") else {}
    options |= {} if spec["compute"] == "float32" else {"compute": spec["compute"]}
    options |= {"sequence_length": spec["sequence_length"]} if spec.get("sequence_length") else {}
    if name in CATALOG and spec["weights"] == PRETRAINED:
        return f"te.load_encoder({', '.join([repr(name), *(f'{k}={v!r}' for k, v in options.items())])})"
    options |= {each: spec[each] for each in ("preprocessing", "pooling", "output", "signature") if spec.get(each)}
    options |= {} if spec["weights"] == PRETRAINED else {"weights": spec["weights"]}
    return f"te.load_encoder({', '.join([repr(spec['handle']), *(f'{k}={v!r}' for k, v in options.items())])})"


def _winner(study: Study, candidate: Candidate) -> str:
    about, task = study.description["about"], study.plan.task
    build = _BUILDERS[about["data"]["kind"], task]
    given = [_load_encoder(candidate.encoder, about["encoders"][candidate.encoder])]
    given += [] if task == "regression" else ["data.class_names"]
    given += [] if candidate.head == Head(kind="linear") else [f"head={_expression(candidate.head)}"]
    given += ["multi_label=True"] if task == "multi_label" else []
    phases = "".join(f"\n    {_expression(phase)}," for phase in candidate.strategy.phases)
    balanced = ", balanced=True" if study.plan.balanced else ""
    return "\n".join(
        [
            "import tfembed as te\n",
            _data(study),
            f"model = te.{build}({', '.join(given)})",
            f"strategy = te.Strategy(name={candidate.strategy.name!r}, phases=({phases}\n))",
            f"result = te.train(model, data, strategy, seed={study.plan.seed}{balanced})",
            "print(result.metrics)",
        ]
    )


def _expression(value: Any) -> str:
    """A frozen dataclass of tfembed as an expression, without what equals the defaults."""
    given = [
        f"{each.name}={getattr(value, each.name)!r}"
        for each in fields(value)
        if each.default is MISSING or getattr(value, each.name) != each.default
    ]
    return f"te.{type(value).__name__}({', '.join(given)})"
