"""The page: one file of HTML, with all that it needs inside."""

import base64
import hashlib
from functools import cache
from importlib.resources import files
from typing import Any

import jinja2
from markupsafe import Markup

from tfembed.data import Dataset
from tfembed.report import plots
from tfembed.report.chart import colour
from tfembed.report.outcome import winner_of
from tfembed.report.overview import cards, encoders_of, headline, plan_of, shown_rows
from tfembed.report.repetition import snippets
from tfembed.report.verdict import verdict
from tfembed.search.study import Study

_TITLES = {
    "cost": "Cost",
    "depth": "Depth",
    "curves": "Learning curves",
    "result": "Winner",
    "calibration": "Calibration",
    "errors": "Errors",
}


def render(study: Study, data: Dataset | None, missing: str = "") -> str:
    """The page of a study.

    Args:
        study: Also one that is not done.
        data: What it was searched on, for texts and pictures; None where it is not at hand.
        missing: Why it is not, and what to do, in a sentence.
    """
    winner = winner_of(study)
    context: dict[str, Any] = {"result": None, "calibration": None, "errors": None}
    if winner is not None:
        context |= verdict(study, winner, data, missing)
    context |= _charts(study)
    sections = [("leaderboard", "Leaderboard"), *((each, title) for each, title in _TITLES.items() if context[each])]
    sections[-1:] = [sections[-1], ("training", "Training"), ("repeat", "Repeat it"), ("sources", "Data and encoder")]
    plan = study.plan
    return template("report.html").render(
        **context,
        name=study.folder.resolve().name,
        style=style_sheet(),
        script=Markup(_text("sort.js")),
        script_hash=_hash(_text("sort.js")),
        sections=sections,
        headline=headline(study, winner),
        cards=cards(study, winner),
        measured_on=_measured_on(study),
        folded=any(execution["fold"] for trial in study.trials for execution in trial.executions),
        objective=plots.words(str(plan.objective)),
        maximize=plan.direction == "max",
        rows=shown_rows(study, winner),
        classes=study.description["data"]["classes"],
        snippets=snippets(study, winner),
        encoders=encoders_of(study),
        plan=plan_of(study),
        about=study.description["about"],
    )


def _charts(study: Study) -> dict[str, Any]:
    rows, plan = study.leaderboard, study.plan
    costs = (
        plots.cost_chart(rows, plan, lambda row: row.trained_parameters, "values trained"),
        plots.cost_chart(rows, plan, lambda row: row.seconds, "seconds of training"),
    )
    blocks = {name: each["blocks"] for name, each in study.description["about"]["encoders"].items()}
    return {
        "costs": [chart for chart in costs if chart is not None],
        "cost": any(costs),
        "depth": plots.depth_chart(study.trials, plan, blocks),
        "curves": plots.curves_chart(plan, rows, {trial.key: trial for trial in study.trials}),
    }


def _measured_on(study: Study) -> str:
    plan = study.plan
    folds = {execution["fold"] for trial in study.trials for execution in trial.executions}
    where = f"over {len(folds)} folds" if len(folds) > 1 else "on the validation part"
    seeds = f"mean and standard deviation of {plan.repeats} seeds" if plan.repeats > 1 else f"seed {plan.seed}"
    return f"Measured {where}, {seeds}; only the winner was measured on the test part."


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("tfembed.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["colour"] = colour
    return environment


def template(name: str) -> jinja2.Template:
    """A template of a page, or of a part of one."""
    return _environment().get_template(name)


def style_sheet() -> Markup:
    """The style of all pages."""
    return Markup(_text("report.css"))


@cache
def _text(name: str) -> str:
    return files("tfembed.report").joinpath("templates", name).read_text(encoding="utf-8")


def _hash(script: str) -> str:
    """What a content security policy knows a script by: no other one runs on the page."""
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}"
