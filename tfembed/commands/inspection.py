"""What `tfembed inspect` tells of an encoder."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import tfembed as te
from tfembed.commands.examples import texts_in
from tfembed.commands.typed import loading_of
from tfembed.encoders.inspection import inspect_cuts, tensors_of
from tfembed.encoders.request import PRETRAINED
from tfembed.progress import waiting


def inspect_encoder(handle: str, options: dict[str, Any]) -> dict[str, Any]:
    """What an encoder takes and gives, its blocks, and what it is like to cut it behind each, as JSON values.

    Args:
        handle: The encoder.
        options: Of `tfembed inspect`, by name.
    """
    loading = loading_of(options) | {"kind": options["kind"]}
    with waiting(f"Loading {handle}"):
        encoder = te.load_encoder(handle, **loading)
    said = {name: value for name, value in loading.items() if value not in (None, False, PRETRAINED)}
    said |= {"weights": None} if loading["weights"] is None else {}
    arguments = ", ".join([repr(handle), *(f"{name}={value!r}" for name, value in said.items())])
    inputs, outputs = tensors_of(encoder)
    takes = "texts" if encoder.spec.kind == "text" else f"images, brought to {encoder.spec.image_size}"
    other = "image" if encoder.spec.kind == "text" else "text"
    return {
        "handle": handle,
        "name": encoder.spec.name,
        "takes": takes + (f" (and {other}s, with --kind {other})" if encoder.spec.both else ""),
        "dim": encoder.dim,
        "licence": encoder.spec.licence,
        "source": encoder.spec.source or handle,
        "inputs": [asdict(tensor) for tensor in inputs],
        "outputs": [asdict(tensor) for tensor in outputs],
        "blocks": [
            {"name": block.name, "variables": len(block.variables), "parameters": block.num_parameters}
            for block in encoder.blocks
        ],
        "cuts": [asdict(cut) for cut in inspect_cuts(encoder)],
        "example": f"te.load_encoder({arguments})" + (".unfreeze(1)" if _may_train(encoder) else ""),
    } | _answers(encoder, options)


def _may_train(encoder: te.Encoder) -> bool:
    """Tell whether blocks of an encoder may train; those of a module of TF1 Hub never do."""
    return not isinstance(encoder.body, te.HubLayer) or encoder.body.may_train


def _answers(encoder: te.Encoder, options: Mapping[str, Any]) -> dict[str, Any]:
    """The neighbours that were asked for, as JSON values."""
    found, among = {}, options.get("among")
    if among is not None:
        among = texts_in(Path(among))
    if text := options.get("nearest"):
        found["nearest"] = te.nearest(encoder, text, among)
    if text := options.get("analogy"):
        terms = [term.strip() for term in text.split(",")]
        if len(terms) != 3 or not all(terms):
            raise ValueError(f"--analogy {text!r}: expected three words, such as king,man,woman (king - man + woman).")
        found["analogy"] = te.analogy(encoder, [terms[0], terms[2]], [terms[1]], among)
    return {name: [asdict(neighbour) for neighbour in neighbours] for name, neighbours in found.items()}
