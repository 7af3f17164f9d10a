"""What INPUT means: which files are listed, under which names, and what is said about the others."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kseg_core.errors import UsageError
from kseg_core.inputs.keys import image_keys
from kseg_core.inputs.listing import InputFile, InputListing, list_inputs


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def plant(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


def plant_zarr(folder: Path, attributes: dict[str, object]) -> None:
    plant(folder, "images/a/c/0/0")
    (folder / "zarr.json").write_text(json.dumps({"zarr_format": 3, "node_type": "group", "attributes": attributes}))


def keys(listing: InputListing) -> list[str]:
    return [file.key for file in listing.files]


def sources(listing: InputListing) -> list[str]:
    return sorted(file.source for file in listing.files)


def hashed(*below: str) -> list[str]:
    return sorted(image_keys(below).values())


# What is listed


@pytest.mark.parametrize(
    ("there", "given", "listed", "passed_over"),
    [
        ("p/b.jpg p/a.png p/day/c.tif", "p", "p/a.png p/b.jpg p/day/c.tif", 0),
        ("", ".", "", 0),
        ("a.jpg .b.jpg .cache/c.jpg .DS_Store __MACOSX/._a.jpg", ".", "a.jpg", 0),
        (".cache/a.jpg", ".cache", ".cache/a.jpg", 0),
        ("a.jpg a.XMP notes.txt Thumbs.db desktop.ini README clip.MOV model.zip", ".", "a.jpg", 7),
        ("a b.xyz c.jpg.bak d.heic txt", ".", "a b.xyz c.jpg.bak d.heic txt", 0),  # the reader decides
        ("a.txt", "a.txt", "a.txt", 0),  # given by name
        ("day1/a.jpg day2/a.jpg x.png more/y.png", "day1 ./day2// x.png more/*.png",
         "day1/a.jpg day2/a.jpg more/y.png x.png", 0),
    ],
)  # fmt: skip
def test_what_is_listed_and_what_is_passed_over(
    here: Path, there: str, given: str, listed: str, passed_over: int
) -> None:
    plant(here, *there.split())
    listing = list_inputs(given.split())
    assert sources(listing) == listed.split()
    above = f"{given}/" if Path(given).is_dir() else ""  # keys count from a lone folder, else they have the path given
    assert keys(listing) == hashed(*(path.removeprefix(above) for path in listed.split()))
    assert (listing.passed_over, listing.failures) == (passed_over, ())


def test_a_file_is_described_by_an_absolute_path_its_size_and_its_time(here: Path) -> None:
    for content in (b"12345", b""):
        (here / "a.jpg").write_bytes(content)
        os.utime(here / "a.jpg", ns=(1, 1_700_000_000_123_456_789))
        size, modified = len(content), os.stat("a.jpg").st_mtime_ns
        for given_path, source in (("./a.jpg", "a.jpg"), (f"{here}/*.jpg", f"{here}/a.jpg")):
            (file,) = list_inputs([given_path]).files
            assert file == InputFile(str(here / "a.jpg"), source, "a.jpg", size, modified, "a.jpg")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_is_never_a_candidate(here: Path) -> None:
    os.mkfifo(here / "pipe.jpg")
    assert list_inputs(["."]) == InputListing((), 1, ())
    with pytest.raises(UsageError, match=r"^neither a file nor a folder: pipe\.jpg$"):
        list_inputs(["pipe.jpg"])


# Include and exclude


@pytest.mark.parametrize(
    ("include", "exclude", "expected"),
    [
        (["*.jpg", "*.png"], ["day1/*"], ["a.jpg", "day2/e.png", "day2/thumbs/d.jpg"]),
        (["day1"], [], ["day1/B.JPG", "day1/raw/c.jpg"]),
        (["/day?/*.[jp]*"], [], ["day1/B.JPG", "day2/e.png"]),
        (["day1/**"], ["raw"], ["day1/B.JPG"]),
        (["**/raw/*"], [], ["day1/raw/c.jpg"]),
        (["./day2/**/*.jpg"], [], ["day2/thumbs/d.jpg"]),
        (["raw/*"], [], []),
        ([".jpg"], [], ["a.jpg", "day1/B.JPG", "day1/raw/c.jpg", "day2/thumbs/d.jpg"]),
        (["a", "E"], [], ["a.jpg", "day2/e.png"]),
        (["./a.jpg"], [], ["a.jpg"]),
        (["./day1/"], [], ["day1/B.JPG", "day1/raw/c.jpg"]),
        (["in/day1"], [], ["day1/B.JPG", "day1/raw/c.jpg"]),
        (["./in/*/*.png"], [], ["day2/e.png"]),
        ([], ["in/day1", "in"], ["a.jpg", "day2/e.png", "day2/thumbs/d.jpg"]),
        ([], ["day1/b"], ["a.jpg", "day1/raw/c.jpg", "day2/e.png", "day2/thumbs/d.jpg"]),
        ([], ["thumbs/", "a.jpg/"], ["a.jpg", "day1/B.JPG", "day1/raw/c.jpg", "day2/e.png"]),
        ([], ["[!a]*"], ["a.jpg"]),
        ([], ["DAY*"], ["a.jpg"]),
        (["[b-a]*", "[", "[]*"], [], []),
    ],
)
def test_filters_choose_by_name_and_by_path_below_the_folder(
    here: Path, include: list[str], exclude: list[str], expected: list[str]
) -> None:
    plant(here / "in", "a.jpg", "day1/B.JPG", "day1/raw/c.jpg", "day2/thumbs/d.jpg", "day2/e.png")
    listing = list_inputs(["in"], include=include, exclude=exclude)
    assert sources(listing) == [f"in/{path}" for path in expected]


def test_patterns_that_match_nothing_are_told(here: Path) -> None:
    plant(here / "in", "a.jpg", "day1/b.jpg")
    listing = list_inputs(["in"], include=["a", "*.jpg", "*.gif"], exclude=["day2", "day1"])
    assert sources(listing) == ["in/a.jpg"]
    assert listing.unmatched == ("--include *.gif", "--exclude day2")
    assert list_inputs(["in/a.jpg"], include=["in/a.jpg"]).unmatched == ()


def test_filters_count_from_each_of_several_inputs_and_of_files_by_name(here: Path) -> None:
    plant(here, "one/keep/a.jpg", "two/drop/a.jpg", "masks/a.jpg", "masks/a_mask.png", "sub/b.txt", "a+(b)^$|{1}~~.jpg")
    assert sources(list_inputs(["one", "two"], exclude=["drop/*", "one"])) == ["one/keep/a.jpg"]
    named = list_inputs(["masks/a.jpg", "masks/a_mask.png"], exclude=["*_mask.*", "masks"])
    assert sources(named) == ["masks/a.jpg"]
    assert list_inputs(["."], exclude=["sub"]).passed_over == 0
    assert sources(list_inputs(["."], include=["a+(b)^$|{1}[~~&&--]*"])) == ["a+(b)^$|{1}~~.jpg"]  # no regex
    for pattern in ("", "/", "./"):
        with pytest.raises(UsageError, match="not a pattern"):
            list_inputs(["."], include=[pattern])


# Patterns as inputs


@pytest.mark.parametrize(
    ("pattern", "below"),
    [
        ("in/*.jpg", ["a.jpg"]),
        ("in/**/*.jpg", ["a.jpg", "day1/B.JPG", "day1/raw/c.jpg"]),
        ("in/**", ["a.jpg", "day1/B.JPG", "day1/raw/c.jpg", "day2/d.png"]),
        ("in/day[12]", ["day1/B.JPG", "day1/raw/c.jpg", "day2/d.png"]),
        ("in/day[!2]/*", ["day1/B.JPG", "day1/raw/c.jpg"]),
        ("in/*/raw/?.jpg", ["day1/raw/c.jpg"]),
        ("in/*/", ["day1/B.JPG", "day1/raw/c.jpg", "day2/d.png"]),
        ("in/day1/*.jpg", ["B.JPG"]),
        ("./in//d*/*.png", ["day2/d.png"]),
        ("{here}/in/*.jpg", ["a.jpg"]),
    ],
)
def test_a_lone_pattern_names_its_files_below_its_leading_folder(here: Path, pattern: str, below: list[str]) -> None:
    plant(here / "in", "a.jpg", "day1/B.JPG", "day1/raw/c.jpg", "day2/d.png", "day2/notes.txt")
    assert keys(list_inputs([pattern.format(here=here)])) == hashed(*below)


def test_a_pattern_enters_only_the_folders_it_may_match_in(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(here / "in", "day1/a.jpg", "day1/deep/b.jpg", "other/c.jpg")
    entered = []
    scandir = os.scandir

    def noting(path: str) -> object:
        entered.append(os.path.relpath(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", noting)
    assert keys(list_inputs(["in/day*/*.jpg"])) == hashed("day1/a.jpg")
    assert sorted(entered) == ["in", "in/day1"]


def test_a_name_that_exists_wins_over_the_pattern_it_could_be(here: Path) -> None:
    plant(here, "leaf[1].jpg", "leaf1.jpg", "run[1]/a.jpg", "run1/b.jpg", "run[1]/c.png")
    assert sources(list_inputs(["leaf[1].jpg"])) == ["leaf[1].jpg"]
    assert sources(list_inputs(["run[1]"])) == ["run[1]/a.jpg", "run[1]/c.png"]
    assert keys(list_inputs(["run[1]/*.jpg"])) == ["a.jpg"]
    with pytest.raises(UsageError, match=r"^no such file or folder: run\[1\]/d\.jpg$"):
        list_inputs(["run[1]/d.jpg"])


@pytest.mark.parametrize("pattern", ["in/*.gif", "nowhere/*.jpg", "in/a.jpg/*", "in/*/../a.jpg", "in/.*"])
def test_a_pattern_that_matches_nothing_is_wrong_usage(here: Path, pattern: str) -> None:
    plant(here / "in", "a.jpg", ".hidden.jpg", "sub/b.jpg", "c.txt")
    with pytest.raises(UsageError, match=r"^no file matches: "):
        list_inputs([pattern])
    assert list_inputs(["in/*.txt"]) == InputListing((), 1, ())  # passed over
    assert list_inputs(["in/*.jpg"], exclude=["a*"]) == InputListing((), 0, ())  # filtered out


# Names


def test_the_key_of_a_lone_file_is_made_of_its_name_others_of_the_path_given(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(here, "up/a.jpg", "work/b.jpg")
    assert keys(list_inputs(["up/a.jpg"])) == keys(list_inputs([str(here / "up/a.jpg")])) == ["a.jpg"]
    monkeypatch.chdir(here / "work")
    listing = list_inputs(["../up", "b.jpg"])
    assert keys(listing) == ["%2E%2E/up/a.jpg", "b.jpg"]


def test_a_file_given_twice_counts_once(here: Path) -> None:
    plant(here, "in/a.jpg", "in/sub/b.jpg", "in/sub/notes.txt")
    listing = list_inputs(["in", "in/a.jpg", "./in/sub", "in/**/*", str(here / "in")])
    assert (len(listing.files), listing.passed_over) == (2, 1)
    assert listing == list_inputs([str(here / "in"), "in/**/*", "./in/sub", "in/a.jpg", "in"])


def test_two_files_that_would_share_a_key_are_named(here: Path) -> None:
    plant(here, "a.jpg")
    plant(here / str(here).lstrip("/"), "a.jpg")
    relative, absolute = f"{here}/a.jpg".lstrip("/"), f"{here}/a.jpg"
    with pytest.raises(UsageError, match="one name in the store") as caught:
        list_inputs([relative, absolute])
    assert f"{absolute} and {relative}" in str(caught.value)


@settings(deadline=None, max_examples=50)
@given(
    st.sets(st.sampled_from(["a.jpg", "B.jpg", "sub/a.jpg", "sub/c.txt", "sub/deep/d", "other/a.jpg"]), min_size=1),
    st.permutations(["in", "in/sub", "in/**/*", "./in", "in/other"]),
    st.data(),
)
def test_the_listing_does_not_depend_on_the_order_of_arguments_or_directories(
    names: set[str], arguments: list[str], data: st.DataObject
) -> None:
    scandir = os.scandir

    class Shuffled:
        """A directory that gives its entries in an order of its own."""

        def __init__(self, path: str) -> None:
            with scandir(path) as entries:
                self.entries = data.draw(st.permutations(sorted(entries, key=lambda entry: entry.name)))

        def __enter__(self) -> Iterable[os.DirEntry[str]]:
            return self.entries

        def __exit__(self, *_: object) -> None:
            pass

    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        plant(Path(folder) / "in", "sub/keep.jpg", "other/keep.jpg", *names)
        expected = list_inputs(sorted(arguments))
        patch.setattr(os, "scandir", Shuffled)
        assert list_inputs(arguments) == expected
        patch.undo()


# Lists


@pytest.mark.parametrize(
    ("content", "null", "listed"),
    [
        (b"\xef\xbb\xbfin\r\n\n   \nb c.jpg\n./in/a.jpg", False, ["in/a.jpg", "b c.jpg", "in/sub/d.jpg"]),
        (b"in/a.jpg", False, ["in/a.jpg"]),  # of one line, and the path stays as given
        (b"two\nlines.jpg\0b c.jpg\0", True, ["two\nlines.jpg", "b c.jpg"]),
        ("b c.jpg\0two\nlines.jpg\0".encode("utf-16"), True, ["two\nlines.jpg", "b c.jpg"]),
        (b"\n\n", False, []),
        (b"a\nb\nx\ny\nin/a.jpg\n", False, ["a", "b", "in/a.jpg"]),  # files of one letter
    ],
)
def test_a_list_names_one_path_a_line_or_between_nuls(
    here: Path, content: bytes, null: bool, listed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(here, "in/a.jpg", "b c.jpg", "in/sub/d.jpg", "two\nlines.jpg", "a", "b")
    (here / "list").write_bytes(content)
    assert keys(list_inputs([], from_file="list", null=null)) == hashed(*listed)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    assert keys(list_inputs(["a"], from_file="-", null=null)) == hashed(*{"a", *listed})
    if null:
        with pytest.raises(UsageError, match=r"list list .*--null"):
            list_inputs([], from_file="list")


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be", "utf-8"])
@pytest.mark.parametrize(("marked", "between"), [(True, "\n"), (False, "\r\n"), (False, "\r\n\r\n")])
def test_a_list_is_read_in_any_form_of_unicode(here: Path, encoding: str, marked: bool, between: str) -> None:
    names = ["b.jpg", "\u00dcber \u00e4.jpg", "\u5199\u771f.jpg", "\U0001f33f.jpg"]
    plant(here, *names)
    Path("list").write_bytes((marked * "\ufeff" + between.join([*names, ""])).encode(encoding))
    assert sources(list_inputs([], from_file="list")) == sorted(names)


ROOTS = [b"/", b"//", b"/.", b"/../", b"///./..", b'"/"', b" / ", b"file:///", b"FILE://localhost/", b"'file:///'"]
WORKING = [
    b".", b"./", b"..", b"sub/..", b"up", b"~", b'"."', b" . ", b"{here}", b"{here}/", b"{here}/..",
    b"/{here}/sub/../", b"file://{here}", b"file://{here}/%2e", b"'{here}'",
]  # fmt: skip


@pytest.mark.parametrize(
    ("why", "contents"),
    [
        ("save it as UTF-8", ["\ufeffa.jpg\n".encode("utf-16-le") + b"x"]),
        ("--null", [b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "b.jpg\0two\nlines.jpg\0".encode("utf-32-be")]),
        ("single characters", [b"w\na\nn\nt\ne\nd\n.\nj\np\ng\n"]),
        ("root of all folders", [b"%s%s\n" % (before, name) for name in ROOTS for before in (b"", b"b.jpg\n")]),
        ("working folder", [b"%s%s\n" % (before, name) for name in WORKING for before in (b"", b"b.jpg\n")]),
    ],
)
def test_what_no_person_means_by_a_list_is_refused_before_anything_is_walked(
    here: Path, why: str, contents: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(here, "b.jpg", "sub/c.jpg")
    Path("up").symlink_to("..")
    monkeypatch.setenv("HOME", str(here))
    monkeypatch.setattr("kseg_core.storage.scan", lambda folder: pytest.fail(f"{folder} was walked"))
    for content in contents:
        Path("list").write_bytes(content.replace(b"{here}", os.fsencode(here)))
        with pytest.raises(UsageError, match=f"list list .*{why}"):
            list_inputs([], from_file="list")
    Path("list").write_bytes("wanted.jpg\r\n".encode("utf-16-le"))  # as if its zeros separated names
    with pytest.raises(UsageError, match="single characters"):
        list_inputs([], from_file="list", null=True)


def test_a_list_may_name_folders_below_and_beside_the_working_folder(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(here, "work/sub/a.jpg", "work-not/b.jpg")
    (here / "work" / "list").write_text(f"sub\n{here}/work-not\n")
    monkeypatch.chdir(here / "work")
    assert len(list_inputs([], from_file="list").files) == 2


@pytest.mark.parametrize(
    ("line", "why"),
    [
        *((line, "write it as a plain path: ") for line in ('"b c.jpg"', " b c.jpg", "b c.jpg  ", "~/b c.jpg")),
        ("file://{here}/b%20c.jpg", "write it as a plain path: "),
        ("# of May", "no comments"),
        ("d.jpg\rd.jpg", "CR alone"),
        ('""', "no such file"),
        ("file:///a%00b", "no such file"),
    ],
)
def test_a_line_that_is_no_plain_path_fails_alone_and_says_what_it_may_stand_for(
    here: Path, line: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(here, "b c.jpg", "d.jpg")
    monkeypatch.setenv("HOME", str(here))
    Path("list").write_text(f"{line.replace('{here}', str(here))}\nd.jpg\n", newline="")
    listing = list_inputs([], from_file="list")
    assert sources(listing) == ["d.jpg"]
    (failure,) = listing.failures
    assert why in failure.reason
    assert failure.reason.endswith("b c.jpg") or "plain path" not in why
    if "plain path" in why and "/" not in line:  # a name that is there is that file, however odd
        plant(here, line)
        assert len(list_inputs([], from_file="list").files) == 2


def test_a_line_that_cannot_be_used_fails_alone(here: Path) -> None:
    plant(here, "a.jpg")
    plant_zarr(here / "x.zarr", {})
    plant_zarr(here / "out.zarr", {"kseg": {}})
    (here / "list").write_text("gone.jpg\na.jpg\n*.jpg\nx.zarr\nout.zarr\n")
    listing = list_inputs([], from_file="list")
    assert keys(listing) == ["a.jpg", "x.zarr"]
    assert [str(failure) for failure in listing.failures] == [
        "*.jpg: no such file or folder",
        "gone.jpg: no such file or folder",
        "out.zarr: a kseg store is an output, not an input",
    ]
    for name in ("nowhere.txt", "."):
        with pytest.raises(UsageError, match=r"^cannot read the list "):
            list_inputs([], from_file=name)


def test_names_that_are_not_utf8_survive(here: Path) -> None:
    raw = b"caf\xe9.jpg"
    try:
        with open(os.path.join(os.fsencode(here), raw), "wb"):
            pass
    except OSError:
        pytest.skip("this file system holds UTF-8 names only")
    (here / "list.txt").write_bytes(raw + b"\n")
    from_list, from_folder = list_inputs([], from_file="list.txt"), list_inputs(["."])
    assert from_list == InputListing(from_folder.files, 0, ())
    (file,) = from_list.files
    assert (file.source, file.key) == ("caf%E9.jpg", "caf%E9.jpg")
    assert os.fsencode(file.path).endswith(raw)
    assert os.path.exists(file.path)


# What does not exist, and what cannot be read


@pytest.mark.parametrize("name", ["nowhere", "a.jpg/b.jpg", "a.jpg/", "nul\0byte", ""])
def test_an_input_that_does_not_exist_is_wrong_usage_before_any_folder_is_walked(
    here: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(here, "a.jpg", "in/a.jpg")
    monkeypatch.setattr(os, "scandir", lambda _: pytest.fail("walked"))
    with pytest.raises(UsageError, match=r"^no such file or folder: "):
        list_inputs(["in", name])
    with pytest.raises(UsageError, match="no input given"):
        list_inputs([])


def test_an_unreadable_sub_folder_is_a_failure_and_the_rest_is_listed(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(here, "in/a.jpg", "in/locked/b.jpg")
    scandir = os.scandir

    def refusing(path: str) -> object:
        if path.endswith("locked"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)  # a real lock would not stop the superuser
    for pattern in ("in", "in/**/*.jpg", "in/*"):
        listing = list_inputs([pattern])
        assert keys(listing) == ["a.jpg"]
        assert [str(failure) for failure in listing.failures] == ["in/locked: permission denied"]
    assert str(list_inputs(["in/locked"]).failures[0]) == "in/locked: permission denied"


# Links


def test_links_are_followed_and_a_file_keeps_its_own_name_rather_than_that_of_a_link(here: Path) -> None:
    plant(here, "elsewhere/a.jpg", "in/photo17.jpg", "in/z/b.jpg")
    (here / "in/link.jpg").symlink_to(here / "elsewhere/a.jpg")
    (here / "in/current.jpg").symlink_to("photo17.jpg")
    (here / "in/a").symlink_to("z")
    assert sources(list_inputs(["in"])) == ["in/link.jpg", "in/photo17.jpg", "in/z/b.jpg"]
    assert keys(list_inputs(["in/link.jpg"])) == ["link.jpg"]


def test_links_to_folders_are_followed_and_loops_end(here: Path) -> None:
    plant(here, "in/sub/a.jpg", "out/b.jpg")
    (here / "in/sub/up").symlink_to(here / "in")
    (here / "in/out").symlink_to(here / "out")
    (here / "out/back").symlink_to(here)
    assert sources(list_inputs(["in"])) == ["in/out/b.jpg", "in/sub/a.jpg"]
    assert sources(list_inputs(["in/**/*.jpg"])) == ["in/out/b.jpg", "in/sub/a.jpg"]


def test_broken_and_circular_links_are_failures(here: Path) -> None:
    plant(here, "in/a.jpg")
    (here / "in/broken.jpg").symlink_to("nowhere")
    (here / "in/circle.jpg").symlink_to("circle.jpg")
    (here / "in/broken.txt").symlink_to("nowhere")
    listing = list_inputs(["in"])
    assert keys(listing) == ["a.jpg"]
    assert listing.passed_over == 1
    assert [failure.source for failure in listing.failures] == ["in/broken.jpg", "in/circle.jpg"]
    assert listing.failures[0].reason == "broken link"
    named = list_inputs(["in/a.jpg", "in/broken.jpg", "in/circle.jpg"])
    assert [str(failure) for failure in named.failures] == [str(failure) for failure in listing.failures]


# Zarr directories


def test_zarr_directories_in_a_folder_are_one_input_each_and_kseg_stores_none(here: Path) -> None:
    plant(here / "in", "a.jpg", "v2/.zgroup", "v2/0.0", "bad/zarr.json", "bad/c/0")
    plant_zarr(here / "in/deep/other.zarr", {"ome": {}})
    (here / "in/link.zarr").symlink_to("deep/other.zarr")
    plant_zarr(here / "in/out.kseg.zarr", {"kseg": {}})
    for pattern in ("in", "in/*", "in/**", "in/"):
        listing = list_inputs([pattern])
        assert sources(listing) == ["in/a.jpg", "in/bad", "in/deep/other.zarr", "in/v2"]
        assert (listing.passed_over, listing.failures) == (1, ())  # the store
    assert [file.below for file in list_inputs(["in"]).files] == ["a.jpg", "bad", "deep/other.zarr", "v2"]
    assert sources(list_inputs(["in"], exclude=["other*", "link*", "v2", "bad"])) == ["in/a.jpg"]
    assert sources(list_inputs(["in", "in/v2"], include=["v2"])) == ["in/v2"]
    assert sources(list_inputs(["in/**/other.zarr"])) == ["in/deep/other.zarr"]
    assert sources(list_inputs(["in/**/*.jpg"])) == ["in/a.jpg"]
    with pytest.raises(UsageError, match=r"^a kseg store is an output, not an input: in/out\.kseg\.zarr$"):
        list_inputs(["in/out.kseg.zarr"])


@pytest.mark.parametrize("content", [b"\xff\xfe no JSON", b"", b"[1]", b'{"name": "zarr"}'])
@pytest.mark.parametrize("beside", [("a.jpg", "c/b.jpg"), ("x/a.jpg", "y/b.jpg"), ("a.jpg",)])
def test_photographs_beside_a_stray_zarr_json_are_found_and_it_is_passed_over(
    beside: tuple[str, ...], content: bytes, here: Path
) -> None:
    plant(here / "in", *beside)
    (here / "in" / "zarr.json").write_bytes(content)
    for listing in (list_inputs(["in"]), list_inputs(["in/**"])):
        assert sources(listing) == [f"in/{name}" for name in beside]
        assert (listing.passed_over, listing.failures) == (1, ())


@pytest.mark.parametrize(
    "inside",
    [("zarr.json", "c/0/0"), ("zarr.json",), ("zarr.json", "0/zarr.json"), ("zarr.json", "c"), (".zarray", "a")],
)
def test_a_damaged_zarr_directory_stays_one_input(here: Path, inside: tuple[str, ...]) -> None:
    plant(here / "in/x.zarr", *inside)
    assert sources(list_inputs(["in"])) == sources(list_inputs(["in/x.zarr"])) == ["in/x.zarr"]


@pytest.mark.parametrize("marker", ["zarr.json", ".zarray", ".zgroup", ".zattrs"])
def test_a_zarr_directory_is_as_large_and_as_old_as_its_metadata(
    here: Path, marker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(here / "x.zarr", marker, "0.0", "c/0/0.jpg")
    (here / "x.zarr" / marker).write_bytes(b"12345")
    os.utime(here / "x.zarr" / marker, ns=(7, 7))
    for given_path in ("x.zarr", "x.zarr/", "./x.zarr", "*.zarr"):
        (file,) = list_inputs([given_path]).files
        assert file == InputFile(str(here / "x.zarr"), "x.zarr", "x.zarr", 5, 7, "x.zarr")
    with pytest.raises(UsageError, match=r"^no file matches: x\.zarr/\*$"):
        list_inputs(["x.zarr/*"])
    monkeypatch.chdir(here / "x.zarr")
    (file,) = list_inputs(["."]).files
    assert (os.path.realpath(file.path), file.key) == (os.path.realpath(here / "x.zarr"), "x.zarr")


# Start-up


def test_listing_loads_nothing_heavy() -> None:
    code = "import sys, kseg_core.inputs.listing; print(*{'numpy', 'zarr', 'dask', 'PIL'}.intersection(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
