"""What REST and gRPC share: the models, how they are run, and what is counted."""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tensorflow_serving.apis import get_model_status_pb2, model_pb2

from tfembed.serving.inference import Inference, Runner, metadata, run_directly
from tfembed.serving.metrics import Metrics
from tfembed.serving.servable import LoadOptions, Servable
from tfembed.serving.status import ServingError, failure
from tfembed.serving.store import ModelStore
from tfembed.serving.versions import Loader, VersionStatus
from tfembed.serving.warmup import replay


@dataclass(slots=True, kw_only=True)
class Service:
    """The models of a server, and how requests to them are answered.

    Attributes:
        store: The models.
        runner: How they are run.
        metrics: What is counted.
    """

    store: ModelStore
    runner: Runner = run_directly
    metrics: Metrics = field(default_factory=Metrics)

    @contextlib.contextmanager
    def inference(self, spec: Any, api: str, deadline: float | None = None) -> Iterator[Inference]:
        """A request to the version that a ModelSpec asks for, which stays loaded meanwhile.

        Raises:
            ServingError: If it is not available.
        """
        with self.store.acquire(spec).in_use() as servable:
            inference = Inference(servable, self.runner, deadline)
            yield inference
            self.metrics.run(servable.name, api, inference.seconds, inference.num_examples)

    def metadata(self, spec: Any, fields: list[str]) -> Any:
        """A GetModelMetadataResponse.

        Raises:
            ServingError: If the version is not available, or no such field is known.
        """
        with self.store.acquire(spec).in_use() as servable:
            return metadata(servable, fields)

    def status(self, spec: Any) -> Any:
        """A GetModelStatusResponse.

        Raises:
            ServingError: If there is no such model or version.
        """
        response = get_model_status_pb2.GetModelStatusResponse()
        for status in self.store.statuses(spec):
            _write_status(status, response.model_version_status.add())
        return response

    def thresholds(self) -> dict[str, dict[int, float | None]]:
        """Return the score below which each loaded version rejects an input, by model and version; see `Servable`."""
        return {name: dict(self._thresholds_of(name)) for name in self.store.names}

    def _thresholds_of(self, name: str) -> Iterator[tuple[int, float | None]]:
        with contextlib.suppress(ServingError):  # it has no versions
            for status in self.store.statuses(model_spec(name)):
                with (
                    contextlib.suppress(ServingError),  # it is not loaded, or no longer
                    self.store.acquire(model_spec(name, status.version)).in_use() as servable,
                ):
                    yield status.version, servable.reject_below

    @contextlib.contextmanager
    def counted(self, call: tuple[str, str]) -> Iterator[Callable[[str], None]]:
        """Count a request, however it ends; the caller is given what to name the model with.

        Args:
            call: The API and the entry point.

        Raises:
            ServingError: Whatever goes wrong inside.
        """
        started, status, model = time.monotonic(), "OK", ""

        def name(given: str) -> None:
            nonlocal model
            # A name that no model has would let clients fill the memory with counters.
            model = given if given in self.store.names else ""

        try:
            yield name
        except Exception as error:
            failed = failure(error)
            status = failed.code.name
            raise failed from error
        finally:
            self.metrics.request(model, call, status, time.monotonic() - started)


def model_spec(name: str, version: int | None = None, label: str | None = None) -> Any:
    """A ModelSpec.

    Example:
        >>> model_spec("intents", 3).version.value
        3
    """
    spec = model_pb2.ModelSpec(name=name)
    if version is not None:
        spec.version.value = version
    if label is not None:
        spec.version_label = label
    return spec


def loader(options: LoadOptions, metrics: Metrics) -> Loader:
    """What loads versions: with their warmup, counted."""

    def load(name: str, version: int, folder: Path) -> Servable:
        status = "success"
        try:
            servable = Servable(name, version, folder, options)
            try:
                if options.warmup:
                    replay(servable, folder)
            except BaseException:
                servable.unload()
                raise
            return servable
        except BaseException:
            status = "fail"
            raise
        finally:
            metrics.load(str(folder), status)

    return load


def _write_status(status: VersionStatus, message: Any) -> None:
    message.version, message.state = status.version, int(status.state)
    error: ServingError | None = status.error
    message.status.error_code = 0 if error is None else error.code.number
    message.status.error_message = "" if error is None else error.message
