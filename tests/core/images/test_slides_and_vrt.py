"""Slides by OpenSlide and virtual rasters by rasterio: its pixels, any window the whole's, nothing fetched."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rasterio.shutil
import tifffile
from affine import Affine
from numpy.typing import NDArray
from rasterio._err import CPLE_AppDefinedError  # type: ignore[import-untyped, import-not-found, unused-ignore]
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT
from rasterio.warp import transform_bounds

from kseg_core.errors import StoreError, UnreadableImage
from kseg_core.images import open_picture, read_image, read_info
from kseg_core.images.gdal import gdal
from kseg_core.images.geo import GeoReference
from kseg_core.images.polygons import _transformed
from kseg_core.images.raster import Refused
from kseg_core.inputs.companions import companions_of
from kseg_core.inputs.listing import list_inputs
from kseg_core.shapes.outlines import Placement
from tests.pictures import WHOLE, by_gdal, counts, gdals, stored

TINY_CZI = Path(__file__).with_name("tiny.czi")


# --------------------------------------------------------------------------------------------------------------- slides


def write_ndpi(path: Path, pixels: NDArray[np.uint8]) -> None:
    """A TIFF with Hamamatsu's tags, as small as OpenSlide takes for one of theirs."""
    tags = [
        (65420, 3, 1, 1, True),
        (65421, 11, 1, 20.0, True),
        *((tag, 9, 1, 0, True) for tag in (65422, 65423, 65424)),
    ]
    options: dict[str, Any] = {"photometric": "ycbcr", "subsampling": (1, 1), "compression": "jpeg", "metadata": None}
    tifffile.imwrite(path, pixels, rowsperstrip=len(pixels), extratags=tags, resolution=(9000, 9000), **options)


@pytest.fixture
def slide(tmp_path: Path) -> Path:
    y, x, c = np.mgrid[0:300, 0:400, 0:3]
    noise = np.random.default_rng(4).integers(0, 40, (300, 400, 3))
    write_ndpi(tmp_path / "slide.ndpi", ((x + y * (c + 1)) // 6 % 200 + noise).astype(np.uint8))
    return tmp_path / "slide.ndpi"


def test_an_ndpi_is_as_openslide_and_tifffile_read_it(slide: Path) -> None:
    openslide = pytest.importorskip("openslide")
    whole, valid = stored(slide)[:2]
    info = read_info(str(slide))
    assert (info.format, info.shape, info.block) == ("Hamamatsu NDPI", (300, 400), (512, 512))
    judge = np.asarray(openslide.OpenSlide(str(slide)).read_region((0, 0), 0, (400, 300)))
    np.testing.assert_array_equal(whole, judge[..., :3])
    np.testing.assert_array_equal(whole, tifffile.imread(slide.rename(slide.with_suffix(".tif"))))
    assert valid is not None
    assert valid.all()


def test_a_cut_slide_is_refused(slide: Path) -> None:
    pytest.importorskip("openslide")
    data = slide.read_bytes()
    for length in [*range(400, len(data), len(data) // 25), len(data) - 1]:
        slide.write_bytes(data[:length])
        with pytest.raises(UnreadableImage):
            read_image(str(slide))


def test_a_czi_is_as_it_was_written(tmp_path: Path) -> None:
    pytest.importorskip("openslide")
    y, x = np.mgrid[:30, :40]
    whole, valid = stored(TINY_CZI)[:2]
    np.testing.assert_array_equal(whole, np.dstack([x * 6, y * 8, x + y]).astype(np.uint8))
    assert valid is not None
    assert valid.all()
    data = TINY_CZI.read_bytes()
    gray = tmp_path / "other.czi"
    gray.write_bytes(data.replace(b"S\0\0\0" + bytes(4), b"Z\0\0\0" + bytes(4)))
    with pytest.raises(UnreadableImage, match="not supported here"):
        read_image(str(gray))
    for length in range(100, len(data), 500):
        gray.write_bytes(data[:length])
        with pytest.raises(UnreadableImage):
            read_image(str(gray))


def test_without_the_extra_slides_are_refused_by_name(slide: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openslide", None)
    for path in (slide, TINY_CZI):
        with pytest.raises(UnreadableImage, match=r"not supported without `pip install 'kseg-batch\[slides\]'`"):
            read_info(str(path))


def test_a_bif_goes_to_openslide_by_what_it_says(tmp_path: Path) -> None:
    path = tmp_path / "slide.bif"
    xmp = b"<iScan Magnification='20' ScanRes='0.465'/>"
    options: dict[str, Any] = {"photometric": "rgb", "tile": (16, 16), "metadata": None}
    tifffile.imwrite(path, np.zeros((32, 32, 3), np.uint8), extratags=[(700, 1, len(xmp), xmp, True)], **options)
    with pytest.raises(UnreadableImage, match="Ventana BIF"):
        read_info(str(path))
    xmp = b"<x:xmpmeta>a photograph of an iScan</x:xmpmeta>"
    tifffile.imwrite(path, np.zeros((32, 32, 3), np.uint8), extratags=[(700, 1, len(xmp), xmp, True)], **options)
    assert read_info(str(path)).format == "TIFF"


def test_a_mirax_slide_is_one_input_with_its_folder(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    for name in ("a/Slidedat.ini", "a/Data0000.dat", "a/Index.dat", "a/preview.jpg", "b/plain.jpg", "b.mrxs"):
        (tmp_path / name).write_bytes(b"\xff\xd8\xff\xe0")
    (tmp_path / "a.mrxs").write_bytes(b"\xff\xd8\xff\xe0")
    assert [file.source for file in list_inputs([str(tmp_path)]).files] == [
        str(tmp_path / name) for name in ("a.mrxs", "b.mrxs", "b/plain.jpg")
    ]
    with pytest.raises(UnreadableImage, match="3DHISTECH MRXS"):  # no real one could be had to test with
        read_info(str(tmp_path / "a.mrxs"))
    with pytest.raises(UnreadableImage, match="JPEG"):
        read_info(str(tmp_path / "b.mrxs"))


# ----------------------------------------------------------------------------------------------------------------- VRTs


def write_tiles(folder: Path, dtype: str = "uint8", bands: int = 3, **options: Any) -> NDArray[Any]:
    """Two tiles side by side as GeoTIFFs, and what their mosaic is."""
    y, x, c = np.mgrid[0:40, 0:60, 0:bands]
    pixels = ((x * 3 + y * 2 + c * 40) % 251).astype(dtype)
    tiles = {"tiled": True, "blockxsize": 16, "blockysize": 16, "crs": "EPSG:32633", **options}
    for number in (0, 1):
        place = Affine(10, 0, 500_000 + 300 * number, 0, -10, 5_000_000)
        by_gdal(folder / f"tile{number}.tif", pixels[:, 30 * number : 30 * number + 30], transform=place, **tiles)
    return pixels


def source_of(name: str, band: str | int, there: tuple[int, ...], here: tuple[int, ...], how: str = "") -> str:
    """A source of a VRT: a window (x, y, width, height) of a band, and where it goes."""
    windows = (f'<{kind} xOff="{x}" yOff="{y}" xSize="{width}" ySize="{height}"/>'
               for kind, (x, y, width, height) in (("SrcRect", there), ("DstRect", here)))  # fmt: skip
    resampling = f' resampling="{how}"' if how else ""
    return (
        f'<SimpleSource{resampling}><SourceFilename relativeToVRT="1">{name}</SourceFilename>'
        f"<SourceBand>{band}</SourceBand>{''.join(windows)}</SimpleSource>"
    )


def band_of(*sources: str, number: int = 1, dtype: str = "Byte") -> str:
    return f'<VRTRasterBand dataType="{dtype}" band="{number}">{"".join(sources)}</VRTRasterBand>'


def vrt(*content: str, width: int = 60, height: int = 40, root: str = "") -> str:
    return f'<VRTDataset{root} rasterXSize="{width}" rasterYSize="{height}">{"".join(content)}</VRTDataset>'


def of_tiles(band: str | int, source: str = "") -> list[str]:
    """The sources of a band of the two tiles."""
    return [
        source_of(source or f"tile{number}.tif", band, (0, 0, 30, 40), (30 * number, 0, 30, 40)) for number in (0, 1)
    ]


def vrt_of(bands: int, dtype: str = "Byte", *, more: str = "", source: str = "") -> str:
    """The text that gdalbuildvrt writes of the two tiles."""
    numbers = range(1, bands + 1)
    return vrt(more, *(band_of(*of_tiles(number, source), number=number, dtype=dtype) for number in numbers))


@pytest.fixture
def not_opened(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From when it is called on, opening anything by rasterio fails the test."""
    return lambda: monkeypatch.setattr(rasterio, "open", lambda *_, **__: pytest.fail("it was opened"))


@pytest.mark.parametrize(("dtype", "name"), [("uint8", "Byte"), ("uint16", "UInt16")])
def test_a_mosaic_is_as_rasterio_reads_it(tmp_path: Path, dtype: str, name: str) -> None:
    pixels = write_tiles(tmp_path, dtype)
    path = tmp_path / "mosaic.vrt"
    path.write_text(vrt_of(3, name))
    whole = stored(path).samples
    np.testing.assert_array_equal(whole, pixels)
    np.testing.assert_array_equal(whole, gdals(path))
    info = read_info(str(path))
    assert (info.format, info.shape, info.bands, info.dtype) == ("VRT", (40, 60), 3, dtype)


def test_floats_nodata_and_masks_of_a_vrt(tmp_path: Path) -> None:
    pixels = write_tiles(tmp_path, "float32", 1, nodata=7)
    path = tmp_path / "mosaic.vrt"
    floats = vrt(band_of("<NoDataValue>7</NoDataValue>", *of_tiles(1), dtype="Float32"))
    path.write_text(floats.replace("Simple", "Complex"))
    with open_picture(str(path)) as picture:
        assert picture.info.nodata == 7
        np.testing.assert_array_equal(picture.samples(*WHOLE)[0], pixels)
    write_tiles(tmp_path)
    for number in (0, 1):
        with rasterio.open(tmp_path / f"tile{number}.tif", "r+") as tile:
            tile.write_mask(np.arange(40 * 30).reshape(40, 30) % 7 > number)
    masks = f'<MaskBand><VRTRasterBand dataType="Byte">{"".join(of_tiles("mask,1"))}</VRTRasterBand></MaskBand>'
    path.write_text(vrt_of(3, more=masks))
    valid = stored(path).valid
    with rasterio.open(path) as judge:
        expected = judge.dataset_mask() != 0
    assert 0 < expected.sum() < expected.size
    np.testing.assert_array_equal(valid, expected)
    np.testing.assert_array_equal(read_image(str(path)).valid, expected)


@pytest.mark.parametrize(
    "name",
    [
        "/vsicurl/http://127.0.0.1:9/a.tif", "http://127.0.0.1:9/a.tif", "/vsizip/a.zip/b.tif",
        "WMS:http://127.0.0.1/x", "&lt;GDAL_WMS/&gt;", "notes.txt", "missing.tif",
    ],
)  # fmt: skip
def test_a_vrt_reaches_for_nothing_but_pictures_on_this_machine(
    tmp_path: Path, name: str, not_opened: Callable[[], None]
) -> None:
    (tmp_path / "notes.txt").write_text("<GDAL_WMS><Service/></GDAL_WMS>")
    (tmp_path / "outer.vrt").write_text(vrt_of(1, source="inner.vrt"))
    (tmp_path / "inner.vrt").write_text(vrt_of(1, source=name))
    not_opened()
    for path in ("inner.vrt", "outer.vrt"):
        with pytest.raises(UnreadableImage, match="it names"):
            read_info(str(tmp_path / path))


def test_a_vrt_that_is_a_program_or_damaged_is_refused(tmp_path: Path) -> None:
    write_tiles(tmp_path, bands=1)
    path = tmp_path / "mosaic.vrt"
    text = vrt_of(1)
    for bad, words in [
        (text[:-30], "parsed"),
        (text.replace("<VRTRasterBand", '<VRTRasterBand subClass="VRTRawRasterBand"'), "VRTRawRasterBand"),
        (
            text.replace("</VRTRasterBand>", "<PixelFunctionCode>1</PixelFunctionCode></VRTRasterBand>"),
            "PixelFunctionCode",
        ),
        (vrt_of(1, source="mosaic.vrt"), "deep"),
    ]:
        path.write_text(bad)
        with pytest.raises(UnreadableImage, match=words):
            read_info(str(path))
    path.write_text(text)
    tile = tmp_path / "tile1.tif"
    tile.write_bytes(tile.read_bytes()[:900])
    with pytest.raises(UnreadableImage):
        read_image(str(path))


def test_a_mosaic_stands_for_its_tiles_in_a_folder_and_not_where_they_are_named(tmp_path: Path) -> None:
    write_tiles(tmp_path)
    (tmp_path / "mosaic.vrt").write_text(vrt_of(3))
    (tmp_path / "other.tif").write_bytes((tmp_path / "tile0.tif").read_bytes())
    listing = list_inputs([str(tmp_path)])
    assert [file.key for file in listing.files] == ["mosaic.vrt", "other.tif"]
    assert listing.read_through == ((str(tmp_path / "mosaic.vrt"), 2),)
    named = list_inputs([str(tmp_path / name) for name in ("mosaic.vrt", "tile0.tif", "tile1.tif")])
    assert len(named.files) == 3
    assert not named.read_through
    assert len(list_inputs([str(tmp_path)], exclude=["*.vrt"]).files) == 3


@pytest.mark.parametrize(
    ("root", "source"),
    [
        ("", "<sourcefilename>/vsisubfile/0_900,{}</sourcefilename>"),
        ("", "<SourceFilename>/VSIcurl?url=http%3a//127.0.0.1:9/a.tif</SourceFilename>"),
        (' xmlns="x"', "<SourceFilename>/vsisubfile/0_900,{}</SourceFilename>"),
        ("", "<SOURCEDATASET>http://127.0.0.1:9/a.tif</SOURCEDATASET>"),
    ],
)
def test_no_spelling_of_a_name_passes_the_guard(tmp_path: Path, root: str, source: str) -> None:
    path = tmp_path / "m.vrt"
    tifffile.imwrite(tmp_path / "a.tif", np.full((8, 8), 7, np.uint8))
    named = f"<SimpleSource>{source.format(tmp_path / 'a.tif')}<SourceBand>1</SourceBand></SimpleSource>"
    path.write_text(vrt(band_of(named), width=8, height=8, root=root))
    with pytest.raises(UnreadableImage, match="no file of this machine"):
        read_info(str(path))
    assert companions_of(str(path), []) == []


ELSEWHERE = vrt(
    band_of("<SimpleSource><SourceFilename>/vsicurl/http://127.0.0.1:9/a.tif</SourceFilename></SimpleSource>"),
    width=30, height=20,
)  # fmt: skip
PAM = '<PAMDataset><Metadata domain="OVERVIEWS"><MDI key="{}">x.ovr</MDI></Metadata></PAMDataset>'


@pytest.mark.parametrize(
    ("of", "ending", "content"),
    [
        ("outer.vrt", ".ovr", ELSEWHERE),
        ("inner.vrt", ".OVR", "<GDAL_WMS><Service/></GDAL_WMS>"),
        ("tile0.tif", ".msk", ELSEWHERE),
        ("outer.vrt", ".Msk", "text"),
        ("tile0.tif", ".aux.xml", PAM.format("OVERVIEW_FILE")),
        ("inner.vrt", ".aux.xml", PAM.format("&#79;verview_file")),
        ("tile1.tif.msk", ".ovr", ELSEWHERE),
        ("tile0.tif", ".aux", "EHFA_HEADER_TAG"),
    ],
)
def test_what_lies_beside_a_vrt_and_its_sources_reaches_for_nothing_else(
    tmp_path: Path, of: str, ending: str, content: str, not_opened: Callable[[], None]
) -> None:
    write_tiles(tmp_path)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(tmp_path / "tile1.tif", "r+") as tile:
        tile.write_mask(np.eye(40, 30) == 0)
    (tmp_path / "outer.vrt").write_text(vrt_of(1, source="inner.vrt"))
    (tmp_path / "inner.vrt").write_text(vrt_of(1))
    assert read_info(str(tmp_path / "outer.vrt")).shape == (40, 60)
    (tmp_path / f"{of}{ending}").write_text(content)
    not_opened()
    with pytest.raises(UnreadableImage, match="beside it"):
        read_info(str(tmp_path / "outer.vrt"))


def test_metadata_within_a_vrt_or_its_source_name_no_file_of_overviews(
    tmp_path: Path, not_opened: Callable[[], None]
) -> None:
    not_opened()
    path = tmp_path / "mosaic.vrt"
    for key in ('<MDI key="OVERVIEW_FILE">x.ovr</MDI>', "<MDI><Key>overview_file</Key>x.ovr</MDI>"):
        path.write_text(vrt_of(1, more=f'<Metadata domain="OVERVIEWS">{key}</Metadata>'))
        with pytest.raises(UnreadableImage, match="names a file of overviews"):
            read_info(str(path))
    path.write_text(vrt_of(1))
    text = '<GDALMetadata><Item name="OVERVIEW_FILE" domain="OVERVIEWS">x.ovr</Item></GDALMetadata>'
    for name in ("tile0.tif", "tile1.tif"):
        tifffile.imwrite(tmp_path / name, np.zeros((40, 30), np.uint8), extratags=[(42112, 2, 0, text, True)])
    with pytest.raises(UnreadableImage, match=r"tile0\.tif names a file of overviews"):
        read_info(str(path))


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_overviews_masks_and_metadata_of_gdal_beside_a_vrt_and_its_sources_are_let_through(tmp_path: Path) -> None:
    pixels = write_tiles(tmp_path)
    path = tmp_path / "mosaic.vrt"
    path.write_text(vrt_of(3))
    mask = np.arange(40 * 60).reshape(40, 60) % 7 > 0
    tifffile.imwrite(tmp_path / "of.tif", pixels, photometric="rgb", metadata=None)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False, TIFF_USE_OVR=True):
        for name, columns in (("tile0.tif", slice(30)), ("tile1.tif", slice(30, 60)), ("of.tif", slice(60))):
            with rasterio.open(tmp_path / name, "r+") as tile:
                tile.write_mask(mask[:, columns])
                tile.build_overviews([2])
    for ending in (".msk", ".ovr"):
        (tmp_path / f"of.tif{ending}").rename(f"{path}{ending}")
    for name in ("tile0.tif", "mosaic.vrt"):
        assert {f"{name}.msk", f"{name}.ovr"} <= {each.name for each in tmp_path.iterdir()}
        (tmp_path / f"{name}.aux.xml").write_text("<PAMDataset></PAMDataset>")
    whole = stored(path)
    np.testing.assert_array_equal(whole.samples, pixels)
    np.testing.assert_array_equal(whole.valid, mask)


def resampled(folder: Path, side: int, size: int, how: str, dtype: str = "Byte") -> Path:
    """A VRT of a square picture beside it, brought to another size."""
    (folder / "m.vrt").write_text(
        vrt(
            band_of(source_of("a.tif", 1, (0, 0, side, side), (0, 0, size, size), how), dtype=dtype),
            width=size, height=size,
        )
    )  # fmt: skip
    return folder / "m.vrt"


@pytest.mark.parametrize("how", ["average", "RMS", "gauss", "mode"])
def test_a_resampled_source_is_refused_with_advice(tmp_path: Path, how: str) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.full((8, 8), 7, np.uint8))
    with pytest.raises(UnreadableImage, match="gdal_translate"):
        read_info(str(resampled(tmp_path, 8, 4, how)))


@pytest.mark.parametrize(
    ("how", "size"), [("nearest", 73), ("bilinear", 49), ("cubic", 73), ("cubicspline", 49), ("lanczos", 73)]
)
@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_other_resampled_sources_are_the_same_by_parts(tmp_path: Path, how: str, size: int) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.random.default_rng(0).integers(0, 60_000, (100, 100), dtype=np.uint16))
    with rasterio.open(tmp_path / "a.tif", "r+") as source:
        source.build_overviews([2, 4])
    with open_picture(str(resampled(tmp_path, 100, size, how, "UInt16"))) as picture:
        whole = picture.samples(*WHOLE).samples
        for top, left, side in ((0, 0, 23), (1, 3, 17), (0, 5, 3), (7, 2, 1)):
            part = picture.samples(slice(top, top + side), slice(left, left + side)).samples
            np.testing.assert_array_equal(part, whole[top : top + side, left : left + side])


@pytest.mark.few(2)
@pytest.mark.parametrize("how", ["nearest", "bilinear", "average", "mode"])
@pytest.mark.parametrize("overviews", [False, True])
def test_a_warped_vrt_is_the_same_by_parts(tmp_path: Path, how: str, overviews: bool) -> None:
    """GDAL's approximation of a transformation is another for each window that is warped by itself."""
    path = tmp_path / "a.tif"
    noise = np.random.default_rng(0).integers(0, 60_000, (300, 400, 2), dtype=np.uint16)
    place = Affine(100, 0, 500_000, 0, -100, 6_600_000)
    by_gdal(path, noise, crs="EPSG:32633", transform=place, nodata=7)
    if overviews:
        with rasterio.open(path, "r+") as target:
            target.build_overviews([2, 4], Resampling.average)
    with rasterio.open(path) as source:
        size = (170, 130) if overviews else (source.width, source.height)
        left, bottom, right, top = transform_bounds(source.crs, "EPSG:3857", *source.bounds)
        across, down = (right - left) / size[0], (bottom - top) / size[1]
        sized = {"transform": Affine(across, 0, left, 0, down, top), "width": size[0], "height": size[1]}
        with WarpedVRT(source, crs="EPSG:3857", resampling=Resampling[how], **sized) as warped:
            rasterio.shutil.copy(warped, tmp_path / "w.vrt", driver="VRT")
    with open_picture(str(tmp_path / "w.vrt")) as picture:
        height, width = picture.info.shape
        whole, valid = picture.samples(*WHOLE)[:2]
    assert len(np.unique(whole)) > 1000
    valid = counts(valid, whole.shape)
    for side in (61, 128):
        with open_picture(str(tmp_path / "w.vrt")) as picture:
            for y, x in itertools.product(range(0, height, side), range(0, width, side)):
                rows, columns = slice(y, min(y + side, height)), slice(x, min(x + side, width))
                part, mask = picture.samples(rows, columns)[:2]
                np.testing.assert_array_equal(part, whole[rows, columns])
                if mask is not None:
                    np.testing.assert_array_equal(mask, valid[rows, columns])


def test_an_error_of_proj_is_a_refusal() -> None:
    with pytest.raises(Refused), gdal("mask"):
        raise CPLE_AppDefinedError(1, 1, "PROJ: stere: Invalid latitude")


def test_what_proj_cannot_place_is_refused_in_words() -> None:
    system = "+proj=stere +lat_0=120 +lon_0=0 +datum=WGS84"
    placement = Placement(GeoReference(CRS.from_epsg(32633).to_wkt().replace("0.9996", "-1e300"), (1, 0, 0, 0, 1, 0)))
    for geo in (placement, Placement(GeoReference(system, (1, 0, 0, 0, 1, 0)))):
        with pytest.raises(StoreError, match="longitude and latitude"):
            geo._positions(np.array([[1.0, 2.0]]))
    with pytest.raises(Refused, match="PROJ cannot bring"):
        _transformed(np.array([[1.0, 2.0]]), system, "EPSG:4326")
