"""TLS and mutual TLS, for REST and gRPC, by the same certificates."""

import datetime
import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tfembed.serving.client import Client
from tfembed.serving.client_errors import UnreachableError
from tfembed.serving.client_options import ClientOptions
from tfembed.serving.server import Running, run_server
from tfembed.serving.settings import Settings
from tfembed.serving.tls import TlsOptions, read_pem_files, read_ssl_config


@dataclass(frozen=True)
class Issued:
    """A key and a certificate, as files and to issue others with."""

    key: Path
    certificate: Path
    private: ec.EllipticCurvePrivateKey
    signed: x509.Certificate


def issue(folder: Path, name: str, issuer: Issued | None) -> Issued:
    private = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    day = datetime.timedelta(days=1)
    signer = private if issuer is None else issuer.private
    rest = dict.fromkeys(("content_commitment", "key_encipherment", "data_encipherment", "key_agreement"), False)
    only = dict.fromkeys(("crl_sign", "encipher_only", "decipher_only"), False)
    usage = x509.KeyUsage(digital_signature=True, key_cert_sign=issuer is None, **rest, **only)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    signed = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer.signed.subject)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - day)
        .not_valid_after(now + day)
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(private.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .add_extension(usage, critical=True)
        .sign(signer, hashes.SHA256())
    )
    key, certificate = folder / f"{name}.key", folder / f"{name}.pem"
    encoding = serialization.Encoding.PEM
    plain = serialization.NoEncryption()
    key.write_bytes(private.private_bytes(encoding, serialization.PrivateFormat.PKCS8, plain))
    certificate.write_bytes(signed.public_bytes(encoding))
    return Issued(key, certificate, private, signed)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Issued:
    return issue(tmp_path_factory.mktemp("ca"), "authority", None)


@pytest.fixture(scope="module")
def server_side(authority: Issued) -> Issued:
    return issue(authority.key.parent, "server", authority)


@pytest.fixture(scope="module", params=["tls", "mutual"])
def secured(models: Path, authority: Issued, server_side: Issued, request: pytest.FixtureRequest) -> Iterator[Running]:
    client_authority = authority.certificate if request.param == "mutual" else None
    tls = read_pem_files(server_side.certificate, server_side.key, client_authority)
    settings = Settings(model_base_path=models / "half_plus_two", model_name="half", port=0, rest_api_port=0, tls=tls)
    with run_server(settings) as running:
        yield running


def urls(running: Running) -> list[str]:
    return [running.rest_url, f"grpcs://{running.grpc_address}"]


def test_with_certificates(secured: Running, authority: Issued) -> None:
    """Who trusts the authority, and is trusted where that is asked for, is answered over both."""
    own = issue(authority.key.parent, "client", authority)
    options = ClientOptions(certificate_authority=authority.certificate, certificate=own.certificate, key=own.key)
    for url in urls(secured):
        with Client(url, "half", options) as client:
            assert client.predict([[2.0]])["y"].tolist() == [[3.0]]


def test_without_certificates(secured: Running, authority: Issued, request: pytest.FixtureRequest) -> None:
    """Without a certificate of their own, clients are only answered where none is asked for."""
    mutual = "mutual" in request.node.name
    options = ClientOptions(certificate_authority=authority.certificate, retries=0, timeout=5)
    for url in urls(secured):
        with Client(url, "half", options) as client:
            if mutual:
                with pytest.raises(UnreachableError):
                    client.status()
            else:
                assert client.status()[0]["version"] == 123


def test_an_unknown_authority(secured: Running, tmp_path: Path) -> None:
    """Who does not know the authority does not talk to the server; nor does who speaks without TLS."""
    other = issue(tmp_path, "other", None)
    options = ClientOptions(certificate_authority=other.certificate, retries=0, timeout=5)
    for url in urls(secured):
        with Client(url, "half", options) as client, pytest.raises(UnreachableError) as error:
            client.status()
        assert "\n" not in str(error.value)
        if url == secured.rest_url:
            assert "certificate verify failed" in str(error.value)
            assert "Max retries" not in str(error.value)
    plain = secured.rest_url.replace("https", "http")
    with Client(plain, "half", ClientOptions(retries=0, timeout=5)) as client, pytest.raises(Exception, match=r"."):
        client.status()


def test_ssl_config_file(server_side: Issued, authority: Issued, tmp_path: Path) -> None:
    """TensorFlow Serving's file holds everything in one text proto."""
    parts = (
        ("server_key", server_side.key),
        ("server_cert", server_side.certificate),
        ("custom_ca", authority.certificate),
    )
    lines = [f"{name}: {file.read_text()!r}" for name, file in parts]
    (tmp_path / "ssl.config").write_text("\n".join([*lines, "client_verify: true"]))
    assert read_ssl_config(tmp_path / "ssl.config") == read_pem_files(
        server_side.certificate, server_side.key, authority.certificate
    )


def test_what_does_not_go_together(server_side: Issued, authority: Issued, tmp_path: Path) -> None:
    """TLS needs both halves, that fit; clients are verified by somebody."""
    with pytest.raises(ValueError, match="needs the key and the certificate"):
        TlsOptions(key=b"", certificate=b"x")
    with pytest.raises(ValueError, match="cannot be verified"):
        TlsOptions(key=b"x", certificate=b"x", verify_clients=True)
    with pytest.raises(ValueError, match="cannot use its certificate and its key"):
        TlsOptions(key=b"secret", certificate=b"x")
    with pytest.raises(ValueError, match="cannot use its certificate and its key: KEY_VALUES_MISMATCH"):
        read_pem_files(server_side.certificate, authority.key, None)
    (tmp_path / "bad.pem").write_text("no PEM")
    with pytest.raises(ValueError, match="cannot use the certificate of who signs clients"):
        read_pem_files(server_side.certificate, server_side.key, tmp_path / "bad.pem")
    assert "PRIVATE" not in repr(read_pem_files(server_side.certificate, server_side.key, None))
