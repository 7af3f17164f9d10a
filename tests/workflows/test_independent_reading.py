"""A store read with nothing but zarr, Pillow and NumPy says what the contract says.

Everything but the run itself is written anew here: formulas, validity, distances, counts.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from numpy.typing import NDArray
from PIL import Image

F64 = NDArray[np.float64]


def on_grid(values: F64, steps: int = 256) -> F64:
    return np.rint(values * steps) / steps


def rgb(c: F64) -> F64:
    return c


def gray(c: F64) -> F64:
    """Pillow's own ``L``."""
    picture = Image.fromarray(c.astype(np.uint8)[None])
    return np.asarray(picture.convert("L"), np.float64)[0][:, None]


def hsv(c: F64) -> F64:
    """Hue as an angle, by the hexagon of Smith 1978."""
    most, least = c.max(1), c.min(1)
    spread = np.maximum(most - least, 1e-300)
    r, g, b = c.T
    degrees = np.where(
        most == r, 60 * (g - b) / spread, np.where(most == g, 120 + 60 * (b - r) / spread, 240 + 60 * (r - g) / spread)
    )
    saturation = np.divide(most - least, most, out=np.zeros_like(most), where=most > 0)
    angle = np.deg2rad(degrees)
    return on_grid(np.stack([255 * saturation * np.cos(angle), 255 * saturation * np.sin(angle), most], 1))


def lab(c: F64) -> F64:
    """CIE 1976 L*a*b* by way of linear light (IEC 61966-2-1) and XYZ (D65)."""
    v = c / 255
    linear = np.where(v > 0.04045, ((v + 0.055) / 1.055) ** 2.4, v / 12.92)
    to_xyz = np.array(
        [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    )
    t = (linear @ to_xyz.T) / to_xyz.sum(1)
    f = np.where(t > (6 / 29) ** 3, np.cbrt(t), t / (3 * (6 / 29) ** 2) + 4 / 29)
    return on_grid(np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], 1))


FEATURES: dict[str, Callable[[F64], F64]] = {"rgb": rgb, "gray": gray, "hsv": hsv, "lab": lab}


@dataclass
class Totals:
    """Over all images of a store."""

    counts: NDArray[np.int64]
    color_sums: NDArray[np.int64]
    feature_sums: F64
    squared: list[float] = field(default_factory=list)

    @classmethod
    def of(cls, k: int, d: int) -> Totals:
        return cls(np.zeros(k, np.int64), np.zeros((k, 3), np.int64), np.zeros((k, d)))


def pixels_of(file: Path) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    with Image.open(file) as picture:
        rgba = np.asarray(picture.convert("RGBA"))
    return rgba[..., :3], rgba[..., 3] > 0


def read_image(group: zarr.Group, file: Path, convert: Callable[[F64], F64], centroids: F64, totals: Totals) -> None:
    """Hold one image of the store against its file."""
    colors, valid = pixels_of(file)
    k = len(centroids)
    labels = np.asarray(group["labels/kmeans/0"][...])  # type: ignore[index]
    assert labels.dtype == np.uint8
    assert labels.shape == valid.shape
    assert (labels[~valid] == 255).all()
    features = convert(colors[valid].astype(np.float64))
    distances = np.zeros((len(features), k))
    for component in range(features.shape[1]):
        distances += (features[:, component, None] - centroids[None, :, component]) ** 2
    np.testing.assert_array_equal(labels[valid], distances.argmin(1))  # argmin: the lowest index in a tie
    masks = np.asarray(group["masks"][...])  # type: ignore[index]
    assert masks.dtype == np.bool_
    np.testing.assert_array_equal(masks, labels[None] == np.arange(k)[:, None, None])
    own: Any = group.attrs["kseg"]
    nearest = distances.min(1)
    counts = np.bincount(labels[valid], minlength=k)
    assert own["status"] == "complete"
    assert own["shape"] == list(valid.shape)
    assert own["counts"] == counts.tolist()
    assert own["invalid"] == int((~valid).sum())
    assert own["inertia"] == pytest.approx(math.fsum(nearest), rel=1e-12)
    assert own["mse"] == pytest.approx(math.fsum(nearest) / len(nearest), rel=1e-12)
    areas = {entry["label-value"]: entry["area"] for entry in image_label(group)["properties"]}
    assert areas == {**dict(enumerate(counts.tolist())), 255: int((~valid).sum())}
    totals.counts += counts
    totals.squared += nearest.tolist()
    np.add.at(totals.color_sums, labels[valid], colors[valid].astype(np.int64))
    np.add.at(totals.feature_sums, labels[valid], features)


def image_label(group: zarr.Group) -> dict[str, Any]:
    found: Any = group["labels/kmeans"].attrs["ome"]
    return dict(found["image-label"])


def read_model(group: zarr.Group, totals: Totals) -> None:
    """Hold a model against the sums over everything it was found from."""
    facts: Any = group.attrs["kseg"]
    centroids, colors, counts = (np.asarray(group[name][...]) for name in ("centroids", "colors", "counts"))  # type: ignore[index]
    assert (centroids.dtype, colors.dtype, counts.dtype) == (np.float64, np.uint8, np.int64)
    np.testing.assert_array_equal(counts, totals.counts)
    assert (counts > 0).all()
    n = counts[:, None]
    np.testing.assert_array_equal(colors, (totals.color_sums + n // 2) // n)  # means, halves up
    np.testing.assert_allclose(centroids, totals.feature_sums / n, rtol=1e-12, atol=1e-9)  # the steps have ended
    numbering = [
        (299 * r + 587 * g + 114 * b, r, g, b, *center)
        for (r, g, b), center in zip(colors.tolist(), centroids.tolist(), strict=True)
    ]
    assert numbering == sorted(numbering)
    assert facts["inertia"] == pytest.approx(math.fsum(totals.squared), rel=1e-12)
    assert facts["mse"] == pytest.approx(math.fsum(totals.squared) / counts.sum(), rel=1e-12)


@pytest.mark.few(4)
@pytest.mark.parametrize("pictures", ["smooth", "flat"])
@pytest.mark.parametrize("features", FEATURES)
def test_labels_masks_counts_inertia_and_numbering_are_what_the_pixels_say(
    features: str, pictures: str, request: pytest.FixtureRequest, tmp_path: Path, job: Any
) -> None:
    folder: Path = request.getfixturevalue(f"{pictures}_folder")
    told = job(folder, tmp_path / "out.zarr", k=5, features=features, scheduler="threads").to_json()
    root = zarr.open_group(str(tmp_path / "out.zarr"), mode="r")
    centroids: F64 = np.asarray(root["model/centroids"][...])  # type: ignore[index]
    totals = Totals.of(*centroids.shape)
    files = sorted(folder.iterdir())
    for file in files:
        group: Any = root[f"images/{file.name}"]
        read_image(group, file, FEATURES[features], centroids, totals)
    assert sorted(name for name, _ in root["images"].members()) == [file.name for file in files]  # type: ignore[union-attr]
    model: Any = root["model"]
    read_model(model, totals)
    assert told["counts"] == totals.counts.tolist()
    assert told["centroids"] == centroids.tolist()
    assert told["colors"] == np.asarray(model["colors"][...]).tolist()
    assert told["pixels"]["valid"] == len(totals.squared)
    assert told["inertia"] == pytest.approx(math.fsum(totals.squared), rel=1e-12)
    assert told["mse"] == pytest.approx(math.fsum(totals.squared) / len(totals.squared), rel=1e-12)


@pytest.mark.few(2)
@pytest.mark.parametrize("features", FEATURES)
def test_with_scope_image_each_image_agrees_with_its_own_model(
    features: str, smooth_folder: Path, tmp_path: Path, job: Any
) -> None:
    job(smooth_folder, tmp_path / "out.zarr", k=3, features=features, scope="image")
    root = zarr.open_group(str(tmp_path / "out.zarr"), mode="r")
    assert "model" not in root
    for file in sorted(smooth_folder.iterdir()):
        group: Any = root[f"images/{file.name}"]
        centroids = np.asarray(group["model/centroids"][...])
        totals = Totals.of(*centroids.shape)
        read_image(group, file, FEATURES[features], centroids, totals)
        read_model(group["model"], totals)


def test_a_pixel_as_near_to_two_centroids_has_the_lower_number(tmp_path: Path, png: Any, job: Any) -> None:
    # With centroids 10 and 30 the value 20 is a tie; the model is that of the two other values.
    png(tmp_path / "two.png", np.array([[10, 30]], np.uint8))
    png(tmp_path / "tie.png", np.array([[20, 21, 19]], np.uint8))
    job(tmp_path / "two.png", tmp_path / "two.zarr", k=2, features="gray")
    job(tmp_path / "tie.png", tmp_path / "tie.zarr", None, model=tmp_path / "two.zarr")
    labels: Any = zarr.open_array(str(tmp_path / "tie.zarr/images/tie.png/labels/kmeans/0"), mode="r")
    assert labels[...].tolist() == [[0, 1, 0]]


def test_the_colours_of_a_label_image_are_those_of_the_model(smooth_folder: Path, tmp_path: Path, job: Any) -> None:
    job(smooth_folder, tmp_path / "out.zarr", k=3)
    root = zarr.open_group(str(tmp_path / "out.zarr"), mode="r")
    colors = np.asarray(root["model/colors"][...]).tolist()  # type: ignore[index]
    group: Any = root["images/picture-2.png"]
    assert image_label(group)["colors"] == [
        *({"label-value": j, "rgba": [*color, 255]} for j, color in enumerate(colors)),
        {"label-value": 255, "rgba": [0, 0, 0, 0]},
    ]
    values = [[entry["label-value"] for entry in image_label(group)[part]] for part in ("colors", "properties")]
    assert values[0] == values[1]
