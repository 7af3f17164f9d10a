"""Files by path: what holds on a disk holds in an object store, and what differs there is told."""

from __future__ import annotations

import io
import os
import stat
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from kseg_core import storage
from kseg_core.errors import UsageError
from kseg_core.inputs.listing import list_inputs
from kseg_core.storage.ranges import BLOCK_BYTES, MOST_BYTES, RangeFile, most_held
from tests.object_store import forget_connections


@pytest.fixture(params=["disk", "object store"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A folder, or an empty bucket."""
    if request.param == "disk":
        (tmp_path / "place").mkdir()
        return str(tmp_path / "place")
    address: str = request.getfixturevalue("bucket")
    return address


# ------------------------------------------------------------------------------------------ the same in both places


def test_what_is_put_is_read(place: str) -> None:
    path = os.path.join(place, "file")
    assert not storage.exists(path)
    storage.put(path, [b"one ", b"two"])
    assert storage.read(path) == b"one two"
    storage.put(path, [b""])
    assert storage.read(path) == b""
    with storage.open_file(path) as file:
        assert file.read() == b""
    storage.remove_file(path)
    assert not storage.exists(path)
    with pytest.raises(FileNotFoundError):
        storage.read(path)
    with pytest.raises(FileNotFoundError):
        storage.open_file(path)


def test_files_and_folders_are_told_apart(place: str) -> None:
    folder = os.path.join(place, "a", "b")
    storage.make_folders(folder)
    storage.put(os.path.join(folder, "file"), [b"123"])
    assert storage.is_dir(folder)
    assert not storage.is_file(folder)
    assert storage.exists(folder)
    assert stat.S_ISDIR(storage.stat(folder).st_mode)
    file = os.path.join(folder, "file")
    assert storage.is_file(file)
    assert not storage.is_dir(file)
    assert not storage.is_link(file)
    assert stat.S_ISREG(storage.stat(file).st_mode)
    assert storage.stat(file).st_size == 3
    assert not storage.exists(os.path.join(place, "a", "b", "fil"))  # the beginning of a name is none
    with pytest.raises(FileNotFoundError):
        storage.stat(os.path.join(place, "no such thing"))


def test_a_folder_is_listed_with_what_each_entry_is(place: str) -> None:
    storage.make_folders(os.path.join(place, "sub", "deep"))
    for name in ("b.png", "a.png", "sub/c.png", "sub/.hidden", "sub/deep/ü [1].png"):
        storage.put(os.path.join(place, name), [name.encode()])
    with storage.scan(place) as entries:
        found = {entry.name: (entry.path, entry.is_dir(), entry.is_file(), entry.is_symlink()) for entry in entries}
    assert found == {
        "a.png": (os.path.join(place, "a.png"), False, True, False),
        "b.png": (os.path.join(place, "b.png"), False, True, False),
        "sub": (os.path.join(place, "sub"), True, False, False),
    }
    assert sorted(storage.names(place)) == ["a.png", "b.png", "sub"]
    walked = {folder: (sorted(folders), sorted(files)) for folder, folders, files in storage.walk(place)}
    assert walked == {
        place: (["sub"], ["a.png", "b.png"]),
        os.path.join(place, "sub"): (["deep"], [".hidden", "c.png"]),
        os.path.join(place, "sub", "deep"): ([], ["ü [1].png"]),
    }


def test_an_entry_says_of_its_file_what_a_look_at_the_file_does(place: str) -> None:
    storage.put(os.path.join(place, "file"), [b"12345"])
    with storage.scan(place) as entries:
        (entry,) = entries
        listed = entry.stat()
    looked = storage.stat(os.path.join(place, "file"))
    assert (listed.st_size, listed.st_mtime_ns) == (looked.st_size, looked.st_mtime_ns) == (5, listed.st_mtime_ns)
    assert abs(listed.st_mtime - listed.st_mtime_ns / 1e9) < 1e-3


def test_a_tree_is_removed_and_its_neighbours_stay(place: str) -> None:
    for name in ("tree/zarr.json", "tree/a/zarr.json", "tree/a/c/0", "tree2/file"):
        storage.make_folders(os.path.dirname(os.path.join(place, name)))
        storage.put(os.path.join(place, name), [b"x"])
    storage.remove_tree(os.path.join(place, "tree"))
    assert not storage.exists(os.path.join(place, "tree"))
    assert storage.is_file(os.path.join(place, "tree2", "file"))
    storage.remove_tree(os.path.join(place, "tree"), ignore_errors=True)
    storage.remove_files([os.path.join(place, "tree2", "file"), os.path.join(place, "tree2", "not there")])
    assert not storage.is_file(os.path.join(place, "tree2", "file"))


def test_a_file_is_read_from_anywhere_in_it(place: str) -> None:
    content = np.random.default_rng(0).integers(0, 256, 3 * BLOCK_BYTES + 17, np.uint8).tobytes()
    path = os.path.join(place, "file")
    storage.put(path, [content])
    with storage.open_file(path) as file, io.BytesIO(content) as expected:
        for at, whence, size in ((0, 0, 4), (-7, 2, 100), (5, 0, 2 * BLOCK_BYTES), (3, 1, 9), (-20, 2, -1), (1, 0, 0)):
            assert file.seek(at, whence) == expected.seek(at, whence)
            assert file.read(size) == expected.read(size)
            assert file.tell() == expected.tell()
        file.seek(BLOCK_BYTES - 2)
        buffer = bytearray(10)
        assert file.readinto(buffer) == 10  # type: ignore[attr-defined]
        assert buffer == content[BLOCK_BYTES - 2 : BLOCK_BYTES + 8]


def test_zarr_reads_and_writes_there(place: str) -> None:
    path = os.path.join(place, "array.zarr")
    values = np.arange(35, dtype=np.uint16).reshape(5, 7)
    zarr.create_array(storage.for_zarr(path), data=values, chunks=(2, 3))
    assert (np.asarray(zarr.open_array(storage.for_zarr(path), mode="r")[...]) == values).all()
    assert (np.asarray(zarr.open_array(storage.for_zarr(path), mode="r")[1:4, 2:5]) == values[1:4, 2:5]).all()
    assert storage.is_file(os.path.join(path, "zarr.json"))


def test_many_threads_at_once_get_each_its_own(place: str) -> None:
    def there_and_back(number: int) -> bool:
        path = os.path.join(place, f"file-{number}")
        storage.put(path, [str(number).encode() * 100])
        return storage.read(path) == str(number).encode() * 100

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(there_and_back, range(64)))


def test_inputs_are_listed_alike(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.png", "B.png", "day 1/c.jpg", "day 2/d.png", "notes.txt", ".hidden/e.png", "z.zarr/zarr.json"):
        storage.make_folders(os.path.dirname(os.path.join(place, "in", name)))
        storage.put(os.path.join(place, "in", name), [b"{}" if name.endswith("json") else b"x"])
    folder = os.path.join(place, "in")

    def found(*given: str, **how: tuple[str, ...]) -> list[str]:
        return [file.below for file in list_inputs(given, **how).files]  # type: ignore[arg-type]

    assert sorted(found(folder)) == ["B.png", "a.png", "day 1/c.jpg", "day 2/d.png", "z.zarr"]
    assert list_inputs([folder]).passed_over == 1
    assert found(f"{folder}/", include=("*.jpg",)) == ["day 1/c.jpg"]
    assert sorted(found(folder, exclude=("day */", "*.zarr"))) == ["B.png", "a.png"]
    assert sorted(found(f"{folder}/**/*.png")) == ["B.png", "a.png", "day 2/d.png"]
    assert found(f"{folder}/day [2-3]/*") == ["day 2/d.png"]
    assert found(f"{folder}/a.png") == ["a.png"]
    (file,) = list_inputs([f"{folder}/a.png"]).files
    assert (file.path, file.source, file.size) == (f"{folder}/a.png", f"{folder}/a.png", 1)
    for nothing in (f"{folder}/no", f"{folder}/*.gif", f"{folder}/a.pn"):
        with pytest.raises(UsageError):
            list_inputs([nothing])


# ------------------------------------------------------------------------------------------ only in an object store


def test_content_replaced_within_a_second_has_another_time(bucket: str) -> None:
    times = set()
    for content in (b"one", b"two", b"six"):
        storage.put(f"{bucket}/file", [content])
        times.add(storage.stat(f"{bucket}/file").st_mtime_ns)
    assert len(times) == 3


def test_objects_that_stand_for_folders_and_empty_names_are_passed_over(bucket: str) -> None:
    import boto3

    client = boto3.client("s3")
    for key in ("in/", "in/a.png", "in//b.png"):
        client.put_object(Bucket=bucket.removeprefix("s3://"), Key=key, Body=b"x")
    assert storage.names(f"{bucket}/in") == ["a.png"]


def test_long_listings_and_removals_are_whole(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from kseg_core.storage import s3

    request = s3.request

    def three_at_once(path: str, method: str, **parameters: Any) -> dict[str, Any]:
        return request(path, method, **({"MaxKeys": 3, **parameters} if method == "list_objects_v2" else parameters))

    monkeypatch.setattr(s3, "request", three_at_once)
    monkeypatch.setattr(s3, "_DELETED_AT_ONCE", 2)
    for number in range(7):
        storage.put(f"{bucket}/in/{number}/file", [b""])
        storage.put(f"{bucket}/in/file-{number}", [b""])
    assert sorted(storage.names(f"{bucket}/in")) == [*map(str, range(7)), *(f"file-{number}" for number in range(7))]
    storage.remove_tree(f"{bucket}/in")
    assert storage.names(bucket) == []


def test_of_a_tree_that_is_removed_nothing_vouches_for_what_is_gone(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kseg_core.storage import s3

    for name in ("zarr.json", "images/a/zarr.json", "images/a/c/0", "model/zarr.json"):
        storage.put(f"{bucket}/tree/{name}", [b"x"])
    removed: list[list[str]] = []
    monkeypatch.setattr(s3, "_remove", lambda path, keys: removed.append(sorted(keys)))
    storage.remove_tree(f"{bucket}/tree")
    assert removed == [["tree/images/a/zarr.json", "tree/model/zarr.json"], ["tree/images/a/c/0"], ["tree/zarr.json"]]


def test_of_several_that_make_an_object_exclusively_one_does(bucket: str) -> None:
    from kseg_core.storage import s3

    barrier = threading.Barrier(8)

    def make(number: int) -> bool:
        barrier.wait()
        try:
            s3.put_new(f"{bucket}/lock", str(number).encode())
        except FileExistsError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(make, range(8)))
    assert made.count(True) == 1
    assert storage.read(f"{bucket}/lock") == str(made.index(True)).encode()


def test_only_who_knows_an_object_as_it_is_puts_another_in_its_place(bucket: str) -> None:
    from kseg_core.storage import s3

    first = s3.put_new(f"{bucket}/lock", b"1")
    second = s3.put_in_place(f"{bucket}/lock", b"2", first)
    with pytest.raises(FileExistsError):
        s3.put_in_place(f"{bucket}/lock", b"3", first)
    assert s3.read_tagged(f"{bucket}/lock") == (b"2", second)


def served(size: int) -> tuple[RangeFile, bytes, list[list[tuple[int, int]]]]:
    """A file of so many bytes, them, and the ranges of each request for it."""
    content = np.random.default_rng(1).integers(0, 256, size, np.uint8).tobytes()
    requests: list[list[tuple[int, int]]] = []

    def fetch(ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        requests.append(list(ranges))
        return [content[start:stop] for start, stop in ranges]

    return RangeFile(fetch, size), content, requests


def test_of_a_large_file_no_more_is_fetched_than_is_read() -> None:
    file, content, requests = served(1 << 22)
    for at, size in ((0, 8), (500_000, 100), (500_100, 100), (16, 16), (600_000, 200_000)):
        file.seek(at)
        assert file.read(size) == content[at : at + size]
    assert requests == [[(0, BLOCK_BYTES)], [(500_000, 500_000 + BLOCK_BYTES)], [(600_000, 800_000)]]


def test_a_small_file_takes_no_more_than_two_requests() -> None:
    file, content, requests = served(1_000_000)
    for at in (0, 900_000, 500_000, 999_999, 10):
        file.seek(at)
        assert file.read(8) == content[at : at + 8]
    file.seek(0)
    assert file.read() == content
    assert requests == [[(0, BLOCK_BYTES)], [(BLOCK_BYTES, len(content))]]


def test_a_file_that_is_walked_through_takes_few_requests() -> None:
    file, content, requests = served(5_000_000)
    for at in range(0, len(content), 40_000):  # as the chunks of a PNG are
        file.seek(at)
        assert file.read(8) == content[at : at + 8]
    file.seek(0)
    assert file.read() == content
    assert [len(ranges) for ranges in requests] == [1] * 5


def test_what_is_expected_is_fetched_by_several_requests_at_once_and_given_once() -> None:
    file, content, requests = served(20_000_000)
    wanted = [(number * 3_000_000 + 1, number * 3_000_000 + 2_000_001) for number in range(6)]
    file.expect(wanted)
    for start, stop in wanted:
        file.seek(start)
        assert file.read(stop - start) == content[start:stop]
    assert requests == [wanted[:4], wanted[4:]]  # of at most eight megabytes
    file.seek(wanted[0][0])
    assert file.read(2_000_000) == content[1:2_000_001]


@pytest.mark.parametrize("size", [50_000, 1_500_000, 6_000_000, 40_000_000])
def test_no_more_is_held_of_a_file_than_is_said(size: int) -> None:
    content = np.random.default_rng(3).integers(0, 256, size, np.uint8)
    file = RangeFile(lambda ranges: [content[start:stop].tobytes() for start, stop in ranges], size)
    tracemalloc.start()
    try:
        for at in range(0, min(size, 9_000_000), 40_000):  # walked through
            file.seek(at)
            file.read(8)
        for at in np.random.default_rng(4).integers(0, size, 40).tolist():  # and looked into here and there
            file.seek(at)
            file.read(100)
        wanted = [(at, min(size, at + 500_000)) for at in range(0, size, 500_000)]
        file.expect(wanted)
        for start, stop in wanted:
            file.seek(start)
            file.read(stop - start)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert min(size, MOST_BYTES) < most <= most_held(size) + 10_000


def test_a_file_that_became_shorter_is_no_shorter_read() -> None:
    with pytest.raises(OSError, match="changed while it was being read"):
        RangeFile(lambda ranges: [b""], 100).read(10)


# ------------------------------------------------------------------------------------------ what cannot be


def test_a_bucket_that_is_not_there_is_told_by_name(bucket: str) -> None:
    for attempt in (
        lambda: storage.stat(f"{bucket}-not/a"),
        lambda: storage.read(f"{bucket}-not/a"),
        lambda: storage.put(f"{bucket}-not/a", [b""]),
        lambda: storage.names(f"{bucket}-not"),
    ):
        with pytest.raises(FileNotFoundError) as refused:
            attempt()
        assert refused.value.strerror == "no such bucket"
        assert refused.value.filename.startswith(f"{bucket}-not")


def test_a_store_that_cannot_be_reached_is_told(bucket: str, aws: pytest.MonkeyPatch) -> None:
    aws.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    aws.setenv("AWS_MAX_ATTEMPTS", "1")
    forget_connections()
    with pytest.raises(OSError, match="the object store cannot be reached"):
        storage.stat(f"{bucket}/a")


def test_a_profile_that_is_not_there_is_wrong_usage(bucket: str, aws: pytest.MonkeyPatch) -> None:
    aws.setenv("AWS_PROFILE", "nobody-has-this")
    forget_connections()
    with pytest.raises(UsageError, match=r"the settings for AWS cannot be used.*nobody-has-this"):
        storage.stat(f"{bucket}/a")


def test_without_credentials_requests_are_not_signed(bucket: str, aws: pytest.MonkeyPatch) -> None:
    import boto3

    from kseg_core.storage import s3

    boto3.client("s3").put_object(Bucket=bucket.removeprefix("s3://"), Key="public", Body=b"for all", ACL="public-read")
    storage.put(f"{bucket}/private", [b"for some"])
    aws.delenv("AWS_ACCESS_KEY_ID")
    aws.delenv("AWS_SECRET_ACCESS_KEY")
    forget_connections()
    assert storage.read(f"{bucket}/public") == b"for all"
    assert s3.is_unsigned(os.getpid())
    with pytest.raises(PermissionError, match="no AWS credentials were found"):
        storage.read(f"{bucket}/private")


def test_who_may_not_read_is_told(aws: pytest.MonkeyPatch) -> None:
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    class Refusing(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
            self.send_response(403)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        aws.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_address[1]}")
        forget_connections()
        with pytest.raises(PermissionError) as refused:
            storage.read("s3://somebodys/secret")
        server.shutdown()
    assert refused.value.strerror == "access denied by the object store (AccessDenied)"


@pytest.mark.parametrize("path", ["gs://bucket/a", "https://host/a", "az://c/a", "s3:///a", "s3://"])
def test_other_addresses_are_no_folders_of_that_name(path: str) -> None:
    with pytest.raises(UsageError, match="s3://bucket/name"):
        storage.require_known(path)


def test_paths_that_only_look_like_addresses_are_paths() -> None:
    for path in ("a:/b", "dir/s3://b", "C:\\a", "s3:b", "//s3"):
        storage.require_known(path)
        assert not storage.is_remote(path)


def test_a_program_on_a_disk_loads_nothing_of_object_stores(
    tmp_path: Path, program_environment: dict[str, str]
) -> None:
    code = (
        "import sys; from kseg_core import storage; storage.put(sys.argv[1], [b'x']); storage.read(sys.argv[1]);"
        "storage.names('.'); print([m for m in ('s3fs', 'fsspec', 'botocore', 'aiohttp') if m in sys.modules])"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "file")]
    assert subprocess.check_output(command, env=program_environment, text=True) == "[]\n"


def test_without_the_extra_what_to_install_is_told(tmp_path: Path, program_environment: dict[str, str]) -> None:
    code = (
        "import sys; sys.modules['s3fs'] = None\nfrom kseg_core import storage\n"
        "try: storage.exists('s3://bucket/a')\nexcept ValueError as error: print(error)"
    )
    told = subprocess.check_output([sys.executable, "-c", code], env=program_environment, text=True)
    assert told == "s3:// needs the s3 extra: pip install 'kseg-batch[s3]' (s3fs is missing)\n"
