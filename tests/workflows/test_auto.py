"""``--features auto``: 8-bit pictures are colours, what is deeper or has other bands is bands; the rest is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from numpy.typing import NDArray
from PIL import Image
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from kseg_core import open_store
from kseg_core.config import FitSettings, RunConfig
from kseg_core.errors import OtherKind, StoreError, UnreadableImage, UsageError
from tests.asking import IMAGE_DOCUMENT, asked, failed, labels_of, stopped_at
from tests.tiffs import save_tiff
from workflows import run as jobs
from workflows.request import Request
from workflows.segmentation import segment

Kseg = Callable[..., Any]


def populations(height: int = 60, width: int = 80, k: int = 3, seed: int = 0) -> NDArray[np.int64]:
    """Which of ``k`` populations each pixel is of."""
    return np.random.default_rng(seed).integers(0, k, (height, width))


def samples(levels: list[float], dtype: str, bands: int = 1, seed: int = 0) -> NDArray[Any]:
    """Samples (y, x, bands) of populations around some levels, three apart from each at most."""
    which = populations(k=len(levels), seed=seed)
    noise = np.random.default_rng(seed + 1).integers(0, 4, (*which.shape, bands))
    return (np.array(levels)[which][..., None] * np.arange(1, bands + 1) + noise).astype(dtype)


def photograph(path: Path, mode: str = "RGB", seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (20, 30, 4), np.uint8)
    pixels[..., 3] |= 1
    Image.fromarray(pixels, "RGBA").convert(mode).save(path)
    return path


def judged(data: NDArray[Any], k: int) -> tuple[NDArray[Any], float]:
    """Labels and mean squared error by scikit-learn on the samples as float64."""
    points = data.reshape(-1, data.shape[-1]).astype(np.float64)
    labels = KMeans(k, n_init=10, random_state=0).fit(points).labels_
    spread = [((points[labels == j] - points[labels == j].mean(axis=0)) ** 2).sum() for j in range(k)]
    return labels, sum(spread) / len(points)  # its own sums lose digits where levels are far from zero


# ------------------------------------------------------------------------------------------------ what is chosen


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "CMYK"])
def test_8_bit_pictures_are_colours_bit_for_bit_as_if_asked_for(mode: str, tmp_path: Path, job: Any) -> None:
    source = photograph(tmp_path / f"a.{'tif' if mode == 'CMYK' else 'png'}", mode)
    found = job(source, tmp_path / "auto.zarr", k=2).to_json()
    asked = job(source, tmp_path / "rgb.zarr", k=2, features="rgb").to_json()
    assert (found["features"], found["features_why"]) == ("rgb", "8-bit")
    assert (asked["features"], asked["features_why"]) == ("rgb", None)
    assert [found[name] for name in ("centroids", "colors", "counts")] == [
        asked[name] for name in ("centroids", "colors", "counts")
    ]
    np.testing.assert_array_equal(labels_of(tmp_path / "auto.zarr"), labels_of(tmp_path / "rgb.zarr"))


@pytest.mark.parametrize(
    ("levels", "dtype", "bands"),
    [
        ([80, 160, 250], "uint16", 1),  # all of them are black or nearly so in 8 bits
        ([300, 900, 2400], "uint16", 4),  # a scene of a satellite
        ([-900, 20, 400], "int16", 2),
        ([-100, 0, 100], "int8", 1),
        ([10, 60, 110], "uint8", 2),
        ([5, 25, 45], "uint8", 5),
        ([0, 40, 90], "float16", 3),
        ([-1e6, 0, 1e6], "float32", 1),
        ([-(2**40), 7, 2**40], "int64", 1),
        ([3, 2**33, 2**41], "uint64", 2),
    ],
)
def test_what_is_deeper_or_has_other_bands_is_bands(
    levels: list[float], dtype: str, bands: int, tmp_path: Path, job: Any
) -> None:
    data = samples(levels, dtype, bands)
    told = job(save_tiff(tmp_path / "a.tif", data), tmp_path / "out.zarr", k=3).to_json()
    why = dtype if bands == 1 else f"{bands} of {dtype}"
    assert (told["features"], told["features_why"]) == ("bands", why)
    judge, mse = judged(data, 3)
    assert adjusted_rand_score(judge, labels_of(tmp_path / "out.zarr", "a.tif").ravel()) == 1
    assert told["mse"] == pytest.approx(mse, rel=1e-6)
    model = open_store(str(tmp_path / "out.zarr")).model
    assert (model.features, model.features_why) == ("bands", why)


def test_a_zarr_array_is_of_the_kind_of_its_samples(tmp_path: Path, job: Any) -> None:
    data = samples([-70, 0, 90], "int8", 2)
    array = zarr.create_array(str(tmp_path / "a.zarr"), shape=data.shape, dtype=data.dtype, chunks=(32, 32, 2))
    array[...] = data
    told = job(tmp_path / "a.zarr", tmp_path / "out.zarr", k=3).to_json()
    assert told["features_why"] == "2 of int8"
    assert told["mse"] == pytest.approx(judged(data, 3)[1], rel=1e-6)


@pytest.mark.parametrize(
    ("dtype", "nodata"),
    [("int64", 2**63 - 1), ("int64", -(2**63)), ("uint64", 2**64 - 1), ("int8", -128), ("uint32", 2**32 - 1)],
)
def test_the_nodata_of_64_bit_integers_is_compared_to_the_last_digit(
    dtype: str, nodata: int, tmp_path: Path, job: Any
) -> None:
    data = samples([3, 50, 99], dtype)
    data[:10] = nodata
    source = save_tiff(tmp_path / "a.tif", data, extratags=[(42113, "s", 0, str(nodata), True)])
    told = job(source, tmp_path / "out.zarr", k=3).to_json()
    assert told["pixels"] == {"total": 4800, "valid": 4000}
    assert told["mse"] == pytest.approx(judged(data[10:], 3)[1], rel=1e-6)


def test_the_copy_of_a_new_dtype_is_what_was_read_and_the_store_is_right(tmp_path: Path, kseg: Kseg) -> None:
    for dtype in ("int8", "float16", "int64", "uint64"):
        data = samples([3, 50, 99], dtype)
        save_tiff(tmp_path / f"{dtype}.tif", data)
        out = tmp_path / f"{dtype}.zarr"
        assert kseg("run", tmp_path / f"{dtype}.tif", "--k", 3, "--copy-image", "--confidence", "-o", out).code == 0
        copy = zarr.open_array(str(out / "images" / f"{dtype}.tif" / "0"), mode="r")
        assert copy.dtype == dtype
        np.testing.assert_array_equal(copy[...], data.transpose(2, 0, 1))
        assert kseg("check", out).code == 0
        exported = kseg("export", out, "--to", tmp_path / f"{dtype}-files", "--what", "segmented,cutout,labels")
        assert exported.code == 0, exported.err


def test_the_line_says_which_features_and_why(tmp_path: Path, kseg: Kseg) -> None:
    save_tiff(tmp_path / "deep.tif", samples([80, 160, 250], "uint16"))
    photograph(tmp_path / "a.png")
    for name, line in (("deep.tif", "k 3, bands (uint16), mse "), ("a.png", "k 3, rgb (8-bit), mse ")):
        out = tmp_path / f"{name}.zarr"
        told = kseg("run", tmp_path / name, "--k", "3", "-o", out)
        assert told.out.splitlines()[1].startswith(line)
        assert line in kseg("inspect", out).out
        assert f"fit    {line[5:-6]}" in kseg("run", tmp_path / name, "--k", "3", "--dry-run", "-o", tmp_path / "x").out
    assert "bands (uint16)" in kseg("sweep", tmp_path / "deep.tif", "--k-range", "1:2", "-o", tmp_path / "s").out
    asked = kseg("run", tmp_path / "deep.tif", "--k", "3", "--features", "bands", "-o", tmp_path / "asked.zarr")
    assert "k 3, bands, mse " in asked.out


# ---------------------------------------------------------------------------------------------- several kinds


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Three photographs, two rasters of one kind, one of another, and one that is damaged."""
    folder = tmp_path / "in"
    for number in range(3):
        photograph(folder / f"p{number}.png", seed=number)
    for number in range(2):
        save_tiff(folder / f"scene {number}.tif", samples([300, 900, 2400], "uint16", 4, seed=number))
    save_tiff(folder / "height.tif", samples([-1, 20, 90], "float32"))
    (folder / "broken.png").write_bytes((folder / "p0.png").read_bytes()[:99])
    return folder


def test_most_images_decide_and_the_others_are_named_apart_from_the_damaged(
    mixed: Path, tmp_path: Path, kseg: Kseg
) -> None:
    outcome = kseg("run", mixed, "--k", "2", "-o", tmp_path / "out.zarr", "--json")
    told = outcome.json()
    assert (outcome.code, told["status"], told["features"]) == (3, "partial", "rgb")
    assert sorted(open_store(str(tmp_path / "out.zarr"))) == ["p0.png", "p1.png", "p2.png"]
    kinds = {Path(failure["source"]).name: failure.get("kind") for failure in told["failures"]}
    assert kinds == {
        "broken.png": None, "height.tif": "float32", "scene 0.tif": "uint16x4", "scene 1.tif": "uint16x4",
    }  # fmt: skip
    assert [(left["kind"], left["images"]) for left in told["left_out"]] == [("float32", 1), ("uint16x4", 2)]
    again = kseg("run", mixed, "--k", "2", "-o", tmp_path / "out.zarr")
    assert "1 of the inputs could not be read:" in again.out
    assert "3 images of another kind were left out:" in again.out


def test_the_command_for_each_kind_labels_it_and_nothing_else(
    mixed: Path, tmp_path: Path, kseg: Kseg, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shlex

    monkeypatch.chdir(tmp_path)
    (mixed / "broken.png").unlink()
    told = kseg("run", "in", "--k", "2", "--seed", "7", "--no-masks", "--json").json()
    expected = {"float32": ["height.tif"], "uint16x4": ["scene 0.tif", "scene 1.tif"]}
    for left in told["left_out"]:
        words = shlex.split(left["command"])
        assert words[0] == "kseg-batch"
        assert "--no-masks" in words
        done = kseg(*words[1:])
        assert done.code == 0, done.err
        output = words[words.index("-o") + 1]
        sources = [Path(image.attributes["source"]).name for image in open_store(output).values()]
        assert sorted(sources) == expected[left["kind"]]
        result = done.json()
        assert (result["features"], result["failures"], result["images"]["total"]) == ("bands", [], len(sources))
        assert json.loads((Path(output) / "zarr.json").read_text())["attributes"]["kseg"]["config"]["fit"]["seed"] == 7


def test_as_many_of_each_are_taken_as_pictures_and_among_rasters_the_first(tmp_path: Path, job: Any) -> None:
    photograph(tmp_path / "in" / "z.png")
    save_tiff(tmp_path / "in" / "b.tif", samples([1, 99], "uint16"))
    assert job(tmp_path / "in", tmp_path / "a.zarr", k=2).features == "rgb"
    (tmp_path / "in" / "z.png").unlink()
    save_tiff(tmp_path / "in" / "c.tif", samples([1, 99], "float32"))
    assert job(tmp_path / "in", tmp_path / "b.zarr", k=2).features_why == "uint16"


def test_the_flag_decides_where_it_is_given(mixed: Path, tmp_path: Path, job: Any) -> None:
    (mixed / "broken.png").unlink()
    found = job(mixed, tmp_path / "out.zarr", k=2, features="rgb")
    assert set(failed(found)) == {"height.tif"}
    assert not any(isinstance(failure, OtherKind) for failure in found.failures)  # no colours at all
    found = job(mixed, tmp_path / "bands.zarr", k=2, features="bands")
    assert sorted(failed(found)) == ["height.tif", "scene 0.tif", "scene 1.tif"]


def test_strict_stops_at_an_image_of_another_kind(mixed: Path, tmp_path: Path, job: Any) -> None:
    (mixed / "broken.png").unlink()
    with pytest.raises(
        UnreadableImage, match=r"height\.tif: float32, not 8-bit pictures as 3 of 6 images are: left out"
    ):
        job(mixed, tmp_path / "out.zarr", k=2, strict=True)


def test_a_kind_that_no_image_is_of_is_wrong_usage_that_says_which_there_are(
    mixed: Path, tmp_path: Path, job: Any
) -> None:
    with pytest.raises(UsageError, match=r"no image is of --kind int8; there are .*uint16x4 \(2\)"):
        job(mixed, tmp_path / "out.zarr", k=2, kind="int8")


@pytest.mark.parametrize("features", ["rgb", "lab"])
def test_a_kind_may_be_taken_as_other_features(features: str, mixed: Path, tmp_path: Path, job: Any) -> None:
    found = job(mixed, tmp_path / "out.zarr", k=2, kind="uint16x4", features=features)
    assert (found.features, found.images.total, found.images.labelled) == (features, 2, 2)


# ------------------------------------------------------------------------------------ what goes with which features


@pytest.mark.parametrize(
    ("settings", "way_out"),
    [
        ({"scope": "image"}, "leave out --scope image, or give --features rgb"),
        ({"edges": (50.0, 100.0)}, "leave out --edges; .* or give --features rgb"),
    ],
)
def test_what_is_of_colours_alone_is_refused_for_bands_with_what_to_do(
    settings: dict[str, Any], way_out: str, tmp_path: Path, job: Any
) -> None:
    source = save_tiff(tmp_path / "a.tif", samples([80, 160, 250], "uint16"))
    with pytest.raises(UsageError, match=rf"most images are of bands \(uint16\).*{way_out}"):
        job(source, tmp_path / "out.zarr", 2, **settings)
    assert not (tmp_path / "out.zarr").exists()


def test_start_colours_bring_16_bits_to_8(tmp_path: Path, job: Any) -> None:
    source = save_tiff(tmp_path / "a.tif", samples([0, 65000], "uint16"))
    told = job(source, tmp_path / "out.zarr", k=2, start=("#000000", "#ffffff"))
    assert (told.features, told.features_why) == ("rgb", None)


def test_match_takes_the_features_and_bands_of_its_model(tmp_path: Path, job: Any) -> None:
    source = save_tiff(tmp_path / "a.tif", samples([80, 160, 250], "uint16", 3))
    job(source, tmp_path / "bands.zarr", k=3, bands=(3, 1))
    found = job(source, tmp_path / "next.zarr", k=3, match=tmp_path / "bands.zarr")
    assert found.features == "bands"
    assert open_store(str(tmp_path / "next.zarr")).model.bands.bands == (3, 1)
    photo = photograph(tmp_path / "a.png")
    job(photo, tmp_path / "lab.zarr", k=3, features="lab")
    assert job(photo, tmp_path / "lab2.zarr", k=3, match=tmp_path / "lab.zarr").features == "lab"


def test_16_bits_labelled_with_a_model_of_colours_are_said_to_be_brought_to_8(tmp_path: Path, kseg: Kseg) -> None:
    photograph(tmp_path / "a.png")
    deep = save_tiff(tmp_path / "deep.tif", samples([0, 65000], "uint16"))
    kseg("fit", tmp_path / "a.png", "--k", "2", "-o", tmp_path / "m.zarr")
    told = kseg("apply", deep, "--model", tmp_path / "m.zarr", "-o", tmp_path / "out.zarr", "--json")
    assert [note["note"] for note in told.json()["notes"]] == ["uint16 brought to 8 bits, as the model is of colours"]
    assert "deep.tif: uint16 brought to 8 bits" in told.err


@pytest.mark.parametrize(
    ("extra", "features", "note"),
    [
        ("unspecified", "auto", "band 4 is left out of the colours; --features bands takes all 4"),
        ("unassalpha", "auto", "band 4 is alpha, by the file's own word: pixels where it is 0 do not count"),
        (
            "unassalpha",
            "bands",
            "band 4 is alpha and no band to cluster: pixels where it is 0 do not count; --bands 1,2,3,4 takes it too",
        ),
        ("unspecified", "bands", None),
    ],
)
def test_a_fourth_band_that_is_not_clustered_is_said_once(
    extra: str, features: str, note: str | None, tmp_path: Path, kseg: Kseg
) -> None:
    source = tmp_path / "a.tif"
    pixels = samples([10, 30, 60], "uint8", 4)
    save_tiff(source, pixels, photometric="rgb", extrasamples=[extra], rowsperstrip=8)
    options = [source, "--k", "3", "--features", features, "-o", tmp_path / "out.zarr"]
    told = kseg("run", *options, "--json")
    assert [each["note"] for each in told.json()["notes"]] == ([] if note is None else [note])
    assert told.err.count("\n") == (note is not None)
    assert kseg("inspect", tmp_path / "out.zarr", "--json").json()["images"][0].get("notes", []) == (
        [] if note is None else [note]
    )


# ------------------------------------------------------------------------------------------ going on, growing


def of(source: Path, output: Path, features: str = "auto") -> Request:
    return asked(source, output, 2, features=features, attempts=2)


def test_a_store_of_colours_asked_for_is_the_same_job_where_auto_is_colours(tmp_path: Path, job: Any) -> None:
    folder = tmp_path / "in"
    photograph(folder / "a.png")
    for first, then in (("rgb", "auto"), ("auto", "rgb")):
        output = tmp_path / f"{first}.zarr"
        jobs.run(of(folder, output, first))
        assert of(folder, output, then).finished is not None
        assert of(folder, output, first).finished is not None


def test_a_store_of_features_that_auto_would_not_choose_is_refused_with_the_reason(tmp_path: Path) -> None:
    deep = save_tiff(tmp_path / "a.tif", samples([0, 65000], "uint16"))
    jobs.run(of(deep, tmp_path / "rgb.zarr", "rgb"))
    with pytest.raises(StoreError, match="features rgb → bands; auto features are of most images: uint16"):
        of(deep, tmp_path / "rgb.zarr")
    photo = photograph(tmp_path / "a.png")
    jobs.run(of(photo, tmp_path / "lab.zarr", "lab"))
    with pytest.raises(StoreError, match="features lab → auto"):
        of(photo, tmp_path / "lab.zarr")


def test_a_store_that_left_images_out_is_not_that_of_all_of_them(mixed: Path, tmp_path: Path) -> None:
    jobs.run(of(mixed, tmp_path / "auto.zarr"))
    with pytest.raises(StoreError, match="--features auto left out 3 images of another kind"):
        of(mixed, tmp_path / "auto.zarr", "rgb")
    jobs.run(of(mixed, tmp_path / "rgb.zarr", "rgb"))
    with pytest.raises(StoreError, match="--features auto leaves out 3 images of another kind"):
        of(mixed, tmp_path / "rgb.zarr")


@pytest.mark.parametrize(("file", "times"), [(r"\.partial/centroids/", 1), (IMAGE_DOCUMENT, 3)])
def test_a_stopped_job_goes_on_with_the_features_it_had_chosen(
    file: str, times: int, mixed: Path, tmp_path: Path, contents: Any
) -> None:
    jobs.run(of(mixed, tmp_path / "whole.zarr"))
    with stopped_at(file, times):
        jobs.run(of(mixed, tmp_path / "stopped.zarr"))
    result = jobs.run(of(mixed, tmp_path / "stopped.zarr"))  # one photograph is left, and three rasters
    assert (result.features, result.images.failed) == ("rgb", 4)
    assert contents(tmp_path / "stopped.zarr") == contents(tmp_path / "whole.zarr")


def test_a_store_of_an_earlier_release_goes_on_as_one_of_colours(tmp_path: Path) -> None:
    photo = photograph(tmp_path / "a.png")
    jobs.run(of(photo, tmp_path / "out.zarr", "rgb"))
    document = tmp_path / "out.zarr" / "zarr.json"
    told = json.loads(document.read_text())
    del told["attributes"]["kseg"]["config"]["fit"]["kind"]  # which nobody knew
    document.write_text(json.dumps(told))
    assert of(photo, tmp_path / "out.zarr").finished is not None


# -------------------------------------------------------------------------------------------------- from Python


def test_paths_and_arrays_are_taken_for_what_they_are(tmp_path: Path) -> None:
    data = samples([80, 160, 250], "uint16", 2)
    from_file = segment(save_tiff(tmp_path / "a.tif", data), RunConfig(FitSettings(3)))
    from_array = segment(data, RunConfig(FitSettings(3)))
    for found, key in ((from_file, "a.tif"), (from_array, "image")):
        assert (found.model.features, found.model.features_why) == ("bands", "2 of uint16")
        np.testing.assert_array_equal(found.labels[key].compute().ravel() == 0, judged(data, 3)[0] == _lowest(data))
    np.testing.assert_array_equal(from_file.model.centroids, from_array.model.centroids)


def _lowest(data: NDArray[Any]) -> int:
    """The judge's number of the cluster of the least value."""
    labels, _ = judged(data, 3)
    return int(labels[data.reshape(-1, data.shape[-1]).sum(axis=1).argmin()])
