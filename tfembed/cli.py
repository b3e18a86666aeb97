"""The command line: all commands, and what becomes of their errors."""

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
from tfembed.commands.search import report, search
from tfembed.commands.serve import deploy, serve
from tfembed.commands.train import predict, train
from tfembed.startup import import_tensorflow

_COMMANDS = (
    *(encoders, inspect, train, search, report, predict),
    *(export, versions, rollback, serve, deploy),
    *(embed, index, query, evaluate_embeddings, cache, doctor),
)

# What Keras puts around an error inside of a layer's call: the layer before it, the tensors behind it.
_KERAS_FRAME = re.compile(
    r"Exception encountered when calling .*?\s+\x1b\[1m(.*?)\x1b\[0m\s+Arguments received", re.DOTALL
)

# An argument of a function, as errors of the library advise it.
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
    cli.add_command(command)


def main() -> None:
    """Run a command; whatever is wrong with the input is one line and exit code 2."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        cli.main(prog_name="tfembed", standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(error.exit_code)
    except click.ClickException as error:
        where = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "tfembed"
        click.echo(f"tfembed: {_one_line(error.format_message())} (try: {where} --help)", err=True)
        sys.exit(error.exit_code)
    except (ValueError, OSError) as error:
        click.echo(f"tfembed: {_in_options(_one_line(error))}", err=True)
        sys.exit(2)
    except Exception as error:
        if os.environ.get("TFEMBED_DEBUG"):
            raise
        click.echo(f"tfembed: {type(error).__name__}: {_one_line(error)} (TFEMBED_DEBUG=1 shows where)", err=True)
        sys.exit(1)


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

    return _ARGUMENT.sub(replace, message)


def _one_line(error: Exception | str) -> str:
    inside = _KERAS_FRAME.match(str(error))
    return " ".join((inside.group(1) if inside else str(error)).split())
