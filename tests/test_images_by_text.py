"""Images found by text, in the real Milvus Lite: CLIP and SigLIP embed both into one space."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner
from PIL import Image
from tiny_presets import write_towers
from tiny_tables import write_rows

import tfembed as te
from tfembed.cli import cli
from tfembed.embeddings.embedder import EncoderSource
from tfembed.index.opening import index_data

pytest.importorskip("pymilvus", reason="pymilvus is not installed: pip install 'tfembed[index]'")
pytest.importorskip("milvus_lite", reason="milvus-lite is not installed: pip install 'tfembed[index]'")

QUERIES = ["a red shoe", "the blue one", "where is my card", "again"]
NUM_IMAGES = 12


def make(name: str, folder: Path) -> Any:
    """A folder with a preset, pictures and their collection; what KerasHub makes of all texts and pictures."""
    folder.mkdir()
    backbone, preprocessor = write_towers(name, folder / "preset")
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, rng.integers(20, 256, (NUM_IMAGES, 1, 1, 3)), (NUM_IMAGES, 16, 16, 3)).astype("uint8")
    (folder / "pictures").mkdir()
    for i, each in enumerate(pixels):
        Image.fromarray(each).save(folder / "pictures" / f"{i}.png")
    given = preprocessor({"prompts": tf.constant(QUERIES), "images": tf.constant(pixels)})
    logits = backbone({name: given[name] for name in ("token_ids", "images")})["text_logits"].numpy()
    with te.open_index(folder / "pictures.db") as index:
        assert index_data(index, folder / "preset", folder / "pictures", te.EmbedOptions()) == NUM_IMAGES
    return folder, logits, backbone, pixels


@pytest.fixture(scope="module", params=("clip", "siglip"))
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return make(request.param, tmp_path_factory.mktemp("towers") / request.param)


@pytest.fixture(scope="module")
def siglip(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Where the tokenizer does not matter: that of CLIP takes seconds to be traced."""
    return make("siglip", tmp_path_factory.mktemp("towers") / "siglip")


def run(*arguments: object) -> str:
    """What a command prints; its error, if it raises one."""
    result = CliRunner().invoke(cli, [str(each) for each in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_texts_find_images_in_the_order_of_the_logits(place: Any) -> None:
    """All images, for each of several texts, in the order of KerasHub's own logits, which differs between texts."""
    folder, logits, backbone, _ = place
    expected = [[f"{row}.png" for row in np.argsort(-line)] for line in logits]
    assert len(set(map(tuple, expected))) > 1
    with te.open_index(folder / "pictures.db") as index:
        found = index.query(QUERIES, limit=NUM_IMAGES)
    assert [[each.id for each in near] for near in found] == expected
    head = next(layer for layer in backbone.layers if layer.name.endswith("_head"))
    cosines = (logits - float(getattr(head, "logit_bias", 0.0))) / np.exp(float(head.logit_scale))
    similarities = np.array([[each.similarity for each in near] for near in found])
    np.testing.assert_allclose(similarities, -np.sort(-cosines), atol=2e-6)


def test_images_find_images(place: Any) -> None:
    """A picture in such a collection is still found by itself, by path or by its pixels."""
    folder, _, _, pixels = place
    with te.open_index(folder / "pictures.db") as index:
        (found,) = index.query([folder / "pictures" / "3.png"], limit=1)
        assert (found[0].id, round(found[0].similarity, 4)) == ("3.png", 1.0)
        assert index.query(pixels[5:6], limit=1)[0][0].id == "5.png"


def test_the_encoder_may_be_said(siglip: Any) -> None:
    """By its handle, or as the tower for texts in memory; that for images takes no texts, and names the other one."""
    folder, logits, _, _ = siglip
    first = f"{logits[0].argmax()}.png"
    with te.open_index(folder / "pictures.db") as index:
        assert index.query(QUERIES[:1], encoder=folder / "preset", limit=1)[0][0].id == first
    with te.open_index(folder / "pictures.db") as index:
        texts = te.load_encoder(folder / "preset", kind="text")
        assert index.query(QUERIES[:1], encoder=texts, limit=1)[0][0].id == first
        with pytest.raises(
            ValueError, match=r"The data are texts: expected images.*Its other tower takes texts: load_"
        ):
            index.query(QUERIES, encoder=te.load_encoder(folder / "preset"))


def test_another_encoder_is_refused(place: Any, tmp_path: Path) -> None:
    """Of other weights, of the same family or another, of texts alone, or trained: none of them is in the space."""
    folder, _, _, _ = place
    write_towers(folder.name, tmp_path / "other", seed=1)
    (another,) = {"clip", "siglip"} - {folder.name}
    write_towers(another, tmp_path / "another")
    trained = te.load_encoder(folder / "preset", kind="text")
    bias = trained.blocks[-1].variables[1]
    bias.assign(bias + 0.5)
    others = [tmp_path / "other", tmp_path / "another", "minilm", trained]
    with te.open_index(folder / "pictures.db") as index:
        for other in others:
            with pytest.raises(
                ValueError, match=r"was written by encoder 'preset' \(.*Query with the encoder that wrote"
            ):
                index.query(QUERIES, encoder=other)
        with pytest.raises(ValueError, match="'glyphs' embeds images alone, no texts"):
            index.query(QUERIES, encoder="glyphs")
        te.embed_file(tmp_path / "other", folder / "pictures", tmp_path / "other.parquet")
        with pytest.raises(ValueError, match=r"do not go together\. Use another collection"):
            index.upsert(tmp_path / "other.parquet")
        write_rows(tmp_path / "a.csv", [{"text": "a red shoe"}])
        te.embed_file(trained, tmp_path / "a.csv", tmp_path / "texts.parquet")
        with pytest.raises(ValueError, match=r"holds images, and these are embeddings of texts"):
            index.upsert(tmp_path / "texts.parquet")
        assert len(index) == NUM_IMAGES


def test_texts_are_found_by_images(siglip: Any, tmp_path: Path) -> None:
    """The other way round: a collection of captions, asked with pictures, and with texts."""
    folder, logits, _, pixels = siglip
    captions = write_rows(tmp_path / "captions.csv", [{"text": text} for text in QUERIES])
    with te.open_index(tmp_path / "captions.db") as index:
        source = EncoderSource(handle=str(folder / "preset"), kind="text")
        index_data(index, source, captions, te.EmbedOptions(keep=("text",)))
        found = index.query(pixels, limit=len(QUERIES))
        assert [[each.id for each in near] for near in found] == np.argsort(-logits.T, axis=1).tolist()
        assert index.query(QUERIES[2:3], limit=1)[0][0].columns == {"text": QUERIES[2]}


def test_on_the_command_line(siglip: Any, tmp_path: Path) -> None:
    """`index` takes a folder of images, and `query` a text or a picture."""
    folder, logits, _, _ = siglip
    base, preset = tmp_path / "a.db", folder / "preset"
    printed = run("index", base, folder / "pictures", "--encoder", preset)
    assert f"{NUM_IMAGES} rows written" in printed
    expected = [f"{row}.png" for row in np.argsort(-logits[0])[:3]]
    lines = run("query", base, QUERIES[0], "--limit", 3).splitlines()
    assert [line.split()[1] for line in lines] == expected
    (answer,) = json.loads(run("query", base, folder / "pictures" / "7.png", "--limit", 1, "--json"))
    assert answer["found"][0]["id"] == "7.png"
    captions = write_rows(tmp_path / "captions.csv", [{"text": text} for text in QUERIES])
    run("embed", captions, tmp_path / "a.parquet", "--encoder", preset, "--kind", "text")
    run("index", tmp_path / "b.db", tmp_path / "a.parquet")
    lines = run("query", tmp_path / "b.db", folder / "pictures" / "7.png", "--limit", 4).splitlines()
    assert [int(line.split()[1]) for line in lines] == np.argsort(-logits[:, 7]).tolist()


def test_inspect_names_the_other_tower(siglip: Any) -> None:
    """What it takes, and which option shows the other one."""
    preset = siglip[0] / "preset"
    assert "images, brought to (16, 16) (and texts, with --kind text) -> embeddings (n, " in run("inspect", preset)
    shown = json.loads(run("inspect", preset, "--kind", "text", "--json"))
    assert shown["takes"] == "texts (and images, with --kind image)"
    assert shown["example"].endswith("kind='text').unfreeze(1)")


def test_a_classifier_of_either(siglip: Any, tmp_path: Path) -> None:
    """`tfembed train` takes the tower that its data are for."""
    folder = siglip[0]
    table = write_rows(tmp_path / "a.csv", [{"text": f"{QUERIES[i % 2]} {i}", "label": i % 2} for i in range(20)])
    options = ("--encoder", folder / "preset", "--task", "classification", "--json")
    assert json.loads(run("train", table, *options))["result"]["metrics"]
