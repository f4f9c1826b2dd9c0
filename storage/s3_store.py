"""The object store in an S3 bucket: one request for each put, read and delete, none of which waits for ever.

Knows no image and no row. Credentials come from boto3's usual chain. Imported only where a bucket is used, for boto3
takes a quarter of a second and some 40 MiB.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from types import SimpleNamespace
from typing import IO, Any

from boto3.s3.transfer import TransferConfig  # type: ignore[import-untyped]
from botocore.config import Config  # type: ignore[import-untyped]
from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]
from django.core.files.base import File
from storages.backends.s3 import S3Storage  # type: ignore[import-untyped]

# A request that gets no answer is sent three times, so it ends within 20 seconds: before the lease of an attempt
# would, and before most load balancers give a client up.
CONNECT_SECONDS = 2
READ_SECONDS = 5
ATTEMPT_COUNT = 3
# More than any process has threads.
MAX_CONNECTIONS = 32
# Over every object, so that none is uploaded in parts, of which a killed worker would leave some that no listing shows.
PART_BYTE_COUNT = 1024**3


class ObjectStoreFailed(OSError):
    """The bucket refused a request, or did not answer it in time."""


class S3Store(S3Storage):  # type: ignore[misc]
    """django-storages' S3, with bounds on time and connections, and failures that are OSErrors as a disk's are."""

    def __init__(self, *, endpoint_url: str | None = None, **options: Any) -> None:
        super().__init__(
            endpoint_url=endpoint_url,
            # Names are random, so nothing is asked for before a put.
            file_overwrite=True,
            querystring_auth=False,
            default_acl=None,
            client_config=_client_config(endpoint_url),
            transfer_config=TransferConfig(use_threads=False, multipart_threshold=PART_BYTE_COUNT),
            **options,
        )
        # One client for all threads, as botocore allows. The base class makes one for each, of a tenth of a second and
        # 15 MiB.
        self._connections = SimpleNamespace()

    def delete(self, name: str) -> None:
        """Says nothing of an object that is not there, but does of a bucket that is not."""
        with suppress(FileNotFoundError), _os_errors(name):
            self._client.delete_object(Bucket=self.bucket_name, Key=self._normalize_name(name))

    def listdir(self, path: str) -> tuple[list[str], list[str]]:
        """Names of folders and of objects; a request for each thousand."""
        with _os_errors(path):
            folders, objects = super().listdir(path)
            return folders, objects

    def get_modified_time(self, name: str) -> datetime:
        """The bucket's time; one request."""
        with _os_errors(name):
            modified_at: datetime = super().get_modified_time(name)
            return modified_at

    def _open(self, name: str, mode: str = "rb") -> "File[bytes]":
        # The base class asks for the object's size first, and then reads all of it whatever that is.
        if mode != "rb":
            raise ValueError("An object is opened to be read.")
        with _os_errors(name):
            reply = self._client.get_object(Bucket=self.bucket_name, Key=self._normalize_name(name))
        return _Object(reply["Body"], name)

    def _save(self, name: str, content: "File[Any]") -> str:
        with _os_errors(name):
            saved_name: str = super()._save(name, content)
            return saved_name

    @property
    def _client(self) -> Any:
        return self.connection.meta.client


class _Object(File):  # type: ignore[type-arg]
    """An object whose bytes are still on their way."""

    def __init__(self, body: IO[bytes], name: str) -> None:
        super().__init__(body, name)
        self._body = body

    def read(self, byte_count: int = -1) -> bytes:
        """At most `byte_count` bytes, which must be said, for an object may be of any length."""
        assert byte_count >= 0
        content = bytearray()
        with _os_errors(str(self.name)):
            # A reply that breaks off reads as a short one, and only the empty read after it says so.
            while len(content) < byte_count and (chunk := self._body.read(byte_count - len(content))):
                content += chunk
        return bytes(content)


@contextmanager
def _os_errors(name: str) -> Iterator[None]:
    # Only classes and codes: what a bucket says in words may quote the request and its signature.
    try:
        yield
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code in {"NoSuchKey", "404"}:
            raise FileNotFoundError(name) from error
        raise ObjectStoreFailed(f"{error.operation_name}: {code}") from error
    except BotoCoreError as error:
        raise ObjectStoreFailed(type(error).__name__) from error


def _client_config(endpoint_url: str | None) -> Config:
    return Config(
        signature_version="s3v4",
        # The bytes are signed as well, so the bucket refuses what was changed on its way. More servers know that than
        # the checksums that boto3 would add.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3={"addressing_style": "path" if endpoint_url else "auto", "payload_signing_enabled": True},
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        retries={"mode": "standard", "total_max_attempts": ATTEMPT_COUNT},
        max_pool_connections=MAX_CONNECTIONS,
    )
