"""What ships with the package: texts to try things on, and the glyphs encoder."""

from pathlib import Path

NAMES = ("intents", "intents_out_of_scope", "reviews", "glyphs")


def resource_path(name: str) -> Path:
    """The file or folder of something that ships with the package.

    Args:
        name: `intents`, `intents_out_of_scope` or `reviews` (CSV files), or `glyphs` (a SavedModel).

    Raises:
        ValueError: If there is nothing of that name.

    Example:
        >>> resource_path("intents").name
        'intents.csv'
    """
    if name not in NAMES:
        raise ValueError(f"Nothing named {name!r} ships with tfembed: choose one of {', '.join(NAMES)}.")
    folder = Path(__file__).parent
    return folder / name if name == "glyphs" else folder / f"{name}.csv"
