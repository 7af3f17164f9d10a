"""What the tutorials show, judged by the libraries they use: scikit-learn for two grays, OpenCV for its own k-means."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from sklearn.cluster import KMeans

from kseg_core import open_store
from kseg_core.config import ExecutionSettings, FitSettings, RunConfig
from workflows import segment

EXAMPLES = Path(__file__).parent.parent.parent / "examples" / "images"
CRITERIA = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 100, 0.2)
STARTS = {"k-means++": cv2.KMEANS_PP_CENTERS, "random": cv2.KMEANS_RANDOM_CENTERS}
ROUNDING = 1e-6  # relative: OpenCV sums distances of 24 bits
COFFEE, CHELSEA = EXAMPLES / "coffee.jpg", EXAMPLES / "chelsea.png"


def rgb_of(path: Path) -> NDArray[np.uint8]:
    return np.asarray(Image.open(path).convert("RGB"))


def gray_of(path: Path) -> NDArray[np.uint8]:
    return np.asarray(Image.open(path).convert("L"))


# ----------------------------------------------------------------------------------- RGB, k = 5, masks, a part cut out


@pytest.mark.parametrize("path", [COFFEE, CHELSEA], ids=lambda path: path.name)
def test_five_colours_are_as_good_as_those_of_scikit_learn_with_the_same_tolerance(path: Path) -> None:
    found = segment(rgb_of(path), RunConfig(FitSettings(5, tol=1e-6), execution=ExecutionSettings("sync")))
    colors, weights = np.unique(rgb_of(path).reshape(-1, 3), axis=0, return_counts=True)
    theirs = KMeans(5, n_init=5, tol=1e-6, random_state=0).fit(colors.astype(np.float64), sample_weight=weights)
    # and ours is judged with our labels, by plain arithmetic
    labels = found.labels["image"].compute()
    inertia = float(((rgb_of(path) - found.model.centroids[labels]) ** 2).sum())
    assert inertia <= theirs.inertia_ * (1 + 1e-6)
    assert found.model.inertia == pytest.approx(inertia, rel=1e-12)


def test_painting_masks_and_cutting_out_are_the_scripts_own_lines(tmp_path: Path, job: Any) -> None:
    job(COFFEE, tmp_path / "five.zarr", k=5, tol=1e-6)
    store = open_store(str(tmp_path / "five.zarr"))
    image, model = store["coffee.jpg"], store.model
    labels = np.asarray(image.labels[...])
    assert image.masks is not None
    for j in range(5):
        np.testing.assert_array_equal(image.masks[j], labels == j)
        mean = rgb_of(COFFEE)[labels == j].mean(axis=0)
        np.testing.assert_allclose(model.centroids[j], mean, atol=0.5)  # tol ends the steps a little before the means
        np.testing.assert_allclose(model.colors[j], mean, atol=0.5 + 1e-9)
    np.testing.assert_array_equal(model.paint(labels), model.colors[labels])
    # the red cup: more red than twice its green, in one of the clusters and in no other
    red = [j for j in range(5) if model.colors[j, 0] > 2 * model.colors[j, 1].astype(int)]
    assert len(red) >= 1
    cut_out = np.where(np.isin(labels, red)[..., None], rgb_of(COFFEE), 0)
    height, width = labels.shape
    assert cut_out[int(height * 0.55), int(width * 0.2)].tolist() != [0, 0, 0]  # on the saucer
    assert cut_out[int(height * 0.1), int(width * 0.42)].tolist() == [0, 0, 0]  # on the cup's white rim


# ----------------------------------------------------------------------------------------------------- gray, k = 2


@dataclass(frozen=True, slots=True)
class TwoParts:
    """One image's gray values parted by us, and by scikit-learn: on its own, and begun with our centroids."""

    gray: NDArray[np.uint8]
    ours: NDArray[np.uint8]
    inertia: float
    alone: KMeans
    begun: KMeans

    @classmethod
    def of(cls, path: Path) -> TwoParts:
        config = RunConfig(FitSettings(2, features="gray"), execution=ExecutionSettings("sync"))
        found = segment(rgb_of(path), config)
        gray, ours = gray_of(path), np.asarray(found.labels["image"].compute())
        inertia = float(((gray - found.model.centroids[ours, 0]) ** 2).sum())
        values, weights = np.unique(gray, return_counts=True)  # the same as every pixel, in milliseconds

        def theirs(**how: Any) -> KMeans:
            points = values[:, None].astype(np.float64)
            return KMeans(2, tol=0, max_iter=1000, **how).fit(points, sample_weight=weights)

        alone, begun = theirs(n_init=10, random_state=0), theirs(init=found.model.centroids[:, :1], n_init=1)
        return cls(gray, ours, inertia, alone, begun)

    def differing(self, theirs: KMeans) -> int:
        """Pixels in the other part, up to the swap of the parts' numbers; those halfway between the centres apart."""
        low, high = np.sort(theirs.cluster_centers_.ravel())
        values = np.unique(self.gray)
        light = np.zeros(256, np.uint8)
        light[values] = theirs.labels_ != np.argmin(theirs.cluster_centers_)
        tied = np.abs((self.gray - low) - (high - self.gray)) < 1e-9
        return int(((light[self.gray] != self.ours) & ~tied).sum())

    def least_possible(self) -> float:
        """The inertia of the best of all thresholds, each tried."""
        pixels = np.sort(self.gray.ravel().astype(np.float64))
        ends = np.flatnonzero(np.diff(pixels)) + 1
        sums, squares = np.cumsum(pixels), np.cumsum(pixels**2)
        dark = squares[ends - 1] - sums[ends - 1] ** 2 / ends
        light = squares[-1] - squares[ends - 1] - (sums[-1] - sums[ends - 1]) ** 2 / (pixels.size - ends)
        return float((dark + light).min())


def assert_parted_alike(parts: TwoParts) -> bool:
    """Whether scikit-learn comes to our partition on its own; where it does not, ours is the better one."""
    assert parts.differing(parts.begun) == 0  # K-means rests where we end
    assert parts.inertia == pytest.approx(parts.least_possible(), rel=1e-11)  # and no threshold is better
    if parts.inertia < parts.alone.inertia_ * (1 - 1e-12):
        return False
    assert parts.inertia == pytest.approx(parts.alone.inertia_, rel=1e-12)
    assert parts.differing(parts.alone) == 0
    return True


def test_two_grays_part_the_examples_as_scikit_learn_does() -> None:
    alike = {path.name: assert_parted_alike(TwoParts.of(path)) for path in sorted(EXAMPLES.iterdir())}
    assert len(alike) == 6
    assert sum(alike.values()) >= 4  # for the cat and the rocket it rests one gray value beside the best threshold


@pytest.mark.slow
def test_two_grays_part_the_kodak_images_as_scikit_learn_does(data_folder: Path) -> None:
    alike = {
        path.name: assert_parted_alike(TwoParts.of(path)) for path in sorted((data_folder / "kodak").glob("*.png"))
    }
    assert len(alike) == 24
    assert sum(alike.values()) >= 16


# ------------------------------------------------------------------------------------------- cv2.kmeans, and its flags


def compactness_of_opencv(rgb: NDArray[np.uint8], k: int, start: str) -> float:
    cv2.setRNGSeed(0)
    pixels = rgb.reshape(-1, 3).astype(np.float32)
    compactness, _, _ = cv2.kmeans(pixels, k, None, CRITERIA, 10, STARTS[start])
    return float(compactness)


def inertia_of_ours(rgb: NDArray[np.uint8], k: int, init: Any = "k-means++") -> float:
    """At default settings; summed from our labels and centroids, not taken from the model."""
    found = segment(rgb, RunConfig(FitSettings(k, init=init), execution=ExecutionSettings("threads")))
    labels = found.labels["image"].compute()
    return float(((rgb - found.model.centroids[labels]) ** 2).sum())


@pytest.mark.few(1)
@pytest.mark.parametrize("k", [3, 5, 7])
def test_an_example_is_no_worse_than_the_best_of_ten_attempts_of_opencv(k: int) -> None:
    rgb = rgb_of(CHELSEA)
    ours = inertia_of_ours(rgb, k)
    for start in STARTS:
        assert ours <= compactness_of_opencv(rgb, k, start) * (1 + ROUNDING), start


@pytest.mark.few(1)
#: The hardest; all 24 with every k: ``benchmarks/opencv_kmeans.py``.
@pytest.mark.parametrize(("name", "k"), [("19.png", 3), ("01.png", 5), ("24.png", 5), ("02.png", 7)])
def test_kodak_images_are_no_worse_than_the_best_of_ten_attempts_of_opencv(
    name: str, k: int, data_folder: Path
) -> None:
    rgb = rgb_of(data_folder / "kodak" / name)
    ours = inertia_of_ours(rgb, k)
    for start in STARTS:
        assert ours <= compactness_of_opencv(rgb, k, start) * (1 + ROUNDING), start


def test_random_first_centres_end_where_those_of_k_means_plus_plus_do() -> None:
    rgb = rgb_of(COFFEE)
    plus_plus, random = inertia_of_ours(rgb, 5), inertia_of_ours(rgb, 5, "random")
    assert random == pytest.approx(plus_plus, rel=1e-4)


# ---------------------------------------------------------------------------------------------------------- HSV, edges


def test_hsv_keeps_one_hue_together_where_opencvs_scale_of_hue_tears_red_apart() -> None:
    """Reds on both sides of hue 0, and as many greens: two clusters are red and green, not hues below and above."""
    just_above, just_below, green = (230, 10, 0), (230, 0, 10), (0, 230, 0)
    picture = np.array([[just_above, just_below, green, green]], np.uint8).repeat(20, axis=0)
    hues = cv2.cvtColor(picture, cv2.COLOR_RGB2HSV)[0, :2, 0].astype(int)
    assert abs(hues[0] - hues[1]) > 170  # of 180: both ends of the scale
    config = RunConfig(FitSettings(2, features="hsv", attempts=2), execution=ExecutionSettings("sync"))
    labels = segment(picture, config).labels["image"].compute()
    assert labels[0, 0] == labels[0, 1] != labels[0, 2] == labels[0, 3]
