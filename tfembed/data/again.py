"""Data made again of what was written down of them."""

from tfembed.data.dataset import Dataset
from tfembed.data.images import load_images
from tfembed.data.recipe import Recipe
from tfembed.data.text import load_text


def make_again(recipe: Recipe) -> Dataset:
    """Make a data set as it was made before.

    Raises:
        OSError: If its files are gone.
        ValueError: If they are not what they were.

    Example:
        >>> import tfembed as te
        >>> data = te.load_text(te.resource_path("reviews"), label="sentiment").few_shot(2)
        >>> len(make_again(data.recipe).train)
        4
    """
    load = load_text if recipe.function == "load_text" else load_images
    data: Dataset = load(recipe.source, **recipe.arguments)
    for method, arguments in recipe.steps:
        data = getattr(data, method)(**arguments)
    return data
