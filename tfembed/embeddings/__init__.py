"""Embeddings put to use: of millions of rows into a file, and how good they are.

Reading order: `options` (what there is to say), `chunks` (rows, some at a time), `columns` (of which types what is kept
of them is), `embedder` (what turns rows into vectors), `job` and `parts` (what is done already), `embedding` (all of it
together), `stored` (reading the result), `evaluation`.
"""

import lazy_loader

# `tfembed --help` comes without waiting for TensorFlow.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
