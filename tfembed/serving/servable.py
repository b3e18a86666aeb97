"""One version of a model, loaded: its signatures, and how they are run."""

import contextlib
import gc
import json
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.client import pywrap_tf_session  # timeouts of a run have no public name

from tfembed.serving.status import Code, ServingError, failure, invalid

DEFAULT_SIGNATURE = "serving_default"
_LOADING = threading.Lock()  # TensorFlow's loader is not made for two threads


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOptions:
    """How SavedModels are loaded and run.

    Attributes:
        tags: Of the graph that is served.
        intra_op_threads: Threads for one operation; 0 lets TensorFlow choose.
        inter_op_threads: Threads for independent operations; 0 lets TensorFlow choose.
        warmup: Whether the requests under `assets.extra/tf_serving_warmup_requests` are replayed before a version
            serves; one that fails fails the load.
    """

    tags: tuple[str, ...] = ("serve",)
    intra_op_threads: int = 0
    inter_op_threads: int = 0
    warmup: bool = True

    def __post_init__(self) -> None:
        """Check the values."""
        if not self.tags:
            raise ValueError("A SavedModel is found by its tags, and there are none. Pass at least one, such as serve.")
        if min(self.intra_op_threads, self.inter_op_threads) < 0:
            raise ValueError("Numbers of threads must be 0 (TensorFlow chooses) or more.")


class Servable:
    """A loaded SavedModel of TensorFlow 1 or 2.

    It runs as TensorFlow Serving runs it, in a session fed by the names of tensors. That takes what the C++ runtime
    takes: also shapes that Python's calls of signatures refuse, such as `[3]` for a declared `[-1, 1]`.

    Attributes:
        name: Of the model.
        version: Its number.
        signatures: From name to SignatureDef.
        reject_below: Score below which the model labels an input as none of the classes, as its record says; None
            without such a score, or without a record.
    """

    def __init__(self, name: str, version: int, folder: Path, options: LoadOptions) -> None:
        """Load a SavedModel.

        Raises:
            ServingError: If there is none, or it cannot be loaded.
        """
        self.name, self.version = name, version
        self._condition = threading.Condition()
        self._users, self._retired = 0, False
        config = tf.compat.v1.ConfigProto(
            intra_op_parallelism_threads=options.intra_op_threads,
            inter_op_parallelism_threads=options.inter_op_threads,
        )
        self._graph = tf.Graph()
        self._session = tf.compat.v1.Session(graph=self._graph, config=config)
        try:
            meta_graph = _load(self._session, self._graph, folder, options.tags)
        except BaseException:
            self._session.close()
            raise
        self.signatures: dict[str, Any] = dict(meta_graph.signature_def)
        self._unbatched = _without_batch_dimension(self.signatures)
        self.reject_below = _read_threshold(folder)

    def signature(self, name: str, missing: ServingError) -> Any:
        """The SignatureDef of a name, of the default one if it is empty.

        Raises:
            ServingError: `missing`, if there is none.
        """
        found = self.signatures.get(name or DEFAULT_SIGNATURE)
        if found is None:
            raise missing
        return found

    def run(self, feeds: dict[str, np.ndarray], fetches: list[str], timeout: float | None = None) -> list[np.ndarray]:
        """Run the graph.

        Args:
            feeds: From names of tensors to their values.
            fetches: Names of tensors, each once.
            timeout: Seconds it may take.

        Returns:
            The values of the fetches, in their order.

        Raises:
            ServingError: With TensorFlow's code and message.
        """
        try:
            sources = {self._tensor(name): np.asarray(value) for name, value in feeds.items()}
            targets = [self._tensor(name) for name in fetches]
        except (KeyError, ValueError, TypeError) as error:  # of a signature without tensors, such as an init op's
            raise invalid(str(error)) from error
        try:
            with _run_options(timeout) as pointer:
                # Session.run would check the shapes of feeds, which TensorFlow Serving does not.
                found = self._session._call_tf_sessionrun(pointer, sources, targets, [], None)
        except UnicodeDecodeError as error:  # the model refuses an input, and quotes its bytes
            raise invalid(error.object.decode("utf-8", "backslashreplace")) from error
        except (tf.errors.OpError, KeyError, ValueError, TypeError) as error:
            raise failure(error) from error
        return [np.asarray(value) for value in found]

    def takes_batches(self, fed: tuple[str, ...]) -> bool:
        """Whether rows of several requests may be fed together: where these tensors can have any number of rows."""
        return bool(fed) and not self._unbatched.intersection(fed)

    @contextlib.contextmanager
    def in_use(self) -> Iterator["Servable"]:
        """Keep it loaded for the time of a request that `acquire` was called for."""
        try:
            yield self
        finally:
            with self._condition:
                self._users -= 1
                self._condition.notify_all()

    def acquire(self) -> bool:
        """Count a user in, who leaves by `in_use`; False if it is being unloaded."""
        with self._condition:
            self._users += not self._retired
            return not self._retired

    def unload(self) -> None:
        """Wait for its users to leave, and free it."""
        with self._condition:
            self._retired = True
            self._condition.wait_for(lambda: self._users == 0)
        self._session.close()
        gc.collect()  # a graph is full of circles, and would stay until the collector comes by

    def _tensor(self, name: str) -> Any:
        if not name:
            raise invalid("Sparse and composite tensors cannot be fed or fetched by this server.")
        return self._graph.get_tensor_by_name(name)._as_tf_output()


def _load(session: Any, graph: Any, folder: Path, tags: tuple[str, ...]) -> Any:
    if not (folder / "saved_model.pb").is_file() and not (folder / "saved_model.pbtxt").is_file():
        raise ServingError(
            Code.NOT_FOUND, f"Could not find SavedModel .pb or .pbtxt at supplied export directory path: {folder}"
        )
    logger = tf.get_logger()
    before = logger.level
    try:
        with _LOADING, graph.as_default():
            logger.setLevel("ERROR")  # that this loader is of TensorFlow 1 is no news
            return tf.compat.v1.saved_model.load(session, list(tags), os.fspath(folder))
    except ServingError:
        raise
    except Exception as error:
        if isinstance(error, RuntimeError) and "tag" in str(error):
            raise ServingError(Code.NOT_FOUND, " ".join(str(error).split())) from error
        if isinstance(error, OSError):
            raise ServingError(Code.DATA_LOSS, " ".join(str(error).split())) from error
        raise failure(error) from error
    finally:
        logger.setLevel(before)


def _read_threshold(folder: Path) -> float | None:
    """Read the threshold of rejection from the record of an export, which other SavedModels do not have."""
    try:
        record = json.loads((folder / "assets.extra" / "tfembed.json").read_text(encoding="utf-8"))
        threshold = record.get("reject_below")
    except (OSError, ValueError, AttributeError):
        return None
    return float(threshold) if isinstance(threshold, int | float) else None


def _without_batch_dimension(signatures: dict[str, Any]) -> frozenset[str]:
    """The tensors of inputs that are declared with a number of rows or without any, or whose outputs are."""
    found: set[str] = set()
    for signature in signatures.values():
        infos = [*signature.inputs.values(), *signature.outputs.values()]
        if not all(_may_be_batched(info.tensor_shape) for info in infos):
            found |= {info.name for info in signature.inputs.values()}
    return frozenset(found)


def _may_be_batched(shape: Any) -> bool:
    return shape.unknown_rank or (len(shape.dim) > 0 and shape.dim[0].size == -1)


@contextlib.contextmanager
def _run_options(timeout: float | None) -> Iterator[Any]:
    if timeout is None:
        yield None
        return
    options = tf.compat.v1.RunOptions(timeout_in_ms=max(1, int(timeout * 1000)))
    pointer = pywrap_tf_session.TF_NewBufferFromString(options.SerializeToString())
    try:
        yield pointer
    finally:
        pywrap_tf_session.TF_DeleteBuffer(pointer)
