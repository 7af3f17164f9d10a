"""Requests to a store that speaks S3, by s3fs, and what their errors mean."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import aiohttp
import s3fs
from botocore.exceptions import BotoCoreError, ClientError, ConnectionError, HTTPClientError, ParamValidationError

from kseg_core.errors import UsageError

_CONNECT_SECONDS = 10  # each of several tries: nothing that is there needs longer
_CONNECTIONS = 64  # at once of a process: more than it has threads

_MISSING = {"NoSuchKey", "NoSuchVersion", "404"}
_DENIED = {"AccessDenied", "AllAccessDisabled", "AccountProblem", "403", "401", "InvalidAccessKeyId"} | {
    "SignatureDoesNotMatch",
    "ExpiredToken",
    "InvalidToken",
    "TokenRefreshRequired",
    "RequestTimeTooSkewed",
}
_UNREACHED = (ConnectionError, HTTPClientError, TimeoutError, aiohttp.ClientError)
_CONDITION_FAILED = {"PreconditionFailed", "ConditionalRequestConflict", "412"}


@lru_cache(maxsize=1)
def is_unsigned(_process: int) -> bool:
    """Whether there are no credentials anywhere that AWS's tools look."""
    import botocore.session

    return botocore.session.get_session().get_credentials() is None


@lru_cache(maxsize=1)
def connected(process: int) -> s3fs.S3FileSystem:
    """The connections of this process: a child's cannot be its parent's."""
    how = {"connect_timeout": _CONNECT_SECONDS, "max_pool_connections": _CONNECTIONS}
    return s3fs.S3FileSystem(
        anon=is_unsigned(process),
        config_kwargs=how,
        max_concurrency=1,  # a file in one request: with more it asks for the size of each first
        use_listings_cache=False,
        skip_instance_cache=True,
    )


def store_of(path: str) -> s3fs.S3FileSystem:
    """The connections of this process, to be used within `told`."""
    with told(path):
        return connected(os.getpid())


def ask(path: str, method: str, **request: Any) -> dict[str, Any]:
    """One request about a bucket or an object of it."""
    with told(path):
        answer: dict[str, Any] = connected(os.getpid()).call_s3(method, **request)
        return answer


@contextmanager
def told(path: str) -> Iterator[None]:
    """Errors in plain words, as an operating system gives them."""
    try:
        yield
    except (OSError, BotoCoreError, ClientError, aiohttp.ClientError) as error:
        raise as_of_a_disk(path, error) from error


def as_of_a_disk(path: str, error: Exception) -> Exception:
    """An error as an operating system would give it, or as wrong usage."""
    said = error if isinstance(error, ClientError) else error.__cause__
    if isinstance(said, ClientError):
        code, message = said.response["Error"].get("Code", ""), said.response["Error"].get("Message", "")
        if code in _MISSING:
            return FileNotFoundError(errno.ENOENT, "no such object", path)
        if code == "NoSuchBucket":
            return FileNotFoundError(errno.ENOENT, "no such bucket", path)
        if code in _CONDITION_FAILED:
            return FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
        if code in _DENIED:
            unsigned = "; no AWS credentials were found" if is_unsigned(os.getpid()) else ""
            return PermissionError(errno.EACCES, f"access denied by the object store ({code}{unsigned})", path)
        return OSError(errno.EIO, f"the object store says: {code} {message}".strip(), path)
    if isinstance(error, _UNREACHED):
        return OSError(errno.EHOSTUNREACH, f"the object store cannot be reached ({_one_line(error)})", path)
    if isinstance(error, ParamValidationError):  # such as of a bucket's name
        return OSError(errno.EINVAL, "not the address of an object", path)
    if isinstance(error, BotoCoreError):
        return UsageError(f"the settings for AWS cannot be used: {_one_line(error)}")
    return error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def split(path: str) -> tuple[str, str]:
    """Bucket and key of an address."""
    bucket, _, key = path.removeprefix("s3://").partition("/")
    if not bucket:
        raise FileNotFoundError(errno.ENOENT, "an address without a bucket", path)
    return bucket, key.rstrip("/")
