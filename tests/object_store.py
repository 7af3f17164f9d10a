"""An object store on the loopback address: moto's server, whose buckets are in the memory of the tests' process."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kseg_core import storage


@pytest.fixture(scope="session")
def object_store() -> Iterator[str]:
    """Its address."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # which tells of every request
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def aws(object_store: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[pytest.MonkeyPatch]:
    """The environment of those who use it; files of whoever runs the tests are not read. To be changed at will."""
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    for name, value in {
        "AWS_ENDPOINT_URL": object_store,
        "AWS_ACCESS_KEY_ID": "nobody",
        "AWS_SECRET_ACCESS_KEY": "nothing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": str(tmp_path / "no-config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "no-credentials"),
    }.items():
        monkeypatch.setenv(name, value)
    forget_connections()
    yield monkeypatch
    forget_connections()


def forget_connections() -> None:
    """Connect anew, with what the environment says now."""
    from kseg_core.storage import s3

    s3.connected.cache_clear()
    s3.is_unsigned.cache_clear()


@pytest.fixture
def bucket(aws: pytest.MonkeyPatch) -> str:
    """The address of an empty bucket."""
    import boto3

    name = f"bucket-{uuid.uuid4().hex[:12]}"
    boto3.client("s3").create_bucket(Bucket=name)
    return f"s3://{name}"


def upload(folder: Path, address: str) -> str:
    """Copy a folder's files into the store."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            storage.put(f"{address}/{path.relative_to(folder).as_posix()}", [path.read_bytes()])
    return address


def objects_below(address: str) -> list[str]:
    """Names of all that is below an address, hidden or not."""
    found = [f"{folder}/{name}" for folder, _, names in storage.walk(address) for name in names]
    return sorted(path.removeprefix(f"{address}/") for path in found)


def chunks_below(path: str) -> dict[str, str]:
    """Digest of every chunk of a store or model, on a disk or in an object store."""
    found = [os.path.join(folder, name) for folder, _, names in storage.walk(path) for name in names]
    digests = {each[len(path) :]: hashlib.sha256(storage.read(each)).hexdigest() for each in found}
    return {name: digest for name, digest in digests.items() if not name.endswith("zarr.json")}


def documents_below(path: str) -> dict[str, Any]:
    """Every ``zarr.json`` of a store or model in an object store, less how long it took."""
    names = [name for name in objects_below(path) if name.endswith("zarr.json")]
    return {name: _without_durations(json.loads(storage.read(f"{path}/{name}"))) for name in names}


def _without_durations(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_durations(item) for name, item in value.items() if name != "seconds"}
    return [_without_durations(item) for item in value] if isinstance(value, list) else value


def versions(bucket: str) -> dict[str, tuple[str, ...]]:
    """Every version of every object that there is or was since this was first asked: one for each write or removal."""
    import boto3

    client, name = boto3.client("s3"), bucket.removeprefix("s3://")
    client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    found: dict[str, tuple[str, ...]] = {}
    for page in client.get_paginator("list_object_versions").paginate(Bucket=name):
        for each in (*page.get("Versions", ()), *page.get("DeleteMarkers", ())):
            found[each["Key"]] = (*found.get(each["Key"], ()), each["VersionId"])
    return found
