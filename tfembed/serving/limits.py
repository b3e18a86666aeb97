"""What keeps a client from taking more than its share: sizes, times, numbers."""

import asyncio
import threading
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tfembed.serving.status import Code, ServingError

MAX_HEADER_BYTES = 64 * 1024
_CHUNK = 256 * 1024
# Bytes of a value, and of a list or object, on their way to an array, in the worst case.
_VALUE, _LIST = 96, 288


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a server takes.

    Attributes:
        max_request_bytes: Of a request, before and after it was uncompressed.
        max_pending_bytes: Of all REST requests together, as they came; more are refused with 429. As many again for
            those that are being answered, as JSON takes them apart; others wait, and one that alone would need more is
            refused with 413. As many again for gRPC, as they came and as tensors.
        max_pending_requests: Requests that are being answered or wait for it; more are refused with 429.
        max_connections: Of REST at the same time; more are refused with 503.
        read_seconds: A request must have arrived within so many seconds after its first byte.
        idle_seconds: A connection without a request is closed after so many seconds.
        drain_seconds: When the server stops, requests have so long to be answered.
    """

    max_request_bytes: int = 64 * 1024 * 1024
    max_pending_bytes: int = 1024 * 1024 * 1024
    max_pending_requests: int = 512
    max_connections: int = 1024
    read_seconds: float = 30.0
    idle_seconds: float = 60.0
    drain_seconds: float = 30.0

    def __post_init__(self) -> None:
        """Check the values."""
        for name in self.__slots__:
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be above 0; was {getattr(self, name)}.")


class MemoryQueue:
    """Memory that requests wait for in the order in which they came. It is for one event loop.

    Args:
        size: Bytes that all of them may have together.
    """

    def __init__(self, size: int) -> None:
        self._left, self._turn, self._returned = size, asyncio.Lock(), asyncio.Condition()

    @asynccontextmanager
    async def reserve(self, size: int, seconds: float | None) -> AsyncIterator[None]:
        """Wait for so many bytes, and have them until the end of the block.

        Raises:
            RefusedError: If they did not come free within so many seconds.
        """
        try:
            async with asyncio.timeout(seconds), self._turn, self._returned:
                await self._returned.wait_for(lambda: size <= self._left)
                self._left -= size
        except TimeoutError as error:
            raise RefusedError(504, "The request waited too long for others to be answered.") from error
        try:
            yield
        finally:
            async with self._returned:
                self._left += size
                self._returned.notify_all()


class SharedMemory:
    """The bytes of all gRPC requests that are being answered, in many threads.

    Args:
        size: How many there may be.
    """

    def __init__(self, size: int) -> None:
        self._left, self._lock = size, threading.Lock()

    @contextmanager
    def share(self, size: int) -> Iterator[None]:
        """Take bytes for the time of a request.

        Raises:
            ServingError: If there are not so many left.

        Example:
            >>> with SharedMemory(3).share(4):
            ...     pass
            Traceback (most recent call last):
            tfembed.serving.status.ServingError: RESOURCE_EXHAUSTED: The requests that wait are too large together. ...
        """
        with self._lock:
            if size > self._left:
                raise ServingError(
                    Code.RESOURCE_EXHAUSTED,
                    f"The requests that wait are too large together. This one takes {size} bytes. Try again later.",
                )
            self._left -= size
        try:
            yield
        finally:
            with self._lock:
                self._left += size


class RefusedError(Exception):
    """A request that is not answered by the API.

    Attributes:
        status: Of HTTP.
        message: Why.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


class Budget:
    """The bytes of all requests that are being answered. It is for one event loop.

    Args:
        size: How many there may be.
    """

    def __init__(self, size: int) -> None:
        self._left = size

    @contextmanager
    def share(self) -> Iterator[Callable[[int], None]]:
        """A request's share: the caller takes bytes as they come, and all are given back at the end.

        Example:
            >>> with Budget(3).share() as take:
            ...     take(4)
            Traceback (most recent call last):
            tfembed.serving.limits.RefusedError: The requests that wait are too large together. Try again later.
        """
        taken = 0

        def take(size: int) -> None:
            nonlocal taken
            if size > self._left:
                raise RefusedError(429, "The requests that wait are too large together. Try again later.")
            self._left -= size
            taken += size

        try:
            yield take
        finally:
            self._left += taken


async def read_body(
    headers: Any, receive: Callable[[], Awaitable[Any]], limits: Limits, take: Callable[[int], None]
) -> bytes | None:
    """Read the body of a request, and uncompress it.

    Args:
        headers: Of the request.
        receive: Of ASGI.
        limits: What is taken.
        take: Is told of bytes as they come, and may refuse them.

    Returns:
        The body; None if the client went away.

    Raises:
        RefusedError: If it is too large, too slow or badly compressed.
    """
    announced = headers.get("content-length", "0")
    if announced.isdecimal() and int(announced) > limits.max_request_bytes:
        raise _too_large(limits)
    try:
        async with asyncio.timeout(limits.read_seconds):
            body = await _receive(receive, limits, take)
    except TimeoutError as error:
        raise RefusedError(408, f"The request did not arrive within {limits.read_seconds:g} seconds.") from error
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if body is None:
        return None
    if encoding not in ("identity", ""):
        if encoding not in ("gzip", "x-gzip"):
            raise RefusedError(415, f"Content-Encoding {encoding} is not supported. Use gzip, or none.")
        body = await asyncio.to_thread(_uncompress, body, limits)
        take(len(body))
    return body


async def json_memory(body: bytes, limits: Limits) -> int:
    """Estimate the bytes of memory that a body takes while it is read; see `parsed_size`.

    Raises:
        RefusedError: If they are more than all requests may take together.
    """
    size = parsed_size(body) if len(body) < _CHUNK else await asyncio.to_thread(parsed_size, body)
    if size > limits.max_pending_bytes:
        raise RefusedError(
            413,
            f"To read the request would take about {size} bytes of memory. Send fewer values at a time, or use gRPC.",
        )
    return size


def parsed_size(body: bytes) -> int:
    """Bytes of memory that JSON takes at most, about, while it is read: its text, each value and each list.

    Example:
        >>> parsed_size(b'{"instances": [1, 2]}')
        693
    """
    text = len(body) * (1 if body.isascii() else 4)  # one letter beyond the plane makes all of them as wide
    return text + _VALUE * body.count(b",") + _LIST * (body.count(b"[") + body.count(b"{"))


async def _receive(receive: Callable[[], Awaitable[Any]], limits: Limits, take: Callable[[int], None]) -> bytes | None:
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        size += len(message.get("body", b""))
        if size > limits.max_request_bytes:
            raise _too_large(limits)
        take(len(message.get("body", b"")))
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)


def _uncompress(body: bytes, limits: Limits) -> bytes:
    """Never more than the limit comes into memory, however much is promised."""
    reader = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    parts, size = [], 0
    try:
        while body and not reader.eof:
            part = reader.decompress(body, _CHUNK)
            body = reader.unconsumed_tail
            size += len(part)
            if size > limits.max_request_bytes:
                raise _too_large(limits)
            parts.append(part)
    except zlib.error as error:
        raise RefusedError(400, f"The body is not what Content-Encoding says: {error}") from error
    if not reader.eof:
        raise RefusedError(400, "The body is not what Content-Encoding says: it ends too early.")
    return b"".join(parts)


def _too_large(limits: Limits) -> RefusedError:
    return RefusedError(413, f"The request is larger than {limits.max_request_bytes} bytes.")


def http_protocol(limits: Limits) -> Callable[..., asyncio.Protocol]:
    """What uvicorn makes connections with: its own protocol, which closes those that send endless or slow headers."""

    def make(*args: Any, **options: Any) -> asyncio.Protocol:
        protocol = _Protocol(*args, **options)
        protocol.read_seconds = limits.read_seconds
        return protocol

    return make


class _Protocol(HttpToolsProtocol):  # uvicorn asks for a class
    read_seconds = 0.0
    _header_bytes = 0
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._timer = self.loop.call_later(self.read_seconds, transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._header_bytes += len(data)
        super().data_received(data)
        if self._timer is not None and self._header_bytes > MAX_HEADER_BYTES:
            self.transport.close()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._header_bytes = 0
        self._stop_timer()
        self._timer = self.loop.call_later(self.read_seconds, self.transport.close)

    def on_headers_complete(self) -> None:
        self._stop_timer()
        super().on_headers_complete()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
