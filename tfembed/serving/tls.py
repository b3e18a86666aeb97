"""TLS for REST and gRPC, with certificates of clients if they are asked for."""

import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfembed.serving.protos import SSLConfig, read_text_proto


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class TlsOptions:
    """Keys and certificates, as PEM.

    Attributes:
        key: Of the server.
        certificate: Of the server, with those that lead to its authority.
        client_authority: Who signs clients' certificates; empty to trust nobody.
        verify_clients: Whether clients must have a certificate.
    """

    key: bytes
    certificate: bytes
    client_authority: bytes = b""
    verify_clients: bool = False

    def __post_init__(self) -> None:
        """Check the values."""
        if not self.key or not self.certificate:
            raise ValueError("TLS needs the key and the certificate of the server.")
        if self.verify_clients and not self.client_authority:
            raise ValueError("Clients cannot be verified without the certificate of who signs theirs.")
        self._check()

    def _check(self) -> None:
        """Read them now: gRPC says nothing of what is wrong with them."""
        context, what = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), "its certificate and its key"
        with self.files() as files:
            try:
                # A key that is encrypted would otherwise ask the terminal for a password.
                context.load_cert_chain(files["ssl_certfile"], files["ssl_keyfile"], password=lambda: b"")
                what = "the certificate of who signs clients' ones"
                if self.client_authority:
                    context.load_verify_locations(files["ssl_ca_certs"])
            except ssl.SSLError as error:
                why = error.reason or "no PEM, or they do not belong together"
                raise ValueError(
                    f"TLS cannot use {what}: {why}. Pass PEM files, the key without a password."
                ) from error

    def grpc_credentials(self) -> Any:
        """For gRPC's add_secure_port."""
        import grpc

        pairs = [(self.key, self.certificate)]
        return grpc.ssl_server_credentials(pairs, self.client_authority or None, self.verify_clients)

    @contextmanager
    def files(self) -> Iterator[dict[str, Any]]:
        """For uvicorn: options that name files, which live as long as the context; only their owner may read them."""
        with tempfile.TemporaryDirectory(prefix="tfembed-tls-") as folder:
            options: dict[str, Any] = {}
            parts = (("ssl_keyfile", self.key), ("ssl_certfile", self.certificate))
            for name, content in (*parts, ("ssl_ca_certs", self.client_authority)):
                if content:
                    file = Path(folder) / name
                    file.touch(mode=0o600)
                    file.write_bytes(content)
                    options[name] = str(file)
            options["ssl_cert_reqs"] = ssl.CERT_REQUIRED if self.verify_clients else ssl.CERT_NONE
            yield options


def read_ssl_config(file: Path) -> TlsOptions:
    """The options in an SSLConfig, TensorFlow Serving's ssl_config_file.

    Raises:
        ValueError: If the file is wrong.
        OSError: If it cannot be read.
    """
    config = read_text_proto(file, SSLConfig())
    return TlsOptions(
        key=config.server_key.encode(),
        certificate=config.server_cert.encode(),
        client_authority=config.custom_ca.encode(),
        verify_clients=config.client_verify,
    )


def read_pem_files(certificate: Path, key: Path, client_authority: Path | None) -> TlsOptions:
    """Options from files; with an authority, clients must have a certificate of it.

    Raises:
        OSError: If a file cannot be read.
    """
    return TlsOptions(
        key=key.read_bytes(),
        certificate=certificate.read_bytes(),
        client_authority=b"" if client_authority is None else client_authority.read_bytes(),
        verify_clients=client_authority is not None,
    )
