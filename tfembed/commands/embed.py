"""`tfembed embed`, `index`, `query`, `evaluate-embeddings`: embeddings into files, found again, and measured."""

import shlex
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from tfembed.commands.early import check_measuring, check_source, check_source_encoder, shown_by_default
from tfembed.commands.hints import command
from tfembed.commands.options import COMPUTE, DEFAULT_ENCODER, JSON, KIND, PATH, PREPROCESSING, SIGNATURE
from tfembed.json_values import to_json
from tfembed.startup import import_tensorflow

_SAMPLES = ("intents", "reviews")
_OUTPUT = click.option("--output", "encoder_output", help="Name of the encoder's output that embeddings are made of.")
_POOLING = click.option(
    "--pooling", type=click.Choice(["mean", "max", "cls", "mean_sqrt_len", "last"]), help="How to pool token vectors."
)


@click.command()
@click.argument("source", metavar="INPUT")
@click.argument("output", type=PATH)
@click.option("--encoder", "handle", help=f"Handle of an encoder; folder of a run, study or export.  {DEFAULT_ENCODER}")
@PREPROCESSING
@_POOLING
@_OUTPUT
@SIGNATURE
@COMPUTE
@KIND
@click.option("--column", help="Of texts, or of paths of images.  [default: text or path]")
@click.option("--id", "id_column", help="Column with a name for each row.  [default: the row's number]")
@click.option("--keep", multiple=True, help="Column to write beside the vectors; several if you like.")
@click.option("--failures", type=PATH, help="File for rows that cannot be embedded.  [default: stop at the first]")
@click.option("--part", "rows_per_part", type=click.IntRange(1), default=4096, show_default=True, help="Rows in one.")
@click.option("--runner", type=click.Choice(["local", "beam"]), default="local", show_default=True)
@click.option("--beam-options", default="", help='Of the pipeline, such as "--runner=FlinkRunner".')
@JSON
def embed(source: str, output: Path, runner: str, beam_options: str, as_json: bool, **options: Any) -> None:
    """Embed INPUT, a table or a folder of images, into OUTPUT, a .parquet or .npy file. Interrupted, it goes on.

    INPUT is CSV, TSV, JSONL or Parquet of any size, a folder of images, or the name of a sample: intents, reviews.
    """
    if beam_options and runner != "beam":
        raise click.UsageError("--beam-options are of --runner beam.")
    from tfembed.embeddings.options import EmbedOptions, check_output

    chosen = EmbedOptions(
        column=options["column"],
        id=options["id_column"],
        keep=options["keep"],
        failures=options["failures"],
        rows_per_part=options["rows_per_part"],
    )
    path = sample_or_path(source)
    check_output(output, chosen)
    is_strict = chosen.failures is None
    check_source(path, [options["column"], options["id_column"], *options["keep"]] if is_strict else [])
    check_source_encoder(options["handle"])
    import_tensorflow()
    from tfembed.embeddings import embed_file
    from tfembed.embeddings.embedder import EncoderSource
    from tfembed.progress import waiting

    encoder = EncoderSource(
        handle=_encoder_of(path, options),
        preprocessing=options["preprocessing"],
        pooling=options["pooling"],
        output=options["encoder_output"],
        signature=options["signature"],
        compute=options["compute"],
        kind=options["kind"],
    )
    if runner == "beam":
        from tfembed.bulk import embed_with_beam

        with waiting("Embedding"):
            done = embed_with_beam(encoder, path, output, chosen, shlex.split(beam_options))
    else:
        done = embed_file(encoder, path, output, chosen)
    if as_json:
        click.echo(to_json(asdict(done) | {"output": str(done.output)}))
        return
    click.echo(f"{done.output}: {done.num_rows:,} embeddings of {done.dim} numbers, encoder {encoder.handle}")
    if done.num_failed:
        click.echo(f"{chosen.failures}: {done.num_failed:,} rows that could not be embedded, and why")


def _encoder_of(source: Path, options: dict[str, Any]) -> str:
    from tfembed.commands.typed import encoder_of

    return encoder_of(options["handle"], options["kind"] or ("image" if source.is_dir() else "text"))


def sample_or_path(source: str) -> Path:
    """The file of a sample, or a path.

    Example:
        >>> sample_or_path("intents").name
        'intents.csv'
    """
    if source in _SAMPLES and not Path(source).exists():
        from tfembed.resources import resource_path

        return Path(resource_path(source))
    return Path(source)


@click.command()
@click.argument("base")
@click.argument("source", metavar="OUTPUT_OR_DATA")
@click.option("--uri", help="Of a Milvus cluster, where BASE is a collection.  [default: BASE is a local file]")
@click.option("--type", "index_type", default="flat", show_default=True, help="flat (exact), hnsw or ivf_flat.")
@click.option("--encoder", "handle", help="For data: as in `tfembed embed`.")
@_OUTPUT
@SIGNATURE
@KIND
@click.option("--column", help="For data: of texts, or of paths of images.  [default: text or path]")
@click.option("--id", "id_column", help="For data: column with a name for each row.  [default: the row's number]")
@click.option(
    "--keep",
    multiple=True,
    help="For data: column to show and filter by; several if you like.  [default: that of texts or paths]",
)
@JSON
def index(base: str, source: str, uri: str | None, index_type: str, as_json: bool, **options: Any) -> None:
    """Write embeddings into BASE, a file of Milvus Lite (.db); rows of the same id are written over.

    OUTPUT_OR_DATA is what `tfembed embed` wrote; or data as it takes them, which are embedded first.
    """
    path = sample_or_path(source)
    check_source(path, [options["column"], options["id_column"], *options["keep"]])
    check_source_encoder(options["handle"])
    import_tensorflow()
    from tfembed.embeddings import EmbedOptions
    from tfembed.embeddings.embedder import EncoderSource
    from tfembed.embeddings.stored import is_embeddings
    from tfembed.index.opening import index_data, open_index

    with open_index(base, uri=uri) as found:
        if is_embeddings(path):
            if any(options.values()):
                raise click.UsageError(
                    f"{source} holds embeddings: --encoder, --output, --signature, --kind, --column, --id, --keep "
                    "are for data."
                )
            num_rows = found.upsert(path, index_type)
        else:
            keep = options["keep"] or shown_by_default(path, options["column"])
            chosen = EmbedOptions(column=options["column"], id=options["id_column"], keep=keep)
            source_of = EncoderSource(
                handle=_encoder_of(path, options),
                output=options["encoder_output"],
                signature=options["signature"],
                kind=options["kind"],
            )
            num_rows = index_data(found, source_of, path, chosen, index_type)
        total = len(found)
    if as_json:
        click.echo(to_json({"base": base, "written": num_rows, "rows": total}))
        return
    click.echo(f"{base}: {num_rows:,} rows written, {total:,} in all")
    given = () if uri is None else ("--uri", uri)
    click.echo(f"try:  {command('query', base, *given, 'a few words')}")


@click.command()
@click.argument("base")
@click.argument("queries", nargs=-1, required=True)
@click.option("--uri", help="Of a Milvus cluster, where BASE is a collection.  [default: BASE is a local file]")
@click.option("--encoder", "handle", help="The one that wrote it.  [default: loaded from where it was]")
@_OUTPUT
@SIGNATURE
@click.option("--limit", type=click.IntRange(1, 16384), default=5, show_default=True, help="Rows for each query.")
@click.option("--where", default="", help="""Which rows count, such as 'price < 10 and colour == "red"'.""")
@JSON
def query(base: str, queries: tuple[str, ...], uri: str | None, as_json: bool, **options: Any) -> None:
    """Find what is nearest to texts, or to images in files, among what `tfembed index` wrote into BASE.

    Images are found by texts, and texts by images, where the encoder embeds both, such as clip_vit_base_patch32.
    """
    if uri is None and not Path(base).exists():
        make = command("index", base, "DATA")
        raise FileNotFoundError(f"There is no collection {Path(base).stem!r} yet: make {base} first with {make}")
    import_tensorflow()
    from tfembed.commands.examples import check_text
    from tfembed.embeddings.embedder import EncoderSource
    from tfembed.index.opening import open_index, readable

    named = {"output": options["encoder_output"], "signature": options["signature"]}
    encoder = EncoderSource(handle=options["handle"], **named) if options["handle"] else None
    if encoder is None and any(named.values()):
        raise click.UsageError("--output and --signature are of --encoder: pass that too.")
    place = nullcontext(base) if uri is not None else readable(base)
    with place as path, open_index(path, uri=uri) as found:
        examples = [Path(each) if found.takes_images and Path(each).is_file() else each for each in queries]
        for text in examples:
            if isinstance(text, str):
                check_text(text)
        rows = found.query(examples, encoder=encoder, limit=options["limit"], where=options["where"])
    if as_json:
        answers = [
            {"query": q, "found": [asdict(each) for each in near]} for q, near in zip(queries, rows, strict=True)
        ]
        click.echo(to_json(answers, default=str))
        return
    for text, near in zip(queries, rows, strict=True):
        if len(queries) > 1:
            click.echo(text)
        for each in near:
            shown = "  ".join(str(value) for value in each.columns.values())
            click.echo(f"{each.similarity:8.4f}  {each.id!s:12} {shown}")
        if not near:
            click.echo("nothing was found: no row meets --where")


@click.command("evaluate-embeddings")
@click.argument("embeddings", type=PATH)
@click.option("--label", help="Column that says what belongs together, kept beside the vectors.")
@click.option("--pairs", type=PATH, help="Table of scored pairs, for the encoder that wrote the embeddings.")
@click.option("--pair-columns", default="sentence1,sentence2,score", show_default=True, help="Of --pairs.")
@click.option("--projection", type=click.Choice(["pca", "tsne"]), default="pca", show_default=True)
@click.option("--report", "page", type=PATH, help="HTML page to write, with the picture.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of what is drawn.")
@JSON
def evaluate_embeddings(embeddings: Path, page: Path | None, as_json: bool, **options: Any) -> None:
    """Measure EMBEDDINGS, a Parquet file of `tfembed embed`: neighbours, retrieval, clusters, scored pairs."""
    if options["label"] is None and options["pairs"] is None:
        raise click.UsageError("Say what to measure by: --label COLUMN, --pairs TABLE, or both.")
    check_measuring(embeddings, options)
    import_tensorflow()
    from tfembed.embeddings.measuring import Measuring, measure_file

    columns = tuple(options["pair_columns"].split(","))
    wanted = Measuring(
        label=options["label"],
        pairs=options["pairs"],
        pair_columns=columns,
        projection=options["projection"],
        seed=options["seed"],
    )
    found = measure_file(embeddings, wanted, page)
    if as_json:
        click.echo(to_json(found))
        return
    for name, value in found.items():
        click.echo(f"{name:24} {value:,}" if isinstance(value, int) else f"{name:24} {value:.4f}")
    if page is not None:
        click.echo(f"{page}: the same, with a picture")
