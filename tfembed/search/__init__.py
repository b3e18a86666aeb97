"""Search for the best encoder, strategy and head with keras-tuner.

Reading order: `candidate`, `space`, `plan` and `trial` (the values), `workshop`, `session` and `checkpoints` (how a
candidate is tried, and no phase run twice), `tuner` and `runner` (which one is tried next), `winner`, `leaderboard` and
`study` (what came out), `searching` (all of it together).
"""

import lazy_loader

# Parts of it are read without waiting for TensorFlow. The names are listed in __init__.pyi.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
