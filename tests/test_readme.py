"""What README and guides show, works."""

import inspect
import re
import shlex
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
import tensorflow as tf
from spared_gate import spared_gate

import tfembed as te
from tfembed.cli import cli

ROOT = Path(__file__).parents[1]
FILES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXTS = {file.name: file.read_text(encoding="utf-8") for file in FILES}
README, CONTRIBUTING = TEXTS["README.md"], (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```\s*$", re.MULTILINE | re.DOTALL)
BLOCKS = [(name, *found) for name, text in TEXTS.items() for found in BLOCK.findall(text)]
PYTHON = [code for _, language, code in BLOCKS if language == "python"]
INLINE = "\n".join(re.findall(r"`([^`\n]+)`", "\n".join(BLOCK.sub("", text) for text in TEXTS.values())))
COMMAND = re.compile(r"^\s*(?:[A-Z_]+=\S+ +)*(?:\S*/)?tfembed ([a-z].*)$", re.MULTILINE)
IN_BLOCKS = [line for _, language, code in BLOCKS if language != "python" for line in COMMAND.findall(code)]

# What is not a command line: what is printed, and trees of folders. The first words of each.
SHOWN = ("────────", "lp_ft(1)\n  1 probe", "tfembed/\n")
# First words of lines that are no command of tfembed.
OTHER_COMMANDS = ("make ", "export ", "curl ", "docker ", "tensorflow_model_server ", "echo ", "uv pip install ")
# Lines that are only parsed: they want a server, a download, several processes, or minutes. Other tests run the like.
NOT_RUN = re.compile(
    r"serve|search|report|predict --url|embed pages|.*clip_vit|query pictures|.*--runner beam|inspect|doctor|train rat"
)

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


def test_there_are_blocks() -> None:
    """The pattern finds blocks of Python in README and guides, and commands: else nothing of them would be tested."""
    assert len(PYTHON) > 12
    assert len(IN_BLOCKS) > 30
    assert {name for name, *_ in BLOCKS} >= TEXTS.keys() - {"troubleshooting.md"}


@pytest.mark.parametrize("code", PYTHON, ids=lambda code: code.strip().splitlines()[-1][:50])
def test_python_of_the_readme_runs(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each block runs by itself, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {"__name__": "readme"})


def test_what_describe_is_said_to_print(capsys: pytest.CaptureFixture[str]) -> None:
    """The block behind the call shows what it prints."""
    te.lp_ft(1).describe(te.load_encoder("minilm"))
    assert capsys.readouterr().out in [code for *_, code in BLOCKS]


def test_other_blocks_are_commands() -> None:
    """Each line of a block that is not Python is a command that is tested, or of those that are known to be none."""
    for name, language, code in BLOCKS:
        if language == "python" or code.startswith(SHOWN):
            continue
        for line in code.splitlines():
            known = line.startswith(OTHER_COMMANDS)
            assert known or COMMAND.match(line), (name, line)


def test_make_targets_of_the_readme_exist() -> None:
    """Each `make x` in README, guides and CONTRIBUTING names a target of the Makefile."""
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for text in ("\n".join([INLINE, *(code for _, _, code in BLOCKS)]), CONTRIBUTING):
        named = set(re.findall(r"(?:^|[;&`])\s*make ([a-z][a-z-]*)", text, re.MULTILINE))
        assert named, "no target is named, or the pattern does not find it"
        assert named <= targets


def test_links_lead_to_files() -> None:
    """Links and pictures of README, guides and CONTRIBUTING exist, and README leads to each guide."""
    for file in (*FILES, ROOT / "CONTRIBUTING.md"):
        links = re.findall(r"\]\(([^)#:]+)(?:#[\w-]+)?\)", file.read_text(encoding="utf-8"))
        assert [link for link in links if not (file.parent / link).exists()] == [], file.name
    assert [file.name for file in FILES[1:] if f"(docs/{file.name})" not in README] == []


def test_files_that_contributors_are_sent_to_exist() -> None:
    """Each path in CONTRIBUTING.md is there, patterns too."""
    named = re.findall(r"`((?:tfembed|tests|benchmarks|notebooks|scripts)/[\w/*.]*)`", CONTRIBUTING)
    assert len(named) > 8
    assert [path for path in named if not list(ROOT.glob(path.rstrip("/")))] == []


@pytest.mark.parametrize("text", [README, CONTRIBUTING], ids=["README", "CONTRIBUTING"])
def test_the_layout_is_that_of_the_folder(text: str) -> None:
    """Every file and folder in the tree exists, and each package of tfembed stands in it."""
    (tree,) = re.findall(r"^```\n(tfembed/\n.*?)^```", text, re.MULTILINE | re.DOTALL)
    place = [ROOT]
    for line in tree.splitlines():
        name, depth = line.split()[0], (len(line) - len(line.lstrip())) // 2
        place[depth + 1 :] = [place[depth] / name]
        assert place[-1].exists(), line
    packages = {path.parent.name for path in (ROOT / "tfembed").glob("*/__init__.py")}
    assert {name for name in packages if f"{name}/" not in tree} == set()


def test_the_table_of_strategies_has_all_of_them() -> None:
    """Each public function that makes a strategy stands in README's table."""
    functions = {name: getattr(te, name) for name in te.__all__ if inspect.isfunction(getattr(te, name))}
    made = {name for name, function in functions.items() if function.__annotations__.get("return") is te.Strategy}
    made -= {"accelerate", "strategy_from_json"}  # which take one, or read one
    assert len(made) > 8
    assert {name for name in made if not re.search(rf"^\|.*`{name}\(", README, re.MULTILINE)} == set()


def test_commands_in_text_exist() -> None:
    """Each `tfembed x` in a sentence is a command, and the options after it are options of that command."""
    lines = COMMAND.findall(INLINE)
    assert lines, "no command is named, or the pattern does not find it"
    for line in lines:
        name, *arguments = shlex.split(line)
        assert name in cli.commands, line
        known = {option for parameter in cli.commands[name].params for option in parameter.opts} | {"--help", "-h"}
        assert {word.split("=")[0] for word in arguments if word.startswith("--")} <= known, line


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that commands name."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ratings.csv").write_text("text,stars\n" + "".join(f"a film {i},{i % 5}\n" for i in range(30)))
    for name in ("batching.txt", "models.config", "others.txt"):
        (tmp_path / name).write_text("12:30, platform 4\na table for two\n")
    return tmp_path


@pytest.mark.parametrize("line", IN_BLOCKS)
def test_commands_in_blocks_are_understood(line: str, place: Path) -> None:
    """Each command line of a block has the arguments that the command wants, and values that its options take."""
    (place / "saved_models" / "intents").mkdir(parents=True)
    arguments = shlex.split(line, comments=True)
    with cli.make_context("tfembed", arguments[:]) as context:
        name, command, rest = cli.resolve_command(context, arguments[:])
        assert isinstance(command, click.Command)
        assert command.make_context(name, rest, parent=context).command is command


def test_commands_in_blocks_run(place: Path) -> None:
    """Those of README and of the guide on embeddings, one after the other, on fewer examples and with a probe."""
    chosen = [code for name, _, code in BLOCKS if name == "embeddings.md" or "\ntfembed train" in code]
    lines = [line for code in chosen for line in COMMAND.findall(code) if not NOT_RUN.match(line)]
    assert len(lines) > 10
    spared = {"10": "2", "lp_ft:1": "linear_probe"}
    with spared_gate():
        for line in lines:
            arguments = [spared.get(word, word) for word in shlex.split(line, comments=True)]
            cli.main(arguments, prog_name="tfembed", standalone_mode=False)


OTHERS, OURS = TEXTS["troubleshooting.md"].split("## Messages of tfembed")


def test_messages_of_the_troubleshooting_guide_are_ours() -> None:
    """Messages that users look up are those of the source."""
    messages = re.findall(r"^\| `([^`]+)`", OURS, re.MULTILINE)
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tfembed").rglob("*.py"))
    joined = re.sub(r'"\s*f?"', "", source)  # strings that are written over several lines
    assert len(messages) > 8
    assert [message for message in messages if message not in joined] == []


@pytest.mark.parametrize("texts", [["a text", "another"], np.array(["a text", "another"])], ids=["list", "array"])
def test_messages_of_keras_are_those_of_the_guide(texts: Any, minilm: Any) -> None:
    """What Keras says where it is given texts that are no tensor, and what the guide tells to do."""
    model = te.build_text_classifier(minilm, ["a", "b"])
    with pytest.raises(ValueError) as raised:  # noqa: PT011 - which message it is, is what is tested
        model.predict(texts, verbose=0)
    messages = re.findall(r"^\| `([^`]+)` \| Keras was given", OTHERS, re.MULTILINE)
    assert [message for message in messages if str(raised.value).startswith(message)]
    assert model.predict(tf.constant(texts), verbose=0).shape == (2, 2)
