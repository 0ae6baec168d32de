"""A blob store in a bucket of S3, or of a server that speaks its language."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import parse_qsl, urlsplit

from boto3.session import Session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError, NoCredentialsError

from autocelery._blobs.addresses import short, without_password
from autocelery._blobs.objects import Stored
from autocelery._blobs.per_process import PerProcess
from autocelery._blobs.protocol import in_parts
from autocelery.errors import ConfigurationError, StoreFull, StoreUnavailable

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client
    from types_boto3_s3.type_defs import CopySourceTypeDef

R = TypeVar("R")

CONNECT_TIMEOUT = 3.0
READ_TIMEOUT = 8.0
#: Amazon asks to come again at times (503 Slow Down).
ATTEMPTS = 3
#: One blob is some kilobytes, so what counts is how many round trips run side by side.
AT_ONCE = 16
#: What one DeleteObjects takes.
_DELETED_AT_ONCE = 1000
_OPTIONS = frozenset({"endpoint_url", "region"})
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
_ABSENT = frozenset({"404", "NoSuchKey"})
_NO_ROOM = frozenset(
    {"InsufficientCapacity", "QuotaExceeded", "ServiceQuotaExceeded", "XMinioStorageFull"}
    | {"XMinioAdminBucketQuotaExceeded", "EntityTooLarge"}
)
_INSUFFICIENT_STORAGE = 507


class Bucket:
    """The objects of a bucket, below a prefix. Owns a client with its connections, one a process.

    Credentials, region and endpoint are found as boto3 finds them: in the
    ``AWS_*`` variables, the files in ``~/.aws``, the machine's role.

    Args:
        url: ``s3://bucket/prefix``, with ``?endpoint_url=`` and ``region=`` if nothing else gives them.

    Raises:
        ConfigurationError: the address makes no sense.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        #: The address, without what nobody should see.
        self.url = without_password(url)
        self._bucket = parts.netloc
        self._prefix = f"{parts.path.strip('/')}/".lstrip("/")
        self._options = dict(parse_qsl(parts.query))
        wrong = self._options.keys() - _OPTIONS
        if not self._bucket or "@" in self._bucket or wrong:
            raise ConfigurationError(
                "A blob store in S3 is s3://bucket/prefix, with ?endpoint_url=... and &region=... if needed. "
                "Credentials are not in the address: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
            )
        self._client = PerProcess(self._connect)

    @property
    def at_once(self) -> int:
        """How many connections there are."""
        return AT_ONCE

    @property
    def seconds(self) -> None:
        """The client bounds its own times."""

    def written(self, key: str) -> float | None:
        """Return when the object was last modified, by HEAD."""
        client, key = self._client.get(), self._prefix + key
        head = _unless_absent(lambda: client.head_object(Bucket=self._bucket, Key=key))
        return head["LastModified"].timestamp() if head is not None else None

    def read(self, key: str) -> bytes | None:
        """Return the object."""
        client, key = self._client.get(), self._prefix + key
        got = _unless_absent(lambda: client.get_object(Bucket=self._bucket, Key=key))
        return got["Body"].read() if got is not None else None

    def write(self, key: str, value: bytes) -> None:
        """Put the object, which nobody sees before it is whole."""
        self._client.get().put_object(Bucket=self._bucket, Key=self._prefix + key, Body=value)

    def renew(self, key: str) -> None:
        """Copy the object onto itself, which S3 does only where metadata is said to change."""
        client, key = self._client.get(), self._prefix + key
        source: CopySourceTypeDef = {"Bucket": self._bucket, "Key": key}
        _unless_absent(
            lambda: client.copy_object(
                Bucket=self._bucket, Key=key, CopySource=source, MetadataDirective="REPLACE"
            )
        )

    def remove(self, keys: Collection[str]) -> None:
        """Delete the objects, a thousand a round trip."""
        for part in in_parts(keys, _DELETED_AT_ONCE):
            told = self._client.get().delete_objects(
                Bucket=self._bucket,
                Delete={"Objects": [{"Key": self._prefix + key} for key in part], "Quiet": True},
            )
            if told.get("Errors"):
                raise ClientError({"Error": {"Code": told["Errors"][0].get("Code", "")}}, "DeleteObjects")

    def below(self, folder: str) -> Iterable[Stored]:
        """List the objects, a thousand a round trip."""
        prefix = f"{self._prefix}{folder}/" if folder else self._prefix
        pages = (
            self._client.get().get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix)
        )
        for page in pages:
            for each in page.get("Contents", []):
                yield Stored(each["Key"].removeprefix(self._prefix), each["LastModified"].timestamp())

    @contextmanager
    def reaching(self) -> Iterator[None]:
        """Raise a `StoreError` for what boto3 raises."""
        try:
            yield
        except ClientError as error:
            raise self._refused(error) from None
        except NoCredentialsError:
            raise StoreUnavailable(
                f"The blob store {self.url} cannot be used: no credentials were found. Set AWS_ACCESS_KEY_ID "
                "and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, here and on the workers."
            ) from None
        except (BotoCoreError, HTTPClientError, OSError, ValueError) as error:
            raise StoreUnavailable(
                f"The blob store {self.url} cannot be used ({short(str(error))}). Check the bucket's address, "
                "endpoint and region, or name another store in AUTOCELERY_STORE."
            ) from None

    def close(self) -> None:
        """Close this process's connections."""
        client = self._client.drop()
        if client is not None:
            client.close()

    def _refused(self, error: ClientError) -> StoreFull | StoreUnavailable:
        code = error.response.get("Error", {}).get("Code", "")
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        if code in _NO_ROOM or status == _INSUFFICIENT_STORAGE:
            return StoreFull(
                f"The blob store {self.url} has no room ({code}). Free some, raise the bucket's quota, or "
                "name another store in AUTOCELERY_STORE."
            )
        return StoreUnavailable(
            f"The blob store {self.url} cannot be used ({short(str(error))}). Check that the bucket exists and "
            "that you may list, get, put and delete its objects, or name another store in AUTOCELERY_STORE."
        )

    def _connect(self) -> S3Client:
        """Return a client of a session of its own: boto3's clients are safe for threads, its sessions are not."""
        endpoint = self._options.get("endpoint_url")
        # Servers other than Amazon's seldom have a DNS name for each bucket, and may not know new checksums.
        is_other = bool(endpoint or any(os.environ.get(name) for name in _ENDPOINTS))
        config = Config(
            connect_timeout=CONNECT_TIMEOUT,
            read_timeout=READ_TIMEOUT,
            retries={"total_max_attempts": ATTEMPTS, "mode": "standard"},
            max_pool_connections=AT_ONCE,
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            s3={"addressing_style": "path"} if is_other else {},
        )
        try:
            return Session().client(
                "s3", endpoint_url=endpoint, region_name=self._options.get("region"), config=config
            )
        except ValueError as error:
            raise ConfigurationError(f"The blob store's address {self.url} is wrong: {error}") from None


def _unless_absent(call: Callable[[], R]) -> R | None:
    try:
        return call()
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") in _ABSENT:
            return None
        raise
