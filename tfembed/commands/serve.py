"""`tfembed serve` and `tfembed deploy`: parsing and printing. TensorFlow is imported when a server starts."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tfembed.commands.early import check_base_path
from tfembed.commands.options import BASE_PATH, PATH

if TYPE_CHECKING:
    from tfembed.serving.settings import Settings

_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
_LIMITS = ("max_request_bytes", "max_pending_bytes", "max_pending_requests", "max_connections", "drain_seconds")
_TLS = ("ssl_config_file", "ssl_certificate", "ssl_key", "ssl_client_ca")


def _flag(name: str, **options: Any) -> Any:
    """An option by the exact name of tensorflow_model_server's flag: with underscores."""
    return click.option(f"--{name}", name, **options)


class _ServerCommand(click.Command):  # click asks for a class
    """Takes flags as tensorflow_model_server does: `--enable_batching` is `--enable_batching=true`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        switches = {f"--{each.name}" for each in self.params if each.type is click.BOOL}
        pairs = zip(args, [*args[1:], ""], strict=False)
        given = [
            f"{each}=true" if each in switches and after not in ("true", "false") else each for each, after in pairs
        ]
        return super().parse_args(ctx, given)


@click.command(cls=_ServerCommand)
@click.argument("base_path", type=PATH, required=False)
@_flag("model_config_file", type=_FILE, help="A ModelServerConfig in text format, in place of BASE_PATH.")
@_flag("model_name", help="Name of the model.  [default: that of BASE_PATH's folder]")
@_flag("model_base_path", type=PATH, help="The same as BASE_PATH.")
@_flag("host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 lets others in.")
@_flag("rest_api_port", type=int, default=8501, show_default=True, help="Of REST; 0 for a free one.")
@_flag("port", type=int, default=8500, show_default=True, help="Of gRPC; 0 for a free one.")
@_flag("enable_batching", type=bool, default=False, show_default=True, help="Run requests in batches.")
@_flag("batching_parameters_file", type=_FILE, help="A BatchingParameters in text format.")
@_flag("monitoring_config_file", type=_FILE, help="A MonitoringConfig in text format.")
@_flag("rest_api_timeout_in_ms", type=int, default=30_000, show_default=True)
@_flag("rest_api_num_threads", type=int, help="REST requests that are answered at the same time.")
@_flag("grpc_max_threads", type=int, help="gRPC requests that are answered at the same time.")
@_flag("grpc_channel_arguments", default="", help="name=value, separated by commas.")
@_flag("file_system_poll_wait_seconds", type=float, default=1.0, show_default=True, help="0 looks only once.")
@_flag("model_config_file_poll_wait_seconds", type=float, default=0.0, show_default=True, help="0 reads only once.")
@_flag("allow_version_labels_for_unavailable_models", type=bool, default=False, show_default=True)
@_flag("enable_model_warmup", type=bool, default=True, show_default=True)
@_flag(
    "rest_api_enable_cors_support",
    type=bool,
    default=False,
    show_default=True,
    help="Let pages of other origins call.",
)
@_flag("saved_model_tags", default="serve", show_default=True)
@_flag("tensorflow_session_parallelism", type=int, default=0)
@_flag("tensorflow_intra_op_parallelism", type=int, default=0)
@_flag("tensorflow_inter_op_parallelism", type=int, default=0)
@_flag("ssl_config_file", type=_FILE, help="An SSLConfig in text format: TLS for gRPC and REST.")
@_flag("ssl_certificate", type=_FILE, help="PEM of the server's certificate, with --ssl_key.")
@_flag("ssl_key", type=_FILE, help="PEM of the server's key.")
@_flag("ssl_client_ca", type=_FILE, help="PEM of who signs clients' certificates; they need one then.")
@_flag("max_request_bytes", type=int, help="Of one request.  [default: 64 MiB]")
@_flag("max_pending_bytes", type=int, help="Of all requests that are being read and answered.  [default: 1 GiB]")
@_flag("max_pending_requests", type=int, help="More at a time are refused.  [default: 512]")
@_flag("max_connections", type=int, help="Of REST.  [default: 1024]")
@_flag("drain_seconds", type=float, help="For requests that came in before SIGTERM.  [default: 30]")
@_flag(
    "engine",
    type=click.Choice(["embedded", "tensorflow"]),
    default="embedded",
    show_default=True,
    help="tensorflow starts tensorflow_model_server, or its Docker image.",
)
def serve(base_path: Path | None, engine: str, **flags: Any) -> None:
    """Serve the versions under BASE_PATH as TensorFlow Serving does, for development, tests and small places.

    Flags have tensorflow_model_server's names. Stops on SIGTERM or Ctrl-C, after answering what came in.
    """
    given = _given(base_path, flags)
    if given["model_base_path"] is not None:
        check_base_path(given["model_base_path"])
    if engine == "tensorflow":
        from tfembed.serving.engine import replace_process

        replace_process(given, lambda line: click.echo(line, err=True))
        return
    from tfembed.serving.ports import check_port
    from tfembed.startup import import_tensorflow

    check_port("REST", given["host"], given["rest_api_port"], "--rest_api_port")
    check_port("gRPC", given["host"], given["port"], "--port")
    import_tensorflow()
    try:
        from tfembed.serving.server import serve_until_stopped
    except ModuleNotFoundError as error:
        raise ValueError(f"The server needs {error.name}. Install it with: pip install 'tfembed[serve]'") from error
    settings = _settings(given)
    serve_until_stopped(settings, lambda line: click.echo(line, err=True))


@click.command()
@BASE_PATH
@click.argument("out", type=PATH)
@_flag("model_name", help="Name of the model.  [default: that of BASE_PATH's folder]")
@click.option("--image", help="Docker image of TensorFlow Serving.")
@click.option("--min-replicas", type=int, default=2, show_default=True)
@click.option("--max-replicas", type=int, default=6, show_default=True)
@click.option("--max-batch-size", type=int, default=32, show_default=True, help="Examples that are run together.")
def deploy(base_path: Path, out: Path, model_name: str | None, **options: Any) -> None:
    """Write what runs TensorFlow Serving on BASE_PATH into the folder OUT: for Docker Compose and for Kubernetes."""
    from tfembed.serving.deploy import DeployOptions, write_deployment

    check_base_path(base_path)
    given = {name: value for name, value in options.items() if value is not None}
    name = model_name or base_path.resolve().name
    files = write_deployment(out, DeployOptions(model_name=name, base_path=base_path.resolve(), **given))
    for file in files:
        click.echo(file)
    click.echo(f"try:  docker compose -f {shlex.quote(str(out / 'compose.yaml'))} up")
    click.echo(f"or:   kubectl apply -f {shlex.quote(str(out / 'kubernetes.yaml'))}")


def _given(base_path: Path | None, flags: dict[str, Any]) -> dict[str, Any]:
    if base_path is not None and flags["model_base_path"] is not None:
        raise ValueError("BASE_PATH and --model_base_path are the same: pass one of them.")
    path = base_path or flags["model_base_path"]
    if path is None and flags["model_config_file"] is None:
        raise ValueError("Nothing to serve: pass BASE_PATH, such as saved_models/intents, or --model_config_file.")
    name = flags["model_name"] or (path.resolve().name if path is not None else "default")
    return flags | {"model_base_path": path, "model_name": name}


def _settings(given: dict[str, Any]) -> "Settings":
    from tfembed.serving.limits import Limits
    from tfembed.serving.settings import Settings
    from tfembed.serving.tls import read_pem_files, read_ssl_config

    limits = Limits(**{name: given[name] for name in _LIMITS if given[name] is not None})
    config, certificate, key, client_ca = (given[name] for name in _TLS)
    tls = None
    if config is not None:
        tls = read_ssl_config(config)
    elif certificate is not None and key is not None:
        tls = read_pem_files(certificate, key, client_ca)
    elif certificate is not None or key is not None or client_ca is not None:
        raise ValueError("TLS needs --ssl_certificate and --ssl_key, or --ssl_config_file.")
    named = {name: value for name, value in given.items() if name not in (*_LIMITS, *_TLS)}
    return Settings(**named, tls=tls, limits=limits)
