"""A client for the embedded server and for TensorFlow Serving, over REST or gRPC."""

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from tfembed.serving.client_errors import BadRequestError, ServerError
from tfembed.serving.client_examples import SignatureInfo, as_tensor, encode_examples
from tfembed.serving.client_options import ClientOptions, Target, parse_url

if TYPE_CHECKING:
    from tfembed.serving.grpc_client import GrpcClient
    from tfembed.serving.rest_client import RestClient


class Client:
    """Asks a served model. It may be used by several threads.

    Args:
        url: `http://host:8501/v1/models/NAME` (or https) for REST, `grpc://host:8500/NAME` (or grpcs) for gRPC;
            `/versions/3` or `/labels/stable` behind the name asks that version.
        model: The name of the model, where the URL has none.
        options: How it asks.

    Raises:
        ValueError: If the URL is none of these, or names no model, or a version as the options do.

    Example:
        >>> Client("http://localhost:8501", model="intents").target.address
        'localhost:8501'
    """

    def __init__(self, url: str, model: str | None = None, options: ClientOptions | None = None) -> None:
        self.target: Target = parse_url(url, model)
        self.options = self.target.choose(options or ClientOptions())
        self._transport = _connect(self.target, self.options)
        self._signatures: dict[str, SignatureInfo] | None = None

    def predict(self, examples: Sequence[Any], signature_name: str = "serving_default") -> dict[str, np.ndarray]:
        """Ask for examples, as many requests as `batch_size` makes of them.

        Args:
            examples: Texts; or images as paths, encoded bytes or uint8 arrays; or numbers, where the model takes these.
            signature_name: The signature.

        Returns:
            The outputs by name, with a row for each example, in their order: of what `export` wrote, `label` and
            `score` `(n,)`, `labels` and `scores` `(n, num_classes)`. Strings are `str` where they are text.

        Raises:
            NotFoundError: If there is no such model or version.
            BadRequestError: If the server refuses the examples.
            BusyError, DeadlineError, UnreachableError, ServerError: If it cannot answer.
            ValueError: If the examples are none, or there is no such signature.
        """
        if isinstance(examples, str | bytes):
            raise ValueError(f"Pass a list of examples, such as [{examples[:30]!r}].")
        if isinstance(examples, Mapping) or hasattr(examples, "columns"):  # would be read by the names of its columns
            raise ValueError(
                f"A {type(examples).__name__} is no list of examples. Pass one of its columns, such as data['text']."
            )
        if len(examples) == 0:
            raise ValueError("There are no examples to predict.")
        size = self.options.batch_size
        info = self._signature(signature_name)
        batches = [examples[start : start + size] for start in range(0, len(examples), size)]
        found = [self._ask(encode_examples(batch, info), signature_name, info) for batch in batches]
        return {name: _decode(np.concatenate([each[name] for each in found])) for name in found[0]}

    def call(self, inputs: dict[str, Any], signature_name: str = "serving_default") -> dict[str, np.ndarray]:
        """Ask a signature with inputs by name, in one request.

        Returns:
            The outputs by name; strings are bytes.

        Raises:
            ValueError: If there is no such signature, or numbers do not fit its types; and what `predict` raises.
        """
        info = self._signature(signature_name)
        arrays = {name: as_tensor(value, info.inputs.get(name)) for name, value in inputs.items()}
        return self._ask(arrays, signature_name, info)

    def signatures(self) -> dict[str, SignatureInfo]:
        """The signatures of the model by name; asked for once, and again after the server refused a request."""
        if self._signatures is None:
            self._signatures = self._transport.signatures()
        return self._signatures

    def status(self) -> list[dict[str, Any]]:
        """What the versions of the model are doing: `version`, `state` and `error` of each, newest first."""
        return self._transport.status()

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, arrays: dict[str, np.ndarray], signature_name: str, info: SignatureInfo) -> dict[str, np.ndarray]:
        try:
            return self._transport.predict(arrays, signature_name, info)
        except (BadRequestError, ServerError):
            self._signatures = None  # those of a new version may be others
            raise

    def _signature(self, name: str) -> SignatureInfo:
        known = self.signatures()
        if name not in known:
            self._signatures = None
            known = self.signatures()
        if name not in known:
            raise ValueError(f"The model has no signature {name!r}. It has {', '.join(sorted(known))}.")
        return known[name]


def _connect(target: Target, options: ClientOptions) -> "RestClient | GrpcClient":
    try:
        if target.rest:
            from tfembed.serving.rest_client import RestClient

            return RestClient(target, options)
        from tfembed.serving.grpc_client import GrpcClient

        return GrpcClient(target, options)
    except ModuleNotFoundError as error:
        raise ValueError(f"The client needs {error.name}. Install it with: pip install 'tfembed[serve]'") from error


def _decode(array: np.ndarray) -> np.ndarray:
    if array.dtype != object:
        return array
    try:
        texts = [value.decode() for value in array.ravel().tolist()]
    except UnicodeDecodeError:
        return array
    decoded = np.empty(len(texts), object)
    decoded[:] = texts
    return decoded.reshape(array.shape)
