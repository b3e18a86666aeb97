"""Answers of a served model as `tfembed predict` prints them."""

from collections.abc import Callable, Sequence
from typing import Any

from tfembed.serving.client import Client
from tfembed.serving.client_errors import BusyError, NotFoundError, ServerError


def ask(
    url: str, examples: Sequence[str], read_texts: Callable[[Sequence[str]], Sequence[Any]] = list
) -> list[dict[str, Any]]:
    """Ask a served model that tfembed exported for texts, or for the images in files.

    Args:
        url: Of the model.
        examples: Texts or paths, as the model takes them.
        read_texts: Reader of what was typed, where the model takes texts; it may find more than one text in an example.

    Returns:
        A row for each example, with label and score; the value as score, and no label, for regressions.

    Raises:
        ValueError: If the model has neither `label` and `score` nor `value`, or refuses the examples.
        OSError: If the server does not answer.
    """
    try:
        with Client(url) as client:
            signature = client.signatures().get("serving_default")
            if signature is not None and not any("image" in name for name in signature.inputs):
                examples = read_texts(examples)
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
