"""Files of single bands among the inputs: which become a scene, and which scenes are refused."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from kseg_core.choice import InputSelection
from kseg_core.config import InputSettings
from kseg_core.errors import KsegError, UsageError
from kseg_core.inputs.companions import content_digest
from kseg_core.inputs.listing import InputListing, file_status, list_inputs, list_selected
from kseg_core.inputs.stacks import Stacking


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def touch(*names: str) -> None:
    for number, name in enumerate(names):
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * (number + 1))
        os.utime(path, ns=(1, 1000 + number))


def listed(*inputs: str, rule: str = "auto", bands: tuple[str, ...] = (), **how: object) -> InputListing:
    return list_inputs(inputs or ("in",), stacking=Stacking.of(rule, bands), **how)  # type: ignore[arg-type]


def refused(listing: InputListing) -> dict[str, str]:
    return {error.source: error.reason for error in listing.failures}


def test_files_of_a_scene_are_one_input(here: Path) -> None:
    touch(*(f"in/{scene}_{band}.tif" for scene in ("b", "a") for band in ("nir", "red", "blue")))
    listing = listed()
    first, second = listing.files
    assert (first.key, first.below, first.source) == ("a", "a", "in/a_{blue,nir,red}.tif")
    assert first.path == f"{here}/in/a_{{blue,nir,red}}.tif"
    assert (first.size, first.modified_ns) == (4 + 5 + 6, 1005)
    assert second.key == "b"
    assert (listing.failures, listing.remarks, listing.passed_over) == ((), (), 0)
    status = file_status(first.path)
    assert status is not None
    assert (status.st_size, status.st_mtime_ns) == (first.size, first.modified_ns)


def test_a_change_of_any_file_is_seen(here: Path) -> None:
    touch("in/a_red.tif", "in/a_nir.tif")
    (before,) = listed().files
    digest = content_digest(before.path)
    os.utime("in/a_red.tif", ns=(1, 7))  # older than the youngest, and as large
    (after,) = listed().files
    assert (after.size, after.modified_ns) == (before.size, before.modified_ns)
    assert not after.is_as(before.facts)
    assert content_digest(before.path) == digest
    Path("in/a_red.tif").write_bytes(b"y")
    assert content_digest(before.path) != digest
    touch("in/a_red.tif", "in/a_nir.tif")
    assert listed().files == (before,)
    Path("in/a_nir.tif.msk").touch()
    assert not listed().files[0].is_as(before.facts)
    Path("in/a_nir.tif").unlink()
    assert file_status(before.path) is None


def test_of_several_resolutions_the_finest_is_taken(here: Path) -> None:
    safe = "in/S2A.SAFE/GRANULE/L2A/IMG_DATA"
    there = {10: ("B02", "B08", "TCI"), 20: ("B02", "B05", "B8A", "SCL"), 60: ("B02", "B05", "B09")}
    touch(*(f"{safe}/R{m}m/T32_2023_{band}_{m}m.jp2" for m, bands in there.items() for band in bands))
    listing = listed()
    (scene,) = listing.files
    assert scene.below == "S2A.SAFE/GRANULE/L2A/IMG_DATA/T32_2023"
    assert scene.key == scene.below
    ends = ["R10m/T32_2023_B02_10m", "R20m/T32_2023_B05_20m", "R10m/T32_2023_B08_10m", "R20m/T32_2023_B8A_20m",
            "R60m/T32_2023_B09_60m"]  # fmt: skip
    assert scene.source == f"{safe}/{{{','.join(ends)}}}.jp2"
    assert listing.passed_over == 2 + 3  # TCI and SCL; coarser ones
    (of_folder,) = listed(f"{safe}/R10m").files
    assert of_folder.below == "T32_2023"


@pytest.mark.parametrize(("given", "below"), [("in", "s1"), ("in/s1", "s1"), (".", "in/s1"), ("in/s1/*.tif", "s1")])
def test_a_folder_of_bands_is_a_scene_of_its_name(here: Path, given: str, below: str) -> None:
    touch("in/s1/B02.tif", "in/s1/B04.tif")
    assert [file.below for file in listed(given).files] == [below]


def test_files_may_be_named_one_by_one(here: Path) -> None:
    touch("in/a_red.tif", "in/a_nir.tif", "in/b_red.tif")
    (scene,) = listed("in/a_red.tif", str(here / "in/a_nir.tif")).files
    assert scene.source == f"{here}/in/a_{{nir,red}}.tif"
    assert scene.path == scene.source


def test_a_scene_without_a_band_that_most_have_is_refused_by_name(here: Path) -> None:
    touch(*(f"in/{scene}_{band}.tif" for scene in "abc" for band in ("B02", "B03", "B04")))
    Path("in/b_B03.tif").unlink()
    listing = listed()
    assert [file.key for file in listing.files] == ["a", "c"]
    assert refused(listing) == {
        "in/b": "it has no band B03, which 2 of 3 scenes have (there is B02, B04): left out until its file is there"
    }
    touch("in/b_B03.tif")
    assert [file.key for file in listed().files] == ["a", "b", "c"]


def test_a_band_that_few_have_is_left_out_and_said(here: Path) -> None:
    touch(*(f"in/{scene}_{band}.tif" for scene in "abc" for band in ("B02", "B04")), "in/b_B03.tif")
    listing = listed()
    assert [file.source for file in listing.files] == [f"in/{scene}_{{B02,B04}}.tif" for scene in "abc"]
    assert listing.remarks == ("band B03 of 1 scene (in/b) is left out: 1 of 3 scenes have it",)


def test_a_models_bands_are_those_of_every_scene(here: Path) -> None:
    """Whatever most of tonight's scenes have: their numbers are the model's."""
    touch(
        *(f"in/{scene}_{band}.tif" for scene in "ab" for band in ("B02", "B03", "B04")), "in/c_B02.tif", "in/c_B04.tif"
    )
    listing = listed(bands=("b02", "B04"))
    assert [file.source for file in listing.files] == [f"in/{scene}_{{B02,B04}}.tif" for scene in "abc"]
    assert listing.remarks == ("band B03 of 2 scenes (in/a, in/b) is left out: the model is of none such",)
    reasons = refused(listed("in/c_*", bands=("B02", "B03", "B04")))
    assert reasons["in/c"].startswith("it has no band B03, which the model is of")


def test_two_files_of_one_band_are_refused(here: Path) -> None:
    touch("in/a_red.tif", "in/a_RED.jp2", "in/a_nir.tif", "in/b_red.tif", "in/b_nir.tif")
    listing = listed()
    assert [file.key for file in listing.files] == ["b"]
    assert re.search(
        "two files are its band .*: in/a_RED.jp2 and in/a_red.tif; --exclude one", refused(listing)["in/a"]
    )
    assert len(listed(exclude=("*.jp2",)).files) == 2


def test_a_single_band_is_nothing_to_stack(here: Path) -> None:
    touch("in/a_red.tif", "in/b_red.tif")
    with pytest.raises(KsegError, match="in/a: it has no other band than red: there is nothing to stack"):
        list_selected(InputSelection(("in",)), Stacking.of("auto"))


def test_files_without_a_band_are_passed_over_and_said(here: Path) -> None:
    touch("in/a_red.tif", "in/a_nir.tif", "in/photo.jpg", "in/LC08_QA_PIXEL.TIF", "in/readme.txt")
    listing = listed()
    assert len(listing.files) == 1
    assert listing.passed_over == 2
    assert listing.remarks == (
        "--stack auto: no band in the name of 1 file (in/photo.jpg); passed over (a pattern such as "
        "'{scene}_{band}.tif' says where it is)",
    )
    touch("other/photo.jpg", "other/picture.jpg")
    with pytest.raises(KsegError, match=r"no images in other; --stack auto: no band in the name of 2 files \(other/ph"):
        list_selected(InputSelection(("other",)), Stacking.of("auto"))


def test_a_pattern_of_ones_own(here: Path) -> None:
    touch(*(f"in/{band}/{scene}.tif" for scene in ("f1", "f2") for band in ("x", "y")))
    files = listed(rule="{band}/{scene}.tif").files
    assert [(file.key, file.source) for file in files] == [(f"f{n}", f"in/{{x,y}}/f{n}.tif") for n in (1, 2)]


def test_names_that_cannot_be_written_in_one_are_refused(here: Path) -> None:
    touch("in/a_{1.tif", "in/a_{2.tif", "in/{s_1.tif", "in/{s_2.tif", "in/a,b_1.tif", "in/a,b_2.tif")
    touch(os.fsdecode(b"in/\xff_1.tif"), os.fsdecode(b"in/\xff_2.tif"))
    listing = listed(rule="{scene}_{band}.tif", bands=("1", "2"))
    assert {file.source for file in listing.files} == {"in/a,b_{1,2}.tif", "in/{s_{1,2}.tif"}
    assert "rename them first" in refused(listing)["in/%FF"]
    braces = listed("in/a_{*", rule="{scene}_{band}.tif")
    assert "rename them first" in refused(braces)["in/a"]


def test_a_vrt_of_bands_takes_none_of_them_away(here: Path) -> None:
    touch("in/a_red.tif", "in/a_nir.tif")
    source = '<SourceFilename relativeToVRT="1">a_red.tif</SourceFilename>'
    Path("in/all.vrt").write_text(f'<VRTDataset rasterXSize="1" rasterYSize="1">{source}</VRTDataset>')
    listing = listed()
    assert [file.key for file in listing.files] == ["a"]
    assert listing.read_through == ()
    assert "in/all.vrt" in listing.remarks[0]


def test_scenes_of_one_name_in_two_folders_are_two(here: Path) -> None:
    touch(*(f"{folder}/a_{band}.tif" for folder in ("one", "two") for band in ("red", "nir")))
    assert [file.below for file in listed("one", "two").files] == ["one/a", "two/a"]


def test_the_setting_is_checked_and_stored_where_it_is_given() -> None:
    assert "stack" not in InputSettings().to_json()
    assert InputSettings(stack="auto").to_json()["stack"] == "auto"
    assert InputSettings.from_json({"stack": "{scene}_{band}.tif"}).stack == "{scene}_{band}.tif"
    with pytest.raises(UsageError, match="--stack takes auto, or a pattern"):
        InputSettings(stack="./in")
