"""Pixels smoothed along edges: whole numbers exactly, the same in every window, and nothing of what does not count."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from PIL import Image

from kseg_core.config import InputSettings
from kseg_core.errors import UnreadableImage
from kseg_core.halos import grown
from kseg_core.images import Pixels
from kseg_core.inputs.listing import list_inputs
from kseg_core.reading import sources
from kseg_core.reading.smoothing import Smoothing, smooth_image, smoothed
from kseg_core.reading.sources import ImageSource
from tests.reference import smoothed as reference
from tests.strategies import QUICK, valid_masks

SCALES = st.sampled_from([1, 2, 3, 5])
WHOLE = ("uint8", "int8", "uint16", "int16", "uint32", "int32")


def how(scale: int) -> Smoothing:
    return Smoothing(scale, scale)


@st.composite
def images(draw: st.DrawFn, dtypes: tuple[str, ...], max_side: int = 12) -> tuple[NDArray[Any], Any]:
    """(y, x, bands) of any values, some as far apart as the dtype has them, and which count."""
    dtype = np.dtype(draw(st.sampled_from(dtypes)))
    shape = draw(st.tuples(st.integers(1, max_side), st.integers(1, max_side), st.integers(1, 3)))
    if dtype.kind == "f":
        elements = st.floats(-1e4, 1e4, width=dtype.itemsize * 8)  # type: ignore[arg-type]  # 16, 32 or 64
    else:
        info = np.iinfo(dtype)
        near = st.integers(max(info.min, -9), 9)
        elements = near | st.sampled_from([info.min, info.max]) | st.integers(int(info.min), int(info.max))
    return draw(hnp.arrays(dtype, shape, elements=elements)), draw(valid_masks(shape[:2]))


@QUICK
@given(images(WHOLE), SCALES)
def test_whole_numbers_are_those_of_exact_arithmetic(made: tuple[NDArray[Any], Any], scale: int) -> None:
    samples, valid = made
    together = samples.dtype == np.uint8 and samples.shape[2] == 3
    found = smooth_image(samples, valid, how(scale), together=together)
    assert found.samples.dtype == samples.dtype
    np.testing.assert_array_equal(found.samples, reference(samples, valid, scale, together=together))


@QUICK
@given(images((*WHOLE, "float16", "float32", "float64", "int64"), 40), SCALES, st.data())
def test_a_window_has_the_pixels_of_the_whole_image(made: tuple[NDArray[Any], Any], scale: int, data: Any) -> None:
    samples, valid = made
    whole = smooth_image(samples, valid, how(scale), together=samples.shape[2] == 3).samples
    cuts = [sorted({0, size, *data.draw(st.lists(st.integers(0, size), max_size=3))}) for size in samples.shape[:2]]
    for (top, bottom), (left, right) in itertools.product(*map(itertools.pairwise, cuts)):
        rows, columns = slice(top, bottom), slice(left, right)
        wide, inner = grown((rows, columns), how(scale).halo, samples.shape[:2])
        read = Pixels(samples[wide], None if valid is None else valid[wide], wide[0].start, wide[1].start)
        part = smoothed(read, how(scale), inner, together=samples.shape[2] == 3, original=True)
        assert (part.top, part.left, part.samples.tobytes()) == (top, left, whole[rows, columns].tobytes())
        np.testing.assert_array_equal(part.seen, samples[rows, columns])


def test_an_image_of_several_blocks_is_as_one_of_its_windows() -> None:
    samples = np.random.default_rng(0).integers(0, 256, (310, 1100, 3)).astype(np.uint8)
    whole = smooth_image(samples, None, how(4), together=True).samples
    wide, inner = grown((slice(120, 140), slice(1010, 1040)), how(4).halo, samples.shape[:2])
    part = smoothed(Pixels(samples[wide], None), how(4), inner, together=True)
    np.testing.assert_array_equal(part.samples, whole[120:140, 1010:1040])
    np.testing.assert_array_equal(whole[:6, :6], reference(samples[:20, :20], None, 4, together=True)[:6, :6])


@pytest.mark.parametrize("scale", [1, 2, 7, 16])
def test_no_pixel_beyond_the_halo_has_a_say(scale: int) -> None:
    samples = np.random.default_rng(1).integers(0, 256, (90, 90, 1)).astype(np.uint8)
    other = samples.copy()
    other[45, 45] ^= 255
    before, after = (smooth_image(each, None, how(scale), together=False).samples for each in (samples, other))
    rows, columns = np.nonzero((before != after)[..., 0])
    assert 0 < max(abs(rows - 45).max(), abs(columns - 45).max()) <= how(scale).halo


@pytest.mark.parametrize("dtype", ["uint8", "float32", "int64"])
def test_what_does_not_count_stays_and_is_nobodys_neighbour(dtype: str) -> None:
    random = np.random.default_rng(2)
    samples, valid = random.integers(0, 99, (40, 50, 2)).astype(dtype), random.random((40, 50)) > 0.2
    other = samples.copy()
    other[~valid] = np.nan if dtype == "float32" else 127
    found, same = (smooth_image(each, valid, how(2), together=False).samples for each in (samples, other))
    np.testing.assert_array_equal(found[valid], same[valid])
    np.testing.assert_array_equal(same[~valid], other[~valid])


def test_an_edge_stays_where_it_is_and_noise_does_not() -> None:
    random = np.random.default_rng(3)
    clean = np.full((128, 128, 3), (90, 110, 100))
    clean[:, 64:] = (130, 90, 140)
    clean[20:22] = (200, 40, 60)  # a line of two pixels
    noisy = (clean + random.normal(0, 8, clean.shape)).clip(0, 255).round().astype(np.uint8)
    found = smooth_image(noisy, None, how(2), together=True).samples

    def nearer(image: NDArray[Any]) -> NDArray[Any]:
        right = ((image.astype(int) - (130, 90, 140)) ** 2).sum(axis=2) < (
            (image.astype(int) - (90, 110, 100)) ** 2
        ).sum(axis=2)
        return right[30:]

    assert (nearer(found) == (np.arange(128) >= 64)).all()  # each pixel is on its side of the edge
    assert np.square(found - clean).mean() < np.square(noisy - clean).mean() / 8
    assert np.square(found[20:22] - clean[20:22]).mean() < np.square(noisy[20:22] - clean[20:22]).mean() / 4


@pytest.mark.parametrize(
    ("dtype", "values"),
    [
        ("float64", [-1.7e308, 1.7e308, 0.0]),
        ("float32", [-3.4e38, 3.4e38, 1.0]),
        ("int64", [-(2**63), 2**63 - 1, 0]),
        ("uint64", [0, 2**64 - 1, 1]),
    ],
)
def test_the_largest_numbers_are_smoothed_to_numbers(dtype: str, values: list[Any]) -> None:
    samples = np.array(values, dtype)[np.random.default_rng(4).integers(0, 3, (20, 20, 1))]
    found = smooth_image(samples, None, how(2), together=False).samples
    assert found.dtype == samples.dtype
    assert np.isfinite(found.astype(np.float64)).all()
    same = np.full((9, 9, 1), values[0], dtype)
    np.testing.assert_array_equal(smooth_image(same, None, how(2), together=False).samples, same)


# ------------------------------------------------------------------------------------------------ the scale as a length


def opened(path: Path, smooth: Any) -> ImageSource:
    (file,) = list_inputs([str(path)]).files
    return ImageSource.open(file, InputSettings(smooth=smooth))


def placed(path: Path, crs: str, side: float) -> Path:
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=64,
        height=64,
        count=1,
        dtype="uint8",
        crs=crs,
        transform=rasterio.Affine(side, 0, 9, 0, -side, 50),
    ) as dataset:
        dataset.write(np.zeros((1, 64, 64), np.uint8))
    return path


def test_a_length_is_so_many_pixels_as_the_image_has_of_it(tmp_path: Path) -> None:
    slide = tmp_path / "a.ome.tif"
    sizes = {"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
    tifffile.imwrite(slide, np.zeros((64, 64), np.uint8), ome=True, metadata={"axes": "YX", **sizes})
    assert opened(slide, "2um").smoothing == (4, "2um")
    assert opened(slide, "0.002 mm").smoothing == (4, "0.002mm")
    assert opened(placed(tmp_path / "m.tif", "EPSG:32632", 2.0), "4.4m").smoothing == (2, "4.4m")
    assert opened(placed(tmp_path / "ft.tif", "EPSG:2263", 1.0), "1m").smoothing == (3, "1m")  # US survey feet
    assert opened(slide, 3).smoothing == (3, 3)
    assert opened(slide, 0).smoothing is None
    for asked, why in (("0.1um", "less than half"), ("1mm", "more than 16")):
        with pytest.raises(UnreadableImage, match=why):
            opened(slide, asked)


def test_a_length_is_refused_where_pixels_have_no_known_size(tmp_path: Path) -> None:
    plain = tmp_path / "plain.png"
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(plain)
    for path in (plain, placed(tmp_path / "degrees.tif", "EPSG:4326", 0.01)):
        with pytest.raises(UnreadableImage, match=r"--smooth 2um.*--smooth 2$") as refused:
            opened(path, "2um")
        assert refused.value.source.endswith(path.name)


# --------------------------------------------------------------------------------------------------- what it costs


@pytest.mark.parametrize("block", [(16, 16), (512, 512), (16, 4096), (1024, 4096)])
def test_surroundings_have_no_image_decoded_much_more_than_twice(
    block: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "PIECE_PX", 512 * 512)
    path, shape = tmp_path / "a.tif", (4096, 4096)
    layout: dict[str, Any] = {"rowsperstrip": block[0]} if block[1] == 4096 else {"tile": block}
    tifffile.imwrite(path, np.zeros(shape, np.uint8), compression="zlib", **layout)
    source = opened(path, 2)
    decoded = 0
    for piece in source.pieces(64):
        wide, _ = grown((piece.rows, piece.columns), source.halo, shape)
        sides = (
            min(size, -(-part.stop // edge) * edge) - part.start // edge * edge
            for part, edge, size in zip(wide, block, shape, strict=True)
        )
        decoded += next(sides) * next(sides)
    assert sum(piece.pixels for piece in source.pieces(64)) == source.pixels
    assert decoded <= 2.01 * source.pixels
