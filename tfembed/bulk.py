"""Embedding millions of rows as a pipeline of Apache Beam, on as many machines as its runner has."""

import io
import os
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr
from dataclasses import replace
from pathlib import Path
from typing import Any

from tfembed.embeddings.chunks import Chunk
from tfembed.embeddings.embedder import Embedder, EncoderSource, open_embedder
from tfembed.embeddings.embedding import Embedded, begun, finished, vectors_of
from tfembed.embeddings.job import Job
from tfembed.embeddings.options import EmbedOptions, check_output
from tfembed.embeddings.parts import write_part
from tfembed.features.unknown_words import warn_unknown

_MOST_SHARES = 32  # what is handed to workers; each reads over the whole table, which takes seconds for a million rows

_REASON = re.compile(r"^(?:[\w.]+\.)?(\w+(?:Error|Exception): .+?)(?: \[while running.*)?$", re.MULTILINE)


def embed_with_beam(
    encoder: str | os.PathLike[str] | EncoderSource,
    source: str | os.PathLike[str],
    output: str | os.PathLike[str],
    options: EmbedOptions | None = None,
    pipeline_options: Sequence[str] = (),
) -> Embedded:
    """Do what `embed_file` does, as a pipeline of Apache Beam with RunInference; parts and result are the same.

    Every worker loads the encoder once, and takes parts until all are done. A row that cannot be embedded goes to the
    file of failures, and the others go on. Source and output lie where every worker reaches them under the same path;
    interrupted, the same call goes on.

    Args:
        encoder: A handle, or the folder of a run, a study or an export: what workers can load.
        source: As in `embed_file`.
        output: As in `embed_file`.
        options: As in `embed_file`; failures go to a file beside the output if None is named.
        pipeline_options: Of Beam, such as `["--runner=FlinkRunner", "--flink_master=localhost:8081"]`; without a
            runner, Beam's direct one, with `--direct_num_workers=4 --direct_running_mode=multi_processing` in several
            processes.

    Raises:
        FileNotFoundError: If there is no such source.
        ValueError: As `embed_file`; also if apache-beam is not installed, or the encoder is an object in memory.
        RuntimeError: If the pipeline fails.
    """
    beam = _beam()
    if not isinstance(encoder, str | os.PathLike | EncoderSource):
        raise ValueError(
            f"A {type(encoder).__name__} is in the memory of this process: workers need a handle, or the folder of a "
            "run or an export. Save it first."
        )
    path, options = Path(output), options or EmbedOptions()
    if options.failures is None and path.suffix.lower() != ".npy":
        options = replace(options, failures=path.with_name(f"{path.name}.failures.jsonl"))
    check_output(path, options)
    embedder = open_embedder(encoder)
    with begun(embedder, Path(source).absolute(), path.absolute(), options) as job:
        shares = min(job.num_parts, _MOST_SHARES)
        pipeline = _pipeline(beam, pipeline_options)
        (
            pipeline
            | "shares" >> beam.Create([(job, share, shares) for share in range(shares)])
            | "to workers" >> beam.Reshuffle()
            | "rows" >> beam.FlatMap(_rows)
            | "vectors" >> beam.ml.inference.base.RunInference(_handler(embedder, job))
            | "parts" >> beam.Map(_write, job)
        )
        _run(pipeline)
        done = finished(job)
    warn_unknown(done.num_unknown, done.num_rows, embedder.name)
    return done


def _pipeline(beam: Any, given: Sequence[str]) -> Any:
    """An empty pipeline; where it has processes of this machine, with their command quoted, which Beam does not do."""
    from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions
    from apache_beam.runners.portability.fn_api_runner import FnApiRunner
    from apache_beam.transforms.environments import SubprocessSDKEnvironment

    with redirect_stderr(io.StringIO()) as said:
        try:
            options = PipelineOptions(list(given))
            direct = options.view_as(DirectOptions)
        except SystemExit:  # which Beam ends with, behind pages of usage
            reason = said.getvalue().strip().splitlines()[-1].partition("error: ")[2]
            raise ValueError(
                f"The pipeline does not take {shlex.join(given)!r}: {reason}. Correct it; Beam's documentation has the "
                "options of each runner."
            ) from None
    if direct.direct_running_mode != "multi_processing":
        return beam.Pipeline(options=options)
    direct.direct_running_mode = None  # else the runner makes the command of its own
    command = f"{shlex.quote(sys.executable)} -m apache_beam.runners.worker.sdk_worker_main"
    runner = FnApiRunner(default_environment=SubprocessSDKEnvironment.from_command_string(command))
    return beam.Pipeline(runner=runner, options=options)


def _run(pipeline: Any) -> None:
    try:
        state = pipeline.run().wait_until_finish()
    except Exception as error:
        # Beam puts the traceback of the worker into the message.
        reasons = _REASON.findall(str(error))
        raise RuntimeError(f"The pipeline failed: {reasons[-1] if reasons else error}") from error
    if state != "DONE":
        raise RuntimeError(f"The pipeline ended as {state}: its runner says why. The same call goes on where it was.")


def _rows(given: tuple[Job, int, int]) -> Iterator[Chunk]:
    job, share, shares = given
    yield from job.chunks(share, shares)


def _write(result: Any, job: Job) -> int:
    chunk, vectors = result.inference
    write_part(job.folder, chunk, vectors, job.schema)
    return chunk.number


def _handler(embedder: Embedder, job: Job) -> Any:
    from apache_beam.ml.inference.base import ModelHandler, PredictionResult

    source, fingerprint = embedder.source, embedder.fingerprint

    class ChunkHandler(ModelHandler):
        """Loads the encoder once in a worker, and embeds chunks with it; what it is given is a batch already."""

        def load_model(self) -> Embedder:
            found = open_embedder(source)
            if found.fingerprint != fingerprint:
                raise ValueError(f"{source} is another encoder on this worker ({found.fingerprint[:12]}).")
            return found

        def run_inference(self, batch: Any, model: Embedder, inference_args: Any = None) -> Iterator[Any]:
            for chunk in batch:
                yield PredictionResult(chunk.number, vectors_of(model, chunk, job))

    return ChunkHandler(min_batch_size=1, max_batch_size=1)


def _beam() -> Any:
    try:
        import apache_beam
        import apache_beam.ml.inference.base
        import apache_beam.options.pipeline_options
    except ImportError as error:
        raise ValueError(f"--runner beam needs {error.name}. Install it with: pip install 'tfembed[bulk]'") from error
    return apache_beam
