"""How a client asks: where, how often, how long."""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

_PATH = re.compile(r"(?:/v1/models)?(?:/([^/:]+))?(?:/versions/(\d+)|/labels/([^/:]+))?(?::\w+)?/?", re.A)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientOptions:
    """How a client asks.

    Attributes:
        version: The version that answers; the newest one if it and the label are None.
        label: A label that a version has.
        timeout: Seconds for each try of a request.
        retries: How often a request is sent again, with growing pauses, where the server was busy or not there.
        batch_size: Examples in a request at most.
        certificate_authority: PEM of who signed the server's certificate; None for those that the system trusts.
        certificate: PEM of the client's own certificate, where the server wants one; with `key`.
        key: PEM of its key.

    Raises:
        ValueError: If a number is out of its range, or two fields do not go together.

    Example:
        >>> ClientOptions(timeout=5, label="stable").retries
        3
    """

    version: int | None = None
    label: str | None = None
    timeout: float = 30.0
    retries: int = 3
    batch_size: int = 32
    certificate_authority: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    def __post_init__(self) -> None:
        """Check the values."""
        if self.version is not None and self.label is not None:
            raise ValueError("A version is asked for by its number or by a label: pass one of them.")
        if self.timeout <= 0 or self.batch_size < 1:
            raise ValueError(
                f"timeout must be above 0 and batch_size 1 or more; were {self.timeout}, {self.batch_size}."
            )
        if not 0 <= self.retries <= 4:  # gRPC tries 5 times at most
            raise ValueError(f"retries must be between 0 and 4; was {self.retries}.")
        if (self.certificate is None) != (self.key is None):
            raise ValueError("A client's certificate and its key go together: pass both.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a URL names.

    Attributes:
        rest: Whether it is REST; else gRPC.
        secure: Whether over TLS.
        address: Host and port.
        model: The name of the model.
        version: The number of a version, if it names one.
        label: A label of a version, if it names one.
    """

    rest: bool
    secure: bool
    address: str
    model: str
    version: int | None = None
    label: str | None = None

    def choose(self, options: ClientOptions) -> ClientOptions:
        """Options for the version that it names.

        Raises:
            ValueError: If the options name one, too.
        """
        if self.version is None and self.label is None:
            return options
        if options.version is not None or options.label is not None:
            raise ValueError("The URL says which version to ask, and so do the options: leave it out of one of them.")
        return replace(options, version=self.version, label=self.label)


def parse_url(url: str, model: str | None) -> Target:
    """Read a URL such as http://localhost:8501/v1/models/intents, or grpc://localhost:8500 with a model.

    Raises:
        ValueError: If it is no such URL, or names no model where none is passed.

    Example:
        >>> parse_url("http://localhost:8501/v1/models/intents:predict", None).model
        'intents'
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https", "grpc", "grpcs") or not parts.hostname:
        raise ValueError(
            f"{url!r} is no URL of a server: pass one such as http://localhost:8501/v1/models/intents or "
            "grpc://localhost:8500/intents."
        )
    found = _PATH.fullmatch(parts.path)
    if found is None:
        raise ValueError(f"{url!r} is no URL of a model: its path should be like /v1/models/intents/versions/3.")
    inside, version, label = found.groups()
    name = model or unquote(inside or "")
    if not name:
        raise ValueError(f"{url!r} names no model: append its name, such as {url.rstrip('/')}/intents.")
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme, 8500)
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return Target(
        rest=parts.scheme.startswith("http"),
        secure=parts.scheme.endswith("s"),
        address=f"{host}:{port}",
        model=name,
        version=int(version) if version else None,
        label=unquote(label) if label else None,
    )
