"""The object store in an S3 bucket: one request with bounded time for each put, read and delete.

The module knows no image and no row. Credentials come from boto3's usual chain. It is imported only where a bucket is
used, because importing boto3 takes a quarter of a second and about 40 MiB.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from types import SimpleNamespace
from typing import IO, Any, Final

from boto3.s3.transfer import TransferConfig  # type: ignore[import-untyped]
from botocore.config import Config  # type: ignore[import-untyped]
from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]
from django.core.files.base import File
from storages.backends.s3 import S3Storage  # type: ignore[import-untyped]

# A request without answer is sent three times and ends within 20 seconds. That is shorter than the lease of an attempt
# and than the timeout of most load balancers.
CONNECT_SECONDS: Final = 2
READ_SECONDS: Final = 5
MAX_ATTEMPT_COUNT: Final = 3
# This is more than the threads of any process.
MAX_CONNECTIONS: Final = 32
# This is larger than any object, so no object is uploaded in parts. A killed worker would leave parts that no listing
# shows.
PART_BYTE_COUNT: Final = 1024**3


class ObjectStoreFailed(OSError):
    """The bucket refused a request or did not answer in time."""


class S3Store(S3Storage):  # type: ignore[misc]
    """S3 storage of django-storages with bounded time and connections.

    Its errors are OSErrors, like a disk's.
    """

    def __init__(self, *, endpoint_url: str | None = None, **options: Any) -> None:
        super().__init__(
            endpoint_url=endpoint_url,
            # Names are random, so no request has to check for an existing object before a put.
            file_overwrite=True,
            querystring_auth=False,
            default_acl=None,
            client_config=_client_config(endpoint_url),
            transfer_config=TransferConfig(use_threads=False, multipart_threshold=PART_BYTE_COUNT),
            **options,
        )
        # All threads share one client, which botocore allows. The base class makes one for each thread, which takes a
        # tenth of a second and 15 MiB.
        self._connections = SimpleNamespace()

    def delete(self, name: str) -> None:
        """Delete the object. A missing object is no error, and a missing bucket raises ObjectStoreFailed."""
        with suppress(FileNotFoundError), _os_errors(name):
            self._client.delete_object(Bucket=self.bucket_name, Key=self._normalize_name(name))

    def listdir(self, path: str) -> tuple[list[str], list[str]]:
        """Return the names of folders and of objects. Each thousand names take one request."""
        with _os_errors(path):
            folders, objects = super().listdir(path)
            return folders, objects

    def get_modified_time(self, name: str) -> datetime:
        """Return the time of the last change by the bucket's clock. Takes one request."""
        with _os_errors(name):
            modified_at: datetime = super().get_modified_time(name)
            return modified_at

    def _create_session(self) -> Any:
        session = super()._create_session()
        # A refresh of credentials is a request too, to another service, and must not hang a request to the bucket.
        session._session.set_default_client_config(Config(**_bounds()))
        return session

    def _open(self, name: str, mode: str = "rb") -> "File[bytes]":
        # The base class first requests the object's size and then reads the whole object, however large it is.
        if mode != "rb":
            raise ValueError(f"mode must be 'rb', not {mode!r}: an object is only opened for reading.")
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
    """An open object whose bytes are read from the network."""

    def __init__(self, body: IO[bytes], name: str) -> None:
        super().__init__(body, name)
        self._body = body

    def read(self, byte_count: int = -1) -> bytes:
        """Read at most `byte_count` bytes. The limit is required, because an object may have any length."""
        assert byte_count >= 0
        content = bytearray()
        with _os_errors(str(self.name)):
            # A response that breaks off looks like a short read, and only the empty read after it raises the error.
            while len(content) < byte_count and (chunk := self._body.read(byte_count - len(content))):
                content += chunk
        return bytes(content)


@contextmanager
def _os_errors(name: str) -> Iterator[None]:
    # The message holds only classes and codes, because a bucket's own text may quote the request and its signature.
    try:
        yield
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code in {"NoSuchKey", "404"}:
            raise FileNotFoundError(name) from error
        raise ObjectStoreFailed(f"{error.operation_name}: {code}") from error
    except (BotoCoreError, OSError) as error:
        # A file of credentials may be missing, which must not look like a missing object.
        raise ObjectStoreFailed(type(error).__name__) from error


def _client_config(endpoint_url: str | None) -> Config:
    return Config(
        signature_version="s3v4",
        # The payload is signed as well, so the bucket refuses bytes that changed on their way. More servers support
        # that than the checksums that boto3 would add.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3={"addressing_style": "path" if endpoint_url else "auto", "payload_signing_enabled": True},
        max_pool_connections=MAX_CONNECTIONS,
        **_bounds(),
    )


def _bounds() -> dict[str, Any]:
    return {
        "connect_timeout": CONNECT_SECONDS,
        "read_timeout": READ_SECONDS,
        "retries": {"mode": "standard", "total_max_attempts": MAX_ATTEMPT_COUNT},
    }
