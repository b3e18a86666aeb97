"""`tfembed cache`: what is stored, how much it takes, whether it is whole. Waits for no TensorFlow."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tfembed.commands.options import JSON
from tfembed.json_values import to_json

if TYPE_CHECKING:
    from tfembed.features.store import FeatureStore

_FOLDER = click.option(
    "--folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The folder of features.  [default: features in TFEMBED_CACHE]",
)


@click.group()
def cache() -> None:
    """Look after the stored features. TFEMBED_CACHE says where, TFEMBED_CACHE_GB how many gigabytes at most."""


@cache.command("list")
@_FOLDER
@JSON
def list_entries(folder: Path | None, as_json: bool) -> None:
    """List what is stored, used longest ago first."""
    store = _store(folder)
    entries = store.entries()
    if as_json:
        rows = [
            {"key": entry.key, "bytes": entry.num_bytes, "last_used": entry.last_used} | entry.about
            for entry in entries
        ]
        click.echo(to_json(rows, indent=1))
        return
    if not entries:
        click.echo(f"nothing is stored in {store.folder}")
    for entry in entries:
        about = entry.about
        used = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.last_used))
        what = f"{about['encoder']}, cut {about['cut']}, {about['num_examples']:,} examples" if about else "damaged"
        click.echo(f"{entry.key[:12]}  {_megabytes(entry.num_bytes):>12}  {used}  {what}")


@cache.command()
@_FOLDER
@JSON
def size(folder: Path | None, as_json: bool) -> None:
    """Show how much is stored, where, and how much may be."""
    store = _store(folder)
    entries = store.entries()
    total = sum(entry.num_bytes for entry in entries)
    if as_json:
        found = {"folder": str(store.folder), "entries": len(entries), "bytes": total, "max_bytes": store.max_bytes}
        click.echo(to_json(found))
        return
    click.echo(
        f"{_megabytes(total)} of at most {_megabytes(store.max_bytes)} in {len(entries)} entries, {store.folder}"
    )


@cache.command()
@_FOLDER
@JSON
def clear(folder: Path | None, as_json: bool) -> None:
    """Remove everything that is stored; processes that read it go on."""
    store = _store(folder)
    total = sum(entry.num_bytes for entry in store.entries())
    count = store.clear()
    if as_json:
        click.echo(to_json({"entries": count, "bytes": total}))
        return
    click.echo(f"{count} entries removed, {_megabytes(total)}")


@cache.command()
@_FOLDER
@JSON
@click.pass_context
def verify(context: click.Context, folder: Path | None, as_json: bool) -> None:
    """Check every byte of what is stored; exit code 1 if something is damaged. Training computes that again."""
    store = _store(folder)
    count, problems = len(store.entries()), store.verify()
    if as_json:
        click.echo(to_json({"entries": count, "damaged": problems}))
    else:
        for key, problem in problems.items():
            click.echo(f"{key[:12]}  {problem}")
        click.echo(f"{count - len(problems)} of {count} entries are whole")
    if problems:
        context.exit(1)


def _store(folder: Path | None) -> "FeatureStore":
    from tfembed.features.store import FeatureStore, default_folder

    return FeatureStore(folder or default_folder())


def _megabytes(num_bytes: int) -> str:
    return f"{num_bytes / 1e6:,.1f} MB"
