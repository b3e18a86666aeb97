"""Exports of a text and an image classifier, made as quickly as can be."""

from pathlib import Path

import numpy as np
from spared_gate import spared_gate
from tiny_models import TEXTS, write_text_module

import tfembed as te


def write_exports(folder: Path) -> Path:
    """Write base paths `texts`, `picky` and `digits`, without the check in a fresh process.

    The first two tell greetings from refunds, and `picky` rejects what it is not wholly sure of; `digits` tells dark
    from light.
    """
    with spared_gate():
        encoder = te.load_encoder(write_text_module(folder / "module"))
        model = te.build_text_classifier(encoder, list(TEXTS))
        texts = [text for each in TEXTS.values() for text in each]
        labels = [i for i, each in enumerate(TEXTS.values()) for _ in each]
        data = te.Dataset.from_arrays(texts, labels, list(TEXTS), validation=0, test=0)
        te.train(model, data, te.linear_probe())
        te.export(model, folder / "texts")
        te.export(model, folder / "picky", reject_below=1.0)
        images = np.concatenate([np.full((4, 8, 8, 3), level, np.uint8) for level in (10, 240)])
        model = te.build_image_classifier(te.load_encoder("glyphs"), ["dark", "light"])
        data = te.Dataset.from_arrays(images, [0] * 4 + [1] * 4, ["dark", "light"], validation=0, test=0)
        te.train(model, data, te.linear_probe())
        te.export(model, folder / "digits")
    return folder
