"""What a key promises: one safe segment, readable, and never shared by two paths."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kseg_core.inputs.keys import image_key, printable_source

# Few letters, so that paths which differ only in what is easily lost meet often.
NEAR_PATHS = st.lists(
    st.sampled_from(["a", "A", "é", "e\u0301", "É", "ß", "ss", "ı", "İ", "_", "-", ".", "/", " ", "\udcff", "0"]),
    max_size=6,
).map("".join)
ANY_PATHS = st.one_of(
    NEAR_PATHS,
    st.binary(max_size=300).map(lambda raw: raw.decode("utf-8", "surrogateescape")),
    st.text(st.characters(), max_size=300),
)
WINDOWS_DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))}


def folded(key: str) -> str:
    return unicodedata.normalize("NFC", key).casefold()


def raw_hash(path: str) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:16]


@pytest.mark.parametrize("path", ["a.jpg", "leaf-01_b.tif", "0", "a..b", "image", "a-0123456789abcde", "a" * 120])
def test_a_plain_path_is_its_own_key(path: str) -> None:
    assert image_key(path) == path


@pytest.mark.parametrize(
    ("path", "slug"),
    [
        ("day 1/Leaf.jpg", "day_1_Leaf.jpg"),
        ("IMG_0001.JPG", "IMG_0001.JPG"),
        ("k\u00e4fer.jpg", "k_fer.jpg"),
        ("a//b \t c.jpg", "a_b_c.jpg"),
        (".hidden", "hidden"),
        ("__a", "a"),
        ("x/" * 100 + "leaf.jpg", ("x_" * 40 + "leaf.jpg")[-80:].lstrip("_")),
        ("../../etc/passwd", "etc_passwd"),
        ("a.", "a."),
        ("zarr.json", "zarr.json"),
        ("con", "con"),
        ("nul.tar.gz", "nul_tar.gz"),
        ("COM1.jpg", "COM1_jpg"),
        ("a-0123456789abcdef", "a-0123456789abcdef"),
        ("x\n", "x_"),
        ("", "image"),
        (".", "image"),
        ("..", "image"),
        ("\u65e5\u672c", "image"),
        ("\udcff.png", "png"),
        ("a" * 121, "a" * 80),
    ],
)
def test_any_other_path_keeps_what_is_readable_and_gains_a_hash_of_its_bytes(path: str, slug: str) -> None:
    assert image_key(path) == f"{slug}-{raw_hash(path)}"


def test_keys_stay_what_they_were_in_earlier_releases() -> None:
    assert image_key("day 1/Leaf.jpg") == "day_1_Leaf.jpg-0cfe96a71a970dac"
    assert image_key("a\udcff.png") == "a_.png-e7b144cdc9bb188b"


@settings(deadline=None)
@given(ANY_PATHS)
@example("con.x")
@example("a" * 79 + ".jpg")
@example("x" * 20 + "/" + "aux.jpg" + "y" * 72)
def test_a_key_is_one_safe_segment_for_any_path(path: str) -> None:
    key = image_key(path)
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", key)
    assert len(key) <= 120
    assert not key.endswith(".")
    assert key.partition(".")[0].lower() not in WINDOWS_DEVICES
    assert key != "zarr.json"
    assert image_key(key) == key or folded(image_key(key)) != folded(key)  # the key of a hashed key is another one


@settings(deadline=None)
@given(ANY_PATHS, ANY_PATHS)
@example("a.jpg", "A.jpg")
@example("\u00e9", "e\u0301")
@example("a/b", "a_b")
@example("A", f"a-{raw_hash('A')}")
def test_two_paths_never_share_a_key_even_where_case_and_unicode_form_are_ignored(one: str, two: str) -> None:
    if os_bytes(one) != os_bytes(two):
        assert folded(image_key(one)) != folded(image_key(two))


@settings(deadline=None)
@given(ANY_PATHS)
def test_a_printable_source_is_utf8_and_unchanged_where_it_was(path: str) -> None:
    source = printable_source(path)
    source.encode("utf-8")
    if not re.search("[\ud800-\udfff]", path):
        assert source == path


def test_undecodable_bytes_are_percent_encoded() -> None:
    assert printable_source(b"caf\xe9/100%.jpg".decode("utf-8", "surrogateescape")) == "caf%E9/100%.jpg"
    assert printable_source("half a pair \ud83d") == "half a pair %ED%A0%BD"


def os_bytes(path: str) -> bytes:
    """The bytes of a path, also where it holds half a surrogate pair as on Windows."""
    try:
        return path.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return path.encode("utf-8", "surrogatepass")
