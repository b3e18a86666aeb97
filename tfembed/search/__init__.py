"""Search for the best encoder, strategy and head with keras-tuner.

Reading order: `candidate`, `space`, `plan` and `trial` (the values), `workshop`, `session` and `checkpoints` (how a
candidate is tried, and no phase run twice), `tuner` and `runner` (which one is tried next), `winner`, `leaderboard` and
`study` (what came out), `searching` (all of it together).
"""

from tfembed.search.plan import Plan
from tfembed.search.searching import search
from tfembed.search.space import SearchSpace, default_space
from tfembed.search.study import Study, load_study
from tfembed.search.trial import Trial

__all__ = ["Plan", "SearchSpace", "Study", "Trial", "default_space", "load_study", "search"]
