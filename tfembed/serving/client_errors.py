"""What can go wrong with a request, each kind under a built-in one."""


class NotFoundError(LookupError):
    """There is no such model or version."""


class BadRequestError(ValueError):
    """The server refuses the request as it is; sending it again does not help."""


class BusyError(RuntimeError):
    """The server has too much to do, also after several tries."""


class DeadlineError(TimeoutError):
    """The answer did not come in time."""


class UnreachableError(ConnectionError):
    """The server cannot be reached, also after several tries."""


class ServerError(RuntimeError):
    """The server failed."""


# From the names of TensorFlow's codes to what is raised.
ERRORS: dict[str, type[Exception]] = {
    "NOT_FOUND": NotFoundError,
    "INVALID_ARGUMENT": BadRequestError,
    "FAILED_PRECONDITION": BadRequestError,
    "UNIMPLEMENTED": BadRequestError,
    "OUT_OF_RANGE": BadRequestError,
    "RESOURCE_EXHAUSTED": BusyError,
    "DEADLINE_EXCEEDED": DeadlineError,
    "UNAVAILABLE": UnreachableError,
}
# And from HTTP statuses.
HTTP_ERRORS: dict[int, type[Exception]] = {
    404: NotFoundError,
    408: DeadlineError,
    429: BusyError,
    503: BusyError,
    504: DeadlineError,
}


def http_error(status: int) -> type[Exception]:
    """What to raise for an HTTP status.

    Example:
        >>> http_error(413).__name__, http_error(500).__name__
        ('BadRequestError', 'ServerError')
    """
    return HTTP_ERRORS.get(status, BadRequestError if status < 500 else ServerError)
