"""The door that examples come in by."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from tfembed.data import Dataset
from tfembed.data.examples import as_examples

TEXTS = ["the card is lost", "parcel late", "card stolen"]
TABLE = {"text": TEXTS, "label": ["a", "b", "a"]}


def read(values):
    return as_examples(values, lambda i: f"examples[{i}]")


@pytest.mark.parametrize(
    "table",
    [
        pd.DataFrame(TABLE),
        TABLE,
        pa.table(TABLE),
        pd.DataFrame(TABLE).to_numpy(),
        np.array(list(zip(*TABLE.values(), strict=True))),
        pd.DataFrame({"a": [1], "b": [2]}),
    ],
)
def test_a_table_of_several_columns_is_refused(table):
    """A data frame, a dict of columns, or their values: the names of columns are never taken for examples."""
    with pytest.raises(ValueError, match=r"of 2 columns \(.*\): expected one column.*data\['text'\]"):
        read(table)


@pytest.mark.parametrize(
    "column",
    [
        pd.Series(TEXTS, index=[7, 8, 9]),
        pd.DataFrame({"text": TEXTS}),
        {"text": TEXTS},
        pd.DataFrame({"text": TEXTS}).to_numpy(),
        pd.Index(TEXTS),
    ],
)
def test_one_column_is_a_list(column):
    """A column, or a table that has only one, is read as the list that it holds."""
    kind, examples = read(column)
    assert (kind, examples.tolist()) == ("text", TEXTS)


@pytest.mark.parametrize("values", [set(TEXTS), (text for text in TEXTS), 7, None])
def test_what_has_no_order_or_length_is_refused(values):
    """The error names the type, and asks for a list."""
    with pytest.raises(ValueError, match=r"The examples are a \w+: expected a list"):
        read(values)


@pytest.mark.parametrize("labels", [dict.fromkeys("abc"), set("abc")])
def test_labels_without_an_order_are_refused(labels):
    """A dict or a set of labels is not read in whatever order it has."""
    with pytest.raises(ValueError, match=r"labels are a (dict|set): expected a list"):
        Dataset.from_arrays(TEXTS, labels, validation=0, test=0)


@pytest.mark.parametrize("labels", [pd.Series(list("aba")), pd.DataFrame({"label": list("aba")})])
def test_a_column_of_labels_is_a_list(labels):
    """A column, or a table that has only one, holds the labels."""
    data = Dataset.from_arrays(pd.DataFrame({"text": TEXTS}), labels, validation=0, test=0)
    assert data.train.labels.tolist() == [0, 1, 0]
