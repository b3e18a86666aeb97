"""Requests over REST, with retries by urllib3."""

import base64
import json
from typing import Any
from urllib.parse import quote

import numpy as np
import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import ReadTimeoutError
from urllib3.util import Retry

from tfembed.serving.client_errors import DeadlineError, ServerError, UnreachableError, http_error
from tfembed.serving.client_examples import SignatureInfo, numpy_type
from tfembed.serving.client_options import ClientOptions, Target

_BUSY = (429, 503)


class RestClient:
    """A connection to the REST API of one model."""

    def __init__(self, target: Target, options: ClientOptions) -> None:
        self._options = options
        scheme = "https" if target.secure else "http"
        self._model = f"{scheme}://{target.address}/v1/models/{quote(target.model, safe='')}"
        if options.version is not None:
            self._model += f"/versions/{options.version}"
        elif options.label is not None:
            self._model += f"/labels/{quote(options.label, safe='')}"
        retry = Retry(
            total=options.retries,
            backoff_factor=0.1,
            backoff_max=5,
            status_forcelist=_BUSY,
            allowed_methods=None,  # a prediction may be asked for twice
            raise_on_status=False,
        )
        self._session = requests.Session()
        self._session.mount(self._model, HTTPAdapter(max_retries=retry, pool_maxsize=64))
        # Given with each request: environment variables would go before what the session has.
        self._verify = None if options.certificate_authority is None else str(options.certificate_authority)
        if options.certificate is not None:
            self._session.cert = (str(options.certificate), str(options.key))

    def signatures(self) -> dict[str, SignatureInfo]:
        """The signatures of the model by name."""
        found = self._request("GET", "/metadata")["metadata"]["signature_def"]["signature_def"]
        return {
            name: SignatureInfo(
                inputs={key: info["dtype"] for key, info in signature["inputs"].items()},
                outputs={key: info["dtype"] for key, info in signature["outputs"].items()},
            )
            for name, signature in found.items()
        }

    def predict(self, arrays: dict[str, np.ndarray], signature_name: str, info: SignatureInfo) -> dict[str, np.ndarray]:
        """The outputs of a signature for its inputs."""
        body = {"signature_name": signature_name, "inputs": {name: _to_json(array) for name, array in arrays.items()}}
        try:
            content = json.dumps(body).encode()  # with NaN and infinities, which requests refuses to write
        except TypeError as error:
            raise ValueError(f"The examples cannot be sent as JSON: {error}. Ask over gRPC.") from error
        outputs = self._request("POST", ":predict", content)["outputs"]
        several = isinstance(outputs, dict) and set(outputs) != {"b64"}
        if len(info.outputs) == 1 and not several:  # one output drops its name
            outputs = {next(iter(info.outputs)): outputs}
        if not isinstance(outputs, dict) or set(outputs) != set(info.outputs):
            raise ServerError(f"{self._model} has other outputs than it had: a new version serves. Ask again.")
        return {name: _from_json(outputs[name], kind) for name, kind in info.outputs.items()}

    def status(self) -> list[dict[str, Any]]:
        """What the versions of the model are doing."""
        found = self._request("GET", "")["model_version_status"]
        return [
            {"version": int(each["version"]), "state": each["state"], "error": each["status"]["error_message"]}
            for each in found
        ]

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def _request(self, method: str, path: str, body: bytes | None = None) -> Any:
        url, headers = self._model + path, {"Content-Type": "application/json"} if body else None
        timeout, verify = self._options.timeout, self._verify
        try:
            answer = self._session.request(method, url, data=body, headers=headers, timeout=timeout, verify=verify)
        except requests.Timeout as error:
            raise self._late(url) from error
        except requests.ConnectionError as error:
            if error.args and isinstance(getattr(error.args[0], "reason", None), ReadTimeoutError):
                raise self._late(url) from error
            raise UnreachableError(f"{url} cannot be reached: {_reason(error)}. Is the server running?") from error
        try:
            found = answer.json()
        except requests.exceptions.JSONDecodeError as error:
            raise ServerError(f"{url} answered {answer.status_code} with {answer.text[:200]!r}.") from error
        if answer.status_code != 200:
            raise http_error(answer.status_code)(found.get("error", answer.text[:200]))
        return found

    def _late(self, url: str) -> DeadlineError:
        return DeadlineError(f"{url} did not answer within {self._options.timeout:g} seconds.")


def _reason(error: BaseException) -> str:
    """The system's own word for why there is no connection, out of what urllib3 and requests put around it."""
    inner: BaseException | None = error
    while inner is not None:
        if isinstance(inner, OSError) and inner.strerror:
            return inner.strerror
        inside = inner.args[0] if inner.args else None
        nested = (getattr(inside, "reason", None), inside, inner.__cause__, inner.__context__)
        inner = next((each for each in nested if isinstance(each, BaseException)), None)
    return str(error)


def _to_json(array: np.ndarray) -> Any:
    if array.dtype != object:
        return array.astype(np.float32).tolist() if array.dtype.name == "bfloat16" else array.tolist()
    flat = [_string(value) for value in array.ravel().tolist()]
    return np.array(flat, object).reshape(array.shape).tolist() if array.ndim != 1 else flat


def _string(value: bytes | str) -> Any:
    if isinstance(value, str):
        return value
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"b64": base64.b64encode(value).decode()}


def _from_json(value: Any, kind: str) -> np.ndarray:
    if kind != "DT_STRING":
        return np.array(value, numpy_type(kind))
    shape, flat = _flatten(value)
    array = np.empty(len(flat), object)
    array[:] = [base64.b64decode(each["b64"]) if isinstance(each, dict) else each.encode() for each in flat]
    return array.reshape(shape)


def _flatten(value: Any) -> tuple[tuple[int, ...], list[Any]]:
    if not isinstance(value, list):
        return (), [value]
    if not value:
        return (0,), []
    parts = [_flatten(each) for each in value]
    return (len(value), *parts[0][0]), [each for _, flat in parts for each in flat]
