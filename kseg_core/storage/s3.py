"""Objects of a store that speaks S3. Loaded only where a path begins with ``s3://``.

Endpoint, credentials, region and retries are those of AWS's own environment variables and files
(``AWS_ENDPOINT_URL``, ``AWS_PROFILE``, ``~/.aws``). Where there are no credentials, requests are not signed, which is
enough for public buckets. Nothing is remembered from one request to the next: other processes write to the same store.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat as modes
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, BinaryIO, cast

from kseg_core.storage.asking import as_of_a_disk, ask, split, store_of, told
from kseg_core.storage.ranges import Range, RangeFile

_DELETED_AT_ONCE = 1000  # the most that S3 takes in one request


# --------------------------------------------------------------------------------------------------------- looking


def stat(path: str) -> os.stat_result:
    """See `storage.stat`."""
    bucket, key = split(path)
    if key and not path.endswith("/"):
        try:
            found = ask(path, "head_object", Bucket=bucket, Key=key)
            return _status(found["ContentLength"], found["LastModified"], found["ETag"])
        except FileNotFoundError:
            pass  # but perhaps the beginning of other names
    if not _begins_names(path):
        raise FileNotFoundError(errno.ENOENT, "no such object", path)
    return _FOLDER


def exists(path: str) -> bool:
    """See `storage.exists`."""
    try:
        stat(path)
    except FileNotFoundError:
        return False
    return True


def is_dir(path: str) -> bool:
    """Whether there are objects below a path."""
    try:
        return _begins_names(path)
    except FileNotFoundError:
        return False


def is_file(path: str) -> bool:
    """Whether there is an object of that name."""
    bucket, key = split(path)
    try:
        return bool(key) and bool(ask(path, "head_object", Bucket=bucket, Key=key))
    except FileNotFoundError:
        return False


def _begins_names(path: str) -> bool:
    """Whether there are objects below a path; there is a bucket even where it is empty."""
    bucket, key = split(path)
    found = ask(path, "list_objects_v2", Bucket=bucket, Prefix=f"{key}/" if key else "", MaxKeys=1)
    return not key or bool(found.get("Contents"))


def _status(size: int, modified: datetime, etag: str) -> os.stat_result:
    seconds = int(modified.timestamp())
    fraction = int.from_bytes(hashlib.sha256(etag.strip('"').encode()).digest()[:8]) % 10**9
    times = dict.fromkeys(("st_atime", "st_mtime", "st_ctime"), seconds + fraction / 1e9)
    nanoseconds = dict.fromkeys(("st_atime_ns", "st_mtime_ns", "st_ctime_ns"), seconds * 10**9 + fraction)
    return os.stat_result((modes.S_IFREG | 0o644, 0, 0, 1, 0, 0, size, *[seconds] * 3), {**times, **nanoseconds})


_FOLDER = os.stat_result((modes.S_IFDIR | 0o755, 0, 0, 1, 0, 0, 0, 0, 0, 0))


@dataclass(frozen=True, slots=True)
class S3Entry:
    """What is in a folder; see `Entry`."""

    path: str
    name: str
    status: os.stat_result

    def is_dir(self) -> bool:
        return self.status is _FOLDER

    def is_file(self) -> bool:
        return self.status is not _FOLDER

    def is_symlink(self) -> bool:
        return False

    def stat(self) -> os.stat_result:
        return self.status


@contextmanager
def scan(folder: str) -> Iterator[Iterator[S3Entry]]:
    """What is in a folder, asked for as it is used; nothing where there is none."""
    yield _entries(folder.rstrip("/"))


def _entries(folder: str) -> Iterator[S3Entry]:
    bucket, key = split(folder)
    start = f"{key}/" if key else ""
    for page in _pages(folder, Bucket=bucket, Prefix=start, Delimiter="/"):
        for each in page.get("CommonPrefixes", ()):
            name = each["Prefix"][len(start) : -1]
            if name:  # of two slashes in a row
                yield S3Entry(f"{folder}/{name}", name, _FOLDER)
        for each in page.get("Contents", ()):
            name = each["Key"][len(start) :]
            if name:  # an object that some tools make to stand for the folder
                yield S3Entry(f"{folder}/{name}", name, _status(each["Size"], each["LastModified"], each["ETag"]))


def _pages(path: str, **request: Any) -> Iterator[dict[str, Any]]:
    page = ask(path, "list_objects_v2", **request)
    yield page
    while page.get("IsTruncated"):
        page = ask(path, "list_objects_v2", **request, ContinuationToken=page["NextContinuationToken"])
        yield page


# --------------------------------------------------------------------------------------------------------- reading


def read(path: str) -> bytes:
    """See `storage.read`."""
    store = store_of(path)
    with told(path):
        content: bytes = store.cat_file("/".join(split(path)))
        return content


def open_file(path: str) -> BinaryIO:
    """See `storage.open_file`."""
    bucket, key = split(path)
    size = int(ask(path, "head_object", Bucket=bucket, Key=key)["ContentLength"])
    store = store_of(path)

    def fetch(ranges: Sequence[Range]) -> Sequence[bytes]:
        starts, stops = zip(*ranges, strict=True)
        with told(path):
            parts: list[Any] = store.cat_ranges([f"{bucket}/{key}"] * len(starts), list(starts), list(stops))
        for part in parts:
            if isinstance(part, Exception):
                raise as_of_a_disk(path, part) from part
        return parts

    return cast(BinaryIO, RangeFile(fetch, size))


def zarr_store(path: str) -> Any:
    """One that uses the connections of this process, each request in a thread of Zarr's."""
    from fsspec.implementations.asyn_wrapper import AsyncFileSystemWrapper
    from zarr.storage import FsspecStore

    return FsspecStore(AsyncFileSystemWrapper(store_of(path), asynchronous=True), path="/".join(split(path)))


# --------------------------------------------------------------------------------------------------------- writing


def put(path: str, content: bytes, **condition: str) -> str:
    """Write an object, and return its ETag."""
    bucket, key = split(path)
    return str(ask(path, "put_object", Bucket=bucket, Key=key, Body=content, **condition)["ETag"])


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


def read_tagged(path: str) -> tuple[bytes, str]:
    """An object and its ETag.

    Raises
    ------
    FileNotFoundError
        If there is none.
    """
    bucket, key = split(path)
    while True:
        etag = str(ask(path, "head_object", Bucket=bucket, Key=key)["ETag"])
        content = read(path)
        if str(ask(path, "head_object", Bucket=bucket, Key=key)["ETag"]) == etag:
            return content, etag


def remove_file(path: str) -> None:
    """Remove an object, if it is there."""
    bucket, key = split(path)
    ask(path, "delete_object", Bucket=bucket, Key=key)


def remove_files(paths: Sequence[str]) -> None:
    """Remove objects of one bucket."""
    _remove(paths[0], split(paths[0])[0], (split(path)[1] for path in paths))


def remove_tree(path: str) -> None:
    """See `storage.remove_tree`, which says in what order."""
    bucket, key = split(path)
    own = f"{key}/zarr.json"
    keys = [each["Key"] for page in _pages(path, Bucket=bucket, Prefix=f"{key}/") for each in page.get("Contents", ())]
    _remove(path, bucket, (each for each in keys if each.endswith("/zarr.json") and each != own))
    _remove(path, bucket, (each for each in keys if not each.endswith("/zarr.json")))
    _remove(path, bucket, (each for each in keys if each == own))


def copy_tree(path: str, to: str) -> None:
    """See `storage.copy_tree`; the store itself copies, nothing passes through here."""
    (bucket, key), (bucket_to, key_to) = split(path), split(to)
    keys = [each["Key"] for page in _pages(path, Bucket=bucket, Prefix=f"{key}/") for each in page.get("Contents", ())]
    for each in sorted(keys, key=lambda each: each == f"{key}/zarr.json"):
        source = {"Bucket": bucket, "Key": each}
        ask(path, "copy_object", Bucket=bucket_to, Key=key_to + each.removeprefix(key), CopySource=source)


def _remove(path: str, bucket: str, keys: Iterable[str]) -> None:
    waiting = list(keys)
    for at in range(0, len(waiting), _DELETED_AT_ONCE):
        objects = [{"Key": key} for key in waiting[at : at + _DELETED_AT_ONCE]]
        answer = ask(path, "delete_objects", Bucket=bucket, Delete={"Objects": objects, "Quiet": True})
        for refused in answer.get("Errors", ()):
            what = f"not removed: {refused.get('Code')} {refused.get('Message')}"
            raise PermissionError(errno.EACCES, what, f"s3://{bucket}/{refused.get('Key')}")
