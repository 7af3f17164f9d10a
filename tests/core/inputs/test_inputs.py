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
from kseg_core.inputs.keys import image_key
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
    return sorted(image_key(path) for path in below)


# What is listed


def test_a_folder_gives_the_files_of_all_its_sub_folders_sorted_by_key(here: Path) -> None:
    plant(here / "photos", "b.jpg", "a.png", "day/c.tif")
    listing = list_inputs(["photos"])
    assert keys(listing) == sorted(["a.png", "b.jpg", image_key("day/c.tif")])
    assert sources(listing) == ["photos/a.png", "photos/b.jpg", "photos/day/c.tif"]
    assert (listing.passed_over, listing.failures) == (0, ())


def test_a_file_is_described_by_an_absolute_path_its_size_and_its_time(here: Path) -> None:
    (here / "a.jpg").write_bytes(b"12345")
    os.utime(here / "a.jpg", ns=(1, 1_700_000_000_123_456_789))
    (file,) = list_inputs(["./a.jpg"]).files
    assert Path(file.path) == here / "a.jpg"
    assert os.path.isabs(file.path)
    assert (file.source, file.key, file.size) == ("a.jpg", "a.jpg", 5)
    assert file.modified_ns == os.stat("a.jpg").st_mtime_ns


def test_an_empty_file_is_listed(here: Path) -> None:
    (here / "a.jpg").touch()
    assert [file.size for file in list_inputs(["."]).files] == [0]


@pytest.mark.usefixtures("here")
def test_an_empty_folder_is_an_empty_listing() -> None:
    assert list_inputs(["."]) == InputListing((), 0, ())


def test_hidden_entries_are_left_out_and_not_counted(here: Path) -> None:
    plant(here, "a.jpg", ".b.jpg", ".cache/c.jpg", ".DS_Store", "__MACOSX/._a.jpg")
    listing = list_inputs(["."])
    assert keys(listing) == ["a.jpg"]
    assert listing.passed_over == 0


def test_a_hidden_folder_given_by_name_is_read(here: Path) -> None:
    plant(here / ".cache", "a.jpg")
    assert keys(list_inputs([".cache"])) == ["a.jpg"]


def test_what_is_plainly_not_an_image_is_passed_over_and_counted(here: Path) -> None:
    plant(here, "a.jpg", "a.XMP", "notes.txt", "Thumbs.db", "desktop.ini", "README", "clip.MOV", "model.zip")
    listing = list_inputs(["."])
    assert keys(listing) == ["a.jpg"]
    assert listing.passed_over == 7


def test_unknown_and_missing_suffixes_are_left_to_the_reader(here: Path) -> None:
    plant(here, "a", "b.xyz", "c.jpg.bak", "d.heic", "txt")
    assert keys(list_inputs(["."])) == ["a", "b.xyz", "c.jpg.bak", "d.heic", "txt"]


def test_a_file_given_by_name_is_listed_whatever_its_suffix(here: Path) -> None:
    plant(here, "a.txt")
    assert keys(list_inputs(["a.txt"])) == ["a.txt"]


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
        (["*.jpg"], [], ["a.jpg", "day1/B.JPG", "day1/raw/c.jpg", "day2/thumbs/d.jpg"]),
        (["*.jpg", "*.png"], ["day1/*"], ["a.jpg", "day2/e.png", "day2/thumbs/d.jpg"]),
        (["day1"], [], ["day1/B.JPG", "day1/raw/c.jpg"]),
        (["/day?/*.[jp]*"], [], ["day1/B.JPG", "day2/e.png"]),
        (["day1/**"], ["raw"], ["day1/B.JPG"]),
        (["**/raw/*"], [], ["day1/raw/c.jpg"]),
        (["./day2/**/*.jpg"], [], ["day2/thumbs/d.jpg"]),
        (["raw/*"], [], []),
        ([".jpg"], [], ["a.jpg", "day1/B.JPG", "day1/raw/c.jpg", "day2/thumbs/d.jpg"]),
        ([".PNG"], [], ["day2/e.png"]),
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


def test_filters_count_from_each_of_several_folders(here: Path) -> None:
    plant(here, "one/keep/a.jpg", "two/drop/a.jpg")
    listing = list_inputs(["one", "two"], exclude=["drop/*", "one"])
    assert sources(listing) == ["one/keep/a.jpg"]


def test_files_given_by_name_are_filtered_by_their_name(here: Path) -> None:
    plant(here, "masks/a.jpg", "masks/a_mask.png")
    listing = list_inputs(["masks/a.jpg", "masks/a_mask.png"], exclude=["*_mask.*", "masks"])
    assert sources(listing) == ["masks/a.jpg"]


def test_what_is_filtered_out_is_not_counted_as_passed_over(here: Path) -> None:
    plant(here, "a.txt", "sub/b.txt")
    assert list_inputs(["."], exclude=["sub"]).passed_over == 1


def test_special_signs_of_regular_expressions_are_only_themselves(here: Path) -> None:
    plant(here, "a+(b)^$|{1}~~&&.jpg", "axb.jpg")
    assert sources(list_inputs(["."], include=["a+(b)^$|{1}[~~&&--]*"])) == ["a+(b)^$|{1}~~&&.jpg"]


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("pattern", ["", "/", "./"])
def test_an_empty_filter_is_wrong_usage(pattern: str) -> None:
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
    ],
)
def test_a_lone_pattern_names_its_files_below_its_leading_folder(here: Path, pattern: str, below: list[str]) -> None:
    plant(here / "in", "a.jpg", "day1/B.JPG", "day1/raw/c.jpg", "day2/d.png", "day2/notes.txt")
    assert keys(list_inputs([pattern])) == hashed(*below)


def test_a_pattern_without_a_folder_looks_in_the_current_one(here: Path) -> None:
    plant(here, "a.jpg", "b.png")
    assert sources(list_inputs(["*.jpg"])) == ["a.jpg"]


def test_a_pattern_may_be_absolute(here: Path) -> None:
    plant(here, "a.jpg")
    (file,) = list_inputs([f"{here}/*.jpg"]).files
    assert (file.key, file.source) == ("a.jpg", f"{here}/a.jpg")


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
    plant(here / "in", "a.jpg", ".hidden.jpg", "sub/b.jpg")
    with pytest.raises(UsageError, match=r"^no file matches: "):
        list_inputs([pattern])


def test_a_pattern_whose_matches_are_passed_over_or_filtered_out_is_no_error(here: Path) -> None:
    plant(here, "a.txt", "b.jpg")
    assert list_inputs(["*.txt"]) == InputListing((), 1, ())
    assert list_inputs(["*.jpg"], exclude=["b*"]) == InputListing((), 0, ())


# Several inputs


def test_several_inputs_keep_the_paths_they_were_given_by(here: Path) -> None:
    plant(here, "day1/a.jpg", "day2/a.jpg", "x.png", "more/y.png")
    listing = list_inputs(["day1", "./day2//", "x.png", "more/*.png"])
    assert keys(listing) == hashed("day1/a.jpg", "day2/a.jpg", "x.png", "more/y.png")
    assert sources(listing) == ["day1/a.jpg", "day2/a.jpg", "more/y.png", "x.png"]


def test_the_key_of_a_lone_file_is_made_of_its_name(here: Path) -> None:
    plant(here, "deep/down/a.jpg")
    assert keys(list_inputs(["deep/down/a.jpg"])) == ["a.jpg"]
    assert keys(list_inputs([str(here / "deep/down/a.jpg")])) == ["a.jpg"]


def test_paths_that_climb_stay_inside_the_store(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(here, "up/a.jpg", "work/b.jpg")
    monkeypatch.chdir(here / "work")
    listing = list_inputs(["../up", "b.jpg"])
    assert keys(listing) == hashed("../up/a.jpg", "b.jpg")
    assert all("/" not in key and not key.startswith(".") for key in keys(listing))


def test_a_file_given_twice_counts_once(here: Path) -> None:
    plant(here, "in/a.jpg", "in/sub/b.jpg", "in/sub/notes.txt")
    listing = list_inputs(["in", "in/a.jpg", "./in/sub", "in/**/*", str(here / "in")])
    assert len(listing.files) == 2
    assert listing.passed_over == 1
    assert listing == list_inputs([str(here / "in"), "in/**/*", "./in/sub", "in/a.jpg", "in"])


def test_two_files_that_would_share_a_key_are_named(here: Path) -> None:
    plant(here, "a.jpg")
    plant(here / str(here).lstrip("/"), "a.jpg")
    relative, absolute = f"{here}/a.jpg".lstrip("/"), f"{here}/a.jpg"
    with pytest.raises(UsageError, match="one name in the store") as caught:
        list_inputs([relative, absolute])
    assert f"{absolute} and {relative}" in str(caught.value)


def test_no_input_at_all_is_wrong_usage() -> None:
    with pytest.raises(UsageError, match="no input given"):
        list_inputs([])


@settings(deadline=None)
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


def test_a_list_names_one_path_a_line(here: Path) -> None:
    plant(here, "in/a.jpg", "b c.jpg", "in/sub/d.jpg")
    (here / "list.txt").write_bytes(b"\xef\xbb\xbfin\r\n\n   \nb c.jpg\n./in/a.jpg")
    listing = list_inputs([], from_file="list.txt")
    assert keys(listing) == hashed("in/a.jpg", "b c.jpg", "in/sub/d.jpg")


def test_a_list_may_be_separated_by_nul(here: Path) -> None:
    plant(here, "two\nlines.jpg", "b.jpg")
    (here / "list").write_bytes(b"two\nlines.jpg\0b.jpg\0")
    assert sources(list_inputs([], from_file="list", null=True)) == ["b.jpg", "two\nlines.jpg"]
    with pytest.raises(UsageError, match=r"list list .*--null"):
        list_inputs([], from_file="list")


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be", "utf-8"])
@pytest.mark.parametrize("marked", [True, False])
@pytest.mark.parametrize("between", ["\n", "\r\n", "\r\n\r\n"])
def test_a_list_is_read_in_any_form_of_unicode(here: Path, encoding: str, marked: bool, between: str) -> None:
    names = ["b.jpg", "\u00dcber \u00e4.jpg", "\u5199\u771f.jpg", "\U0001f33f.jpg"]
    for name in names:
        plant(here, name)
    Path("list").write_bytes((marked * "\ufeff" + between.join([*names, ""])).encode(encoding))
    assert sources(list_inputs([], from_file="list")) == sorted(names)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32-be"])
def test_a_wide_list_may_be_separated_by_nul(here: Path, encoding: str) -> None:
    plant(here, "b.jpg", "two\nlines.jpg")
    Path("list").write_bytes("b.jpg\0two\nlines.jpg\0".encode(encoding))
    if encoding == "utf-16":  # marked
        assert sources(list_inputs([], from_file="list", null=True)) == ["b.jpg", "two\nlines.jpg"]
    with pytest.raises(UsageError, match="--null"):
        list_inputs([], from_file="list")


ROOTS = [b"/", b"//", b"/.", b"/../", b"///./..", b'"/"', b" / ", b"file:///", b"FILE://localhost/", b"'file:///'"]
WORKING = [
    b".", b"./", b"..", b"../", b"sub/..", b"up", b"~", b'"."', b" . ", b"{here}", b"{here}/", b"{here}/..",
    b"/{here}/sub/../", b"file://{here}", b"file://{here}/%2e", b"'{here}'",
]  # fmt: skip


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("\ufeffa.jpg\n".encode("utf-16-le") + b"x", "save it as UTF-8"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "--null"),
        (b"w\na\nn\nt\ne\nd\n.\nj\np\ng\n", "single characters"),
        *((name + b"\n", "root of all folders") for name in ROOTS),
        *((b"b.jpg\n" + name + b"\n", "root of all folders") for name in ROOTS),
        *((name + b"\n", "working folder") for name in WORKING),
        *((b"b.jpg\n" + name + b"\nb.jpg\n", "working folder") for name in WORKING),
    ],
)
def test_what_no_person_means_by_a_list_is_refused_before_anything_is_walked(
    here: Path, content: bytes, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(here, "b.jpg", "sub/c.jpg")
    Path("up").symlink_to("..")
    Path("list").write_bytes(content.replace(b"{here}", os.fsencode(here)))
    monkeypatch.setenv("HOME", str(here))
    monkeypatch.setattr("kseg_core.storage.scan", lambda folder: pytest.fail(f"{folder} was walked"))
    with pytest.raises(UsageError, match=f"list list .*{why}"):
        list_inputs([], from_file="list")


def test_the_letters_of_a_wide_list_taken_for_names_are_refused(here: Path) -> None:
    Path("list").write_bytes("wanted.jpg\r\n".encode("utf-16-le"))  # as if its zeros separated names
    with pytest.raises(UsageError, match="single characters"):
        list_inputs([], from_file="list", null=True)


@pytest.mark.parametrize(
    "name", ['"b c.jpg"', "'b c.jpg'", " b c.jpg", "b c.jpg  ", "file://{here}/b%20c.jpg", "~/b c.jpg"]
)
def test_a_line_that_is_no_plain_path_is_named_with_the_one_it_stands_for(
    here: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(here, "b c.jpg", "d.jpg")
    monkeypatch.setenv("HOME", str(here))
    Path("list").write_text(f"{name.replace('{here}', str(here))}\nd.jpg\n")
    listing = list_inputs([], from_file="list")
    assert sources(listing) == ["d.jpg"]
    (failure,) = listing.failures
    assert "write it as a plain path: " in failure.reason
    assert failure.reason.endswith("b c.jpg")
    plant(here, name.strip("~/"))  # a name that is there is that file, however odd
    if "/" not in name:
        assert len(list_inputs([], from_file="list").files) == 2


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("# of May", "no comments"),
        ("d.jpg\rd.jpg", "CR alone"),
        ('""', "no such file"),
        ("file:///a%00b", "no such file"),
    ],
)
def test_a_line_that_is_no_name_says_so(here: Path, line: str, why: str) -> None:
    plant(here, "d.jpg")
    Path("list").write_text(f"{line}\nd.jpg\n", newline="")
    listing = list_inputs([], from_file="list")
    assert sources(listing) == ["d.jpg"]
    assert why in listing.failures[0].reason


def test_a_list_may_name_folders_below_and_beside_the_working_folder(here: Path) -> None:
    plant(here, "work/sub/a.jpg", "work-not/b.jpg")
    (here / "work" / "list").write_text(f"sub\n{here}/work-not\n")
    os.chdir(here / "work")
    assert len(list_inputs([], from_file="list").files) == 2


def test_a_list_may_name_files_of_one_letter(here: Path) -> None:
    plant(here, "a", "b", "c", "d.jpg")
    Path("list").write_bytes(b"a\nb\nc\nx\ny\nd.jpg\n")
    assert sources(list_inputs([], from_file="list")) == ["a", "b", "c", "d.jpg"]


def test_a_list_is_read_from_standard_input(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(here, "a.jpg", "sub/b.jpg", "c.jpg")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a.jpg\nsub/b.jpg\n")))
    assert keys(list_inputs(["c.jpg"], from_file="-")) == hashed("a.jpg", "c.jpg", "sub/b.jpg")


def test_a_list_of_one_line_still_keeps_the_path_as_given(here: Path) -> None:
    plant(here, "sub/b.jpg")
    (here / "list").write_text("sub/b.jpg")
    assert keys(list_inputs([], from_file="list")) == hashed("sub/b.jpg")


def test_an_empty_list_is_an_empty_listing(here: Path) -> None:
    (here / "list").write_text("\n\n")
    assert list_inputs([], from_file="list") == InputListing((), 0, ())


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


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("name", ["nowhere.txt", "."])
def test_a_list_that_cannot_be_read_is_wrong_usage(name: str) -> None:
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
    assert file.source == "caf%E9.jpg"
    assert os.fsencode(file.path).endswith(raw)
    assert os.path.exists(file.path)
    assert file.key == image_key(os.fsdecode(raw))


# What does not exist, and what cannot be read


@pytest.mark.parametrize("name", ["nowhere", "a.jpg/b.jpg", "a.jpg/", "nul\0byte", ""])
def test_an_input_that_does_not_exist_is_wrong_usage(here: Path, name: str) -> None:
    plant(here, "a.jpg")
    with pytest.raises(UsageError, match=r"^no such file or folder: "):
        list_inputs([name])


def test_a_misspelt_input_is_found_before_any_folder_is_walked(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(here, "in/a.jpg")
    monkeypatch.setattr(os, "scandir", lambda _: pytest.fail("walked"))
    with pytest.raises(UsageError, match="nowhere"):
        list_inputs(["in", "nowhere"])


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


def test_links_to_files_are_followed(here: Path) -> None:
    plant(here, "elsewhere/a.jpg", "in/b.jpg")
    (here / "in/link.jpg").symlink_to(here / "elsewhere/a.jpg")
    assert keys(list_inputs(["in"])) == ["b.jpg", "link.jpg"]
    assert keys(list_inputs(["in/link.jpg"])) == ["link.jpg"]


def test_a_file_keeps_its_own_name_rather_than_that_of_a_link(here: Path) -> None:
    plant(here, "in/photo17.jpg", "in/z/b.jpg")
    (here / "in/current.jpg").symlink_to("photo17.jpg")
    (here / "in/a").symlink_to("z")
    assert sources(list_inputs(["in"])) == ["in/photo17.jpg", "in/z/b.jpg"]


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
    plant_zarr(here / "in/out.kseg.zarr", {"kseg": {}})
    for pattern in ("in", "in/*", "in/**", "in/"):
        listing = list_inputs([pattern])
        assert sources(listing) == ["in/a.jpg", "in/bad", "in/deep/other.zarr", "in/v2"]
        assert (listing.passed_over, listing.failures) == (1, ())  # the store
    assert [file.below for file in list_inputs(["in"]).files] == ["a.jpg", "bad", "deep/other.zarr", "v2"]
    assert sources(list_inputs(["in"], exclude=["other*", "v2", "bad"])) == ["in/a.jpg"]
    assert sources(list_inputs(["in"], exclude=["deep/"])) == ["in/a.jpg", "in/bad", "in/v2"]
    assert sources(list_inputs(["in"], include=["*.zarr"])) == ["in/deep/other.zarr"]
    assert sources(list_inputs(["in/**/*.zarr"])) == ["in/deep/other.zarr"]
    assert sources(list_inputs(["in/**/*.jpg"])) == ["in/a.jpg"]


@pytest.mark.parametrize("content", [b"\xff\xfe no JSON", b"", b"[1]", b'{"name": "zarr"}'])
@pytest.mark.parametrize("beside", [("a.jpg", "c/b.jpg"), ("x/a.jpg", "y/b.jpg"), ("a.jpg",)])
@pytest.mark.parametrize("given", ["in", "in/**"])
def test_photographs_beside_a_stray_zarr_json_are_found_and_it_is_passed_over(
    given: str, beside: tuple[str, ...], content: bytes, here: Path
) -> None:
    plant(here / "in", *beside)
    (here / "in" / "zarr.json").write_bytes(content)
    listing = list_inputs([given])
    assert sources(listing) == [f"in/{name}" for name in beside]
    assert (listing.passed_over, listing.failures) == (1, ())
    plant(here / "above/in", "z.jpg", "zarr.json")
    assert sources(list_inputs(["above"])) == ["above/in/z.jpg"]


@pytest.mark.parametrize(
    "inside",
    [("zarr.json", "c/0/0"), ("zarr.json",), ("zarr.json", "0/zarr.json"), ("zarr.json", "c"), (".zarray", "a")],
)
def test_a_damaged_zarr_directory_stays_one_input(here: Path, inside: tuple[str, ...]) -> None:
    plant(here / "in/x.zarr", *inside)
    assert sources(list_inputs(["in"])) == sources(list_inputs(["in/x.zarr"])) == ["in/x.zarr"]


@pytest.mark.parametrize("marker", ["zarr.json", ".zarray", ".zgroup", ".zattrs"])
def test_a_zarr_directory_is_as_large_and_as_old_as_its_metadata(here: Path, marker: str) -> None:
    plant(here / "x.zarr", marker, "0.0", "c/0/0.jpg")
    (here / "x.zarr" / marker).write_bytes(b"12345")
    os.utime(here / "x.zarr" / marker, ns=(7, 7))
    for given_path in ("x.zarr", "x.zarr/", "./x.zarr", "*.zarr"):
        (file,) = list_inputs([given_path]).files
        assert file == InputFile(str(here / "x.zarr"), "x.zarr", "x.zarr", 5, 7, "x.zarr")
    with pytest.raises(UsageError, match=r"^no file matches: x\.zarr/\*$"):
        list_inputs(["x.zarr/*"])


def test_the_current_folder_may_be_a_zarr_directory(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant_zarr(here / "x.zarr", {})
    monkeypatch.chdir(here / "x.zarr")
    (file,) = list_inputs(["."]).files
    assert os.path.samefile(file.path, here / "x.zarr")
    assert file.key == "x.zarr"


def test_one_zarr_directory_counts_once(here: Path) -> None:
    plant_zarr(here / "in/x.zarr", {})
    (here / "in/link.zarr").symlink_to("x.zarr")
    assert sources(list_inputs(["in"])) == ["in/x.zarr"]
    assert sources(list_inputs(["in", "in/x.zarr"])) == ["in/x.zarr"]


def test_a_kseg_store_as_an_input_is_refused_as_an_output(here: Path) -> None:
    plant_zarr(here / "out.zarr", {"kseg": {}})
    with pytest.raises(UsageError, match=r"^a kseg store is an output, not an input: out\.zarr$"):
        list_inputs(["out.zarr"])


# Start-up


def test_listing_loads_nothing_heavy() -> None:
    code = "import sys, kseg_core.inputs.listing; print(*{'numpy', 'zarr', 'dask', 'PIL'}.intersection(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
