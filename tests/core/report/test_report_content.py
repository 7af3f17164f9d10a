"""The numbers of a report: areas, distances from the average, the order, what is shown."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyproj import CRS

from kseg_core.errors import KsegError, UsageError
from kseg_core.images.geo import GeoReference
from kseg_core.images.pixel_size import area_of_sides, area_on_the_ground
from kseg_core.inputs.passed_over import is_report
from kseg_core.products import GENERATOR, PAGE
from kseg_core.report.content import (
    cluster_rows,
    history_of,
    ks_to_paint,
    models_of,
    read_sweep,
    require_record,
    sweep_in,
)
from kseg_core.report.facts import ImageFacts, choose, mean_shares, most_typical, named_below, outlier_fence, rank
from kseg_core.report.page import write_report
from kseg_core.report.samples import PixelSample
from kseg_core.report.settings import default_folder, require_place

COLORS = ((0, 0, 0), (255, 255, 255))


def facts(key: str, counts: tuple[int, ...], inertia: float, area: float | None = None) -> ImageFacts:
    return ImageFacts(key, f"/data/{key}", (10, 10), counts, 100 - sum(counts), inertia, COLORS[: len(counts)], area)


# ------------------------------------------------------------------------------------------------------- areas


@pytest.mark.parametrize(
    ("crs", "steps", "expected"),
    [
        ("EPSG:32633", (4.0, 0.0, 0.0, -3.0), 12.0),
        ("EPSG:32633", (3.0, -4.0, 4.0, 3.0), 25.0),  # turned: of its parallelogram
        ("EPSG:2263", (4.0, 0.0, 0.0, -3.0), 12.0 * (1200 / 3937) ** 2),  # US survey feet
        ("EPSG:4326", (4.0, 0.0, 0.0, -3.0), None),
    ],
)
def test_a_pixel_on_the_map_has_the_area_of_its_units(crs: str, steps: Any, expected: float | None) -> None:
    a, b, d, e = steps
    geo = GeoReference(str(CRS.from_string(crs).to_wkt("WKT2_2019")), (a, b, 500_000.0, d, e, 5_000_000.0))
    assert area_on_the_ground(geo) == (None if expected is None else pytest.approx(expected, rel=1e-9))


def test_a_pixel_under_the_microscope_has_the_area_of_its_scale() -> None:
    assert area_of_sides((0.5, 0.25), ("micrometer", "micrometer")) == 0.125
    assert area_of_sides((2.0, 1.0), ("millimeter", "micrometer")) == 2000.0
    assert area_of_sides((1.0, 1.0), ("micrometer", None)) is None


# ------------------------------------------------------------------------------------------------ the average


def test_the_distance_is_the_part_that_would_have_to_change_cluster() -> None:
    images = [facts("a", (80, 20), 100.0), facts("b", (40, 60), 400.0), facts("c", (0, 0), 0.0)]
    assert mean_shares(images, 2) == pytest.approx([0.6, 0.4])
    ranked = {image.facts.key: image for image in rank(images, 2)}
    assert ranked["a"].distance == pytest.approx(0.2)
    assert ranked["b"].distance == pytest.approx(0.2)
    assert ranked["c"].distance is None
    assert ranked["a"].ratio == pytest.approx(1.0 / 2.5)
    assert ranked["b"].ratio == pytest.approx(4.0 / 2.5)
    assert ranked["c"].ratio is None
    assert ranked["b"].farness == pytest.approx(0.2 + math.log2(1.6) / 2)


def test_the_farthest_come_first_and_equals_by_name_and_with_a_palette_each_only_the_error_counts() -> None:
    images = [facts("d", (50, 50), 100.0), facts("a", (50, 50), 100.0), facts("far", (100, 0), 100.0)]
    assert [image.facts.key for image in rank(images, 2)] == ["far", "a", "d"]
    each = rank([facts("a", (80, 20), 100.0), facts("b", (100,), 0.0)], None)
    assert [(image.facts.key, image.distance) for image in each] == [("b", None), ("a", None)]
    (image,) = rank([facts("a", (100, 0), 0.0)], 2)  # without any error there is no ratio
    assert (image.ratio, image.farness) == (None, 0.0)


def test_half_of_what_is_shown_are_outliers_and_the_rest_is_even() -> None:
    ranked = rank([facts(f"i{n:03d}", (n, 100 - n), 100.0 * (n + 1)) for n in range(100)], 2)
    chosen = choose(ranked, 10)
    assert chosen[:5] == ranked[:5]
    assert [ranked.index(image) for image in chosen[5:]] == [14, 33, 52, 71, 90]
    assert choose(ranked, 0) == []
    assert choose(ranked, 100) == ranked
    assert [len(choose(ranked, limit)) for limit in range(1, 101)] == list(range(1, 101))
    assert most_typical(ranked, 2) == [ranked[-1], ranked[-2]]


def test_an_outlier_is_beyond_tukeys_fence() -> None:
    ranked = rank([facts(f"i{n}", (50 + n % 3, 50 - n % 3), 100.0) for n in range(20)], 2)
    far = [image.farness for image in ranked]
    first, third = np.percentile(far, [25, 75])
    assert outlier_fence(ranked) == pytest.approx(third + 1.5 * (third - first))
    assert outlier_fence(ranked[:5]) == math.inf


def test_images_are_named_below_the_folder_they_share() -> None:
    below, images = named_below([facts("a/x", (1,), 0.0), facts("a/b/y", (1,), 0.0)])
    assert below == "/data/a/"
    assert [image.name for image in images] == ["x", "b/y"]
    alone = ImageFacts("k", "x.png", (1, 1), (1,), 0, 0.0, COLORS[:1], None)
    assert (named_below([alone])[0], named_below([alone])[1][0].name) == ("", "x.png")


def test_rows_of_clusters_are_sums_over_the_images() -> None:
    sample = PixelSample(np.empty((0, 3), np.uint8), np.empty(0, np.int64), np.array([4, 0]), np.array([36.0, 0.0]))
    images = [facts("a", (30, 10), 1.0, 2.0), facts("b", (30, 0), 1.0), facts("c", (0, 0), 0.0, 8.0)]
    first, second = cluster_rows(images, COLORS, sample)
    assert (first.pixels, first.images, first.area, first.spread) == (60, 2, 60.0, 3.0)
    assert (second.pixels, second.images, second.area, second.spread) == (10, 1, 20.0, None)
    assert first.share == pytest.approx(6 / 7)


# ------------------------------------------------------------------------------------------------------- sweeps


def record(*ks: int, chosen: int = 3, features: str = "rgb") -> dict[str, object]:
    rows = [
        {
            "k": k, "k_found": k, "inertia": 1000.0 / k, "mse": 10.0 / k, "silhouette": None if k == 1 else 0.5,
            "calinski_harabasz": None, "centroids": [[float(j)] * 3 for j in range(k)],
            "colors": [[j, j, j] for j in range(k)],
        }
        for k in ks
    ]  # fmt: skip
    return {"k": chosen, "knee": chosen, "why": "the knee", "features": features, "sweep": rows, "each": None}


def test_the_rows_of_a_sweep_are_told_by_rising_k() -> None:
    rows = require_record(record(4, 1, 3))["sweep"]
    assert [row["k"] for row in rows] == [1, 3, 4]
    assert (rows[0]["silhouette"], rows[1]["mse"]) == (None, 10.0 / 3)
    assert require_record({"k": None, "knee": None, "sweep": None, "each": []})["sweep"] is None


def test_a_models_own_sweep_is_in_its_facts() -> None:
    found = sweep_in({"sweep": record(1, 2, 3)["sweep"], "knee": 3, "k_why": "because"}, 3)
    assert found is not None
    assert (found["k"], found["why"], len(found["sweep"])) == (3, "because", 3)
    assert sweep_in({"seed": 1}, 3) is None


@pytest.mark.parametrize(
    ("ks", "painted"),
    [
        (range(1, 11), [3, 5, 7]),
        ((1, 2, 3, 4), [2, 3, 4]),
        ((1,), [1]),
        ((10, 20, 30, 40, 50, 60), [10, 20, 40, 60]),
        ((3, 5), [3, 5]),
    ],
)
def test_one_picture_is_painted_with_some_k(ks: list[int], painted: list[int]) -> None:
    assert ks_to_paint(list(ks)) == painted


def test_a_sweeps_folder_is_read_and_one_of_other_features_paints_nothing(tmp_path: Path) -> None:
    (tmp_path / "sweep.json").write_text(json.dumps(record(1, 2, 3)))
    models = models_of(read_sweep(str(tmp_path)), None)
    assert {k: model.k for k, model in models.items()} == {1: 1, 2: 2, 3: 3}
    assert models[2].centroids.tolist() == [[0.0] * 3, [1.0] * 3]
    assert models_of(record(1, 2, features="bands"), None) == {}


@pytest.mark.parametrize("content", [None, "[]", "{", '{"k": 1}', '{"k": 1, "knee": 1, "each": null, "sweep": [{}]}'])
def test_what_is_no_sweep_is_refused(content: str | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "sweep.json").write_text(content)
    with pytest.raises(KsegError, match=r"sweep\.json: "):
        read_sweep(str(tmp_path))


def test_the_history_is_told_by_attempt() -> None:
    attempts = [{"attempt": 0, "batch": [3, 2.5], "steps": []}, {"attempt": 1, "batch": [4], "steps": [9.0, 8.0]}]
    assert history_of({"history": attempts}) == ([[3.0, 2.5], [4.0]], [[], [9.0, 8.0]])
    assert history_of({}) is None
    assert history_of({"history": [{"attempt": 0, "batch": [], "steps": []}]}) is None


# ------------------------------------------------------------------------------------------------------ the folder


@pytest.mark.parametrize(
    ("store", "folder"),
    [("a/b.kseg.zarr", "b.report"), ("b.zarr/", "b.report"), ("plain", "plain.report"), (".zarr", ".zarr.report")],
)
def test_the_folder_is_named_after_the_store(store: str, folder: str) -> None:
    assert default_folder(store) == folder


def ours(*names: str) -> dict[str, bytes]:
    return {PAGE: f"<html>{GENERATOR}".encode(), **{name: name.encode() for name in names}}


def test_a_report_replaces_an_earlier_one_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "r"
    write_report(str(folder), ours("palette.png", "elbow.png"))
    (folder / "notes.txt").write_text("mine")
    assert is_report(str(folder))
    require_place(str(folder), str(tmp_path / "s.zarr"), overwrite=False)
    write_report(str(folder), ours("palette.png"))
    assert sorted(path.name for path in folder.iterdir()) == ["notes.txt", "palette.png", "report.html"]
    with pytest.raises(KsegError, match="cannot be written"):
        write_report(str(folder / "notes.txt" / "r"), ours())
    assert [path.name for path in tmp_path.iterdir()] == ["r"]  # nothing is left aside


def test_a_folder_of_other_things_is_refused_unless_asked_for_and_the_store_always(tmp_path: Path) -> None:
    folder, store = tmp_path / "photos", tmp_path / "s.zarr"
    folder.mkdir()
    store.mkdir()
    (tmp_path / "link").symlink_to(store)
    require_place(str(folder), str(store), overwrite=False)  # an empty one will do
    (folder / "report.html").write_text("<html>somebody else's")
    with pytest.raises(KsegError, match="holds other things"):
        require_place(str(folder), str(store), overwrite=False)
    require_place(str(folder), str(store), overwrite=True)
    with pytest.raises(KsegError, match="is a file"):
        require_place(str(folder / "report.html"), str(store), overwrite=True)
    for inside in ("s.zarr", "s.zarr/images/x", "link/report"):
        with pytest.raises(UsageError, match="lies in the store"):
            require_place(str(tmp_path / inside), str(store), overwrite=True)
    with pytest.raises(UsageError, match="is empty"):
        require_place(" ", str(store), overwrite=False)
