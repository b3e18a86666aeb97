"""What is measured of embeddings, against scikit-learn and against what is known."""

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, silhouette_score
from sklearn.neighbors import KNeighborsClassifier
from threadpoolctl import threadpool_limits
from tiny_encoders import tiny_text_encoder
from tiny_tables import write_rows

import tfembed as te
from tfembed.embeddings import evaluation
from tfembed.embeddings.evaluation import measure_labels, measure_pairs, project, recall
from tfembed.embeddings.measuring import Measuring, measure_file


@pytest.fixture
def labelled() -> tuple[np.ndarray, list[str]]:
    """Three overlapping clouds, and one row that is alone with its label."""
    rng = np.random.default_rng(0)
    labels = [f"label {i % 3}" for i in range(60)]
    centres = np.eye(5)[:3]
    clouds = centres[np.arange(60) % 3] + rng.normal(0, 0.5, (60, 5))
    return np.concatenate([clouds, np.ones([1, 5])]), [*labels, "z"]


def test_measures_are_those_of_scikit_learn(labelled: tuple[np.ndarray, list[str]]) -> None:
    """Average precision, silhouette and nearest-neighbour accuracy are what scikit-learn makes of the same rows."""
    vectors, labels = labelled
    found = measure_labels(vectors, labels, ks=[1, 4])
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    similar, names = unit @ unit.T, np.array(labels)
    precisions, first, at_4, recall_4 = [], [], [], []
    for i in range(60):
        others = np.delete(np.arange(61), i)
        is_right = names[others] == names[i]
        precisions.append(average_precision_score(is_right, similar[i, others]))
        order = np.argsort(-similar[i, others])
        first.append(is_right[order[0]])
        at_4.append(is_right[order[:4]].sum() / 4)
        recall_4.append(is_right[order[:4]].sum() / is_right.sum())
    assert found["mean_average_precision"] == pytest.approx(np.mean(precisions))
    assert found["neighbour_accuracy"] == found["precision@1"] == pytest.approx(np.mean(first))
    assert found["precision@4"] == pytest.approx(np.mean(at_4))
    assert found["recall@4"] == pytest.approx(np.mean(recall_4))
    assert found["silhouette"] == pytest.approx(silhouette_score(vectors, names, metric="cosine"), abs=1e-6)
    assert (found["rows"], found["labels"], found["queries"]) == (61, 4, 60)
    neighbour = KNeighborsClassifier(2, metric="cosine").fit(vectors, names)
    second = neighbour.kneighbors(vectors[:60], return_distance=False)[:, 1]
    assert found["neighbour_accuracy"] == pytest.approx((names[second] == names[:60]).mean())


def test_of_many_rows_some_are_queries(labelled: tuple[np.ndarray, list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Queries are drawn by the seed; what they find is sought among all rows."""
    monkeypatch.setattr(evaluation, "_MOST_QUERIES", 20)
    vectors, labels = labelled
    found = [measure_labels(vectors, labels, seed=seed) for seed in (0, 0, 1)]
    assert found[0] == found[1] != found[2]
    assert (found[0]["rows"], found[0]["queries"]) == (61, 20)


def test_rows_without_a_label_are_left_out() -> None:
    """A missing label is no label of its own."""
    vectors = np.array([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0], [1.0, 0.0]])
    assert measure_labels(vectors, ["a", "a", "b", "b", None])["rows"] == 4
    with pytest.raises(ValueError, match=r"1 labels.*expected two labels"):
        measure_labels(vectors[:2], ["a", "a"])
    with pytest.raises(ValueError, match="of 1 rows: expected two labels"):
        measure_labels(vectors[:2], ["a", "b"])


def test_pairs_are_ranked() -> None:
    """Spearman's correlation is of ranks: any rising function of the cosine has 1, its reverse -1."""
    angles = np.linspace(0.1, 3, 9)
    first, second = np.tile([[1.0, 0.0]], (9, 1)), np.stack([np.cos(angles), np.sin(angles)], 1) * 7
    assert measure_pairs(first, second, np.exp(-angles).tolist())["spearman"] == pytest.approx(1)
    assert measure_pairs(first, second, angles.tolist())["spearman"] == pytest.approx(-1)
    with pytest.raises(ValueError, match="not all the same"):
        measure_pairs(first, second, [1.0] * 9)


@pytest.mark.parametrize("method", ["pca", "tsne"])
def test_a_picture_keeps_clouds_apart(labelled: tuple[np.ndarray, list[str]], method: str) -> None:
    """In two dimensions, what was far apart is; the same seed gives the same places."""
    rng = np.random.default_rng(0)
    vectors = np.concatenate([rng.normal(0, 0.05, (20, 5)) + np.eye(5)[i] for i in range(2)])
    with threadpool_limits(1):  # several threads wait for each other longer than they compute
        (rows, places), (_, again) = (project(vectors, method=method, seed=1) for _ in range(2))
    assert rows.tolist() == list(range(40))
    assert silhouette_score(places, np.arange(40) // 20) > 0.5
    np.testing.assert_array_equal(again, places)


def test_recall() -> None:
    """The share of the exact neighbours that was found, in whatever order."""
    assert recall([[2, 1], [3, 9]], [[1, 2], [3, 4]]) == 0.75


def test_a_file_is_measured_and_shown(tmp_path: Path) -> None:
    """A file's columns say what belongs together; the page holds the figures, and a point for each row."""
    rows = [{"text": text, "kind": kind} for kind, text in zip("aabb", ["aaaa", "aaab", "zzzz", "zzzy"], strict=True)]
    te.embed_file(
        tiny_text_encoder(),
        write_rows(tmp_path / "a.csv", rows),
        tmp_path / "a.parquet",
        te.EmbedOptions(keep=("kind",)),
    )
    found = measure_file(tmp_path / "a.parquet", Measuring(label="kind"), tmp_path / "page.html")
    assert found["rows"] == 4
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.count("<circle") == 4
    assert f"{found['mean_average_precision']:.4f}" in page
    assert "http" not in page.replace("http-equiv", "")
    json.dumps(found)
    with pytest.raises(ValueError, match=r"no column 'colour', only id, vector, kind"):
        measure_file(tmp_path / "a.parquet", Measuring(label="colour"))
