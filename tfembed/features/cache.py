"""FeatureCache: the features of an encoder at a cut, from memory, from disk, or computed."""

import os
import warnings
import weakref
from collections.abc import MutableMapping
from pathlib import Path

import numpy as np

from tfembed.encoders.encoder import Encoder
from tfembed.features.arrays import FolderError, Workplace
from tfembed.features.columns import Source
from tfembed.features.encoding import encode, encode_behind
from tfembed.features.key import feature_key
from tfembed.features.store import FeatureStore, default_folder


class FeatureCache:
    """Features that are computed once, kept on disk, and shared by all processes of a machine.

    An entry is found again only if nothing has changed that its values depend on; see `feature_key`. What is in front
    of the first block is not stored: tokens and pixels are made again, which takes a fraction of what comes behind.
    `FeatureCache.in_memory()` keeps everything in memory instead, and nothing beyond its own life.

    Args:
        folder: Where to store features; None for the folder named by the environment variable `TFEMBED_CACHE`, or else
            the user's cache folder.
        max_bytes: Entries used longest ago are removed beyond it; None for `TFEMBED_CACHE_GB` gigabytes, or else 10.

    Example:
        >>> import numpy as np
        >>> from tfembed import load_encoder
        >>> cache, encoder, images = FeatureCache.in_memory(), load_encoder("glyphs"), np.zeros([2, 8, 8], "uint8")
        >>> cache.get(encoder, images, 3) is cache.get(encoder, images, 3)
        True
    """

    def __init__(self, folder: str | os.PathLike[str] | None = None, *, max_bytes: int | None = None) -> None:
        where = default_folder() if folder is None else Path(folder)
        self._store: FeatureStore | None = FeatureStore(where, max_bytes)
        # What lies on disk is opened again when it is needed: open files are few.
        self._known: MutableMapping[str, Source] = weakref.WeakValueDictionary()

    @classmethod
    def in_memory(cls) -> "FeatureCache":
        """A cache that writes nothing to disk."""
        cache = cls.__new__(cls)
        cache._store, cache._known = None, {}
        return cache

    def get(self, encoder: Encoder, examples: np.ndarray, cut: int) -> Source:
        """Features at a cut, computed if they are not known yet.

        Where the folder cannot be written, a warning says so, and the features are kept in memory.

        Args:
            encoder: The encoder as it is now.
            examples: As in `Split.examples`.
            cut: Number of frozen blocks.

        Raises:
            CutError: If the encoder cannot be cut there.
        """
        key = feature_key(encoder, examples, cut)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = self._find_or_compute(key, encoder, examples, cut)
        return found

    def _find_or_compute(self, key: str, encoder: Encoder, examples: np.ndarray, cut: int) -> Source:
        store, start = self._store, encoder.frozen_while_trained_on(examples)

        def compute(workplace: Workplace | None = None) -> Source:
            if 0 < start < cut == len(encoder.blocks) and encoder.compute == "float32":
                return encode_behind(encoder, self.get(encoder, examples, start), start, workplace)
            return encode(encoder, examples, cut, workplace)

        if store is None or not len(examples):
            return compute()

        try:
            if cut == 0:
                return compute(store.workplace())
            about = {"encoder": encoder.spec.name, "cut": cut, "num_examples": len(examples)}
            return store.find_or_add(key, compute, about)
        except FolderError as error:
            warnings.warn(
                f"Features cannot be stored and are kept in memory: {error}. Free some space, or set TFEMBED_CACHE to "
                "a folder that can be written.",
                stacklevel=3,
            )
            return compute()
