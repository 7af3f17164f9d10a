"""How large a pixel is, from the headers that microscopes and slide scanners write."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr

from kseg_core.images.pixel_size import PixelSize, read_pixel_size

PIXELS = np.zeros((4, 6), np.uint8)


def ome_tiff(path: Path, **metadata: Any) -> str:
    tifffile.imwrite(path, PIXELS, ome=True, metadata={"axes": "YX", **metadata})
    return str(path)


def ome_zarr(path: Path, units: tuple[str | None, str | None], version: str, outer: list[float] | None = None) -> str:
    space = [{"name": "c", "type": "channel"}]
    for name, unit in zip("yx", units, strict=True):
        space.append({"name": name, "type": "space"} | ({} if unit is None else {"unit": unit}))
    image: dict[str, Any] = {
        "axes": space,
        "datasets": [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [1.0, 0.5, 0.25]}]}],
    }
    if outer is not None:
        image["coordinateTransformations"] = [{"type": "scale", "scale": outer}]
    attributes = {"multiscales": [image]} if version == "0.4" else {"ome": {"version": version, "multiscales": [image]}}
    group = zarr.create_group(path, zarr_format=2 if version == "0.4" else 3, attributes=attributes)
    group.create_array("0", data=PIXELS[None])
    return str(path)


@pytest.mark.parametrize(
    ("stated", "size"),
    [
        ({"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.25}, PixelSize(0.25, 0.5, "micrometer")),
        (
            {"PhysicalSizeX": 5, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 7, "PhysicalSizeYUnit": "nm"},
            PixelSize(7.0, 5.0, "nanometer"),
        ),
        (
            {"PhysicalSizeX": 2, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": 2, "PhysicalSizeYUnit": "µm"},
            PixelSize(2.0, 2.0, "micrometer"),
        ),
        ({"PhysicalSizeX": 5, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 7}, None),  # two units
        ({"PhysicalSizeX": 5}, None),
        ({}, None),
    ],
)
def test_an_ome_tiff_says_it(stated: dict[str, Any], size: PixelSize | None, tmp_path: Path) -> None:
    assert read_pixel_size(ome_tiff(tmp_path / "a.ome.tif", **stated)) == size


@pytest.mark.parametrize("unit", ["&#181;m", "μm", "&#x3bc;m"])
def test_the_letter_mu_is_read_however_it_is_written(unit: str, tmp_path: Path) -> None:
    path = tmp_path / "a.ome.tif"
    sizes = f'PhysicalSizeX="3" PhysicalSizeXUnit="{unit}" PhysicalSizeY="4" PhysicalSizeYUnit="{unit}"'
    xml = f'<?xml version="1.0"?><OME><Image><Pixels SizeX="6" SizeY="4" {sizes}/></Image></OME>'
    tifffile.imwrite(path, PIXELS, description=xml.encode(), metadata=None)
    assert read_pixel_size(str(path)) == PixelSize(4.0, 3.0, "micrometer")


@pytest.mark.parametrize(("orientation", "size"), [(1, (0.25, 0.5)), (3, (0.25, 0.5)), (6, (0.5, 0.25))])
def test_a_turned_image_has_turned_pixels(orientation: int, size: tuple[float, float], tmp_path: Path) -> None:
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(
        path, PIXELS, ome=True, metadata={"axes": "YX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.25},
        extratags=[(274, 3, 1, orientation, True)],
    )  # fmt: skip
    assert read_pixel_size(str(path)) == PixelSize(*size, "micrometer")


def test_a_slide_of_aperio_says_it(tmp_path: Path) -> None:
    path = tmp_path / "a.svs"
    said = "Aperio Image Library v11.2.1\r\n46000x32914 |AppMag = 20|StripeWidth = 2040|MPP = 0.4990|Left = 25.69"
    tifffile.imwrite(path, PIXELS, description=said, metadata=None)
    assert read_pixel_size(str(path)) == PixelSize(0.499, 0.499, "micrometer")


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_an_ome_zarr_says_it(version: str, tmp_path: Path) -> None:
    of = ("micrometer", "micrometer")
    assert read_pixel_size(ome_zarr(tmp_path / "a.zarr", of, version)) == PixelSize(0.5, 0.25, "micrometer")
    scaled = ome_zarr(tmp_path / "b.zarr", of, version, [1.0, 2.0, 4.0])
    assert read_pixel_size(scaled) == PixelSize(1.0, 1.0, "micrometer")
    document = Path(scaled) / ("zarr.json" if version == "0.5" else ".zattrs")
    first = '{"path": "1", "coordinateTransformations": [{"type": "scale", "scale": [1.0, 1.0, 0.5]}]}, '
    text = json.dumps(json.loads(document.read_text()))
    document.write_text(text.replace('"datasets": [', '"datasets": [' + first))  # listed the wrong way round
    assert read_pixel_size(scaled) == PixelSize(1.0, 1.0, "micrometer")
    assert read_pixel_size(ome_zarr(tmp_path / "c.zarr", (None, None), version)) is None
    assert read_pixel_size(ome_zarr(tmp_path / "d.zarr", ("micrometer", "meter"), version)) is None


def test_dots_per_inch_are_none_and_neither_is_what_cannot_be_read(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", PIXELS, resolution=(300, 300), resolutionunit="INCH")
    (tmp_path / "b.tif").write_bytes(b"II*\0 and no more")
    zarr.create_array(tmp_path / "c.zarr", data=PIXELS)
    ome_tiff(tmp_path / "zero.ome.tif", PhysicalSizeX=0, PhysicalSizeY=0)
    for name in ("a.tif", "b.tif", "c.zarr", "zero.ome.tif", "missing.tif"):
        assert read_pixel_size(str(tmp_path / name)) is None
