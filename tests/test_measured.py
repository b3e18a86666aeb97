"""The figures of the README on real modules and data, with floors a little below them."""

from pathlib import Path

import tfembed as te


def test_a_probe_on_minilm_classifies_banking77(shared: Path) -> None:
    """Frozen MiniLM as a TF Hub pair, mean pooling, 10 examples a class: at least 83 % on the mean of three draws."""
    folder = shared / "data" / "banking77"
    data = te.load_text(folder / "train.csv", label="category", validation=0, test=folder / "test.csv")
    hub = shared / "hub"
    encoder = te.load_encoder(hub / "minilm_encoder", preprocessing=str(hub / "minilm_preprocess"), pooling="mean")
    cache, scores = te.FeatureCache(), []
    for seed in range(3):
        model = te.build_text_classifier(encoder, data.class_names)
        result = te.train(model, data.few_shot(10, seed), te.linear_probe(), seed=seed, cache=cache)
        scores.append(result.metrics["test"]["accuracy"])
    assert sum(scores) / len(scores) >= 0.83, scores


def test_a_probe_on_mobilenet_tells_blood_cells(shared: Path) -> None:
    """Frozen MobileNetV2 as a TF Hub feature vector, random 80/20 split: at least 95 %."""
    data = te.load_images(shared / "data" / "bccd" / "crops", validation=0, test=0.2)
    encoder = te.load_encoder(shared / "hub" / "mobilenet_v2_035_224_feature_vector")
    model = te.build_image_classifier(encoder, data.class_names)
    result = te.train(model, data, te.linear_probe())
    assert result.metrics["test"]["accuracy"] >= 0.95
