"""Write a report into a study's folder, and read the data that it was searched on once more."""

from pathlib import Path

from tfembed.data import Dataset
from tfembed.data.again import make_again
from tfembed.data.recipe import recipe_from_dict
from tfembed.report.outcome import check_data
from tfembed.report.page import render
from tfembed.report.tensorboard_logs import write_logs
from tfembed.search.files import write_whole
from tfembed.search.study import Study

REPORT = "report.html"


def write_report(study: Study, data: Dataset | None = None) -> Path:
    """Write `report.html`, which opens without a network, and `tensorboard` into a study's folder.

    Args:
        study: From `search` or `load_study`, also one that is not done.
        data: What it was searched on. If None it is read again from where it came from; where that cannot be, the page
            does without texts and pictures, and says so.

    Returns:
        The page's file.

    Raises:
        ValueError: If the data are not those of the study, or it does not say what a report needs.
        OSError: If the files cannot be written.

    Example:
        >>> import tempfile, numpy as np, tfembed as te
        >>> data = te.Dataset.from_arrays(np.tile(np.arange(40, dtype="uint8"), (8, 8, 1)).T, [0, 1] * 20)
        >>> space = te.SearchSpace(encoders=("glyphs",), strategy=lambda hp: te.linear_probe(), epochs=1)
        >>> study = te.search("glyphs", data, space=space, folds=2, directory=tempfile.mkdtemp(), max_trials=1)
        >>> write_report(study).name
        'report.html'
    """
    if "about" not in study.description:
        raise ValueError(f"{study.folder} was written by an earlier version, which did not note what a report needs.")
    missing = ""
    if data is None:
        data, missing = _read_again(study)
    else:
        check_data(study, data)
    path = study.folder / REPORT
    write_whole(path, render(study, data, missing).encode())
    write_logs(study, data)
    return path


def _read_again(study: Study) -> tuple[Dataset | None, str]:
    """The data of a study; or why they cannot be had, and what to do."""
    values = study.description["about"]["data"]["recipe"]
    if values is None:
        return None, "the data were made in Python. Pass them: te.write_report(study, data)."
    try:
        data = make_again(recipe_from_dict(values))
        check_data(study, data)
    except (OSError, ValueError) as error:
        return None, (
            f"they are not at {values['source']} as they were: {' '.join(str(error).split())} Put the data back, or "
            "pass them: te.write_report(study, data)."
        )
    return data, ""
