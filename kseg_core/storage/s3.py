"""Objects of a store that speaks S3, by s3fs. Loaded only where a path begins with ``s3://``.

Endpoint, credentials, region and retries are those of AWS's own environment variables and files
(``AWS_ENDPOINT_URL``, ``AWS_PROFILE``, ``~/.aws``). Where there are no credentials, requests are not signed, which is
enough for public buckets. Nothing is remembered from one request to the next: other processes write to the same store.

A function without a description is described under its name in `storage`.
"""

# ruff: noqa: D103 - as said above

from __future__ import annotations

import errno
import hashlib
import os
import stat as modes
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import lru_cache
from typing import Any, BinaryIO, cast

import aiohttp
import s3fs
from botocore.exceptions import BotoCoreError, ClientError, ConnectionError, HTTPClientError, ParamValidationError

from kseg_core.errors import UsageError
from kseg_core.storage import SCHEME, Listed
from kseg_core.storage.ranges import Range, RangeFile

_CONNECT_SECONDS = 10  # each of several tries: nothing that is there needs longer
_CONNECTIONS = 64  # at once of a process: more than it has threads
_DELETED_AT_ONCE = 1000  # the most that S3 takes in one request

_MISSING = {"NoSuchKey", "NoSuchVersion", "404"}
_DENIED = {
    "AccessDenied", "AllAccessDisabled", "AccountProblem", "403", "401", "InvalidAccessKeyId", "SignatureDoesNotMatch",
    "ExpiredToken", "InvalidToken", "TokenRefreshRequired", "RequestTimeTooSkewed",
}  # fmt: skip
_UNREACHED = (ConnectionError, HTTPClientError, TimeoutError, aiohttp.ClientError)
_CONDITION_FAILED = {"PreconditionFailed", "ConditionalRequestConflict", "412"}

_FOLDER = os.stat_result((modes.S_IFDIR | 0o755, 0, 0, 1, 0, 0, 0, 0, 0, 0))


# Requests, and what their errors mean


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


def request(path: str, method: str, **parameters: Any) -> dict[str, Any]:
    """One request about a bucket or an object of it."""
    with plain_errors(path):
        answer: dict[str, Any] = connected(os.getpid()).call_s3(method, **parameters)
        return answer


@contextmanager
def plain_errors(path: str) -> Iterator[None]:
    """Errors in plain words, as an operating system gives them."""
    try:
        yield
    except (OSError, BotoCoreError, ClientError, aiohttp.ClientError) as error:
        raise _as_of_a_disk(path, error) from error


def _as_of_a_disk(path: str, error: Exception) -> Exception:
    """An error as an operating system would give it, or as wrong usage."""
    cause = error if isinstance(error, ClientError) else error.__cause__
    if isinstance(cause, ClientError):
        code, message = cause.response["Error"].get("Code", ""), cause.response["Error"].get("Message", "")
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
    line = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, _UNREACHED):
        return OSError(errno.EHOSTUNREACH, f"the object store cannot be reached ({line})", path)
    if isinstance(error, ParamValidationError):  # such as of a bucket's name
        return OSError(errno.EINVAL, "not the address of an object", path)
    return UsageError(f"the settings for AWS cannot be used: {line}") if isinstance(error, BotoCoreError) else error


def _split(path: str) -> tuple[str, str]:
    """Bucket and key of an address."""
    bucket, _, key = path.removeprefix(SCHEME).partition("/")
    if not bucket:
        raise FileNotFoundError(errno.ENOENT, "an address without a bucket", path)
    return bucket, key.rstrip("/")


def _of_object(path: str, method: str, **parameters: Any) -> dict[str, Any]:
    bucket, key = _split(path)
    return request(path, method, Bucket=bucket, Key=key, **parameters)


# Looking


def stat(path: str) -> os.stat_result:
    if _split(path)[1] and not path.endswith("/"):
        try:
            head = _of_object(path, "head_object")
            return _status(head["ContentLength"], head["LastModified"], head["ETag"])
        except FileNotFoundError:
            pass  # but perhaps the beginning of other names
    if not _begins_names(path):
        raise FileNotFoundError(errno.ENOENT, "no such object", path)
    return _FOLDER


def exists(path: str) -> bool:
    try:
        return bool(stat(path))
    except FileNotFoundError:
        return False


def is_dir(path: str) -> bool:
    try:
        return _begins_names(path)
    except FileNotFoundError:
        return False


def is_file(path: str) -> bool:
    try:
        return bool(_split(path)[1]) and bool(_of_object(path, "head_object"))
    except FileNotFoundError:
        return False


def _begins_names(path: str) -> bool:
    """Whether there are objects below a path; there is a bucket even where it is empty."""
    bucket, key = _split(path)
    page = request(path, "list_objects_v2", Bucket=bucket, Prefix=f"{key}/" if key else "", MaxKeys=1)
    return not key or bool(page.get("Contents"))


def _status(size: int, modified: datetime, etag: str) -> os.stat_result:
    seconds = int(modified.timestamp())
    fraction = int.from_bytes(hashlib.sha256(etag.strip('"').encode()).digest()[:8]) % 10**9
    times = dict.fromkeys(("st_atime", "st_mtime", "st_ctime"), seconds + fraction / 1e9)
    nanoseconds = dict.fromkeys(("st_atime_ns", "st_mtime_ns", "st_ctime_ns"), seconds * 10**9 + fraction)
    return os.stat_result((modes.S_IFREG | 0o644, 0, 0, 1, 0, 0, size, *[seconds] * 3), {**times, **nanoseconds})


@contextmanager
def scan(folder: str) -> Iterator[Iterator[Listed]]:
    yield _entries(folder.rstrip("/"))


def _entries(folder: str) -> Iterator[Listed]:
    bucket, key = _split(folder)
    start = f"{key}/" if key else ""
    for page in _pages(folder, Bucket=bucket, Prefix=start, Delimiter="/"):
        listed = [(each["Prefix"][:-1], _FOLDER) for each in page.get("CommonPrefixes", ())]
        listed += [
            (each["Key"], _status(each["Size"], each["LastModified"], each["ETag"]))
            for each in page.get("Contents", ())
        ]
        for name, status in ((key[len(start) :], status) for key, status in listed):
            if name:  # none has what two slashes in a row name, and an object that stands for the folder
                yield Listed(f"{folder}/{name}", name, status)


def _pages(path: str, **parameters: Any) -> Iterator[dict[str, Any]]:
    page = request(path, "list_objects_v2", **parameters)
    yield page
    while page.get("IsTruncated"):
        page = request(path, "list_objects_v2", **parameters, ContinuationToken=page["NextContinuationToken"])
        yield page


def _keys_below(path: str) -> list[str]:
    bucket, key = _split(path)
    return [each["Key"] for page in _pages(path, Bucket=bucket, Prefix=f"{key}/") for each in page.get("Contents", ())]


# Reading


def read(path: str) -> bytes:
    with plain_errors(path):
        content: bytes = connected(os.getpid()).cat_file("/".join(_split(path)))
        return content


def open_file(path: str) -> BinaryIO:
    size = int(_of_object(path, "head_object")["ContentLength"])
    address = "/".join(_split(path))

    def fetch(ranges: Sequence[Range]) -> Sequence[bytes]:
        starts, stops = zip(*ranges, strict=True)
        with plain_errors(path):
            store = connected(os.getpid())
            parts: list[Any] = store.cat_ranges([address] * len(starts), list(starts), list(stops))
        for part in parts:
            if isinstance(part, Exception):
                raise _as_of_a_disk(path, part) from part
        return parts

    return cast(BinaryIO, RangeFile(fetch, size))


def zarr_store(path: str) -> Any:
    """One that uses the connections of this process, each request in a thread of Zarr's."""
    from fsspec.implementations.asyn_wrapper import AsyncFileSystemWrapper
    from zarr.storage import FsspecStore

    with plain_errors(path):
        store = connected(os.getpid())
    return FsspecStore(AsyncFileSystemWrapper(store, asynchronous=True), path="/".join(_split(path)))


def read_tagged(path: str) -> tuple[bytes, str]:
    """An object and its ETag."""
    while True:
        etag = str(_of_object(path, "head_object")["ETag"])
        content = read(path)
        if str(_of_object(path, "head_object")["ETag"]) == etag:
            return content, etag


# Writing


def put(path: str, content: bytes, **condition: str) -> str:
    """Write an object, and return its ETag."""
    return str(_of_object(path, "put_object", Body=content, **condition)["ETag"])


def put_new(path: str, content: bytes) -> str:
    """Write an object that is not there yet, and return its ETag; of several that try, one does.

    Raises
    ------
    FileExistsError
        If it is.
    """
    return put(path, content, IfNoneMatch="*")


def put_in_place(path: str, content: bytes, etag: str) -> str:
    """Write an object in place of one that is still what it was, and return its new ETag.

    Raises
    ------
    FileExistsError
        If it is another.
    """
    return put(path, content, IfMatch=etag)


def remove_file(path: str) -> None:
    _of_object(path, "delete_object")


def remove_files(paths: Sequence[str]) -> None:
    _remove(paths[0], (_split(path)[1] for path in paths))


def remove_tree(path: str) -> None:
    own, keys = f"{_split(path)[1]}/zarr.json", _keys_below(path)
    _remove(path, (key for key in keys if key.endswith("/zarr.json") and key != own))
    _remove(path, (key for key in keys if not key.endswith("/zarr.json")))
    _remove(path, (key for key in keys if key == own))


def copy_tree(path: str, to: str) -> None:
    """The store itself copies, nothing passes through here."""
    (bucket, start), (bucket_to, start_to) = _split(path), _split(to)
    for key in sorted(_keys_below(path), key=lambda key: key == f"{start}/zarr.json"):
        source = {"Bucket": bucket, "Key": key}
        request(path, "copy_object", Bucket=bucket_to, Key=start_to + key.removeprefix(start), CopySource=source)


def _remove(path: str, keys: Iterable[str]) -> None:
    """Remove objects of the bucket that a path is in."""
    bucket = _split(path)[0]
    waiting = [{"Key": key} for key in keys]
    for at in range(0, len(waiting), _DELETED_AT_ONCE):
        objects = {"Objects": waiting[at : at + _DELETED_AT_ONCE], "Quiet": True}
        for refused in request(path, "delete_objects", Bucket=bucket, Delete=objects).get("Errors", ()):
            reason = f"not removed: {refused.get('Code')} {refused.get('Message')}"
            raise PermissionError(errno.EACCES, reason, f"s3://{bucket}/{refused.get('Key')}")
