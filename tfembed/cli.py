"""The command line: all commands, and what becomes of their errors."""

import io
import itertools
import os
import re
import sys
from pathlib import Path

import click

from tfembed.commands.cache import cache
from tfembed.commands.doctor import doctor
from tfembed.commands.embed import embed, evaluate_embeddings, index, query
from tfembed.commands.encoders import encoders, inspect
from tfembed.commands.export import export, rollback, versions
from tfembed.commands.hints import program
from tfembed.commands.search import report, search
from tfembed.commands.serve import deploy, serve
from tfembed.commands.train import predict, train
from tfembed.spelling import did_you_mean
from tfembed.startup import import_tensorflow

_COMMANDS = (
    *(encoders, inspect, train, search, report, predict),
    *(export, versions, rollback, serve, deploy),
    *(embed, index, query, evaluate_embeddings, cache, doctor),
)

# One call of each command, shown by its --help.
_EXAMPLES = {
    "encoders": "tfembed encoders",
    "inspect": "tfembed inspect minilm",
    "train": "tfembed train intents --few-shot 5 --strategy lp_ft:1 --out runs/intents",
    "search": "tfembed search intents --few-shot 5 --trials 8 --out studies/intents",
    "report": "tfembed report studies/intents",
    "predict": "tfembed predict runs/intents 'where is my suitcase'",
    "export": "tfembed export runs/intents saved_models/intents",
    "versions": "tfembed versions saved_models/intents",
    "rollback": "tfembed rollback saved_models/intents",
    "serve": "tfembed serve saved_models/intents",
    "deploy": "tfembed deploy saved_models/intents deployment",
    "embed": "tfembed embed intents intents.parquet --keep text",
    "index": "tfembed index intents.db intents",
    "query": "tfembed query intents.db 'lost luggage'",
    "evaluate-embeddings": "tfembed evaluate-embeddings intents.parquet --label intent",
    "cache": "tfembed cache size",
    "doctor": "tfembed doctor",
    "demo": "tfembed demo --out saved_models/intents",
}
_GO_ON = ("search", "embed")  # what goes on after an interruption

# What Keras puts around an error inside of a layer's call: the layer before it, the tensors behind it.
_KERAS_FRAME = re.compile(
    r"Exception encountered when calling .*?\s+\x1b\[1m(.*?)\x1b\[0m\s+Arguments received", re.DOTALL
)

# Options that commands for training often have.
_OF_A_STRATEGY = ("--lr", "--learning-rate", "--epochs", "--batch-size", "--weight-decay", "--warmup", "--patience")
# An argument of a function, as errors of the library advise it.
_MISSING_COLUMN = re.compile(r"there is no column '([^']*)'")
_ARGUMENT = re.compile(r"(?<![\w-])([a-z][a-z_]*)=('[^']*'|\.\.\.|-?\w+(?:\.\w+)*|)")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="tfembed")
def cli() -> None:
    """Take a pretrained embedding, find out how much of it to unfreeze, and ship the result to TF Serving."""


@cli.command()
@click.option("--out", default="saved_models/intents", show_default=True, help="Base path of the exported model.")
def demo(out: str) -> None:
    """Run the main job on what ships with tfembed: intents of a chatbot, and handwritten digits."""
    import_tensorflow()
    from tfembed.demo import run_demo

    run_demo(Path(out))


for command in _COMMANDS:
    command.epilog = f"Example: {_EXAMPLES[str(command.name)]}"
    cli.add_command(command)
demo.epilog = f"Example: {_EXAMPLES['demo']}"


def main() -> None:
    """Run a command; whatever is wrong with the input is one line and exit code 2."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    for stream in (sys.stdout, sys.stderr):  # a label that the console has no letters for ends no command
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        if code := cli.main(prog_name="tfembed", standalone_mode=False):  # of a command that exits with one
            sys.exit(code)
    except (click.exceptions.Abort, KeyboardInterrupt):
        goes_on = next((word for word in sys.argv[1:] if word[:1] != "-"), "") in _GO_ON
        click.echo(f"tfembed: interrupted{'; the same command goes on where it was' if goes_on else ''}", err=True)
        sys.exit(130)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(error.exit_code)
    except click.ClickException as error:
        path = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "tfembed"
        where = path.replace("tfembed", program(), 1)
        message = _unknown_option(error) if isinstance(error, click.NoSuchOption) else error.format_message()
        click.echo(f"tfembed: {_one_line(message)} (try: {where} --help)", err=True)
        sys.exit(error.exit_code)
    except (ValueError, OSError) as error:
        click.echo(f"tfembed: {_in_options(_one_line(error))}", err=True)
        sys.exit(2)
    except Exception as error:
        if os.environ.get("TFEMBED_DEBUG"):
            raise
        click.echo(f"tfembed: {type(error).__name__}: {_one_line(error)} (TFEMBED_DEBUG=1 shows where)", err=True)
        sys.exit(1)


def _unknown_option(error: click.NoSuchOption) -> str:
    """The error about an option, with the nearest one of the command, or the place of what a strategy says."""
    options = [name for each in (error.ctx.command.params if error.ctx else ()) for name in each.opts if name[0] == "-"]
    near = did_you_mean(error.option_name, options)
    if not near and "--strategy" in options and error.option_name in _OF_A_STRATEGY:
        near = (
            " Learning rates, epochs and batch sizes belong to a strategy: write "
            "te.lp_ft(1, learning_rate=3e-5).to_json() into a .json file and pass it as --strategy."
        )
    elif not near and "--trials" in options and error.option_name in _OF_A_STRATEGY:
        near = " A search tries several; to say which, pass space=te.SearchSpace(...) to te.search in Python."
    return f"No such option {error.option_name!r}.{near}"


def _in_options(message: str) -> str:
    """Say an error of the library in options of the command: `--label-separator "|"`, not `label_separator='|'`."""
    command = cli.commands.get(next((word for word in sys.argv[1:] if not word.startswith("-")), ""))
    flags = {name for option in (command.params if command else ()) for name in option.opts}

    def replace(match: re.Match[str]) -> str:
        flag, value = "--" + match[1].replace("_", "-"), match[2]
        if flag not in flags:
            return match[0]
        plain = value[1:-1] if re.fullmatch(r"'[\w./-]+'", value) else value
        return flag if plain in ("", "True") else f"{flag} {plain}"

    return _with_option(command, _ARGUMENT.sub(replace, message))


def _with_option(command: click.Command | None, message: str) -> str:
    """Name the option that a missing column was passed by, or has as its default."""
    if (column := _MISSING_COLUMN.search(message)) is None or command is None:
        return message
    for option in command.params:
        flags = [flag for flag in option.opts if flag.startswith("--")]
        passed = [value for flag, value in itertools.pairwise(sys.argv) if flag in flags]
        if flags and column[1] in (passed or [str(option.default), flags[0][2:]]):
            return message.replace("Name one of these", f"Name one of these with {flags[0]}", 1)
    return message


def _one_line(error: Exception | str) -> str:
    inside = _KERAS_FRAME.match(str(error))
    return " ".join((inside.group(1) if inside else str(error)).split())
