"""The page about embeddings: what was measured of them, and a picture in two dimensions."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfembed.report.axes import linear_axis
from tfembed.report.chart import COLOURS, Chart, Point
from tfembed.report.page import style_sheet, template

_MEANINGS = {
    "rows": "rows with a label",
    "labels": "labels",
    "queries": "rows that were queries",
    "neighbour_accuracy": "share of queries whose nearest row has their label",
    "mean_average_precision": "how early the rows of the query's label come, over the whole ranking; 1 is best",
    "silhouette": "how far labels lie apart, by cosine, from -1 to 1",
    "pairs": "scored pairs of texts",
    "spearman": "rank correlation of cosines with the scores, from -1 to 1",
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Picture:
    """Embeddings in two dimensions.

    Attributes:
        places: `(n, 2)`.
        labels: What belongs together, one each; empty where nothing says so.
        titles: What each is called.
        method: How two dimensions were made: `"pca"` or `"tsne"`.
    """

    places: np.ndarray
    labels: Sequence[str]
    titles: Sequence[str]
    method: str

    def chart(self) -> Chart:
        """As a chart: the most frequent labels in a colour each, the others in one."""
        frequent = [label for label, _ in Counter(self.labels).most_common(COLOURS) if label]
        series = {label: i for i, label in enumerate(frequent)}
        points = tuple(
            Point(x=float(x), y=float(y), title=f"{title}: {label}" if label else title, series=series.get(label))
            for (x, y), label, title in zip(self.places, self.labels, self.titles, strict=True)
        )
        others = ((None, "other labels"),) if len(set(self.labels)) > len(frequent) and frequent else ()
        return Chart(
            title=f"The embeddings in two dimensions, by {self.method}",
            x=linear_axis("first dimension", [point.x for point in points]),
            y=linear_axis("second dimension", [point.y for point in points]),
            points=points,
            legend=(*((i, label) for label, i in series.items()), *others),
        )


def render(name: str, about: Mapping[str, Any], measured: Mapping[str, float], picture: Picture) -> str:
    """Make the page; it opens from disk without a network.

    Args:
        name: Of the file.
        about: What the file says of itself.
        measured: Values by name.
        picture: Of the embeddings.
    """
    rows = [
        (key, f"{value:,}" if isinstance(value, int) else f"{value:.4f}", _meaning(key))
        for key, value in measured.items()
    ]
    return template("embeddings.html").render(
        name=name, about=about, rows=rows, chart=picture.chart(), shown=len(picture.places), style=style_sheet()
    )


def _meaning(name: str) -> str:
    kind, _, k = name.partition("@")
    if kind == "precision":
        return f"share of the {k} nearest rows that have the query's label"
    if kind == "recall":
        return f"share of the rows of the query's label that are among the {k} nearest"
    return _MEANINGS[name]
