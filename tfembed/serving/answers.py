"""Answers of a served model as `tfembed predict` prints them."""

from typing import Any

from tfembed.serving.client import Client
from tfembed.serving.client_errors import BusyError, NotFoundError, ServerError


def ask(url: str, examples: tuple[str, ...]) -> list[dict[str, Any]]:
    """Ask a served model that tfembed exported for texts, or for the images in files.

    Args:
        url: Of the model.
        examples: Texts or paths, as the model takes them.

    Returns:
        A row for each example, with label and score; the value as score, and no label, for regressions.

    Raises:
        ValueError: If the model has neither `label` and `score` nor `value`, or refuses the examples.
        OSError: If the server does not answer.
    """
    try:
        with Client(url) as client:
            found = client.predict(list(examples))
    except (NotFoundError, BusyError, ServerError) as error:
        raise OSError(f"{url}: {error}") from error
    if "value" in found:
        labels, scores = [None] * len(examples), found["value"].tolist()
    elif {"label", "score"} <= set(found):
        labels, scores = found["label"].tolist(), found["score"].tolist()
    else:
        raise ValueError(f"The model gives {', '.join(found)}, not label and score: ask it with tfembed.Client.")
    rows = zip(examples, labels, scores, strict=True)
    return [{"example": example, "label": label, "score": score} for example, label, score in rows]
