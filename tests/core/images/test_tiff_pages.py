"""Which picture of a TIFF is read, by what it says and by what was chosen; tifffile is the judge."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from kseg_core.choice import PictureChoice
from kseg_core.errors import UnreadableImage
from kseg_core.images import open_picture, read_image, read_info

Array = NDArray[Any]

rng = np.random.default_rng(7)


def noise(*shape: int, dtype: str = "uint8") -> Array:
    return rng.integers(0, 200, shape).astype(dtype)


def samples_of(path: Path, **chosen: Any) -> Array:
    """The picture's bands, read by two windows."""
    with open_picture(str(path), choice=PictureChoice(**chosen)) as picture:
        height, width = picture.info.shape
        whole, _ = picture.samples(slice(0, height), slice(0, width))[:2]
        half = height // 2 or 1
        parts = [picture.samples(slice(0, half), slice(0, width))[0]]
        if half < height:
            parts.append(picture.samples(slice(half, height), slice(0, width))[0])
        np.testing.assert_array_equal(np.concatenate(parts), whole)
        return whole


def notes_of(path: Path, **chosen: Any) -> tuple[str, ...]:
    return read_info(str(path), choice=PictureChoice(**chosen)).notes


def refusal_of(path: Path, **chosen: Any) -> str:
    with pytest.raises(UnreadableImage) as caught:
        read_info(str(path), choice=PictureChoice(**chosen))
    return caught.value.reason


# ------------------------------------------------------------------------------------------------ pages by themselves


def write_pages(path: Path, *pages: tuple[Array, dict[str, Any]]) -> None:
    with tifffile.TiffWriter(path) as writer:
        for data, options in pages:
            writer.write(data, metadata=None, **options)


ROLES: dict[str, list[dict[str, Any]]] = {
    "a thumbnail by its kind": [{"subfiletype": 1, "shape": (12, 9, 3)}],
    "thumbnails by their size": [{"shape": (8, 6, 3)}, {"shape": (16, 12, 3)}],
    "a larger reduced image": [{"subfiletype": 1, "shape": (190, 170, 3)}],
    "a larger mask": [{"subfiletype": 2, "shape": (180, 160, 3), "kind": 4}],
    "a larger mask by its colours": [{"photometric": 4, "shape": (180, 160), "kind": 0}],
}


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(("order", "bigtiff"), [("<", False), (">", True)])
def test_what_stands_before_the_picture_is_passed_over_and_said(
    role: str, order: Any, bigtiff: bool, tmp_path: Path
) -> None:
    path, large = tmp_path / "x.tif", noise(96, 72, 3)
    others = []
    with tifffile.TiffWriter(path, bigtiff=bigtiff, byteorder=order) as writer:
        for options in ROLES[role]:
            rest = {key: value for key, value in options.items() if key not in ("shape", "kind")}
            others.append(noise(*options["shape"]) > 99 if "photometric" in rest else noise(*options["shape"]))
            writer.write(others[-1], metadata=None, **rest)
        writer.write(large, compression="zlib", photometric="rgb", metadata=None)
    if ROLES[role][0].get("kind"):  # of a mask, which tifffile does not write
        with tifffile.TiffFile(path, mode="r+") as tiff:
            tiff.pages.first.tags[254].overwrite(4)
    np.testing.assert_array_equal(samples_of(path), large)
    np.testing.assert_array_equal(read_image(str(path)).samples, large)
    info, number = read_info(str(path)), len(others)
    assert (info.shape, info.rules, read_info(str(path)).shape) == ((96, 72), 2, (96, 72))
    largest = ", the largest" if "thumbnail" in role else ""
    assert info.notes == (f"page {number + 1} of {number + 1}{largest}; --page chooses, from 0 to {number}",)
    first = others[0] if others[0].ndim == 3 else others[0][..., None]
    np.testing.assert_array_equal(samples_of(path, page=0), first)
    assert notes_of(path, page=0) == ()


@pytest.mark.parametrize(
    ("name", "shape"),
    [("label", (300, 200)), ("Macro", (70, 60)), ("Label Image", (40, 30)), ("thumbnail image", (300, 200))],
)
def test_a_page_that_is_named_a_label_is_not_the_picture(tmp_path: Path, name: str, shape: tuple[int, int]) -> None:
    """Whether it is much larger, about as large, or smaller, and wherever it is."""
    aside, full = noise(*shape), noise(64, 56)
    for order in (0, 1):
        path = tmp_path / f"{order}.tif"
        pages = [(aside, {"description": name}), (full, {"description": "tissue"})]
        write_pages(path, *(pages[::-1] if order else pages))
        np.testing.assert_array_equal(samples_of(path)[..., 0], full)
        np.testing.assert_array_equal(samples_of(path, page=order)[..., 0], aside)
    write_pages(tmp_path / "all.tif", *[(aside, {"description": name})] * 2)
    np.testing.assert_array_equal(samples_of(tmp_path / "all.tif")[..., 0], aside)


def test_a_file_of_an_ome_set_says_that_the_others_are_inputs_of_their_own(tmp_path: Path) -> None:
    planes = [noise(20, 30), noise(20, 30)]
    uuids = [f"urn:uuid:00000000-0000-0000-0000-00000000000{number}" for number in range(2)]
    places = "".join(
        f'<TiffData IFD="0" FirstC="{number}" PlaneCount="1"><UUID FileName="{number}.ome.tif">{uuid}</UUID></TiffData>'
        for number, uuid in enumerate(uuids)
    )
    for number, plane in enumerate(planes):
        described = (
            '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
            f'UUID="{uuids[number]}"><Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint8" '
            f'SizeX="30" SizeY="20" SizeC="2" SizeZ="1" SizeT="1">{places}</Pixels></Image></OME>'
        )
        tifffile.imwrite(tmp_path / f"{number}.ome.tif", plane, description=described, metadata=None)
    for number, plane in enumerate(planes):
        path = tmp_path / f"{number}.ome.tif"
        np.testing.assert_array_equal(samples_of(path)[..., 0], plane)
        assert "other files, inputs of their own" in notes_of(path)[0]


def test_the_picture_may_be_below_its_thumbnail(tmp_path: Path) -> None:
    path = tmp_path / "x.tif"
    small, large = noise(16, 24, 3), noise(128, 192, 3)
    with tifffile.TiffWriter(path) as writer:
        writer.write(small, subifds=1, subfiletype=1, metadata=None)
        writer.write(large, metadata=None, tile=(64, 64))
    np.testing.assert_array_equal(samples_of(path), large)
    assert notes_of(path) == ("the image below page 1 of 1, the only one of full resolution",)


def test_of_equal_pages_the_first_is_taken_and_said(tmp_path: Path) -> None:
    path = tmp_path / "x.tif"
    pages = [noise(20 + 3 * (number % 3), 30, 3) for number in range(12)]  # sheets of a scan differ by some rows
    write_pages(path, *((page, {}) for page in pages))
    np.testing.assert_array_equal(samples_of(path), pages[0])
    assert notes_of(path) == ("page 1 of 12; --page chooses, from 0 to 11",)
    assert read_info(str(path)).rules == 1
    for number in (0, 1, 11):
        np.testing.assert_array_equal(samples_of(path, page=number), tifffile.imread(path, key=number))
    assert "no page 12; there is --page 0 to 11" in refusal_of(path, page=12)
    assert "no series 1; there is only --series 0" in refusal_of(path, series=1)
    assert "no z 3" in refusal_of(path, z=3)
    assert "no t 1" in refusal_of(path, t=1)


def test_overviews_and_masks_of_a_cog_need_no_word(tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio")
    from rasterio.enums import Resampling

    path = tmp_path / "x.tif"
    data = noise(3, 256, 320)
    place = rasterio.Affine(2, 0, 5e5, 0, -2, 5e6)
    with rasterio.open(
        path, "w", driver="GTiff", width=320, height=256, count=3, dtype="uint8", tiled=True, blockxsize=64,
        blockysize=64, crs="EPSG:32632", transform=place,
    ) as dataset:  # fmt: skip
        dataset.write(data)
        dataset.build_overviews([2, 4], Resampling.average)
    with tifffile.TiffFile(path) as tiff:
        assert len(tiff.pages) == 3
    assert read_info(str(path)).notes == ()
    assert read_info(str(path)).rules == 1
    np.testing.assert_array_equal(samples_of(path), data.transpose(1, 2, 0))


def test_a_chain_of_pages_that_is_cut_off_after_a_thumbnail_is_refused_and_one_in_a_circle_ends(tmp_path: Path) -> None:
    path, first = tmp_path / "x.tif", noise(20, 30)
    write_pages(path, (noise(12, 9), {"subfiletype": 1}), (first, {}))
    with tifffile.TiffFile(path) as tiff:
        start, end = (page.offset for page in tiff.pages)
    data = bytearray(path.read_bytes())
    path.write_bytes(data[:end])
    assert "truncated" in refusal_of(path)
    (count,) = struct.unpack_from("<H", data, end)
    struct.pack_into("<I", data, end + 2 + 12 * count, start)
    path.write_bytes(data)
    np.testing.assert_array_equal(samples_of(path)[..., 0], first)


def test_raw_data_below_a_preview_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "x.tif"
    with tifffile.TiffWriter(path) as writer:
        writer.write(noise(16, 24, 3), subifds=1, metadata=None)
        writer.write(noise(128, 192, dtype="uint16"), photometric=32803, metadata=None)
    assert "camera RAW" in refusal_of(path)


# ---------------------------------------------------------------------------------------------- slides and their like


def write_scn(path: Path, macro: Array, levels: list[Array]) -> None:
    """As Leica's scanners write: the macro first, then the levels of the scan."""
    scan = "".join(
        f'<dimension sizeX="{each.shape[1]}" sizeY="{each.shape[0]}" r="{at}" ifd="{at + 1}"/>'
        for at, each in enumerate(levels)
    )
    xml = (
        '<?xml version="1.0"?><scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01" uuid="u1">'
        '<collection name="c" uuid="u2" sizeX="1000" sizeY="3000"><barcode/>'
        f'<image name="macro" uuid="u3"><pixels sizeX="{macro.shape[1]}" sizeY="{macro.shape[0]}">'
        f'<dimension sizeX="{macro.shape[1]}" sizeY="{macro.shape[0]}" r="0" ifd="0"/></pixels></image>'
        f'<image name="scan" uuid="u4"><pixels sizeX="9" sizeY="9">{scan}</pixels></image></collection></scn>'
    )
    with tifffile.TiffWriter(path, bigtiff=True) as writer:
        writer.write(macro, tile=(32, 32), description=xml, metadata=None)
        for at, each in enumerate(levels):
            writer.write(each, tile=(64, 64), compression="zlib", subfiletype=int(at > 0), metadata=None)


def test_a_leica_slide_is_its_scan(tmp_path: Path) -> None:
    path = tmp_path / "x.scn"
    macro, scan = noise(96, 64, 3), noise(512, 320, 3)
    write_scn(path, macro, [scan, scan[::2, ::2], scan[::4, ::4]])
    np.testing.assert_array_equal(samples_of(path), scan)
    assert notes_of(path) == ("series 2 of 2, 'scan', the largest; --series chooses, from 0 to 1",)
    np.testing.assert_array_equal(samples_of(path, series=0), macro)
    assert "no series 2; there is --series 0 to 1" in refusal_of(path, series=2)


def test_an_aperio_slide_is_never_its_larger_macro(tmp_path: Path) -> None:
    path = tmp_path / "x.svs"
    base, macro = noise(160, 128, 3), noise(300, 400, 3)
    text = "Aperio Image Library v11.2.1\n128x160 [0,0 128x160] (64x64) JPEG/RGB Q=30|MPP = 0.5"
    with tifffile.TiffWriter(path) as writer:
        writer.write(base, tile=(64, 64), description=text, metadata=None)
        writer.write(noise(40, 32, 3), description="Aperio Image Library v11.2.1\nthumb", metadata=None)
        writer.write(noise(80, 64, 3), tile=(64, 64), description="Aperio Image Library v11.2.1\n", metadata=None)
        writer.write(noise(30, 30, 3), subfiletype=1, description="Aperio\nlabel 30x30", metadata=None)
        writer.write(macro, subfiletype=9, description="Aperio\nmacro 400x300", metadata=None)
    np.testing.assert_array_equal(samples_of(path), base)
    assert notes_of(path) == ("series 1 of 4, 'Baseline'; --series chooses, from 0 to 3",)
    assert read_info(str(path)).rules == 1
    np.testing.assert_array_equal(samples_of(path, series=3), macro)


def test_a_philips_slide_is_its_scan(tmp_path: Path) -> None:
    path = tmp_path / "x.tiff"
    spacing = "".join(
        '<DataObject ObjectType="PixelDataRepresentation"><Attribute Name="DICOM_PIXEL_SPACING">'
        f'"{2**at}" "{2**at}"</Attribute></DataObject>'
        for at in range(2)
    )
    xml = f'<?xml version="1.0"?><DataObject ObjectType="DPUfsImport"><Array>{spacing}</Array></DataObject>'
    base = noise(256, 192, 3)
    with tifffile.TiffWriter(path) as writer:
        writer.write(base, tile=(64, 64), description=xml, software="Philips DP v1.0", metadata=None)
        writer.write(base[::2, ::2], tile=(64, 64), metadata=None)
        writer.write(noise(100, 700, 3), description="Macro", metadata=None)
        writer.write(noise(50, 50, 3), description="Label", metadata=None)
    np.testing.assert_array_equal(samples_of(path), base)


def test_a_fluorescence_slide_of_perkin_elmer_has_its_channels(tmp_path: Path) -> None:
    path = tmp_path / "x.qptiff"
    bands = noise(4, 128, 160)
    with tifffile.TiffWriter(path) as writer:
        for band in bands:
            writer.write(band, tile=(64, 64), software="PerkinElmer-QPI", metadata=None)
        writer.write(noise(32, 40, 3), software="PerkinElmer-QPI", metadata=None)
        for band in bands:
            writer.write(band[::2, ::2], tile=(64, 64), software="PerkinElmer-QPI", metadata=None)
    with tifffile.TiffFile(path) as tiff:
        assert tiff.series[0].axes == "CYX"
    np.testing.assert_array_equal(samples_of(path), bands.transpose(1, 2, 0))
    np.testing.assert_array_equal(samples_of(path, channel=(2,))[..., 0], bands[2])


# ------------------------------------------------------------------------------------------- microscopes: ImageJ, OME


@pytest.mark.parametrize("axes", ["CYX", "ZYX", "TYX", "ZCYX", "TCYX", "TZYX", "TZCYX", "TZCYXS"])
@pytest.mark.parametrize("kind", ["imagej", "ome", "shaped", "truncated"])
def test_hyperstacks(tmp_path: Path, axes: str, kind: str) -> None:
    if kind == "shaped" and axes == "ZYX":
        axes = axes.replace("YX", "CYX")
    sizes = {"T": 2, "Z": 5, "C": 3, "Y": 24, "X": 36, "S": 3}
    data = noise(*(sizes[axis] for axis in axes))
    path = tmp_path / ("x.ome.tif" if kind == "ome" else "x.tif")
    options: dict[str, Any] = {"photometric": "rgb" if "S" in axes else "minisblack", "metadata": {"axes": axes}}
    if kind in ("imagej", "truncated"):
        options["imagej"] = True
        if kind == "truncated":
            options["truncate"] = True
    tifffile.imwrite(path, data, **options)
    full = data.reshape([sizes[axis] if axis in axes else 1 for axis in "TZCYXS"])  # all orders are this one
    z = 4 if "Z" in axes else 0
    t = 1 if "T" in axes else 0

    def expected(planes: Array) -> Array:  # (C, Y, X, S)
        return np.concatenate([*planes], axis=-1)

    np.testing.assert_array_equal(samples_of(path), expected(full[0, 0]))
    np.testing.assert_array_equal(samples_of(path, z=z, t=t), expected(full[t, z]))
    np.testing.assert_array_equal(samples_of(path, z="max", t=t), expected(full[t].max(axis=0)))
    said = " ".join(notes_of(path))
    assert ("z 1 of 5; --z chooses, from 0 to 4, or max" in said) == ("Z" in axes)
    assert ("t 1 of 2; --t chooses, from 0 to 1" in said) == ("T" in axes)
    assert notes_of(path, z=z, t=t) == ()
    if "Z" in axes:
        assert "no z 5; there is --z 0 to 4" in refusal_of(path, z=5)
    if "C" in axes and "S" not in axes:
        np.testing.assert_array_equal(samples_of(path, channel=(2, 0)), expected(full[0, 0])[..., [2, 0]])
    bands = expected(full[0, 0]).shape[-1]
    assert f"no channel {bands}" in refusal_of(path, channel=(bands,))


def test_a_large_stack_with_one_directory_is_read_by_windows_of_its_planes(tmp_path: Path) -> None:
    path = tmp_path / "x.tif"
    data = noise(7, 33, 47, dtype="uint16")
    tifffile.imwrite(path, data, imagej=True, truncate=True, metadata={"axes": "ZYX"}, rowsperstrip=8)
    with tifffile.TiffFile(path) as tiff:
        assert len(tiff.pages) == 1
    for number in (0, 3, 6):
        np.testing.assert_array_equal(samples_of(path, z=number)[..., 0], data[number])
        np.testing.assert_array_equal(samples_of(path, page=number)[..., 0], data[number])
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert notes_of(path) == ("its metadata state planes that are not in the file: only the first is read",)
    np.testing.assert_array_equal(samples_of(path)[..., 0], data[0])
    assert "no z 6" in refusal_of(path, z=6)


def test_the_largest_of_several_ome_images(tmp_path: Path) -> None:
    path = tmp_path / "x.ome.tif"
    label, scan = noise(40, 60, 3), noise(3, 96, 128, dtype="uint16")
    with tifffile.TiffWriter(path, ome=True) as writer:
        writer.write(label, photometric="rgb", metadata={"Name": "label image"})
        writer.write(scan, photometric="minisblack", metadata={"axes": "CYX", "Name": "scan"}, subifds=1, tile=(32, 32))
        writer.write(scan[:, ::2, ::2], photometric="minisblack", subfiletype=1, tile=(32, 32))
    np.testing.assert_array_equal(samples_of(path), scan.transpose(1, 2, 0))
    assert notes_of(path) == ("series 2 of 2, 'scan', the largest; --series chooses, from 0 to 1",)
    np.testing.assert_array_equal(samples_of(path, series=0), label)
    assert read_info(str(path)).rules == 2


@pytest.mark.parametrize("kind", ["ome", "ome, signed", "ome, spaced", "shaped", "imagej"])
def test_small_files_that_state_planes_by_the_million_are_refused_at_once(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "x.tif"
    told = {
        "ome": "<OME xmlns='http://www.openmicroscopy.org/Schemas/OME/2016-06'><Image ID='Image:0'><Pixels ID='P' "
        "DimensionOrder='XYZTC' Type='uint8' SizeX='20' SizeY='20' SizeZ='1' SizeT='1' SizeC = '400000000'>"
        "<TiffData/></Pixels></Image></OME>",
        "shaped": '{"shape": [400000000, 20, 20], "axes": "CYX"}',
        "imagej": "ImageJ=1.54\nimages=400000000\nslices=400000000\n",
    }[kind.partition(",")[0]]
    spelt = {"ome, signed": "'+400_000_000'", "ome, spaced": "' 400000000'"}.get(kind, "'400000000'")
    told = told.replace("'400000000'", spelt)
    tifffile.imwrite(path, noise(20, 20), description=told, metadata=None, photometric="minisblack")
    assert "more planes than any file holds" in refusal_of(path)


def test_planes_that_metadata_state_and_the_file_lacks_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.ome.tif"
    tifffile.imwrite(path, noise(3, 16, 16), metadata={"axes": "CYX"}, photometric="minisblack", ome=True)
    data = path.read_bytes()
    assert data.count(b'SizeC="3"') == 1
    path.write_bytes(data.replace(b'SizeC="3"', b'SizeC="5"'))
    assert "planes" in refusal_of(path) or "plane" in refusal_of(path)


DTYPES = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64"]


@settings(max_examples=40, deadline=None)
@given(
    data=st.data(),
    dtype=st.sampled_from(DTYPES),
    slices=st.integers(2, 4),
    channels=st.integers(1, 3),
    compress=st.booleans(),
)
def test_the_maximum_over_slices_is_numpys_for_any_dtype_and_window(
    tmp_path_factory: pytest.TempPathFactory, data: Any, dtype: str, slices: int, channels: int, compress: bool
) -> None:
    path = tmp_path_factory.mktemp("z") / "x.ome.tif"
    height, width = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 40))
    seed = np.random.default_rng(data.draw(st.integers(0, 9)))
    raw = seed.integers(0, 256, (slices, channels, height, width, np.dtype(dtype).itemsize), dtype=np.uint8)
    stack = raw.view(dtype)[..., 0]
    if stack.dtype.kind == "f":
        stack = np.where(np.isfinite(stack), stack, -np.inf).astype(dtype)
        stack[..., 0, 0] = np.nan if data.draw(st.booleans()) else np.inf
    tifffile.imwrite(
        path, stack, ome=True, photometric="minisblack", metadata={"axes": "ZCYX"},
        compression="zlib" if compress else None, tile=(16, 16) if compress else None,
    )  # fmt: skip
    top, left = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    rows, columns = slice(top, data.draw(st.integers(top + 1, height))), slice(left, width)
    with open_picture(str(path), choice=PictureChoice(z="max")) as picture:
        found, _ = picture.samples(rows, columns)[:2]
    assert found.dtype == stack.dtype
    np.testing.assert_array_equal(found, stack.max(axis=0).transpose(1, 2, 0)[rows, columns])


def test_one_channel_is_gray_and_three_are_colours(tmp_path: Path) -> None:
    path = tmp_path / "x.tif"
    data = noise(20, 30, 3)
    tifffile.imwrite(path, data, photometric="rgb")
    with open_picture(str(path), choice=PictureChoice(channel=(1,))) as picture:
        np.testing.assert_array_equal(
            picture.rgb(slice(None), slice(None)).samples, np.repeat(data[..., 1:2], 3, axis=2)
        )
    with open_picture(str(path), choice=PictureChoice(channel=(2, 1, 0))) as picture:
        np.testing.assert_array_equal(picture.rgb(slice(None), slice(None)).samples, data[..., ::-1])
        assert picture.info.bands == 3


@pytest.mark.parametrize("form", ["png", "jpg", "webp", "bmp", "gif"])
def test_files_of_one_picture_have_that_and_no_other(tmp_path: Path, form: str) -> None:
    from PIL import Image

    path = tmp_path / f"x.{form}"
    Image.fromarray(noise(20, 30, 3)).save(path)
    for chosen in ({"page": 0}, {"series": 0, "z": 0, "t": 0}, {"z": "max"}):
        assert read_info(str(path), choice=PictureChoice(**chosen)).shape == (20, 30)  # type: ignore[arg-type]
    assert "no page 1; there is only --page 0" in refusal_of(path, page=1)
    assert "no z 2; there is only --z 0" in refusal_of(path, z=2)


def test_opening_a_plain_tiff_walks_no_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from kseg_core.images.tiff_directory import Directories

    path = tmp_path / "x.tif"
    tifffile.imwrite(path, noise(20, 30, 3))

    def fail(*_: Any) -> None:
        raise AssertionError("walked")

    monkeypatch.setattr(Directories, "walk", fail)
    monkeypatch.setattr(tifffile.TiffFile, "series", property(fail))
    assert read_info(str(path)).shape == (20, 30)
