"""What names of files with single bands say, and the one path that stands for those of a scene."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kseg_core.band_files import BandFile, StackRule, natural, stack_path, stacked_files
from kseg_core.errors import UsageError

AUTO = StackRule("auto")
L2 = "LC08_L2SP_193026_20200801_20200914_02_T1"
INF = float("inf")


@pytest.mark.parametrize(
    ("path", "scene", "band", "metres"),
    [
        ("/in/T32UPU_20230610T102031_B04_10m.jp2", "/in/T32UPU_20230610T102031", "B04", 10),
        ("/in/IMG_DATA/R20m/T32UPU_20230610T102031_B8A_20m.jp2", "/in/IMG_DATA/T32UPU_20230610T102031", "B8A", 20),
        ("/in/T32UPU_20230610T102031_B8A.tif", "/in/T32UPU_20230610T102031", "B8A", INF),
        ("/in/S2A_32UPU_20230610_0_L2A/B04.tif", "/in/S2A_32UPU_20230610_0_L2A", "B04", INF),
        (f"/in/{L2}_SR_B4.TIF", f"/in/{L2}", "SR_B4", INF),
        (f"/in/{L2}_ST_B10.TIF", f"/in/{L2}", "ST_B10", INF),
        ("/in/LE07_L1TP_x_T1_B6_VCID_2.TIF", "/in/LE07_L1TP_x_T1", "B6_VCID_2", INF),
        ("/in/HLS.S30.T17SLU.2020209T155956.v1.5.B8A.tif", "/in/HLS.S30.T17SLU.2020209T155956.v1.5", "B8A", INF),
        ("/in/CBERS_4_20180308_BAND5.tif", "/in/CBERS_4_20180308", "BAND5", INF),
        ("/in/scene_red.tif", "/in/scene", "red", INF),
        ("/in/my scene-NIR.TIFF", "/in/my scene", "NIR", INF),
        ("/in/scene_red_edge.tif", "/in/scene", "red_edge", INF),
        ("/in/scene_swir2.tif", "/in/scene", "swir2", INF),
        ("/in/field1_450nm.tif", "/in/field1", "450nm", INF),
        ("/in/IMG_0001_5.tif", "/in/IMG_0001", "5", INF),
        ("/in/DJI_20220816_0001_MS_G.TIF", "/in/DJI_20220816_0001_MS", "G", INF),
        ("s3://bucket/in/T32_B04.jp2", "s3://bucket/in/T32", "B04", INF),
    ],
)
def test_satellites_and_drones_names_are_read(path: str, scene: str, band: str, metres: float) -> None:
    assert AUTO.band_file(path) == BandFile(scene, band, metres)
    assert not AUTO.is_auxiliary(path)


@pytest.mark.parametrize(
    "name",
    [f"{L2}_QA_PIXEL.TIF", f"{L2}_SR_QA_AEROSOL.TIF", f"{L2}_ST_EMIS.TIF", "T32UPU_20230610T102031_SCL_20m.jp2",
     "T32UPU_20230610T102031_TCI_10m.jp2", "T32UPU_20230610T102031_AOT_10m.jp2", "MSK_DETFOO_B04.jp2", "SCL.tif"],
)  # fmt: skip
def test_what_comes_with_the_bands_is_none(name: str) -> None:
    assert AUTO.band_file(f"/in/{name}") is None
    assert AUTO.is_auxiliary(f"/in/{name}")


@pytest.mark.parametrize(
    "name", ["photo.jpg", "field_1.tif", "plot_b.tif", "IMG_0001.tif", "x_B04_cut.tif", "covered.tif"]
)
def test_other_names_say_no_band(name: str) -> None:
    """Numbers may be fields, and letters plots: to take these for bands would be a quiet mistake."""
    assert AUTO.band_file(f"/in/{name}") is None
    assert not AUTO.is_auxiliary(f"/in/{name}")


@pytest.mark.parametrize(
    ("pattern", "path", "scene", "band"),
    [
        ("{scene}_{band}.tif", "/in/a/my_field_x.TIF", "/in/a/my_field", "x"),
        ("{band}_{scene}.tif", "/in/red_field_1.tif", "/in/field_1", "red"),
        ("{band}/{scene}.tif", "/in/2023/red/img1.tif", "/in/2023/img1", "red"),
        ("{scene}/{band}.tif", "/in/s1/red.tif", "/in/s1", "red"),
        ("IMG_{band}.tif", "/in/s1/IMG_7.tif", "/in/s1", "7"),
        ("{scene}_{band}_v*.tif", "/in/s_a_v12.tif", "/in/s", "a"),
        ("band{band}.tif", "/in/s/band3.tif", "/in/s", "3"),
        ("{scene}_c?_{band}.tif", "/in/s_c1_x.tif", "/in/s", "x"),
        ("{scene}[{band}].tif", "/in/s[1].tif", "/in/s", "1"),
    ],
)
def test_a_pattern_says_where_the_band_is(pattern: str, path: str, scene: str, band: str) -> None:
    rule = StackRule(pattern)
    assert rule.band_file(path) == BandFile(scene, band)
    assert rule.band_file("/in/other.png") is None


@pytest.mark.parametrize(
    "text", ["", "scenes", "{scene}.tif", "{band}{band}.tif", "{band}_{x}.tif", "{band", "{}{band}"]
)
def test_what_is_no_pattern_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(
        UsageError, match=r"auto, or a pattern with \{band\} such as '\{scene\}_\{band\}.tif'"
    ) as refused:
        StackRule(text)
    assert repr(text) in str(refused.value)


def test_bands_are_in_natural_order() -> None:
    names = ["B12", "B09", "B8A", "B01", "B10", "B08", "B8"]
    assert sorted(names, key=natural) == ["B01", "B08", "B8", "B8A", "B09", "B10", "B12"]
    assert sorted(["SR_B10", "ST_B10", "SR_B2"], key=natural) == ["SR_B2", "SR_B10", "ST_B10"]
    assert sorted(["1000nm", "450nm", "Red", "blue"], key=natural) == ["450nm", "1000nm", "blue", "Red"]


def test_the_path_of_a_stack_is_what_a_shell_expands(tmp_path: Path) -> None:
    files = [f"{tmp_path}/T32_20230610_{band}_10m.jp2" for band in ("B02", "B03", "B08")]
    path = stack_path(files)
    assert path == f"{tmp_path}/T32_20230610_{{B02,B03,B08}}_10m.jp2"
    assert list(stacked_files(path)) == files
    assert subprocess.check_output(["bash", "-c", f"echo {path}"], text=True).split() == files
    assert AUTO.scene_of(path) == f"{tmp_path}/T32_20230610"
    assert AUTO.bands_of(path) == ("B02", "B03", "B08")
    folders = ["/in/R10m/T32_B02_10m.jp2", "/in/R20m/T32_B05_20m.jp2"]
    assert stack_path(folders) == "/in/{R10m/T32_B02_10m,R20m/T32_B05_20m}.jp2"


def test_a_file_of_such_a_name_is_itself(tmp_path: Path) -> None:
    (tmp_path / "x_{a,b}.tif").touch()
    assert stacked_files(f"{tmp_path}/x_{{a,b}}.tif") == ()
    assert stacked_files("/no/such/x.tif") == stacked_files("/no/{such}/x.tif") == stacked_files("/no/}a,b{.tif") == ()


NAMES = st.text("ab_{},.-", max_size=6)


@given(st.text("ab_/{},.-", max_size=6), st.lists(NAMES, min_size=2, max_size=4, unique=True), NAMES)
def test_a_stacks_path_gives_its_files_or_is_none(before: str, differ: list[str], after: str) -> None:
    files = [f"/no/such/{before}{each}{after}" for each in differ]
    path = stack_path(files)
    if path is not None:
        assert list(stacked_files(path)) == files
    else:
        assert set("{},") & set("".join(files)), "a plain name has a path"
