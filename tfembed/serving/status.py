"""What a request came to: TensorFlow's error codes, and what they are in HTTP and gRPC."""

import sys
from enum import Enum


class Code(Enum):
    """A status code of TensorFlow: its number, and the HTTP status that TensorFlow Serving answers with.

    Example:
        >>> Code.NOT_FOUND.number, Code.NOT_FOUND.http
        (5, 404)
    """

    OK = (0, 200)
    CANCELLED = (1, 499)
    UNKNOWN = (2, 500)
    INVALID_ARGUMENT = (3, 400)
    DEADLINE_EXCEEDED = (4, 504)
    NOT_FOUND = (5, 404)
    ALREADY_EXISTS = (6, 409)
    PERMISSION_DENIED = (7, 403)
    RESOURCE_EXHAUSTED = (8, 429)
    FAILED_PRECONDITION = (9, 400)
    ABORTED = (10, 409)
    OUT_OF_RANGE = (11, 400)
    UNIMPLEMENTED = (12, 501)
    INTERNAL = (13, 500)
    UNAVAILABLE = (14, 503)
    DATA_LOSS = (15, 500)
    UNAUTHENTICATED = (16, 401)

    @property
    def number(self) -> int:
        """The number that gRPC and TensorFlow share."""
        return self.value[0]

    @property
    def http(self) -> int:
        """The status of an HTTP answer."""
        return self.value[1]


_BY_NUMBER = {code.number: code for code in Code}


class ServingError(Exception):
    """A request, or the loading of a model, failed.

    Attributes:
        code: What kind of failure.
        message: What TensorFlow Serving would say.

    Example:
        >>> str(ServingError(Code.NOT_FOUND, "Servable not found for request: Latest(x)"))
        'NOT_FOUND: Servable not found for request: Latest(x)'
    """

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(f"{code.name}: {message}")
        self.code, self.message = code, message


def invalid(message: str) -> ServingError:
    """The error of a request that is wrong in itself."""
    return ServingError(Code.INVALID_ARGUMENT, message)


def failure(error: BaseException) -> ServingError:
    """Any exception as the status that a client sees.

    Example:
        >>> failure(MemoryError()).code.name
        'RESOURCE_EXHAUSTED'
    """
    if isinstance(error, ServingError):
        return error
    tf = sys.modules.get("tensorflow")  # without it, which a client does not import, no error is TensorFlow's
    if tf is not None and isinstance(error, tf.errors.OpError):
        return ServingError(_BY_NUMBER.get(error.error_code, Code.UNKNOWN), error.message)
    if isinstance(error, MemoryError):
        return ServingError(Code.RESOURCE_EXHAUSTED, "The request needs more memory than there is.")
    return ServingError(Code.INTERNAL, f"{type(error).__name__}: {error}")
