"""What a key promises: one safe segment, readable, and never shared by two paths."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from kseg_core.inputs.keys import StoreNames, earlier_key, image_keys, is_key_of, printable_source

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


def os_bytes(path: str) -> bytes:
    """The bytes of a path, also where it holds half a surrogate pair as on Windows."""
    try:
        return path.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return path.encode("utf-8", "surrogatepass")


def key_of(path: str) -> str:
    return image_keys([path])[path]


WINDOWS_DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))}


def folded(key: str) -> str:
    return unicodedata.normalize("NFC", key).casefold()


def raw_hash(path: str) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:16]


PATHS = st.lists(ANY_PATHS, max_size=6, unique_by=os_bytes)


@pytest.mark.parametrize(
    "path",
    [
        "a.jpg",
        "Plot A/IMG_0001.JPG",
        "0",
        "a..b",
        "a b.jpg",
        "käfer/日本.tif",
        "[red].png",
        "50 %.png",
        "-k.png",
        "a~1",
    ],
)
def test_a_key_is_the_path_as_it_is(path: str) -> None:
    assert key_of(path) == path


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("what?/a:b*.jpg", "what%3F/a%3Ab%2A.jpg"),
        ("back\\slash\n.jpg", "back%5Cslash%0A.jpg"),
        ("a\udcff\u202e.png", "a%FF%E2%80%AE.png"),
        ("a%41.png", "a%2541.png"),
        (".hidden/..", "%2Ehidden/%2E%2E"),
        ("../../etc/passwd", "%2E%2E/%2E%2E/etc/passwd"),
        ("a./b ", "a%2E/b%20"),
        ("__a/_b", "%5F_a/_b"),
        ("zarr.json/ZARR.json", "%7Aarr.json/%5AARR.json"),
        ("con/nul.tar.gz", "%63on/%6Eul.tar.gz"),
        ("a//b", "a/b"),
    ],
)
def test_what_cannot_be_written_is_percent_encoded(path: str, key: str) -> None:
    assert key_of(path) == key


@pytest.mark.parametrize(
    ("paths", "keys"),
    [
        (["Leaf.jpg", "leaf.jpg"], ["Leaf.jpg", "leaf~{}.jpg"]),
        (["e\u0301.png", "\u00e9.png"], ["e\u0301.png", "\u00e9~{}.png"]),
        (["A/x", "a/x", "a/y"], ["A/x", "a~{0}/x", "a~{0}/y"]),
        (["A.jpg/x.png", "a.jpg"], ["A.jpg/x.png", "a~{}.jpg"]),
        (["a.jpg", "a.jpg/x"], ["a.jpg", "a~{}.jpg/x"]),
        (["a~01234567.png"], ["a~01234567~{}.png"]),
        (["日" * 80 + ".ome.tif"], ["日" * 55 + "~{}.tif"]),
        (["x/" * 400 + "leaf.jpg"], ["leaf~{}.jpg"]),
        ([""], ["image"]),
    ],
)
def test_of_two_names_that_meet_one_has_a_hash_and_so_has_one_too_long(paths: list[str], keys: list[str]) -> None:
    found = [image_keys(order) for order in (paths, paths[::-1])]
    assert found[0] == found[1]
    for path, key in zip(paths, keys, strict=True):
        ends = [path[:at] for at in (*(i + 1 for i, sign in enumerate(path) if sign == "/"), len(path))]
        assert found[0][path] in {key.format(hashlib.sha256(os.fsencode(end)).hexdigest()[:8]) for end in ends}


def test_a_name_stays_when_the_folder_grows_or_shrinks() -> None:
    first = image_keys(["leaf.jpg", "day/a.jpg"])
    names = StoreNames(frozenset(first.values()), frozenset(["day"]))
    grown = image_keys(["LEAF.jpg", "leaf.jpg", "day/a.jpg", "Day/a.jpg"], names)
    assert grown | first == grown
    hashed = [grown["LEAF.jpg"], grown["Day/a.jpg"]]
    assert [re.sub("[0-9a-f]{8}", "#", key) for key in hashed] == ["LEAF~#.jpg", "Day~#/a.jpg"]
    noted = names.with_keys(grown.values())
    assert noted == {"folders": sorted(["day", hashed[1].split("/")[0]]), "hashed": [hashed[0]]}
    now = StoreNames(frozenset(), frozenset(noted["folders"]), frozenset(noted["hashed"]))
    assert image_keys(["LEAF.jpg"], now) == {"LEAF.jpg": hashed[0]}
    assert image_keys(["Day/b.jpg"], now) == {"Day/b.jpg": hashed[1].replace("a.jpg", "b.jpg")}


@settings(deadline=None)
@given(PATHS)
@example(["a", "A/b", "a/B"])
@example(["a.", "a%2E"])
@example(["con.x"])
@example(["x" * 179 + "é.jpg"])
def test_keys_are_safe_and_never_meet_even_where_case_and_unicode_form_are_ignored(paths: list[str]) -> None:
    found = image_keys(paths)
    keys = list(found.values())
    assert len({folded(key) for key in keys}) == len(paths)
    folders = {folded(key[:at]) for key in keys for at in range(len(key)) if key[at] == "/"}
    assert not folders.intersection(map(folded, keys))
    for path, key in found.items():
        assert len(key.encode()) <= 600
        assert is_key_of(key, path)
        for name in key.split("/"):
            assert name
            assert len(name.encode()) <= 190
            assert not re.search('[\x00-\x1f\x7f<>:"\\\\|?*]', name)
            assert not name.startswith((".", "__"))
            assert not name.endswith((".", " "))
            assert name.partition(".")[0].lower() not in WINDOWS_DEVICES
            assert name.lower() != "zarr.json"


@settings(deadline=None)
@given(PATHS, PATHS)
def test_keys_stay_whatever_comes_later(first: list[str], more: list[str]) -> None:
    assume("" not in {*first, *more})  # the path of an input that is one image: no other is beside it
    before = image_keys(first)
    noted = StoreNames().with_keys(before.values())
    names = StoreNames(frozenset(before.values()), *map(frozenset, (noted["folders"], noted["hashed"])))
    later = [path for path in more if os_bytes(path) not in map(os_bytes, first)]
    after = image_keys([*later, *first], names)
    assert {path: after[path] for path in first} == before
    assert len({folded(key) for key in after.values()}) == len(after)


# ------------------------------------------------------------------------------------------- of the release before


@pytest.mark.parametrize("path", ["a.jpg", "leaf-01_b.tif", "0", "a..b", "image", "a-0123456789abcde", "a" * 120])
def test_a_plain_path_is_its_own_key(path: str) -> None:
    assert earlier_key(path) == path


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
    assert earlier_key(path) == f"{slug}-{raw_hash(path)}"


def test_keys_stay_what_they_were_in_earlier_releases() -> None:
    assert earlier_key("day 1/Leaf.jpg") == "day_1_Leaf.jpg-0cfe96a71a970dac"
    assert earlier_key("a\udcff.png") == "a_.png-e7b144cdc9bb188b"


@settings(deadline=None)
@given(ANY_PATHS)
@example("con.x")
@example("a" * 79 + ".jpg")
@example("x" * 20 + "/" + "aux.jpg" + "y" * 72)
def test_a_key_is_one_safe_segment_for_any_path(path: str) -> None:
    key = earlier_key(path)
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", key)
    assert len(key) <= 120
    assert not key.endswith(".")
    assert key.partition(".")[0].lower() not in WINDOWS_DEVICES
    assert key != "zarr.json"
    assert earlier_key(key) == key or folded(earlier_key(key)) != folded(key)  # the key of a hashed key is another one


@settings(deadline=None)
@given(ANY_PATHS, ANY_PATHS)
@example("a.jpg", "A.jpg")
@example("\u00e9", "e\u0301")
@example("a/b", "a_b")
@example("A", f"a-{raw_hash('A')}")
def test_two_paths_never_share_a_key_even_where_case_and_unicode_form_are_ignored(one: str, two: str) -> None:
    if os_bytes(one) != os_bytes(two):
        assert folded(earlier_key(one)) != folded(earlier_key(two))


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
