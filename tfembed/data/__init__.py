"""Labelled examples: load them, check them, split them. Needs no TensorFlow.

Reading order: `split` and `dataset` (the values), `text` and `images` (the loaders), then what these stand on:
`examples` (the door for texts and images), `labels`, `division`, `groups` and `draws` (who goes where), `table_rows`,
`tables`, `image_files`.
"""

from tfembed.data.dataset import Dataset, check_dataset
from tfembed.data.fingerprint import fingerprint
from tfembed.data.image_files import read_images
from tfembed.data.images import load_images
from tfembed.data.split import Split, class_weights
from tfembed.data.text import load_text

__all__ = [
    "Dataset",
    "Split",
    "check_dataset",
    "class_weights",
    "fingerprint",
    "load_images",
    "load_text",
    "read_images",
]
