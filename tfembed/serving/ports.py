"""Ports: tried before anything is loaded that takes long."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def listen(api: str, host: str, port: int, flag: str) -> Iterator[socket.socket]:
    """Bind a socket to a port, for as long as the context lasts.

    Args:
        api: `"REST"` or `"gRPC"`, for the error.
        host: Address to listen on.
        port: Port, 0 for a free one.
        flag: Option that names the port, for the error.

    Raises:
        ValueError: If there is no such port.
        OSError: If the port is taken, or the address is none of this machine.

    Example:
        >>> with listen("REST", "127.0.0.1", 0, "--rest_api_port") as listening:
        ...     listening.getsockname()[0]
        '127.0.0.1'
    """
    if not 0 <= port < 65536:
        raise ValueError(f"{flag} must be between 0 and 65535; was {port}.")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((host.strip("[]"), port))
        except OSError as error:
            raise OSError(
                f"{api} cannot listen on {host}:{port}: {error.strerror}. Pass another {flag}, or 0 for a free one."
            ) from error
        yield listening


def check_port(api: str, host: str, port: int, flag: str) -> None:
    """Check that a port can be listened on; see `listen`."""
    with listen(api, host, port, flag):
        pass
