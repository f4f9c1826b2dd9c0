"""A service of tokens (STS) that exchanges the token of an identity for credentials, and notes what it saw."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final
from urllib.parse import parse_qs

ROLE: Final = "arn:aws:iam::123456789012:role/zekron"
# Shorter than the ten minutes before their end in which botocore uses no credentials without asking for others.
LIFE: Final = timedelta(minutes=5)
_REPLY: Final = """<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
<AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>{key}</AccessKeyId>
<SecretAccessKey>{secret}</SecretAccessKey><SessionToken>a session</SessionToken><Expiration>{until}</Expiration>
</Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"""


class TokenService(ThreadingHTTPServer):
    """The service on a port of localhost. It gives the logins out in turn, and the last one ever after."""

    daemon_threads = True

    def __init__(self, logins: Sequence[tuple[str, str]]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.logins = list(logins)
        # The role and the token of each request.
        self.asked: list[tuple[str, str]] = []
        self.released = threading.Event()
        self.released.set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        service = self.server
        assert isinstance(service, TokenService)
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        assert form["Action"] == ["AssumeRoleWithWebIdentity"]
        service.asked.append((form["RoleArn"][0], form["WebIdentityToken"][0]))
        service.released.wait()
        key, secret = service.logins.pop(0) if len(service.logins) > 1 else service.logins[0]
        until = (datetime.now(UTC) + LIFE).isoformat()
        content = _REPLY.format(key=key, secret=secret, until=until).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/xml")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *_: object) -> None:
        """Write nothing to the standard error."""


@contextmanager
def running(logins: Sequence[tuple[str, str]]) -> Iterator[TokenService]:
    """Run the service while the block runs."""
    with TokenService(logins) as service:
        thread = threading.Thread(target=service.serve_forever, daemon=True)
        thread.start()
        try:
            yield service
        finally:
            service.released.set()
            service.shutdown()
            thread.join()
