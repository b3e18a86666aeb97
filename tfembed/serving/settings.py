"""The flags of the server, by the names that tensorflow_model_server has for them."""

import os
from dataclasses import dataclass, field
from pathlib import Path

from tensorflow_serving.config import model_server_config_pb2

from tfembed.serving.app import HttpOptions
from tfembed.serving.batching_options import BatchingOptions, read_options
from tfembed.serving.limits import Limits
from tfembed.serving.metrics import PROMETHEUS_PATH
from tfembed.serving.model_config import ModelConfig, read_configs
from tfembed.serving.protos import BatchingParameters, MonitoringConfig, read_text_proto
from tfembed.serving.servable import LoadOptions
from tfembed.serving.status import ServingError
from tfembed.serving.store import single_model
from tfembed.serving.tls import TlsOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a server is started with; the names are those of tensorflow_model_server's flags where it has them.

    Attributes:
        model_base_path: The folder of the versions of the one model.
        model_name: Of that model.
        model_config_file: A ModelServerConfig in text format, in place of these two.
        model_config_file_poll_wait_seconds: Read the file again so often; 0 for never.
        host: The address that REST and gRPC listen on.
        port: Of gRPC; 0 for a free one.
        rest_api_port: Of REST; 0 for a free one.
        rest_api_timeout_in_ms: For a REST request.
        rest_api_num_threads: REST requests that are answered at the same time; None for enough.
        grpc_max_threads: gRPC requests that are answered at the same time; None for enough.
        grpc_channel_arguments: Such as `grpc.max_connection_age_ms=2000`, separated by commas.
        enable_batching: Whether requests are run in batches.
        batching_parameters_file: A BatchingParameters in text format.
        monitoring_config_file: A MonitoringConfig in text format; without it, metrics are at Prometheus's usual path.
        file_system_poll_wait_seconds: Look for new versions so often; 0 for only once.
        allow_version_labels_for_unavailable_models: Whether a new label may be given to a version that is not loaded.
        enable_model_warmup: Whether a version's warmup requests are replayed before it serves.
        rest_api_enable_cors_support: Whether pages of other origins may call.
        saved_model_tags: Of the graph that is served, separated by commas.
        tensorflow_session_parallelism: Threads of TensorFlow; 0 lets it choose. The next two go before it.
        tensorflow_intra_op_parallelism: Threads for one operation.
        tensorflow_inter_op_parallelism: Threads for independent operations.
        tls: Keys and certificates; None without TLS.
        limits: What is taken.
    """

    model_base_path: Path | None = None
    model_name: str = "default"
    model_config_file: Path | None = None
    model_config_file_poll_wait_seconds: float = 0
    host: str = "127.0.0.1"
    port: int = 8500
    rest_api_port: int = 8501
    rest_api_timeout_in_ms: int = 30_000
    rest_api_num_threads: int | None = None
    grpc_max_threads: int | None = None
    grpc_channel_arguments: str = ""
    enable_batching: bool = False
    batching_parameters_file: Path | None = None
    monitoring_config_file: Path | None = None
    file_system_poll_wait_seconds: float = 1
    allow_version_labels_for_unavailable_models: bool = False
    enable_model_warmup: bool = True
    rest_api_enable_cors_support: bool = False
    saved_model_tags: str = "serve"
    tensorflow_session_parallelism: int = 0
    tensorflow_intra_op_parallelism: int = 0
    tensorflow_inter_op_parallelism: int = 0
    tls: TlsOptions | None = None
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        """Check the values."""
        if (self.model_base_path is None) == (self.model_config_file is None):
            raise ValueError("Pass a base path or --model_config_file: one of them, not both.")
        if not self.model_name or "/" in self.model_name or ":" in self.model_name:
            raise ValueError(f"A model's name has neither / nor : in it and is not empty; was {self.model_name!r}.")
        if self.batching_parameters_file is not None and not self.enable_batching:
            raise ValueError("--batching_parameters_file needs --enable_batching.")
        for name in ("port", "rest_api_port"):
            if not 0 <= getattr(self, name) < 65536:
                raise ValueError(f"--{name} must be between 0 and 65535; was {getattr(self, name)}.")
        if self.port == self.rest_api_port != 0:
            raise ValueError(f"REST and gRPC cannot share port {self.port}.")

    def configs(self) -> tuple[ModelConfig, ...]:
        """The models.

        Raises:
            ValueError: If the configuration file is wrong, or the base path is no folder.
            OSError: If the file cannot be read.
        """
        if self.model_base_path is not None:
            if not self.model_base_path.is_dir():
                raise ValueError(f"{self.model_base_path} is no folder. Pass the base path of a model's versions.")
            return single_model(self.model_name, self.model_base_path)
        file = Path(str(self.model_config_file))
        message = read_text_proto(file, model_server_config_pb2.ModelServerConfig())
        try:
            return read_configs(message)
        except ServingError as error:
            raise ValueError(f"{file}: {error.message}") from error

    def batching(self) -> BatchingOptions | None:
        """How requests are batched; None for not at all.

        Raises:
            ValueError: If the parameters file is wrong.
            OSError: If it cannot be read.
        """
        if not self.enable_batching:
            return None
        if self.batching_parameters_file is None:
            return BatchingOptions()
        return read_options(read_text_proto(self.batching_parameters_file, BatchingParameters()))

    def http(self) -> HttpOptions:
        """How REST is served.

        Raises:
            ValueError: If the monitoring file is wrong.
            OSError: If it cannot be read.
        """
        path: str | None = PROMETHEUS_PATH
        if self.monitoring_config_file is not None:
            config = read_text_proto(self.monitoring_config_file, MonitoringConfig()).prometheus_config
            path = (config.path or PROMETHEUS_PATH) if config.enable else None
        return HttpOptions(
            timeout_in_ms=self.rest_api_timeout_in_ms,
            num_threads=self.num_threads(self.rest_api_num_threads),
            metrics_path=path,
            cors=self.rest_api_enable_cors_support,
            limits=self.limits,
        )

    def load_options(self) -> LoadOptions:
        """How SavedModels are loaded."""
        return LoadOptions(
            tags=tuple(tag for tag in self.saved_model_tags.split(",") if tag),
            intra_op_threads=self.tensorflow_intra_op_parallelism or self.tensorflow_session_parallelism,
            inter_op_threads=self.tensorflow_inter_op_parallelism or self.tensorflow_session_parallelism,
            warmup=self.enable_model_warmup,
        )

    def channel_arguments(self) -> tuple[tuple[str, int | str], ...]:
        """The arguments for gRPC.

        Raises:
            ValueError: If one is no pair.
        """
        pairs = []
        for argument in filter(None, self.grpc_channel_arguments.split(",")):
            name, equals, value = argument.partition("=")
            if not equals:
                raise ValueError(f"--grpc_channel_arguments are name=value, separated by commas; was {argument!r}.")
            pairs.append((name, int(value) if value.lstrip("-").isdecimal() else value))
        return tuple(pairs)

    def num_threads(self, given: int | None) -> int:
        """How many requests are answered at once: waiting for a batch takes a thread each, but hardly any work."""
        return given if given is not None else max(4 * (os.cpu_count() or 1), 128 if self.enable_batching else 32)
