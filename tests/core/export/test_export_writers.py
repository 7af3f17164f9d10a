"""PNG, TIFF and GeoTIFF files hold the picture, whatever windows it is read in; read by others than ourselves."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from kseg_core.errors import StoreError
from kseg_core.export import drawing as drawing_module
from kseg_core.export import png as png_module
from kseg_core.export import tiff as tiff_module
from kseg_core.export.drawing import Drawing, windows
from kseg_core.export.png import write_png
from kseg_core.export.tiff import write_geotiff, write_tiff
from kseg_core.images.geo import GeoReference
from kseg_core.inputs import passed_over
from kseg_core.layers.tiles import pyramid_levels
from kseg_core.products import KINDS as EXPORTS
from kseg_core.products import file_name, formats_of

KINDS = ("bool", "palette", "palette with nodata", "uint16", "uint16 with nodata", "rgb", "rgb flat", "rgba")
COLORS = np.array([[250, 0, 3], [0, 128, 0], [9, 8, 255]], np.uint8)


def picture(kind: str, shape: tuple[int, int], seed: int = 0) -> NDArray[Any]:
    """Pixels of a kind: noise over gradients, so that every filter of PNG is the best somewhere."""
    random = np.random.default_rng(seed)
    height, width = shape
    if kind == "bool":
        return random.random(shape) < 0.5
    if kind.startswith("palette"):
        values = [0, 1, 2, 255] if "nodata" in kind else [0, 1, 2]
        return random.choice(np.array(values, np.uint8), shape)
    if kind.startswith("uint16"):
        return random.choice(np.array([0, 255, 256, 65534, 65535], np.uint16), shape)
    y, x = np.mgrid[0:height, 0:width]
    smooth = np.stack([x * 3 + y, x + 5 * y, (x * y) // 7], axis=2) % 256
    noisy = random.integers(0, 256, (height, width, 3)) if seed % 2 else random.integers(0, 4, (height, width, 3))
    rgb = ((smooth + noisy * (y > height // 2)[..., None]) % 256).astype(np.uint8)
    if kind == "rgba":
        alpha = (random.random(shape) < 0.8).astype(np.uint8) * np.uint8(255)
        return np.concatenate([rgb, alpha[..., None]], axis=2)
    return rgb


def drawing_of(kind: str, pixels: NDArray[Any], *, full_width: bool = False) -> Drawing:
    def read(rows: slice, columns: slice) -> NDArray[Any]:
        return pixels[rows, columns]

    height, width = pixels.shape[:2]
    channels = 0 if pixels.ndim == 2 else pixels.shape[2]
    return Drawing(
        (height, width),
        pixels.dtype.name,
        channels,
        read,
        COLORS if kind.startswith("palette") else None,
        None if channels or kind == "bool" else int(np.iinfo(pixels.dtype).max),
        has_nodata="with nodata" in kind,
        full_width=full_width,
        flat=kind not in ("rgb", "rgba", "bool"),
    )


@contextmanager
def windows_of(pixels: int, side: int = 512) -> Iterator[None]:
    """Windows of so many pixels, and tiles of such a side."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (drawing_module, png_module):
            patch.setattr(module, "WINDOW_PX", pixels)
        patch.setattr(png_module, "_FILTER_BYTES", pixels + 300)
        patch.setattr(png_module, "_IDAT_BYTES", pixels // 2)
        patch.setattr(tiff_module, "SIDE", side)
        yield


sides = st.integers(1, 90)


# ----------------------------------------------------------------------------------------------- windows


@given(st.integers(1, 70), st.integers(1, 70), st.sampled_from([1, 16, 32]), st.integers(1, 3000), st.booleans())
def test_windows_cover_the_picture_once_in_the_order_of_tiles(
    height: int, width: int, side: int, most: int, full_width: bool
) -> None:
    pixels = np.arange(height * width, dtype=np.uint16).reshape(height, width)
    seen = np.zeros((height, width), int)
    last = (-1, -1)
    with windows_of(most):
        for rows, columns, window in windows(drawing_of("uint16", pixels, full_width=full_width), side):
            assert rows.start % side == columns.start % side == 0
            assert rows.stop == min(rows.start + side, height)
            assert columns.stop == width or columns.stop % side == 0
            assert last < (rows.start, columns.start)
            assert (window == pixels[rows, columns]).all()
            seen[rows, columns] += 1
            last = (rows.start, columns.start)
    assert (seen == 1).all()


# --------------------------------------------------------------------------------------------------- PNG


def png_of(drawing: Drawing) -> Image.Image:
    stream = io.BytesIO()
    write_png(stream, drawing)
    image = Image.open(stream)
    image.load()  # a wrong checksum or a row too few is an error here
    return image


@settings(max_examples=40)
@given(st.sampled_from(KINDS), st.tuples(sides, sides), st.integers(0, 1), st.integers(1, 700))
def test_a_png_holds_the_picture_in_the_same_bytes_whatever_the_windows(
    kind: str, shape: tuple[int, int], seed: int, window: int
) -> None:
    pixels = picture(kind, shape, seed)
    files = [io.BytesIO() for _ in range(3)]
    for file, size in zip(files, (1 << 21, window), strict=False):
        with windows_of(size):
            write_png(file, drawing_of(kind, pixels))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(png_module, "WINDOW_PX", window)
        write_png(files[2], drawing_of(kind, pixels))
    image = Image.open(files[1])
    mode = {"bool": "1", "palette": "P", "uint16": "I;16", "rgba": "RGBA"}.get(kind.split()[0], "RGB")
    assert image.mode == mode
    assert (np.asarray(image) == pixels).all()
    first, second = (b"".join(chunks(file.getvalue())) for file in files[:2])
    assert first == second
    assert files[2].getvalue() == files[0].getvalue()  # of one size of chunks, byte by byte


def chunks(png: bytes) -> Iterator[bytes]:
    """What is in a PNG's chunks, wherever its compressed data is parted."""
    at = 8
    while at < len(png):
        size = int.from_bytes(png[at : at + 4], "big")
        yield png[at + 8 : at + 8 + size]
        at += size + 12


def test_every_filter_is_used_somewhere() -> None:
    pixels = np.concatenate([picture("rgb", (200, 40), seed) for seed in range(4)])
    rows = pixels.reshape(len(pixels), -1)
    filtered = png_module._filter_rows(rows, np.zeros_like(rows[0]), 3, drawing_of("rgb", pixels))
    assert set(filtered[:, 0].tolist()) == {1, 2, 3}


def test_a_pngs_palette_is_the_clusters_colours_and_nodata_is_transparent() -> None:
    pixels = np.array([[0, 1, 2, 255]], np.uint8)
    opaque = png_of(drawing_of("palette", pixels[:, :3]))
    assert opaque.getpalette("RGB") == COLORS.reshape(-1).tolist()
    assert "transparency" not in opaque.info
    clear = png_of(drawing_of("palette with nodata", pixels))
    assert np.asarray(clear.convert("RGBA")).tolist() == [[[*c, 255] for c in COLORS.tolist()] + [[0, 0, 0, 0]]]
    deep = np.array([[7, 65535]], np.uint16)
    assert png_of(drawing_of("uint16 with nodata", deep)).info["transparency"] == 65535
    assert "transparency" not in png_of(drawing_of("uint16", deep)).info


# --------------------------------------------------------------------------------------------------- TIFF


def expected_values(pixels: NDArray[Any]) -> NDArray[Any]:
    return pixels.astype(np.uint8) * np.uint8(255) if pixels.dtype == np.bool_ else pixels


@settings(max_examples=25)
@given(st.sampled_from(KINDS), st.tuples(st.integers(5, 150), st.integers(5, 200)), st.booleans(), st.booleans())
def test_a_tiff_holds_the_picture_and_overviews_of_half_the_size(
    tmp_path_factory: pytest.TempPathFactory, kind: str, shape: tuple[int, int], full_width: bool, small: bool
) -> None:
    pixels = picture(kind, shape)
    tmp_path = tmp_path_factory.mktemp("tiff")
    with windows_of(700 if small else 1 << 21, side=32):
        write_tiff(str(tmp_path / "a.tif"), drawing_of(kind, pixels, full_width=full_width), str(tmp_path))
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        (series,) = tiff.series
        page = tiff.pages[0]
        assert page.is_tiled
        assert (page.tilelength, page.tilewidth, page.compression.name) == (32, 32, "ADOBE_DEFLATE")
        assert (series.levels[0].asarray() == expected_values(pixels)).all()
        assert len(series.levels) == pyramid_levels(shape, 32)
        finer = expected_values(pixels)
        for level in series.levels[1:]:
            half = level.asarray()
            first = finer[::2, ::2]
            assert half.shape == first.shape
            if kind in ("rgb", "rgba", "bool"):
                assert np.abs(half.astype(float) - first).mean() < 128
                if min(shape) > 60:
                    assert np.abs(half.astype(float).mean() - finer.mean()) < 12
            else:
                assert (half == first).all()
            finer = half
    if not kind.startswith("uint16"):
        with Image.open(tmp_path / "a.tif") as image:  # another reader
            assert (np.asarray(image) == expected_values(pixels)).all()
            assert image.mode != "P" or image.getpalette("RGB")[:9] == COLORS.reshape(-1).tolist()


def test_a_tiff_that_may_pass_4_gigabytes_is_a_bigtiff(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "scratch").mkdir()
    drawing = drawing_of("rgb", picture("rgb", (30, 40)))
    write_tiff(str(tmp_path / "classic.tif"), drawing, str(tmp_path / "scratch"))
    monkeypatch.setattr(tiff_module, "_BIG", 30 * 40 * 3)
    write_tiff(str(tmp_path / "big.tif"), drawing, str(tmp_path / "scratch"))
    for name, big in (("classic.tif", False), ("big.tif", True)):
        with tifffile.TiffFile(tmp_path / name) as tiff:
            assert tiff.is_bigtiff == big


# ------------------------------------------------------------------------------------------------ GeoTIFF

UTM = 'PROJCRS["WGS 84 / UTM zone 33N",BASEGEOGCRS["WGS 84",DATUM["World Geodetic System 1984",ELLIPSOID["WGS 84",6378137,298.257223563]]],CONVERSION["UTM zone 33N",METHOD["Transverse Mercator",ID["EPSG",9807]],PARAMETER["Latitude of natural origin",0],PARAMETER["Longitude of natural origin",15],PARAMETER["Scale factor at natural origin",0.9996],PARAMETER["False easting",500000],PARAMETER["False northing",0]],CS[Cartesian,2],AXIS["easting",east],AXIS["northing",north],UNIT["metre",1],ID["EPSG",32633]]'  # noqa: E501
PLACE = GeoReference(UTM, (2.5, 0.0, 500000.0, 0.0, -2.5, 5000000.0))


@pytest.fixture
def rasterio() -> Any:
    return pytest.importorskip("rasterio")


@pytest.mark.parametrize("kind", KINDS)
def test_a_geotiff_holds_the_picture_and_where_it_is(kind: str, rasterio: Any, tmp_path: Path) -> None:
    pixels = picture(kind, (600, 700))
    (tmp_path / "scratch").mkdir()
    drawing = drawing_of(kind, pixels)
    with windows_of(700):
        write_geotiff(str(tmp_path / "a.tif"), drawing, str(tmp_path / "scratch"), PLACE)
    with rasterio.open(tmp_path / "a.tif") as dataset:
        assert dataset.crs.to_epsg() == 32633
        assert tuple(dataset.transform)[:6] == PLACE.transform
        assert dataset.nodata == drawing.nodata
        assert dataset.block_shapes[0] == (512, 512)
        assert dataset.overviews(1) == [2]
        assert dataset.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert dataset.compression.name == "deflate"
        found = dataset.read()
        found = found[0] if pixels.ndim == 2 else np.moveaxis(found, 0, -1)
        assert (found == expected_values(pixels)).all()
        if kind.startswith("palette"):
            table = dataset.colormap(1)
            assert [table[j][:3] for j in range(3)] == [tuple(color) for color in COLORS.tolist()]
            assert table[255][3] == 0
        if kind == "rgba":
            assert dataset.colorinterp[3].name == "alpha"


def test_a_transform_without_a_coordinate_system_is_kept_and_one_that_is_none_is_told(
    rasterio: Any, tmp_path: Path
) -> None:
    drawing = drawing_of("rgb", picture("rgb", (5, 5)))
    with pytest.raises(StoreError, match="coordinate reference system"):
        write_geotiff(str(tmp_path / "a.tif"), drawing, str(tmp_path), GeoReference("nonsense", PLACE.transform))
    somewhere = GeoReference("", (1.0, 0.5, 10.0, 0.5, -1.0, 20.0))
    write_geotiff(str(tmp_path / "a.tif"), drawing, str(tmp_path), somewhere)
    with rasterio.open(tmp_path / "a.tif") as dataset:
        assert (dataset.crs, tuple(dataset.transform)[:6]) == (None, somewhere.transform)


# ---------------------------------------------------------------------------------------- formats, and their names


@pytest.mark.parametrize("what", [kind.name for kind in EXPORTS.values() if "picture" in kind.contents])
def test_every_exported_picture_is_no_input(what: str, tmp_path: Path) -> None:
    drawing = drawing_of("rgb", picture("rgb", (2, 3)))
    for clusters in (None, (3,), (0, 2), tuple(range(40))):
        for each in formats_of("picture"):
            path = tmp_path / file_name("a.b.jpg", what, clusters, each.suffix)
            assert each.write is not None
            each.write(str(path), drawing, None, str(tmp_path / "scratch"))
            assert passed_over.is_exported(str(path)), path
            shutil.rmtree(tmp_path / "scratch", ignore_errors=True)
            Image.fromarray(np.zeros((2, 3), np.uint8)).save(path)
            assert not passed_over.is_exported(str(path)), path  # a name is not enough
