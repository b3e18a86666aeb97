"""The server: REST and gRPC over the same models, from start to the last request."""

import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import uvicorn
from google.protobuf.message import Error as ProtobufError

from tfembed.serving.app import make_app
from tfembed.serving.batching import Batcher
from tfembed.serving.grpc_service import GrpcOptions, GrpcServer
from tfembed.serving.inference import run_directly
from tfembed.serving.limits import http_protocol
from tfembed.serving.metrics import Metrics
from tfembed.serving.ports import check_port, listen
from tfembed.serving.service import Service, loader
from tfembed.serving.settings import Settings
from tfembed.serving.status import ServingError
from tfembed.serving.store import ModelStore
from tfembed.serving.versions import State, VersionStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A server that runs.

    Attributes:
        rest_url: Where REST is.
        grpc_address: Where gRPC is.
        service: Its models.
    """

    rest_url: str
    grpc_address: str
    service: Service


@contextmanager
def run_server(settings: Settings, say: Callable[[str], None] = lambda line: None) -> Iterator[Running]:
    """Serve as long as the context lasts; then answer what has come in, and stop.

    Args:
        settings: What and how.
        say: Is told what happens to versions, a line at a time.

    Raises:
        ValueError: If a file that the settings name is wrong.
        OSError: If a file cannot be read or a port is taken.
    """
    configs, batching, http = settings.configs(), settings.batching(), settings.http()
    grpc_options = _grpc_options(settings)
    metrics = Metrics()
    with ExitStack() as stack:
        check_port("gRPC", settings.host, settings.port, "--port")  # before models are loaded, which takes long
        rest_socket = stack.enter_context(listen("REST", settings.host, settings.rest_api_port, "--rest_api_port"))
        store = ModelStore(
            loader(settings.load_options(), metrics),
            allow_unavailable_labels=settings.allow_version_labels_for_unavailable_models,
            on_change=_Announcer(say),
        )
        stack.callback(store.close)
        try:
            store.configure(configs)
        except ServingError as error:
            if configs and not store.names:  # the configuration is refused
                raise ValueError(error.message) from error
            say(error.message)  # a broken model is reported in its status; the others serve
        batcher = None if batching is None else Batcher(batching, metrics.batch)
        if batcher is not None:
            stack.callback(batcher.close)
        runner = run_directly if batcher is None else batcher.run
        service = Service(store=store, runner=runner, metrics=metrics)
        grpc_server = GrpcServer(service, grpc_options)
        stack.callback(grpc_server.stop, settings.limits.drain_seconds)
        stack.enter_context(_serve_http(settings, make_app(service, http), rest_socket))
        _watch(settings, store, say)
        scheme = "http" if settings.tls is None else "https"
        yield Running(
            rest_url=f"{scheme}://{_bracketed(settings.host)}:{rest_socket.getsockname()[1]}",
            grpc_address=f"{_bracketed(settings.host)}:{grpc_server.port}",
            service=service,
        )


def serve_until_stopped(settings: Settings, say: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT; what has come in until then is answered.

    Raises:
        ValueError: As run_server.
        OSError: As run_server.
    """
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    with run_server(settings, say) as running:
        say(f"REST {running.rest_url}  gRPC {running.grpc_address}  page {running.rest_url}/")
        stopped.wait()
        say("stopping: what has come in is answered first")


class _Announcer:
    """Says what versions do, each state once."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._said: dict[tuple[str, int], str] = {}

    def __call__(self, name: str, statuses: list[VersionStatus]) -> None:
        for status in reversed(statuses):
            what = status.state.name.lower() if status.error is None else f"failed: {status.error}"
            if status.state == State.END and status.error is None:
                what = "unloaded"
            if self._said.get((name, status.version)) != what:
                self._said[name, status.version] = what
                self._say(f"{name} version {status.version} {what}")


def _grpc_options(settings: Settings) -> GrpcOptions:
    return GrpcOptions(
        address=f"{_bracketed(settings.host)}:{settings.port}",
        num_threads=settings.num_threads(settings.grpc_max_threads),
        max_pending_requests=settings.limits.max_pending_requests,
        max_request_bytes=settings.limits.max_request_bytes,
        max_pending_bytes=settings.limits.max_pending_bytes,
        credentials=None if settings.tls is None else settings.tls.grpc_credentials(),
        channel_arguments=settings.channel_arguments(),
    )


def _watch(settings: Settings, store: ModelStore, say: Callable[[str], None]) -> None:
    if settings.file_system_poll_wait_seconds > 0:
        store.poll_every(settings.file_system_poll_wait_seconds)
    if settings.model_config_file is None or settings.model_config_file_poll_wait_seconds <= 0:
        return

    said = ""  # the same thing is not said again with each poll

    def poll() -> None:
        nonlocal said
        message = reload(settings, store)
        if message not in ("", said):
            say(message)
        said = message

    store.repeat(settings.model_config_file_poll_wait_seconds, poll, "poll-config")


def reload(settings: Settings, store: ModelStore) -> str:
    """Serve what the configuration file names now.

    Returns:
        The reason why the configuration stays as it was; empty if it does not.
    """
    try:
        configs = settings.configs()
        if not configs:  # as in a file that is being written; TensorFlow Serving takes no action either
            return f"{settings.model_config_file} names no models: the configuration stays as it was"
        store.configure(configs)
    except (ValueError, OSError, ServingError, ProtobufError) as error:
        return f"the configuration stays as it was: {error}"
    return ""


def _bracketed(host: str) -> str:
    """A host as it stands before a port."""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


@contextmanager
def _serve_http(settings: Settings, app: object, listening: socket.socket) -> Iterator[None]:
    with ExitStack() as stack:
        limits = settings.limits
        tls = {} if settings.tls is None else stack.enter_context(settings.tls.files())
        config = uvicorn.Config(
            app,  # type: ignore[arg-type]
            http=http_protocol(limits),  # type: ignore[arg-type]
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=int(limits.idle_seconds),
            timeout_graceful_shutdown=int(limits.drain_seconds),
            limit_concurrency=limits.max_connections,
            **tls,
        )
        config.load()  # files of keys are read here
        server = uvicorn.Server(config)
        # uvicorn leaves signals alone outside of the main thread.
        thread = threading.Thread(target=server.run, args=([listening],), name="rest", daemon=True)
        thread.start()
        while not server.started and thread.is_alive():
            thread.join(0.005)
        if not server.started:
            raise OSError("The REST server did not start.")
        try:
            yield
        finally:
            server.should_exit = True
            thread.join()
