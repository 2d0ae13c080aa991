"""Redis over TLS: the server's certificate is checked."""

import datetime as dt
import ipaddress

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from redis_server import RedisServer
from server_process import free_port

from kernelckpt import open_storage
from kernelckpt.errors import StorageUnavailableError

pytestmark = pytest.mark.servers


def make_certificate(folder):
    """A certificate for 127.0.0.1 that is its own authority, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "kernelckpt tests")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    form, encoding = serialization.PrivateFormat.PKCS8, serialization.Encoding.PEM
    (folder / "key.pem").write_bytes(key.private_bytes(encoding, form, plain))
    (folder / "cert.pem").write_bytes(certificate.public_bytes(encoding))


async def test_a_server_is_believed_when_its_certificate_is_right(tmp_path):
    make_certificate(tmp_path)
    tls_port = free_port()
    server = RedisServer(
        tmp_path,
        tls_port=tls_port,
        tls_cert_file=tmp_path / "cert.pem",
        tls_key_file=tmp_path / "key.pem",
        tls_auth_clients="no",
    )
    server.start()
    try:
        url = f"rediss://127.0.0.1:{tls_port}/0?prefix=mine"
        async with await open_storage(f"{url}&ssl_ca_certs={tmp_path / 'cert.pem'}") as storage:
            assert storage.name == url
            claim = await storage.acquire("run", "test")
            await storage.append("run", claim.epoch, 1, [b"x"], b"")
            assert await storage.read("run", claim.epoch, 1) == b"x"
        with pytest.raises(StorageUnavailableError, match="CERTIFICATE_VERIFY_FAILED"):
            await open_storage(url)
    finally:
        server.stop()
