"""What is measured of embeddings, against scikit-learn and against what is known."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import rankdata
from sklearn.metrics import average_precision_score, silhouette_score
from sklearn.metrics.pairwise import cosine_similarity
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


@pytest.mark.parametrize("k", [1, 3, 7, 50])
def test_precision_and_recall_at_k_by_hand(k: int) -> None:
    """Of the k nearest rows, by cosine, those of the label: per k, and per all there are; k may be more than there are.

    Vectors have very different lengths, so that the nearest by their product are others.
    """
    rng = np.random.default_rng(3)
    labels = [*"aabbbbcccccccdee"]
    vectors = rng.normal(size=(16, 4)) * 10 ** rng.uniform(-2, 2, (16, 1))
    found = measure_labels(vectors, labels, ks=[k])
    cosines = cosine_similarity(vectors)
    precisions, recalls, averages = [], [], []
    for i in range(16):
        others = [j for j in range(16) if j != i]
        relevant = [j for j in others if labels[j] == labels[i]]
        if not relevant:
            continue
        nearest = sorted(others, key=lambda j: -cosines[i, j])
        precisions.append(len(set(nearest[:k]) & set(relevant)) / k)
        recalls.append(len(set(nearest[:k]) & set(relevant)) / len(relevant))
        averages.append(average_precision_score([j in relevant for j in others], cosines[i, others]))
    assert found[f"precision@{k}"] == pytest.approx(np.mean(precisions))
    assert found[f"recall@{k}"] == pytest.approx(np.mean(recalls))
    assert found["mean_average_precision"] == pytest.approx(np.mean(averages))
    assert found["silhouette"] == pytest.approx(silhouette_score(vectors, labels, metric="cosine"), abs=1e-6)
    assert found["queries"] == 15


def test_the_numbers_of_neighbours_that_are_measured(labelled: tuple[np.ndarray, list[str]]) -> None:
    """Precision and recall are of 1, 5 and 10 neighbours where nothing else is said."""
    expected = {f"{name}@{k}" for name in ("precision", "recall") for k in (1, 5, 10)}
    assert {name for name in measure_labels(*labelled) if "@" in name} == expected


def test_of_equal_cosines_the_first_row_is_nearer() -> None:
    """Rows in one direction are equally near: they come in their own order, the query itself never."""
    vectors = np.array([[1.0, 0.0], [2.0, 0.0], [3.0, 0.0], [4.0, 0.0], [0.0, 1.0]])
    found = measure_labels(vectors, ["a", "b", "b", "a", "z"], ks=[1, 2])
    # rows 0 to 3 find, first: 1 (wrong), 0 (wrong), 0 (wrong), 0 (right)
    assert found["neighbour_accuracy"] == found["precision@1"] == pytest.approx(1 / 4)
    # and then: 2 (wrong), 2 (right), 1 (right), 1 (wrong)
    assert found["precision@2"] == pytest.approx(3 / 8)
    assert found["recall@2"] == pytest.approx(3 / 4)
    assert found["mean_average_precision"] == pytest.approx(np.mean([1 / 3, 1 / 2, 1 / 2, 1]))


def test_many_rows_of_equal_cosines_come_in_their_order() -> None:
    """The order of a hundred equal cosines is that of the rows, which makes the average precision."""
    labels = np.array(list("ab"))[np.random.default_rng(0).integers(0, 2, 100)]
    precisions = []
    for query in range(100):
        is_right = np.delete(labels, query) == labels[query]
        precisions.append(np.mean((np.cumsum(is_right) / np.arange(1, 100))[is_right]))
    found = measure_labels(np.tile([[1.0, 0.0]], (100, 1)), labels.tolist(), ks=[1])
    assert found["mean_average_precision"] == pytest.approx(np.mean(precisions))


def test_a_silhouette_of_one_row_a_label_is_none() -> None:
    """Where the rows that are drawn have one label, or one row each, there is no silhouette."""
    vectors, classes = np.eye(4), np.arange(4)
    assert np.isnan(evaluation._silhouette(vectors, classes, np.random.default_rng(0)))
    assert np.isnan(evaluation._silhouette(vectors, np.zeros(4, int), np.random.default_rng(0)))


@pytest.mark.parametrize("scores", [[1, 2, 2, 3, 3, 3, 4, 5], [5, 0, 5, 0, 1, 1, 2, 2]])
def test_pairs_with_equal_scores(scores: list[float]) -> None:
    """Spearman's correlation is Pearson's of ranks, equal scores sharing theirs; cosines are compared, not products."""
    rng = np.random.default_rng(0)
    first, second = (rng.normal(size=(8, 3)) * 10 ** rng.uniform(-2, 2, (8, 1)) for _ in range(2))
    first[7] = 0  # a text without words
    cosines = np.diag(cosine_similarity(first, second))
    expected = np.corrcoef(rankdata(cosines), rankdata(scores))[0, 1]
    found = measure_pairs(first, second, scores)
    assert found == {"pairs": 8, "spearman": pytest.approx(expected)}
    products = np.corrcoef(rankdata((first * second).sum(axis=1)), rankdata(scores))[0, 1]
    assert found["spearman"] != pytest.approx(products, abs=1e-3)


@pytest.mark.parametrize("scores", [[1.0], [1.0, np.nan], [2.0, 2.0]])
def test_pairs_that_cannot_be_ranked(scores: list[float]) -> None:
    """One pair, a score that is no number, or scores that are all the same, are refused."""
    with pytest.raises(ValueError, match=rf"{len(scores)} scored pairs: expected two at least"):
        measure_pairs(np.eye(len(scores)), np.eye(len(scores)), scores)


@pytest.mark.parametrize("method", ["pca", "tsne"])
def test_a_picture_is_of_directions(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Longer vectors in the same direction are in the same place; of many rows some are drawn, by the seed."""
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(30, 4))
    longer = vectors * rng.uniform(0.5, 20, (30, 1))
    with threadpool_limits(1):
        places = [project(each, method=method, seed=1)[1] for each in (vectors, longer)]
        np.testing.assert_allclose(places[0], places[1], atol=1e-4 if method == "pca" else 1.0)
        monkeypatch.setattr(evaluation, "_MOST_IN_PICTURE", 20)
        rows = [project(vectors, method=method, seed=seed)[0].tolist() for seed in (0, 0, 1)]
    assert rows[0] == rows[1] != rows[2]
    assert len(rows[0]) == 20
    assert rows[0] == sorted(set(rows[0]))


def test_a_vector_of_length_zero_has_a_place() -> None:
    """Without a direction it is somewhere, and the others are where they are."""
    assert np.isfinite(project(np.concatenate([np.eye(3), np.zeros((1, 3))]))[1]).all()


def test_what_makes_no_picture() -> None:
    """An unknown method and too few rows are named."""
    with pytest.raises(ValueError, match="Unknown method 'umap': pass pca or tsne"):
        project(np.eye(4), method="umap")
    with pytest.raises(ValueError, match="2 rows: a picture needs three at least"):
        project(np.eye(2))
    assert project(np.eye(3))[1].shape == (3, 2)


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
