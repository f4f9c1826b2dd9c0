"""Certificates of a throwaway authority, and a proxy that ends TLS before a server that has none."""

import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

Connect = Callable[[], socket.socket]
Start = Callable[[socket.socket], None]

# The length of PostgreSQL's SSLRequest, and its code.
_POSTGRESQL_ASKS: Final = struct.pack("!ii", 8, 80877103)


def issue(folder: Path, *, host: str) -> tuple[Path, Path]:
    """Issue a certificate for the host. Return the files of its authority, and of itself with its key."""
    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority = _name("an authority")
    root = _sign(authority, authority, authority_key, authority_key, x509.BasicConstraints(True, None))
    alternative = x509.SubjectAlternativeName([x509.DNSName(host)])
    certificate = _sign(_name(host), authority, key, authority_key, alternative)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    authority_file, own_file = folder / f"{host}-authority.pem", folder / f"{host}.pem"
    authority_file.write_bytes(root)
    own_file.write_bytes(private + certificate)
    return authority_file, own_file


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common)])


def _sign(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    by: ec.EllipticCurvePrivateKey,
    extension: x509.ExtensionType,
) -> bytes:
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(
        issuer_name=issuer,
        subject_name=subject,
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=now - timedelta(days=1),
        not_valid_after=now + timedelta(days=1),
    ).add_extension(extension, critical=False)
    return builder.sign(by, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def start_at_once(_: socket.socket) -> None:
    """Start TLS with the first byte, as Redis does."""


def start_as_postgresql(client: socket.socket) -> None:
    """Start TLS after the client has asked for it, as PostgreSQL does."""
    assert client.recv(8, socket.MSG_WAITALL) == _POSTGRESQL_ASKS
    client.sendall(b"S")


@contextmanager
def ended_before(connect: Connect, *, certificate: Path, start: Start = start_at_once) -> Iterator[int]:
    """Listen with TLS on a port of localhost, pass everything on to a connection of its own, and yield the port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_accept, args=(listener, context, connect, start), daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        # A blocked accept does not notice that its socket is closed.
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def _accept(listener: socket.socket, context: ssl.SSLContext, connect: Connect, start: Start) -> None:
    with suppress(OSError):
        while True:
            client, _ = listener.accept()
            threading.Thread(target=_serve, args=(client, context, connect, start), daemon=True).start()


def _serve(client: socket.socket, context: ssl.SSLContext, connect: Connect, start: Start) -> None:
    # A client that refuses the certificate closes the connection.
    with suppress(OSError), client:
        start(client)
        _pass_on(context.wrap_socket(client, server_side=True), connect)


def _pass_on(outside: socket.socket, connect: Connect) -> None:
    with outside, connect() as inside:
        back = threading.Thread(target=_pump, args=(inside, outside), daemon=True)
        back.start()
        _pump(outside, inside)
        inside.shutdown(socket.SHUT_RDWR)
        back.join()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
