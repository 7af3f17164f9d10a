"""What is known of each pixel before segments are found: CIELAB, gradient, textures, palette; the same of windows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage
from skimage.color import rgb2lab

from kseg_core.halos import grown
from kseg_core.kernels import palettes
from kseg_core.segments.features import BandScale, Converter
from kseg_core.segments.maps import HALO, INVALID, Maps, find_maps
from kseg_core.segments.palette import PixelSample
from tests.conftest import smooth_picture
from tests.strategies import QUICK

Array = NDArray[Any]


def maps_of(samples: Array, valid: Array | None = None, window: Any = ..., halo: int = HALO) -> Maps:
    """Of a window, read with so much around it; the palette is that of the whole."""
    sample = PixelSample(samples.shape[0] * samples.shape[1], of_bands=samples.dtype != np.uint8)
    sample.add(samples, valid, 0, 0)
    if window is ...:
        window = (slice(0, samples.shape[0]), slice(0, samples.shape[1]))
    around, inner = grown(window, halo, samples.shape[:2])
    made = find_maps(samples[around], None if valid is None else valid[around], *sample.finish())
    return Maps(*(each[inner] for each in made))


def noise(height: int, width: int, seed: int = 0) -> Array:
    picture = np.random.default_rng(seed).integers(0, 256, (height, width, 3))
    return (picture // np.array([1, 3, 7])).astype(np.uint8)


def louder(picture: Array) -> Array:
    """Darker at the top, so that any energy of texture is somewhere."""
    return (picture * np.linspace(0, 1, len(picture))[:, None, None]).astype(np.uint8)


def test_lab_is_that_of_scikit_image_on_a_grid_of_a_sixteenth() -> None:
    levels = np.unique([0, 1, 2, 5, 9, 10, 11, *range(15, 256, 15), 254, 255]).astype(np.uint8)
    colours = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(1, -1, 3)
    expected = np.moveaxis(rgb2lab(colours, illuminant="D65"), -1, 0) * 16
    found = Converter()(colours)
    assert found.dtype == np.int16
    assert np.abs(found[0] - expected[0]).max() <= 1  # rounded once, and light is of 65535 levels
    assert np.abs(found - expected).max() <= 2


def test_bands_have_one_range_together_and_no_value_is_too_far() -> None:
    random = np.random.default_rng(0)
    samples = random.normal(1000, 30, (40, 50, 4))
    samples[0, 0] = [1e30, -1e30, np.nan, 1000]
    convert = Converter(BandScale.of(samples[1:].reshape(-1, 4)))
    features = convert(samples)
    within = np.percentile(features[:, 1:].reshape(4, -1), [1, 99], axis=1)
    np.testing.assert_allclose(within[1] - within[0], 90 * 16 / 2, atol=6)  # half of it for each of four
    assert features[:2, 0, 0].tolist() == [4094, -4094]
    np.testing.assert_array_equal(Converter(BandScale.of(np.full((9, 2), 7)))(np.full((3, 3, 2), 7)), 0)


# ------------------------------------------------------------------------------------------- gradient and texture


def _energy(plane: Array, order: int) -> Array:
    """Squared lengths of Sobel's gradient of a smoothed plane, by SciPy."""
    taps = np.array([1.0])
    for _ in range(order):
        taps = np.convolve(taps, [0.5, 0.5])
    smooth = plane.astype(float)
    for axis in (0, 1):
        smooth = ndimage.correlate1d(smooth, taps, axis, mode="reflect")
    across, down = (ndimage.sobel(smooth, axis, mode="nearest") for axis in (1, 0))
    energy: Array = across**2 + down**2
    return energy


@pytest.mark.parametrize("shape", [(70, 60), (1, 40), (9, 8)])
def test_the_gradient_is_that_of_smoothed_planes(shape: tuple[int, int]) -> None:
    picture = smooth_picture(*shape, 4)
    energy = sum(_energy(plane, 16) for plane in Converter()(picture))
    expected = np.sqrt(energy) / (8 * 16) * 2 * 64  # a slope of a unit over two pixels is 128
    found = maps_of(picture).gradient
    assert np.abs(found - expected).max() < 6  # of a tenth of a unit: planes are rounded to quarters of sixteenths


def test_textures_are_octaves_of_mean_energy() -> None:
    picture = smooth_picture(80, 70, 2)
    picture[20:60, 10:40] = noise(40, 30)[..., :1]
    light, found = Converter()(picture)[0], maps_of(picture)
    for octave, order, sigma, reach in ((found.fine, 2, 0.7, 3), (found.broad, 8, 1.5, 7)):
        mean = ndimage.uniform_filter(_energy(light, order), 2 * reach + 1, mode="reflect")
        exact = np.log2(mean / (0.25 / sigma * 8 * 16) ** 2)
        np.testing.assert_array_less(np.abs(octave - np.clip(exact - 0.5, 0, 15)), 0.56)
        assert len(np.unique(octave)) > 4


#: How far each map looks: smoothing, Sobel, mean.
REACH = {"gradient": 8 + 1, "palette": 0, "fine": 1 + 1 + 3, "broad": 4 + 1 + 7}


def test_maps_of_a_window_are_those_of_the_whole_with_as_much_around_it_as_each_needs() -> None:
    picture = louder(noise(2000, 60))
    whole = maps_of(picture)
    window = (slice(20, 1980), slice(20, 40))
    for name, reach in REACH.items():
        there = getattr(whole, name)[window]
        np.testing.assert_array_equal(getattr(maps_of(picture, None, window, reach), name), there)
        if reach > 0:
            assert (getattr(maps_of(picture, None, window, reach - 1), name) != there).any()


def test_beside_pixels_that_do_not_count_they_are_so_with_the_halo_and_not_with_a_pixel_less() -> None:
    """Two lines of pixels and nothing between them: what is half-way is the mean of both."""
    picture = np.zeros((3000, 41, 3), np.uint8)
    picture[:, 16] = louder(noise(3000, 1, 1))[:, 0, :1]
    picture[:, 40] = noise(3000, 1, 2)[:, 0, :1]
    valid = np.zeros((3000, 41), np.bool_)
    valid[:, [16, 40]] = True
    window = (slice(0, 3000), slice(0, 17))
    whole = maps_of(picture, valid).broad[:, 16]
    np.testing.assert_array_equal(maps_of(picture, valid, window, 24).broad[:, 16], whole)
    assert (maps_of(picture, valid, window, 23).broad[:, 16] != whole).any()


@QUICK
@given(st.data(), st.integers(0, 9))
def test_whatever_is_stored_where_pixels_do_not_count_maps_of_windows_are_those_of_the_whole(
    data: st.DataObject, seed: int
) -> None:
    random = np.random.default_rng(seed)
    shape = data.draw(st.tuples(st.integers(1, 90), st.integers(1, 60)))
    samples = random.integers(0, 256, (*shape, 3)).astype(np.uint8)
    valid = ndimage.uniform_filter(random.random(shape), 9) > 0.5
    whole = maps_of(samples, valid)
    samples[~valid] = random.integers(0, 256, (int((~valid).sum()), 3))
    top, left = (data.draw(st.integers(0, size - 1)) for size in shape)
    bottom, right = data.draw(st.integers(top + 1, shape[0])), data.draw(st.integers(left + 1, shape[1]))
    window = (slice(top, bottom), slice(left, right))
    part = maps_of(samples, valid, window)
    for name, values in part._asdict().items():
        np.testing.assert_array_equal(values[valid[window]], getattr(whole, name)[window][valid[window]])
    assert (part.gradient[~valid[window]] == INVALID).all()
    assert (part.gradient[valid[window]] < INVALID).all()


# ------------------------------------------------------------------------------------------- palette


def _lloyd(points: Array, weights: Array, k: int, steps: int) -> tuple[Array, Array]:
    """Centres far apart, then Lloyd's steps, in Python's integers; points (n, d)."""
    points = points.astype(object)

    def nearest(centres: Array) -> tuple[Array, Array]:
        far = ((points[:, None] - centres[None]) ** 2).sum(axis=2)
        return far.argmin(axis=1), far.min(axis=1)

    centres = points[[int(weights.argmax())]]
    while len(centres) < min(k, len(points)):
        centres = np.concatenate([centres, points[[int((nearest(centres)[1] * weights).argmax())]]])
    label = nearest(centres)[0]
    for _ in range(steps):
        for j in range(len(centres)):
            mass = int(weights[label == j].sum())
            if mass:
                sums = (points[label == j] * weights[label == j, None]).sum(axis=0)
                centres[j] = (2 * sums + mass) // (2 * mass)
        before, (label, _) = label, nearest(centres)
        if (before == label).all():
            break
    return centres, label


@QUICK
@given(st.integers(1, 30), st.integers(1, 12), st.integers(1, 4), st.integers(0, 4), st.integers(0, 99))
def test_a_palette_is_that_of_k_means_in_whole_numbers(n: int, k: int, d: int, steps: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    points = np.unique(random.integers(-20, 20, (n, d)), axis=0)
    random.shuffle(points)
    weights = random.integers(1, 5, len(points))
    centres, label = palettes.find_palette(np.ascontiguousarray(points.T, np.int32), weights, k, steps)
    expected = _lloyd(points, weights, k, steps)
    np.testing.assert_array_equal(centres, expected[0].astype(np.int32))
    np.testing.assert_array_equal(label, expected[1])
    again = palettes.nearest_centres(points.T.astype(np.int16)[:, :, None].copy(), centres)
    far = ((points[:, None] - centres[None]) ** 2).sum(axis=2)
    np.testing.assert_array_equal(again[:, 0], far.argmin(axis=1))


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("most", [1 << 20, 500])
def test_the_palette_is_the_same_whatever_windows_it_is_gathered_in(
    dtype: str, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SAMPLED_PX", "SAMPLED_BANDS_PX"):
        monkeypatch.setattr(f"kseg_core.segments.palette.{name}", most)
    samples = (smooth_picture(61, 53, 1).astype(np.uint16) // 16 * 16).astype(dtype)  # few values: many ties
    valid = np.ones((61, 53), np.bool_)
    valid[:20, :11] = False
    samples[~valid] = 255
    found = []
    for rows, columns in ((61, 53), (16, 16), (7, 53), (61, 10)):
        sample = PixelSample(61 * 53, of_bands=dtype != "uint8")
        for top in range(0, 61, rows):
            for left in range(0, 53, columns):
                part = PixelSample(61 * 53, sample.of_bands)
                window = (slice(top, top + rows), slice(left, left + columns))
                part.add(samples[window], valid[window], top, left)
                sample.merge(part)
        convert, palette = sample.finish()
        labels = palette.label(convert(samples))
        assert len(np.unique(labels[valid])) > 20
        found.append(labels[valid])
    for labels in found[1:]:
        np.testing.assert_array_equal(labels, found[0])
