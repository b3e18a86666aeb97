from .plan import Plan as Plan
from .searching import search as search
from .space import SearchSpace as SearchSpace
from .space import default_space as default_space
from .study import Study as Study
from .study import load_study as load_study
from .trial import Trial as Trial
