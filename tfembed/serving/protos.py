"""Text protos of flags: those that tensorflow-serving-api has, and those that it leaves out, declared here."""

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    message_factory,
    text_format,
    wrappers_pb2,  # noqa: F401 - puts the wrappers into the pool
)


@contextmanager
def importing_messages() -> Iterator[None]:
    """Import messages of TensorFlow and of TensorFlow Serving, without waiting seconds for TensorFlow itself.

    The modules of messages stand by themselves, but lie in TensorFlow's package, which is imported with the first of
    them. Meanwhile an empty package with the same folder has its name; a later import of TensorFlow is a whole one.
    """
    spec = importlib.util.find_spec("tensorflow") if "tensorflow" not in sys.modules else None
    if spec is None:
        yield
        return
    package = ModuleType("tensorflow")
    package.__path__ = list(spec.submodule_search_locations or ())
    sys.modules["tensorflow"] = package
    try:
        yield
    finally:
        del sys.modules["tensorflow"]


_INT64, _BOOL, _STRING = ("google.protobuf.Int64Value", "google.protobuf.BoolValue", "google.protobuf.StringValue")
# Per message: the fields with their types; a list for repeated ones. Names and types are those of TensorFlow Serving.
_MESSAGES: dict[str, dict[str, Any]] = {
    "BatchingParameters": {
        "max_batch_size": _INT64,
        "batch_timeout_micros": _INT64,
        "max_enqueued_batches": _INT64,
        "num_batch_threads": _INT64,
        "thread_pool_name": _STRING,
        "allowed_batch_sizes": ["int64"],
        "pad_variable_length_inputs": "bool",
        "enable_large_batch_splitting": _BOOL,
        "max_execution_batch_size": _INT64,
    },
    "PrometheusConfig": {"enable": "bool", "path": "string"},
    "MonitoringConfig": {"prometheus_config": "tfembed.serving.PrometheusConfig"},
    "SSLConfig": {"server_key": "string", "server_cert": "string", "custom_ca": "string", "client_verify": "bool"},
}
_SCALARS = {"int64": 3, "bool": 8, "string": 9}
_MESSAGE, _OPTIONAL, _REPEATED = 11, 1, 3


def _declare() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(
        name="tfembed/serving/flags.proto",
        package="tfembed.serving",
        syntax="proto3",
        dependency=["google/protobuf/wrappers.proto"],
    )
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for number, (field, kind) in enumerate(fields.items(), 1):
            one = kind[0] if isinstance(kind, list) else kind
            added = message.field.add(name=field, number=number, label=_OPTIONAL if one is kind else _REPEATED)
            added.type = _SCALARS.get(one, _MESSAGE)
            if added.type == _MESSAGE:
                added.type_name = f".{one}"
    pool = descriptor_pool.Default()
    pool.Add(file)
    found = {name: pool.FindMessageTypeByName(f"tfembed.serving.{name}") for name in _MESSAGES}
    return {name: message_factory.GetMessageClass(descriptor) for name, descriptor in found.items()}


_CLASSES = _declare()
BatchingParameters, MonitoringConfig, SSLConfig = (
    _CLASSES[name] for name in ("BatchingParameters", "MonitoringConfig", "SSLConfig")
)


def read_text_proto(file: Path, message: Any) -> Any:
    """Read a text proto into a message, and return it.

    Raises:
        ValueError: If the file is no such proto.
        OSError: If it cannot be read.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "batching.txt"
        >>> _ = file.write_text("max_batch_size { value: 32 } pad_variable_length_inputs: true")
        >>> read_text_proto(file, BatchingParameters()).max_batch_size.value
        32
    """
    try:
        return text_format.Parse(file.read_text(encoding="utf-8"), message)
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise ValueError(f"Invalid protobuf file: '{file}': {error}") from error
