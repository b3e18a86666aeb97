"""The command line."""

import errno
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import pytest
from click.testing import CliRunner
from tiny_models import TEXTS, write_images, write_noisy_module, write_text_module, write_texts
from tiny_vectors import WORDS, write_text

import tfembed as te
from tfembed.cli import _in_options, cli, main
from tfembed.commands.runs import _unseen
from tfembed.commands.typed import dataset_of, parse_head
from tfembed.predict import parts_of
from tfembed.strategies import parse_strategy

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


def _run(*arguments: object) -> str:
    """What a command prints; its error, if it raises one."""
    result = CliRunner().invoke(cli, [str(each) for each in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a table of texts, a folder of images, and a text encoder."""
    folder = tmp_path_factory.mktemp("place")
    write_texts(folder / "texts.csv")
    rows = [
        {"text": f"{text} {i}", "tags": [name, "any"], "stars": i + 0.5}
        for name, texts in TEXTS.items()
        for text in texts
        for i in range(4)
    ]
    (folder / "rated.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    lines = [f"{row['text']},{'|'.join(row['tags'])},{row['stars']}\n" for row in rows]
    (folder / "rated.csv").write_text("text,tags,stars\n" + "".join(lines), encoding="utf-8")
    write_images(folder / "images")
    write_text_module(folder / "words")
    (folder / "rare.csv").write_text("text,label\na,x\nb,x\nc,x\nd,y\ne,y\nf,y\ng,z\n", encoding="utf-8")
    for split in ("train", "test"):
        write_images(folder / "split" / split)
    return folder


@pytest.fixture(scope="module")
def image_run(place: Path) -> tuple[Path, dict[str, Any]]:
    """A run on the images, and what training printed."""
    out = place / "runs" / "images"
    printed = _run("train", place / "images", "--encoder", "glyphs", "--seed", 3, "--out", out, "--json")
    return out, json.loads(printed)


@pytest.fixture(scope="module")
def text_run(place: Path) -> tuple[Path, str]:
    """A run on the texts, and what training printed for people."""
    out = place / "runs" / "texts"
    return out, _run("train", place / "texts.csv", "--encoder", place / "words", "--out", out)


def test_batch_norm_is_an_option_of_training(place: Path) -> None:
    """The strategy that is carried out, and recorded, has it in all phases with gradients."""
    options = ("--encoder", place / "words", "--strategy", "lp_ft:1", "--batch-norm", "inference", "--json")
    strategy = json.loads(_run("train", place / "texts.csv", *options))["result"]["strategy"]
    assert [phase["batch_norm"] for phase in strategy["phases"]] == ["auto", "inference", "auto"]
    assert strategy["name"] == "lp_ft(1), batch norm inference"


@pytest.mark.parametrize("command", [None, *cli.commands])
def test_help(command: str | None) -> None:
    """Each command says what it does, and how it is called; the group lists them all."""
    printed = _run(*([command] if command else []), "--help")
    assert printed.startswith("Usage:")
    assert command is None or f"Example: tfembed {command}" in printed
    assert all(name in printed for name in ([] if command else cli.commands))


def test_examples_can_be_typed() -> None:
    """The example of each command is one that it takes."""
    for name, command in cli.commands.items():
        words = shlex.split(str(command.epilog).removeprefix("Example: tfembed "))
        assert words[0] == name
        command.make_context(name, words[1:])


def test_help_lists_the_strategies() -> None:
    """`train --help` and the error about a strategy list the same ones."""
    printed = " ".join(_run("train", "--help").split())
    assert all(each in printed for each in ("linear_probe, full", "lp_ft:K", "only_block:K or :NAME"))


def test_encoders() -> None:
    """The catalogue is listed with names, licences and handles, for people and for scripts."""
    listed = {spec["name"]: spec for spec in json.loads(_run("encoders", "--json"))}
    assert listed["glyphs"]["kind"] == "image"
    assert listed["minilm"]["licence"] == "Apache-2.0"
    printed = _run("encoders")
    assert all(spec["name"] in printed and spec["handle"] in printed for spec in listed.values())
    (line,) = [line for line in printed.splitlines() if line.startswith("nnlm ")]
    assert line.split()[1:5] == ["text", "128", "124,642,688", "Apache-2.0"]


def test_inspect() -> None:
    """An encoder's input, dimension and blocks are shown, with what it costs and saves to freeze them."""
    found = json.loads(_run("inspect", "glyphs", "--json"))
    assert found["dim"] == 192
    assert found["takes"] == "images, brought to (32, 32)"
    assert [block["name"] for block in found["blocks"]] == ["stem", "stage_1", "stage_2", "stage_3", "stage_4"]
    assert all(block["parameters"] > 0 and block["variables"] > 0 for block in found["blocks"])
    assert [cut["num_frozen"] for cut in found["cuts"]] == list(range(6))
    printed = _run("inspect", "glyphs")
    assert "embeddings (n, 192)" in printed
    (line,) = [line for line in printed.splitlines() if line.startswith("  stage_4")]
    top = found["blocks"][-1]
    assert line.split()[1:] == [str(top["variables"]), f"{top['parameters']:,}", str(192 * 4), "100%"]
    assert found["inputs"] == [{"name": "inputs", "dtype": "float32", "shape": [None, 32, 32, 3]}]
    assert found["outputs"][0]["shape"] == [None, 192]
    assert "inputs: inputs float32 (?, 32, 32, 3)" in printed
    assert f"try: {found['example']}" in printed
    assert max(len(line) for line in printed.splitlines()[2:]) <= 79


def test_inspect_finds_neighbours(place: Path) -> None:
    """Of a word in its vocabulary, or of a text in the lines of a file; analogies too."""
    handle = f"glove:{write_text(place / 'vectors.txt')}"
    printed = _run("inspect", handle, "--nearest", "king", "--analogy", "king, man, woman").splitlines()
    assert printed[printed.index("nearest king:") + 1].split()[1] in WORDS
    assert printed[printed.index("analogy king, man, woman:") + 1].split()[1] == "queen"
    (place / "lines.txt").write_text("a card\n\nmy money back\n", encoding="utf-8")
    arguments = ("--nearest", "my money", "--among", place / "lines.txt", "--json")
    found = json.loads(_run("inspect", place / "words", *arguments))["nearest"]
    assert [each["example"] for each in found] == ["my money back", "a card"]
    with pytest.raises(ValueError, match="expected three words, such as king,man,woman"):
        _run("inspect", handle, "--analogy", "king,man")


def test_inspect_tells_the_example_what_it_was_told() -> None:
    """Options that say how to load an encoder are part of the example."""
    handle = "applications:MobileNet?size=32&alpha=0.25"
    found = json.loads(_run("inspect", handle, "--weights", "none", "--output", "conv_pw_2_relu", "--trust", "--json"))
    assert found["dim"] == 32
    expected = f"te.load_encoder({handle!r}, output='conv_pw_2_relu', trust=True, weights=None).unfreeze(1)"
    assert found["example"] == expected


def test_inspect_says_why_not(tmp_path: Path) -> None:
    """Where an encoder cannot be cut, that is said in place of numbers, and the reason under the blocks."""
    printed = _run("inspect", write_noisy_module(tmp_path / "noisy", 0.5))
    (line,) = [line for line in printed.splitlines() if line.startswith("  block_0")]
    assert line.endswith("cannot be cut")
    assert "why not: The frozen part is not settled by its input" in printed


def test_train_on_images(image_run: tuple[Path, dict[str, Any]]) -> None:
    """Training prints what it came to as JSON, and keeps model and record in the folder asked for."""
    out, printed = image_run
    assert printed["class_names"] == ["dark", "light"]
    assert printed["encoder"] == "glyphs"
    assert printed["result"]["seed"] == 3
    assert printed["result"]["metrics"]["test"]["accuracy"] == 1.0
    assert json.loads((out / "run.json").read_text(encoding="utf-8")) == printed
    assert {each.name for each in out.iterdir()} == {"model.keras", "run.json"}


def test_train_on_texts(text_run: tuple[Path, str]) -> None:
    """For people, training prints what it learned from, a line for each split, and what to do next."""
    out, printed = text_run
    first, *lines = printed.splitlines()
    assert re.fullmatch(r"\d+ examples \(\d+ train, \d+ validation, \d+ test\), 2 classes, encoder \S+", first)
    assert [line.split()[0] for line in lines[:3]] == ["train", "validation", "test"]
    assert re.search(r"accuracy [\d.]+ % \(\d+ of \d+\)", lines[0])
    assert re.search(r"accuracy [\d.]+ % \(\d+ of \d+; \d+ to \d+\)  macro_f1 [\d.]+ \([\d.]+ to [\d.]+\)", lines[2])
    assert "95 %" in lines[3]
    assert "seed 0" in lines[4]
    assert shlex.split(lines[5])[:4] == ["try:", "tfembed", "predict", str(out)]
    assert lines[6] == f"ship: tfembed export {out} saved_models/texts"


def test_train_a_regression(place: Path) -> None:
    """A column of numbers with fractions makes a regression; nothing is kept without --out."""
    before = sorted(place.rglob("*"))
    arguments = ("--encoder", place / "words", "--label", "stars", "--json")
    found = json.loads(_run("train", place / "rated.jsonl", *arguments))
    assert found["class_names"] == []
    assert "r2" in found["result"]["metrics"]["test"]
    assert sorted(place.rglob("*")) == before


def test_the_task_of_a_csv_file_is_said(place: Path) -> None:
    """CSV knows texts only: a regression, and several labels a cell, are asked for."""
    arguments = ("train", place / "rated.csv", "--encoder", place / "words", "--json")
    targets = json.loads(_run(*arguments, "--label", "stars", "--task", "regression"))
    assert (targets["class_names"], "r2" in targets["result"]["metrics"]["test"]) == ([], True)
    several = json.loads(_run(*arguments, "--label", "tags", "--label-separator", "|"))
    assert several["class_names"] == ["any", *TEXTS]
    assert "micro_f1" in several["result"]["metrics"]["test"]


def test_the_head_is_the_one_asked_for(place: Path) -> None:
    """Hidden layers have the sizes that the option names; the other heads are told from them."""
    arguments = ("--encoder", place / "words", "--head", "mlp:5,4", "--balanced", "--json")
    result = json.loads(_run("train", place / "texts.csv", *arguments))["result"]
    assert result["trained_parameters"] == (8 + 1) * 5 + (5 + 1) * 4 + (4 + 1) * 2
    assert (parse_head("cosine"), parse_head("linear")) == (te.cosine_head(), te.linear_head())


@pytest.mark.parametrize(
    ("text", "strategy"),
    [
        ("linear_probe", te.linear_probe()),
        ("linear_probe:3,5", te.linear_probe(depths=(3, 5))),
        ("only_block:0", te.only_block(0)),
        ("only_block:-1", te.only_block(-1)),
        ("only_block:layer_5", te.only_block("layer_5")),
        ("contrastive:2", te.contrastive(2)),
        ("lora:4", te.lora(4)),
        ("norms", te.norms()),
    ],
)
def test_strategies_by_name(text: str, strategy: te.Strategy) -> None:
    """A strategy is its name, with its number or its depths where it has some."""
    assert parse_strategy(text) == strategy


def test_a_strategy_from_a_file(tmp_path: Path) -> None:
    """A file that to_json wrote repeats the strategy of an earlier run."""
    file = tmp_path / "strategy.json"
    file.write_text(te.gradual(2).to_json(), encoding="utf-8")
    assert parse_strategy(str(file)) == te.gradual(2)


def test_texts_are_cut_off_where_it_is_said(place: Path) -> None:
    """--sequence-length is the run's, in place of what the training texts would have."""
    out = place / "runs" / "short"
    _run("train", place / "texts.csv", "--encoder", "minilm", "--sequence-length", 5, "--out", out)
    model, _ = te.load_run(out)
    assert parts_of(model).encoder.sequence_length == 5


def test_few_shot_and_strategy(place: Path) -> None:
    """The strategy and the number of examples of a class are what was asked for."""
    arguments = ("--encoder", "glyphs", "--few-shot", 2, "--strategy", "top_blocks:1", "--json")
    result = json.loads(_run("train", place / "images", *arguments))["result"]
    assert result["strategy"]["name"] == "top_blocks(1)"
    assert result["trained_parameters"] > 25_000


def test_predict_texts(text_run: tuple[Path, str]) -> None:
    """Each text gets a label and a score, as JSON or a line each; the classes were learnt."""
    examples = [texts[0] for texts in TEXTS.values()]
    rows = json.loads(_run("predict", text_run[0], *examples, "--json"))
    assert [row["example"] for row in rows] == examples
    assert [row["label"] for row in rows] == list(TEXTS)
    assert all(0.5 < row["score"] <= 1 for row in rows)
    lines = _run("predict", text_run[0], *examples).splitlines()
    assert [line.split()[1] for line in lines] == list(TEXTS)


def test_predict_reads_the_texts_of_a_table(text_run: tuple[Path, str], tmp_path: Path) -> None:
    """A table is not a text: each of its rows is predicted, of the column that --text names."""
    table = tmp_path / "test.csv"
    table.write_text("words,label\nmy money back,a\nhi there,b\n", encoding="utf-8")
    rows = json.loads(_run("predict", text_run[0], table, "hello", "--text", "words", "--json"))
    assert [row["example"] for row in rows] == ["my money back", "hi there", "hello"]
    assert rows[:2] == json.loads(_run("predict", text_run[0], "my money back", "hi there", "--json"))


def test_predict_images(place: Path, image_run: tuple[Path, dict[str, Any]]) -> None:
    """Examples of a run on images are files."""
    files = [place / "images" / "light" / "0.png", place / "images" / "dark" / "0.png"]
    rows = json.loads(_run("predict", image_run[0], *files, "--json"))
    assert [row["label"] for row in rows] == ["light", "dark"]


@pytest.mark.parametrize("command", ["train", "search", "embed"])
def test_the_encoder_that_images_get_is_said(
    command: str, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without --encoder, one line says which encoder images get: of printed characters only if there is no better one
    here, and then how to get a better one.
    """
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(te, "load_encoder", _refuse)
    monkeypatch.setattr("tfembed.embeddings.embedder.load_encoder", _refuse)
    folder = place / "images" / "dark"
    arguments = {
        "train": ["train", place / "images"],
        "search": ["search", place / "images", "--out", tmp_path / "study", "--trials", 1],
        "embed": ["embed", folder, tmp_path / "vectors.npy"],
    }[command]
    for file, line in (
        (None, "Encoder: glyphs, trained on printed characters, .* For one, pass --encoder efficientnet_b0, .*"),
        ("mobilenet_1_0_224_tf_no_top.h5", "Encoder: mobilenet_v1, trained on photographs; pass --encoder .*"),
    ):
        if file:
            (tmp_path / "models").mkdir()
            (tmp_path / "models" / file).touch()
        result = CliRunner().invoke(cli, [str(each) for each in arguments])
        assert re.search(f"^{line}$", result.stderr, re.MULTILINE)
        assert f"not loaded: {line.split()[1].strip(',')}" in str(result.exception)


def _refuse(handle: str, **_: Any) -> None:
    raise ValueError(f"not loaded: {handle}")


@pytest.mark.parametrize(("label", "shown"), [("tags", "any"), ("stars", "")])
def test_predict_several_labels_and_values(label: str, shown: str, place: Path) -> None:
    """Runs with several labels an example, and runs on numbers, print a line for each example too."""
    out = place / "runs" / label
    _run("train", place / "rated.jsonl", "--encoder", place / "words", "--label", label, "--out", out)
    assert len(json.loads(_run("predict", out, "my money back", "hi", "--json"))) == 2
    (line,) = _run("predict", out, "my money back").splitlines()
    assert line.endswith("my money back")
    assert shown in line


def test_export_measures_on_what_the_run_has_not_learned_from(place: Path, text_run: tuple[Path, str]) -> None:
    """Where its data are still there, --quantize and --out-of-scope take the validation part."""
    (place / "others.txt").write_text("zebra\n\nquantum chromodynamics\n", encoding="utf-8")
    options = ["--quantize", "bfloat16", "--out-of-scope", place / "others.txt", "--json"]
    told = json.loads(_run("export", text_run[0], place / "models" / "texts", *options))
    record = json.loads((text_run[0] / "run.json").read_text("utf-8"))
    validation = te.load_text(record["recipe"]["source"]).validation
    assert told["quantization"]["num_examples"] == len(validation)
    assert told["quantization"]["before"] == pytest.approx(record["result"]["metrics"]["validation"]["accuracy"])
    assert told["rejection"]["threshold"] == told["reject_below"]
    assert (told["rejection"]["in_scope"], told["rejection"]["out_of_scope"]) == (len(validation), 2)
    assert "bfloat16: weights of" in _run("export", text_run[0], place / "models" / "texts", *options[:2])


def test_export_keeps_a_share_of_the_classes(
    place: Path, text_run: tuple[Path, str], caplog: pytest.LogCaptureFixture
) -> None:
    """--keep-in-scope chooses the score; what it costs is printed, and that few examples hardly say so."""
    printed = _run("export", text_run[0], place / "models" / "kept", "--keep-in-scope", 1)
    assert re.search(
        r"label is __none__ below a score of 0\.\d+: refuses 0\.0 % of in-scope inputs \(0 of \d+; 0 to", printed
    )
    assert "out-of-scope" not in printed
    assert re.search(r"\d+ in-scope examples are few", caplog.text)
    measured = _run("export", text_run[0], place / "models" / "kept", "--reject-below", 1)
    assert "refuses 100.0 % of in-scope inputs" in measured
    with pytest.raises(ValueError, match="leave --reject-below out"):
        _run("export", text_run[0], place / "models" / "kept", "--keep-in-scope", 0.9, "--reject-below", 0.5)


def test_export_without_the_data(
    place: Path, image_run: tuple[Path, dict[str, Any]], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Where the data of the run are gone it is checked with made-up examples, and says so; --quantize is refused."""
    run = shutil.copytree(image_run[0], tmp_path / "run")
    record = json.loads((run / "run.json").read_text("utf-8"))
    record["recipe"]["source"] = str(tmp_path / "gone")
    (run / "run.json").write_text(json.dumps(record), encoding="utf-8")
    assert (tmp_path / "served" / "1" / "saved_model.pb") == Path(
        json.loads(_run("export", run, tmp_path / "served", "--json"))["folder"]
    ) / "saved_model.pb"
    assert "made-up examples are taken" in caplog.text
    with pytest.raises(ValueError, match="there are no examples to measure on"):
        CliRunner().invoke(
            cli, ["export", str(run), str(tmp_path / "small"), "--quantize", "bfloat16"], catch_exceptions=False
        )


def test_export(place: Path, image_run: tuple[Path, dict[str, Any]]) -> None:
    """A run is exported as the next version, and the folder is said."""
    folder = Path(json.loads(_run("export", image_run[0], place / "models" / "images", "--json"))["folder"])
    assert folder == place / "models" / "images" / "1"
    assert (folder / "saved_model.pb").is_file()


BAD = {
    "no such test file": (["train", "reviews", "--test", "none.csv"], "--test none.csv: there is no such file"),
    "a class of one": (["train", "{place}/rare.csv"], "pass --validation 0 or --test 0"),
    "a folder of splits": (["train", "{place}/split"], "/split/train' with --test {place}/split/test"),
    "missing table for a text": (["predict", "{place}/runs/texts", "missing.csv"], "a table that does not exist"),
    "image for a text": (["predict", "{place}/runs/texts", "{place}/images/light/0.png"], "names an image"),
    "missing data": (["train", "nowhere.csv"], "nowhere.csv"),
    "missing column": (["train", "{place}/texts.csv", "--label", "colour"], "colour"),
    "depths that are no numbers": (["train", "reviews", "--strategy", "linear_probe:a"], "linear_probe:K,..."),
    "a strategy in no file": (["train", "reviews", "--strategy", "missing.json"], "missing.json"),
    "unknown strategy": (["train", "reviews", "--strategy", "best"], "best"),
    "strategy without its number": (["train", "reviews", "--strategy", "top_blocks"], "top_blocks:K"),
    "strategy with a number too many": (["train", "reviews", "--strategy", "full:2"], "full:2"),
    "unknown head": (["train", "reviews", "--head", "best"], "best"),
    "head without its units": (["train", "reviews", "--head", "mlp"], "mlp:128"),
    "head of no units": (["train", "reviews", "--head", "mlp:0"], "at least 1"),
    "head with units too many": (["train", "reviews", "--head", "linear:3"], "linear:3"),
    "unknown task": (["train", "reviews", "--task", "guess"], "guess"),
    "targets that are no numbers": (["train", "{place}/texts.csv", "--task", "regression"], "line 2"),
    "targets balanced": (
        ["train", "{place}/rated.csv", "--label", "stars", "--task", "regression", "--balanced"],
        "--balanced",
    ),
    "targets balanced in a search": (
        [
            "search",
            "{place}/rated.csv",
            "--label",
            "stars",
            "--task",
            "regression",
            "--balanced",
            "--out",
            "{place}/balanced",
        ],
        "--balanced weighs classes",
    ),
    "several labels without a separator": (
        ["train", "{place}/rated.csv", "--label", "tags", "--task", "multi_label"],
        "--label-separator",
    ),
    "too many blocks": (["train", "{place}/images", "--encoder", "glyphs", "--strategy", "top_blocks:9"], "9"),
    "unknown encoder": (["train", "{place}/texts.csv", "--encoder", "nobody"], "nobody"),
    "encoder of the other kind": (["train", "{place}/texts.csv", "--encoder", "glyphs"], "glyphs"),
    "too few examples": (["train", "{place}/images", "--few-shot", "100"], "100"),
    "existing folder": (["train", "reviews", "--out", "{place}"], "exists already"),
    "folder in a file": (["train", "reviews", "--out", "{place}/texts.csv/run"], "cannot be made"),
    "text column that a sample lacks": (["train", "reviews", "--text", "words"], "words"),
    "negative seed": (["train", "reviews", "--seed", "-1"], "-1"),
    "handle of an unknown kind": (["inspect", "gopher://a/b"], "gopher://a/b"),
    "nothing to inspect": (["inspect", "nobody"], "nobody"),
    "nothing at a path": (["inspect", "no/such"], "There is no file or folder"),
    "an output that a module lacks": (["inspect", "glyphs", "--output", "top"], "tfembed: Cannot select the outputs"),
    "weights that are not there": (["inspect", "applications:VGG16", "--weights", "no.h5"], "no.h5"),
    "weights of what brings its own": (["train", "reviews", "--encoder", "nnlm", "--weights", "none"], "its own"),
    "no run to predict with": (["predict", "{place}", "hi"], "is no run"),
    "no run to export": (["export", "{place}", "models"], "is no run"),
    "missing image": (["predict", "{place}/runs/images", "nowhere.png"], "nowhere.png"),
    "unknown command": (["fly"], "fly"),
    "unknown option": (["train", "reviews", "--frozen"], "No such option '--frozen'. (try: tfembed train --help)"),
    "misspelled option": (
        ["train", "reviews", "--strateg", "full"],
        "option '--strateg'. Did you mean '--strategy'?",
    ),
    "option of a strategy": (
        ["train", "reviews", "--lr", "3"],
        "'--lr'. Learning rates, epochs and batch sizes belong",
    ),
    "option of a strategy, in a search": (
        ["search", "reviews", "--out", "{place}/new", "--lr", "3"],
        "'--lr'. A search tries several; to say which, pass space=te.SearchSpace(...) to te.search",
    ),
    "misspelled strategy": (["train", "reviews", "--strategy", "lp_fit:1"], "Did you mean lp_ft:1?"),
    "misspelled encoder": (["train", "reviews", "--encoder", "minlm"], "Did you mean 'minilm'"),
    "misspelled column": (["train", "{place}/texts.csv", "--label", "lable"], "Did you mean 'label'?"),
    "misspelled sample": (["train", "intent"], "Did you mean 'intents'?"),
    "misspelled head": (["train", "reviews", "--head", "cosin"], "Did you mean 'cosine'?"),
    "misspelled command": (["trian", "reviews"], "Did you mean 'train'?"),
    "missing argument": (["train"], "DATA"),
    "not a number": (["train", "reviews", "--few-shot", "many"], "many"),
}


@pytest.mark.usefixtures("image_run")
@pytest.mark.parametrize(("arguments", "named"), BAD.values(), ids=BAD)
def test_bad_input_is_one_line(
    arguments: list[str],
    named: str,
    place: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What is wrong with the input is said in one line that names it, with exit code 2; nothing is written."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
    monkeypatch.setattr(sys, "argv", ["tfembed", *(each.format(place=place) for each in arguments)])
    with pytest.raises(SystemExit) as caught:
        main()
    printed = capsys.readouterr()
    assert caught.value.code == 2
    assert printed.out == ""
    assert len(printed.err.splitlines()) == 1, printed.err
    assert printed.err.startswith("tfembed: ")
    assert named.format(place=place) in printed.err
    assert list(tmp_path.iterdir()) == []


def test_a_fault_of_ours_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """An error that no input explains has exit code 1, one line with its kind, and the way to see more."""
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
    monkeypatch.delenv("TFEMBED_DEBUG", raising=False)
    monkeypatch.setitem(sys.modules, "tfembed.encoders.catalog", None)  # a broken installation
    monkeypatch.setattr(sys, "argv", ["tfembed", "encoders"])
    with pytest.raises(SystemExit) as caught:
        main()
    printed = capsys.readouterr()
    assert caught.value.code == 1
    assert len(printed.err.splitlines()) == 1
    assert printed.err.startswith("tfembed: ModuleNotFoundError: ")
    assert "TFEMBED_DEBUG=1" in printed.err
    monkeypatch.setenv("TFEMBED_DEBUG", "1")
    with pytest.raises(ModuleNotFoundError):
        main()


def test_errors_of_a_process_are_not_drowned(image_run: tuple[Path, dict[str, Any]]) -> None:
    """In a process of its own, too, an error is the only line: what TensorFlow logs as it starts is kept quiet."""
    command = [sys.executable, "-m", "tfembed", "predict", str(image_run[0]), "nowhere.png"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert len(run.stderr.splitlines()) == 1, run.stderr
    assert run.stderr.startswith("tfembed: ")


def test_search_exports_its_winner(tmp_path: Path) -> None:
    """A search on the command line prints the leaderboard, goes on where it was, and its winner can be exported."""
    arguments = ["search", "reviews", "--encoder", tmp_path / "words", "--trials", 1, "--few-shot", 4, "--folds", 1]
    write_text_module(tmp_path / "words")
    out = tmp_path / "runs" / "study"
    printed = _run(*arguments, "--out", out)
    assert "majority class" in printed
    assert f"ship: tfembed export {out} saved_models/study" in printed
    again = json.loads(_run(*arguments, "--out", out, "--json"))
    assert {row["name"] for row in again["leaderboard"]} >= {"majority class", "linear probe", "full fine-tuning"}
    assert len(json.loads(_run("predict", out, "what a film", "--json"))) == 1
    exported = json.loads(_run("export", out, tmp_path / "served", "--json"))
    assert exported == {
        "folder": str(tmp_path / "served" / "1"),
        "quantization": None,
        "reject_below": None,
        "rejection": None,
    }


@pytest.mark.parametrize("columns", [("said", "label", "who"), ("0", "1", "2")])
def test_groups_are_a_column(columns: tuple[str, str, str], tmp_path: Path) -> None:
    """Rows of one group are in one split, whether columns are named or counted."""
    rows = [f"text {i},{'ab'[i % 2]},{i // 4}\n" for i in range(40)]
    file = tmp_path / "said.csv"
    file.write_text(("" if columns[0] == "0" else "said,label,who\n") + "".join(rows))
    text, label, groups = columns
    options = {"text": text, "label": label, "groups": groups, "label_separator": None, "task": None}
    data = dataset_of(str(file), options | {"few_shot": None, "seed": 0})
    sides = [{int(text.split()[1]) // 4 for text in split.examples} for split in (data.train, data.test)]
    assert len(data.test) == 8
    assert not sides[0] & sides[1]
    with pytest.raises(ValueError, match="is a folder, which has no column"):
        dataset_of(str(tmp_path), options | {"few_shot": None, "seed": 0})


@pytest.mark.parametrize(
    ("command", "said"), [("search", "interrupted; the same command goes on where it was"), ("train", "interrupted")]
)
def test_an_interruption_is_one_line(
    command: str, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C ends a command with exit code 130 and a line; of what goes on where it was, that is said."""

    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.commands[command], "callback", interrupt)
    monkeypatch.setattr(sys, "argv", ["tfembed", command, "reviews", *(["--out", "s"] if command == "search" else [])])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 130
    (line,) = capsys.readouterr().err.split("\n")[-2:-1]
    assert line == f"tfembed: {said}"


def test_a_console_without_the_letters_goes_on() -> None:
    """A label that the console cannot show is escaped, and what comes after it is printed."""
    program = (
        "import sys, click, tfembed.cli as c\n"
        "say = lambda: click.echo('caf\\xe9 \\u2713\\nafter')\n"
        "c.cli.add_command(click.Command('say', callback=say))\n"
        "sys.argv = ['tfembed', 'say']; c.main()\n"
    )
    environment = os.environ | {"PYTHONIOENCODING": "cp1252"}
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False, env=environment)
    assert (run.returncode, run.stderr) == (0, b"")
    assert run.stdout.splitlines() == [b"caf\xe9 \\u2713", b"after"]


def test_a_full_disk_takes_no_figures_along(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where the run cannot be written, the metrics are printed, and the error names the folder."""

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(keras.Model, "save", full)
    arguments = ["train", place / "texts.csv", "--encoder", place / "words", "--out", tmp_path / "run"]
    monkeypatch.setattr(sys, "argv", ["tfembed", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        main()
    printed = capsys.readouterr()
    assert caught.value.code == 2
    assert "accuracy" in printed.out
    assert f"{tmp_path / 'run'} could not be written: No space left on device" in printed.err
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_kept_is_said(place: Path) -> None:
    """Without --out nothing is kept, and labels that are numbers are said to be classes, both in a line."""
    file = place / "numbers.csv"
    file.write_text("text,label\n" + "".join(f"text {i},{i % 2 + 1}\n" for i in range(20)), encoding="utf-8")
    result = CliRunner().invoke(cli, ["train", str(file), "--encoder", str(place / "words")], catch_exceptions=False)
    assert result.stdout.splitlines()[-1] == "nothing is kept: pass --out runs/NAME to keep the model"
    said = "labels are numbers, taken as the names of 2 classes (1, 2); to predict values, pass --task regression"
    assert said in result.stderr


def test_data_that_moved_or_changed_are_said_to_have(
    place: Path, text_run: tuple[Path, str], caplog: pytest.LogCaptureFixture
) -> None:
    """A run knows its data by path and content: what is not as it was is not measured on, and the place is named."""
    record = json.loads((text_run[0] / "run.json").read_text("utf-8"))
    assert record["recipe"]["source"] == str((place / "texts.csv").absolute())
    assert _unseen(record) is not None
    assert caplog.messages == []
    changed = json.loads(json.dumps(record))
    changed["content"]["train"] = "9 examples, abc"
    assert _unseen(changed) is None
    assert f"are not at {place / 'texts.csv'} as they were: made-up examples are taken" in caplog.text
    assert "they have changed (train: '9 examples, abc' there" in caplog.text
    record["recipe"]["source"] = str(place / "moved.csv")
    assert _unseen(record) is None
    assert f"are not at {place / 'moved.csv'} as they were" in caplog.text


def test_splits_of_ones_own(place: Path, tmp_path: Path) -> None:
    """Validation and test may be shares, tables or folders of images; duplicates are dropped where asked for."""
    options = dict.fromkeys(["label", "groups", "label_separator", "task", "few_shot"], None) | {
        "text": "text",
        "seed": 0,
    }
    (tmp_path / "test.csv").write_text("text,label\nmy money back,refund\nhello,greeting\n", encoding="utf-8")
    data = dataset_of(str(place / "texts.csv"), options | {"validation": "0", "test": str(tmp_path / "test.csv")})
    assert (len(data.validation), data.test.examples.tolist()) == (0, ["my money back", "hello"])
    images = str(place / "images")
    data = dataset_of(images, options | {"validation": images, "test": "0.5"})
    assert len(data.train) == len(data.test) == len(data.validation) / 2
    data = dataset_of("reviews", options | {"validation": "0.25", "test": "0"})
    assert (len(data.validation) * 3, len(data.test)) == (len(data.train), 0)
    rows = "".join(f"text {i},{'ab'[i % 2]}\n" for i in range(20))
    (tmp_path / "twice.csv").write_text("text,label\n" + rows * 2, encoding="utf-8")
    data = dataset_of(str(tmp_path / "twice.csv"), options | {"test": "0", "drop_duplicates": True})
    assert len(data.train) + len(data.validation) == 20


@pytest.mark.parametrize("command", ["train", "search"])
def test_options_of_splits_are_those_of_train_and_search(command: str) -> None:
    """Both commands have them."""
    text = _run(command, "--help")
    assert all(option in text for option in ("--validation", "--test", "--drop-duplicates"))


@pytest.mark.parametrize(
    ("command", "message", "shown"),
    [
        ("train", "pass validation=0 or test=0.", "pass --validation 0 or --test 0."),
        (
            "train",
            "Pass task='classification' or task='multi_label'.",
            "Pass --task classification or --task multi_label.",
        ),
        ("train", "label_separator='' separates: pass '|'", "--label-separator '' separates: pass '|'"),
        ("search", "pass 'a/train' with test='a/my test'.", "pass 'a/train' with --test 'a/my test'."),
        ("train", "with test=... and drop_duplicates=True", "with --test ... and --drop-duplicates"),
        ("export", "pass validation=0 or class_names=['a'].", "pass validation=0 or class_names=['a']."),
        ("--help", "pass validation=0", "pass validation=0"),
        ("inspect", "pass among=, a list", "pass --among, a list"),
    ],
)
def test_errors_of_a_command_advise_its_options(
    command: str, message: str, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An argument of Python in an error of the library is said as the option that the command has for it."""
    monkeypatch.setattr(sys, "argv", ["tfembed", command])
    assert _in_options(message) == shown
