"""What an export says of itself: labels, model card, and where it comes from."""

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from tfembed.export.raw_inputs import input_name
from tfembed.export.versions import RECORD
from tfembed.features.key import encoder_key
from tfembed.predict import ModelParts


def write_contents(folder: Path, parts: ModelParts, about: Mapping[str, Any]) -> None:
    """Write `labels.txt`, `model_card.md` and `tfembed.json` to `assets.extra`, when all other files are there.

    Args:
        folder: Of the SavedModel.
        parts: Of the model.
        about: What else there is to say: `reject_below`, `data`, `metrics` and more, as JSON values.
    """
    extra = folder / "assets.extra"
    extra.mkdir(exist_ok=True)
    if parts.class_names:
        (extra / "labels.txt").write_text("".join(f"{name}\n" for name in parts.class_names), encoding="utf-8")
    record = _record(parts, about)
    (extra / "model_card.md").write_text(_card(record), encoding="utf-8")
    record["sha256"] = {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    (extra / RECORD).write_text(json.dumps(record, indent=1, ensure_ascii=False), encoding="utf-8")


def _record(parts: ModelParts, about: Mapping[str, Any]) -> dict[str, Any]:
    spec, trained_with, scale = parts.encoder.spec, parts.encoder.trained_with, parts.target_scale
    return {
        "encoder": spec.name,
        "encoder_key": encoder_key(parts.encoder),
        "handle": spec.handle,
        "licence": spec.licence,
        "source": spec.source,
        "task": parts.task,
        "input": input_name(parts),
        "class_names": list(parts.class_names),
        "sequence_length": parts.encoder.sequence_length,
        "temperature": parts.temperature,
        "target_scale": None if scale is None else {"mean": scale[0], "scale": scale[1]},
        "strategy": None if trained_with is None else json.loads(trained_with),
        "parameters": int(sum(variable.shape.num_elements() or 0 for variable in _variables(parts))),
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {"tensorflow": tf.__version__, "keras": keras.__version__},
        **{name: value for name, value in about.items() if value is not None},
    }


def _variables(parts: ModelParts) -> list[Any]:
    return [tf.convert_to_tensor(variable) for variable in (*parts.encoder.variables, *parts.head.variables)]


def _card(record: Mapping[str, Any]) -> str:
    """A model card (https://arxiv.org/abs/1810.03993) in Markdown."""
    classes, strategy = record["class_names"], record["strategy"]
    lines = [f"# {record['task'].capitalize()} with {record['encoder']}", ""]
    if classes:
        lines += [f"Tells {len(classes)} classes apart: {', '.join(classes)}.", ""]
    lines += ["## How to call it", "", *_calls(record), "", "## Where it comes from", ""]
    facts = {
        "encoder": f"{record['encoder']} ({record['handle']})",
        "licence of the encoder": record["licence"] or "not known",
        "source": record["source"],
        "strategy": None if strategy is None else strategy["name"],
        "parameters": f"{record['parameters']:,}",
        "tokens kept of a text": record["sequence_length"],
        "temperature of the scores": record["temperature"],
        "mean and standard deviation of the training targets": _mean_and_scale(record["target_scale"]),
        "label is `__none__` below a score of": record.get("reject_below"),
        "quantized": _quantized(record.get("quantization")),
        "data": record.get("data"),
        "written": record["written"],
        "versions": ", ".join(f"{name} {version}" for name, version in record["versions"].items()),
    }
    lines += [f"- {name}: {value}" for name, value in facts.items() if value not in (None, "")]
    metrics = record.get("metrics") or {}
    if metrics:
        names = list(dict.fromkeys(name for values in metrics.values() for name in values))
        lines += ["", "## Metrics", "", f"| part | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
        for part, values in metrics.items():
            lines.append(f"| {part} | {' | '.join(f'{values[n]:.4g}' if n in values else '' for n in names)} |")
    return "\n".join(lines) + "\n"


def _mean_and_scale(values: Mapping[str, float] | None) -> str | None:
    return None if values is None else f"{values['mean']:.6g} and {values['scale']:.6g}"


def _quantized(cost: Mapping[str, Any] | None) -> str | None:
    return (
        None
        if cost is None
        else f"{cost['kind']}; {cost['score']} {cost['before']:.4f} before, {cost['after']:.4f} after"
    )


def _calls(record: Mapping[str, Any]) -> list[str]:
    name = record["input"]
    given = '"where is my order"' if name == "text" else '{"b64": "..."}'
    what = "texts" if name == "text" else "images as JPEG, PNG, GIF or BMP, in base64"
    gives = "`label`, `score`, `labels` and `scores`, best first" if record["class_names"] else "`value`"
    return [
        f"It takes {what}, and gives {gives}; the signature `embed` gives `embedding`.",
        "",
        "```",
        f"curl -d '{{\"instances\": [{given}]}}' http://localhost:8501/v1/models/NAME:predict",
        f'curl -d \'{{"signature_name": "embed", "instances": [{given}]}}\' http://localhost:8501/v1/models/NAME:predict',
        "```",
    ]
