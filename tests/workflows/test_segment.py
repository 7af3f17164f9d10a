"""``workflows.segment``: paths or arrays in, a model and lazy labels out, the same as those of a run."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kseg_core import Model, open_store
from kseg_core.choice import PictureChoice
from kseg_core.config import ExecutionSettings, FitSettings, InputSettings, OutputSettings, RunConfig
from kseg_core.errors import KsegError, KsegWarning, StoreError, UnreadableImage, UsageError
from workflows import Segmentation, segment

FIT: dict[str, Any] = {"k": 4, "attempts": 2, "batch_pixels": 1000}


def config(scheduler: str = "sync", **fit: Any) -> RunConfig:
    return RunConfig(FitSettings(**{**FIT, **fit}), execution=ExecutionSettings(scheduler))


Expected = tuple[Model, Any]


def result_of(store: Path) -> Expected:
    """The model of a store, and the labels of its one image."""
    opened = open_store(str(store))
    (image,) = opened.values()
    return opened.model, np.asarray(image.labels)


def assert_same(found: Segmentation, key: str, expected: Expected) -> None:
    model, labels = expected
    np.testing.assert_array_equal(found.model.centroids, model.centroids)
    assert (found.model.digest, found.model.inertia) == (model.digest, model.inertia)
    np.testing.assert_array_equal(found.model.counts, model.counts)
    lazy = found.labels[key]
    assert isinstance(lazy, da.Array)
    assert (lazy.shape, lazy.dtype) == (labels.shape, labels.dtype)
    computed = lazy.compute(scheduler="sync")
    assert computed.dtype == labels.dtype
    np.testing.assert_array_equal(computed, labels)


@pytest.fixture(scope="module")
def pictures(smooth: Any) -> dict[str, Any]:
    """One picture in each form an array may have."""
    color = smooth(60, 83, 5)
    alpha = np.full((60, 83, 1), 255, np.uint8)
    alpha[10:30, 20:50] = 0
    alpha[40:, :9] = 3
    return {"gray": color[..., 0], "rgb": color, "rgba": np.concatenate([color, alpha], axis=2)}


@pytest.fixture(scope="module")
def expected_of_runs(
    pictures: dict[str, Any], tmp_path_factory: pytest.TempPathFactory, job: Any, png: Any
) -> dict[tuple[str, str], Expected]:
    """What runs find on the pictures as PNG files, by form and features."""
    folder, found = tmp_path_factory.mktemp("runs"), {}
    for form, features in CASES:
        source = png(folder / f"{form}.png", pictures[form])
        job(source, folder / f"{form}-{features}.zarr", **FIT, features=features)
        found[form, features] = result_of(folder / f"{form}-{features}.zarr")
    return found


CASES = [("gray", "rgb"), ("rgb", "rgb"), ("rgba", "rgb"), ("gray", "lab"), ("rgba", "lab")]


@pytest.mark.parametrize(("form", "features"), CASES)
def test_a_numpy_array_gives_what_a_run_gives_on_its_picture(
    form: str, features: str, pictures: dict[str, Any], expected_of_runs: dict[tuple[str, str], Expected]
) -> None:
    found = segment(pictures[form], config(features=features))
    assert list(found.labels) == ["image"]
    assert found.failures == ()
    assert_same(found, "image", expected_of_runs[form, features])


@pytest.mark.parametrize("form", ["gray", "rgb", "rgba"])
def test_masked_values_make_pixels_invalid(
    form: str, pictures: dict[str, Any], tmp_path: Path, job: Any, png: Any
) -> None:
    """As a run has it with the mask as a file; a pixel counts where none of its values is masked."""
    picture = pictures[form]
    mask = np.zeros(picture.shape, bool)
    mask[5:25, 10:40] = True
    if picture.ndim == 3:
        mask[30:50, 60:70, 1] = True  # one value is enough
    deep = mask if mask.ndim == 2 else mask.any(axis=2)
    file = png(tmp_path / "mask.png", np.where(deep, 0, 255).astype(np.uint8))
    job(png(tmp_path / "in.png", picture), tmp_path / "expected.zarr", **FIT, mask=file)
    expected = result_of(tmp_path / "expected.zarr")
    assert (expected[1][deep] == 255).all()
    masked = np.ma.MaskedArray(picture, mask)
    assert_same(segment(masked, config()), "image", expected)
    lazy = da.from_array(picture, chunks=(17, 31, *picture.shape[2:]))
    lazy = da.ma.masked_array(lazy, da.from_array(mask, chunks=lazy.chunks))
    found = segment(lazy, config())
    assert_same(found, "image", expected)
    np.testing.assert_array_equal(found.model.predict(masked), expected[1])


def test_a_mask_of_nothing_and_an_axis_of_one_channel_change_nothing(pictures: dict[str, Any]) -> None:
    for plain, same in (
        (pictures["rgb"], np.ma.MaskedArray(pictures["rgb"])),
        (pictures["gray"], pictures["gray"][..., None]),
    ):
        once = segment(plain, config())
        assert_same(segment(same, config()), "image", (once.model, once.labels["image"].compute()))


@pytest.mark.parametrize("kind", ["numpy", "dask"])
def test_masked_values_and_nan_make_pixels_of_bands_invalid(kind: str) -> None:
    """The band selected decides; what is masked or NaN may hold any value."""
    rng = np.random.default_rng(3)
    image = rng.choice([10.0, 20.0, 30.0], (40, 50, 2)).astype(np.float32)
    mask = np.zeros(image.shape, bool)
    mask[:10, :, 1] = True
    mask[30:, :, 0] = True  # of the other band
    image[:10, :, 1], image[20, :, 1] = 1e30, np.nan
    masked: Any = np.ma.MaskedArray(image, mask)
    if kind == "dask":
        lazy = da.from_array(image, chunks=(13, 20, 2))
        masked = da.ma.masked_array(lazy, da.from_array(mask, chunks=lazy.chunks))
    found = segment(masked, config(k=3, features="bands", bands=(2,)))
    assert found.model.centroids[:, 0].tolist() == [10, 20, 30]
    labels = found.labels["image"].compute(scheduler="sync")
    expected = np.zeros((40, 50), bool)
    expected[:10], expected[20] = True, True
    np.testing.assert_array_equal(labels == 255, expected)


@pytest.mark.parametrize("nodata_in", [None, "any"])
@pytest.mark.parametrize("form", ["gray", "rgb", "rgba"])
def test_values_of_nodata_make_pixels_invalid_as_of_a_file(
    form: str, nodata_in: Any, pictures: dict[str, Any], tmp_path: Path, png: Any
) -> None:
    picture = pictures[form].copy()
    colours = picture[..., None] if picture.ndim == 2 else picture[..., :3]
    colours[5:25, 10:40], colours[30:33, :, 0], colours[50] = 7, 7, 9
    is_nodata = np.isin(colours, (7, 9))
    counts = ~(is_nodata.any(axis=2) if nodata_in == "any" else is_nodata.all(axis=2))
    if form == "rgba":
        counts &= picture[..., 3] > 0
    png(tmp_path / "in.png", picture)
    settings = dataclasses.replace(config(), input=InputSettings(nodata="7,9", nodata_in=nodata_in))
    segment(tmp_path / "in.png", settings, output=str(tmp_path / "expected.zarr"))
    expected = result_of(tmp_path / "expected.zarr")
    np.testing.assert_array_equal(expected[1] != 255, counts)
    for image in (picture, da.from_array(picture, chunks=(17, 31, *picture.shape[2:]))):
        assert_same(segment(image, settings), "image", expected)
    expected[0].save(str(tmp_path / "m.zarr"))
    labelling = dataclasses.replace(settings, fit=None, model=str(tmp_path / "m.zarr"))
    np.testing.assert_array_equal(segment(picture, labelling).labels["image"].compute(), expected[1])


@pytest.mark.parametrize("nodata_in", ["any", "all"])
@pytest.mark.parametrize("kind", ["numpy", "dask"])
def test_values_of_nodata_make_pixels_of_bands_invalid(kind: str, nodata_in: Any) -> None:
    rng = np.random.default_rng(3)
    data = rng.choice(np.array([-9999, 10, 20, 30], np.int16), (40, 50, 3))
    data[..., 1] = -9999  # of a band that is not selected
    chosen = data[..., [2, 0]] == -9999
    counts = ~(chosen.any(axis=2) if nodata_in == "any" else chosen.all(axis=2))
    image: Any = data if kind == "numpy" else da.from_array(data, chunks=(13, 20, 2))
    settings = config(k=3, features="bands", bands=(3, 1))
    found = segment(image, dataclasses.replace(settings, input=InputSettings(nodata="-9999", nodata_in=nodata_in)))
    np.testing.assert_array_equal(found.labels["image"].compute(scheduler="sync") != 255, counts)
    assert found.model.pixels == counts.sum()
    with pytest.warns(KsegWarning, match="of -9999"):
        assert (segment(image, settings).labels["image"].compute(scheduler="sync") != 255).all()


@pytest.mark.parametrize("name", ["mask", "choice", "kind"])
def test_settings_of_paths_are_refused_for_arrays(name: str, pictures: dict[str, Any], tmp_path: Path) -> None:
    given = {
        "mask": dataclasses.replace(config(), input=InputSettings(mask=str(tmp_path))),
        "choice": dataclasses.replace(config(), input=InputSettings(choice=PictureChoice(page=0))),
        "kind": config(kind="rgb"),
    }[name]
    for image in (pictures["rgb"], da.from_array(pictures["rgb"])):
        with pytest.raises(UsageError, match=f"^{name} is of paths"):
            segment(image, given)


def cuts(length: int) -> st.SearchStrategy[tuple[int, ...]]:
    """Every way to cut a length into chunks."""
    edges = st.sets(st.integers(1, length - 1), max_size=4)
    return edges.map(lambda at: tuple(np.diff([0, *sorted(at), length]).tolist()))


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(form=st.sampled_from(["gray", "rgb", "rgba"]), rows=cuts(60), columns=cuts(83), channels=st.booleans())
def test_a_dask_array_of_any_chunks_gives_what_a_run_gives_on_its_picture(
    form: str,
    rows: tuple[int, ...],
    columns: tuple[int, ...],
    channels: bool,
    pictures: dict[str, Any],
    expected_of_runs: dict[tuple[str, str], Expected],
) -> None:
    picture = pictures[form]
    depth = () if picture.ndim == 2 else (((1,) * picture.shape[2],) if channels else ((picture.shape[2],),))
    lazy = da.from_array(picture, chunks=(rows, columns, *depth))
    found = segment(lazy, config())
    assert found.labels["image"].chunks == (rows, columns)
    assert_same(found, "image", expected_of_runs[form, "rgb"])


@pytest.mark.parametrize("scheduler", ["threads", pytest.param("processes", marks=pytest.mark.slow)])
def test_the_scheduler_changes_nothing(
    scheduler: str, pictures: dict[str, Any], expected_of_runs: dict[tuple[str, str], Expected]
) -> None:
    lazy = da.from_array(pictures["rgba"], chunks=(17, 30, 4))
    setting = RunConfig(FitSettings(**FIT), execution=ExecutionSettings(scheduler, workers=2))
    assert_same(segment(lazy, setting), "image", expected_of_runs["rgba", "rgb"])


def test_files_and_globs_may_be_listed_and_nothing_is_written(
    small_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, every_file: Any
) -> None:
    monkeypatch.chdir(small_folder)
    before = every_file(small_folder)
    found = segment(["a.png", Path("b.png"), "c*.png"], config("threads"))
    assert list(found.labels) == ["a.png", "b.png", "c.png"]
    for lazy in found.labels.values():
        lazy.compute()
    assert every_file(small_folder) == before


@pytest.fixture(scope="module")
def run_over_folder(small_folder: Path, tmp_path_factory: pytest.TempPathFactory, job: Any) -> Path:
    """The store of a run. Not to be changed."""
    output = tmp_path_factory.mktemp("folder") / "out.zarr"
    job(small_folder, output, **FIT)
    return output


def assert_same_as_store(found: Segmentation, path: Path) -> None:
    store = open_store(str(path))
    assert list(found.labels) == list(store)
    for key in store:
        assert_same(found, key, (store.model, np.asarray(store[key].labels)))


@pytest.mark.parametrize("kind", [str, Path])
def test_a_folder_gives_what_a_run_gives_on_it(kind: Any, small_folder: Path, run_over_folder: Path) -> None:
    assert_same_as_store(segment(kind(small_folder), config()), run_over_folder)


def test_an_output_is_the_store_of_a_run_and_is_reused(
    small_folder: Path, run_over_folder: Path, tmp_path: Path, contents: Any, every_file: Any
) -> None:
    output = tmp_path / "out.zarr"
    found = segment(small_folder, config(), output=str(output))
    assert contents(output) == contents(run_over_folder)
    assert_same_as_store(found, output)
    before = every_file(output)
    again = segment(small_folder, config(), output=str(output))
    assert every_file(output) == before
    assert again.model.digest == found.model.digest
    with pytest.raises(StoreError, match="k 4 → 5"):
        segment(small_folder, config(k=5), output=str(output))


def test_an_earlier_model_labels_arrays_and_files(
    small_folder: Path, pictures: dict[str, Any], expected_of_runs: Any, tmp_path: Path, job: Any
) -> None:
    model = expected_of_runs["rgb", "rgb"][0]
    model.save(str(tmp_path / "model.zarr"))
    given = RunConfig(None, execution=ExecutionSettings("sync"), model=str(tmp_path / "model.zarr"))
    array = segment(pictures["rgba"], given)
    np.testing.assert_array_equal(array.labels["image"], model.predict(pictures["rgba"]))
    job(small_folder, tmp_path / "out.zarr", model=tmp_path / "model.zarr")
    assert_same_as_store(segment(small_folder, given), tmp_path / "out.zarr")


def test_match_numbers_the_clusters_of_arrays_and_files_as_an_earlier_model(
    small_folder: Path, pictures: dict[str, Any], tmp_path: Path
) -> None:
    for images in (pictures["rgb"], small_folder):
        plain = segment(images, config())
        model = plain.model
        order = [2, 0, 3, 1]
        earlier = tmp_path / "earlier.zarr"
        Model("rgb", model.centroids[order], model.colors[order], model.counts[order], 0.0).save(
            str(earlier), overwrite=True
        )
        matched = segment(
            images, RunConfig(FitSettings(**FIT), execution=ExecutionSettings("sync"), match=str(earlier))
        )
        np.testing.assert_array_equal(matched.model.centroids, model.centroids[order])
        key = next(iter(plain.labels))
        np.testing.assert_array_equal(np.array(order)[matched.labels[key]], plain.labels[key])


@pytest.mark.parametrize("images", ["rgb", "folder"])
def test_match_of_other_features_is_wrong_usage(
    images: str, small_folder: Path, pictures: dict[str, Any], tmp_path: Path
) -> None:
    Model("gray", np.zeros((1, 1)), np.zeros((1, 3), np.uint8), np.ones(1, np.int64), 0.0).save(str(tmp_path / "g"))
    given = small_folder if images == "folder" else pictures[images]
    setting = dataclasses.replace(config(features="rgb"), match=str(tmp_path / "g"))
    with pytest.raises(UsageError, match="add --features gray"):
        segment(given, setting)
    setting = dataclasses.replace(setting, fit=FitSettings(**FIT))  # auto: those of the model to match
    assert segment(given, setting).model.features == "gray"


def test_what_does_not_exist_is_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file or folder"):
        segment(tmp_path / "nowhere", config())
    with pytest.raises(UsageError, match="no such model"):
        segment(tmp_path, RunConfig(None, model=str(tmp_path / "nothing.zarr")), output=str(tmp_path / "out.zarr"))
    with pytest.raises(UsageError):
        segment([], config())


def test_output_settings_count_where_a_store_is_written(small_folder: Path, tmp_path: Path) -> None:
    setting = dataclasses.replace(config(), output=OutputSettings(masks=False, tile=64))
    segment(small_folder, setting, output=str(tmp_path / "out.zarr"))
    image = open_store(str(tmp_path / "out.zarr"))["a.png"]
    assert (image.masks, image.labels.chunks) == (None, (40, 50))


def test_files_that_cannot_be_read_are_told_and_the_others_are_labelled(small_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes((small_folder / "a.png").read_bytes())
    (tmp_path / "b.png").write_bytes((small_folder / "b.png").read_bytes()[:500])
    (tmp_path / "c.png").write_bytes(b"")
    found = segment(tmp_path, config())
    assert list(found.labels) == ["a.png"]
    assert [(Path(f.source).name, f.reason.partition(":")[0]) for f in found.failures] == [
        ("b.png", "truncated"),
        ("c.png", "empty file"),
    ]
    stored = segment(tmp_path, config(), output=str(tmp_path / "out.zarr"))
    reused = segment(tmp_path, config(), output=str(tmp_path / "out.zarr"))
    for other in (stored, reused):
        assert list(other.labels) == ["a.png"]
        assert [f.args for f in other.failures] == [f.args for f in found.failures]
    with pytest.raises(UnreadableImage):
        segment(tmp_path, RunConfig(FitSettings(**FIT), execution=ExecutionSettings("sync", strict=True)))


def test_what_was_found_paints_a_picture(pictures: dict[str, Any]) -> None:
    found = segment(pictures["rgba"], config())
    labels = found.labels["image"].compute()
    painted = found.model.paint(labels)
    assert painted.shape == (60, 83, 3)
    assert (painted[labels == 255] == 0).all()
    np.testing.assert_array_equal(
        painted[labels == 2], np.broadcast_to(found.model.colors[2], ((labels == 2).sum(), 3))
    )


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4, 3), np.complex64),
        np.zeros((4, 4), object),
        np.zeros((2, 4, 4, 3), np.uint8),
        np.zeros(4, np.uint8),
        da.zeros((4, 4, 3), dtype=np.complex128),
        da.zeros((4, 4, 3), dtype="datetime64[s]"),
    ],
    ids=lambda image: f"{type(image).__module__.partition('.')[0]}-{image.dtype}-{'x'.join(map(str, image.shape))}",
)
def test_an_array_of_another_form_is_refused_with_what_came(image: Any) -> None:
    with pytest.raises(ValueError, match=r"^images: expected an image") as caught:
        segment(image, config())
    assert f"got {image.shape} {image.dtype}" in str(caught.value)  # its own shape, whole


@pytest.mark.parametrize(
    ("images", "told"),
    [
        ([np.zeros((4, 5, 3), np.uint8)], "item 0 is a ndarray (4, 5, 3) uint8"),
        (["a.png", 3], "item 1 is a int"),
        (7, "got int"),
    ],
)
def test_what_is_neither_paths_nor_an_array_is_refused_by_the_arguments_name(images: Any, told: str) -> None:
    with pytest.raises(ValueError, match=r"^images: expected a path") as caught:
        segment(images, config())
    assert told in str(caught.value)


def test_channels_that_come_first_are_told_how_to_put_last() -> None:
    with pytest.raises(ValueError, match=r"got \(3, 40, 50\) uint8; its channels come first: numpy.moveaxis"):
        segment(np.zeros((3, 40, 50), np.uint8), config(features="rgb"))


@pytest.mark.parametrize(("shape", "dtype"), [((4, 4, 3), np.uint16), ((4, 4, 2), np.uint8), ((4, 4, 6), np.uint8)])
def test_an_array_that_is_no_picture_is_refused_as_colours(shape: tuple[int, ...], dtype: Any) -> None:
    with pytest.raises(ValueError, match=r"^images: expected an array of uint8 \(y, x\)") as caught:
        segment(np.zeros(shape, dtype), config(features="rgb"))
    assert f"got {shape} {np.dtype(dtype)}" in str(caught.value)


def test_unknown_chunk_sizes_are_refused_with_what_to_do() -> None:
    image = da.from_array(np.arange(48, dtype=np.uint8).reshape(4, 4, 3))
    with pytest.raises(ValueError, match="compute_chunk_sizes"):
        segment(image[image[:, 0, 0] > 10], config())


@pytest.mark.parametrize(
    "image", [np.zeros((0, 4, 3), np.uint8), np.zeros((4, 0), np.uint8), np.zeros((4, 4, 4), np.uint8)]
)
def test_an_array_without_a_valid_pixel_has_nothing_to_cluster(image: Any) -> None:
    with pytest.raises(KsegError, match="no valid pixel in the array"):
        segment(image, config())


def test_an_array_has_no_output(pictures: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="paths"):
        segment(pictures["rgb"], config(), output=str(tmp_path / "out.zarr"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("image", ["rgb", "folder"])
def test_a_palette_for_each_image_is_wrong_usage(image: str, pictures: dict[str, Any], small_folder: Path) -> None:
    with pytest.raises(UsageError, match="scope 'image'"):
        segment(small_folder if image == "folder" else pictures[image], config(scope="image"))


# ---------------------------------------------------------------------------------------------- what is said of it


def with_fill() -> Any:
    """One band with a value that is likely none."""
    samples = np.random.default_rng(0).normal(900, 30, (60, 70)).astype(np.float32)
    samples[:2, :5] = -9999
    return samples


def test_what_there_is_to_say_is_a_warning_and_a_field(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tifffile.imwrite(tmp_path / "dem.tif", with_fill())
    tifffile.imwrite(tmp_path / "pages.tif", np.stack([with_fill()[..., None]] * 2), photometric="minisblack")
    cases: dict[str, Any] = {"array": with_fill(), "dask": da.from_array(with_fill(), chunks=25)}
    cases |= {"path": tmp_path / "dem.tif"}
    for name, images in cases.items():
        with pytest.warns(KsegWarning, match=r"band 1: 10 pixels of -9999.*--nodata=-9999") as warned:
            found = segment(images, config(k=2))
        assert [str(each.message) for each in warned] == [note.note for note in found.notes]
        assert warned[0].filename == __file__
        assert (" in " in found.notes[0].note) == (name == "path")
    with pytest.warns(KsegWarning, match="dem.tif") as warned:
        stored = segment(tmp_path / "dem.tif", config(k=2), output=str(tmp_path / "out.zarr"))
    assert stored.notes == found.notes
    with pytest.warns(KsegWarning, match="page 1 of 2; --page chooses"):
        segment(tmp_path / "pages.tif", dataclasses.replace(config(k=2), input=InputSettings("-9999")))
    assert not caplog.records


@pytest.mark.parametrize("features", ["rgb", "bands"])
def test_fewer_distinct_values_than_clusters_are_a_warning(features: str, tmp_path: Path, png: Any) -> None:
    picture = np.zeros((40, 50, 3), np.uint8)
    picture[:10], picture[-10:] = 90, 200
    png(tmp_path / "in.png", picture)
    forms: dict[str, Any] = {"array": picture, "dask": da.from_array(picture, chunks=25), "path": tmp_path / "in.png"}
    for images in forms.values():
        with pytest.warns(KsegWarning, match=r"^the data has only 3 distinct values: 3 clusters, not 5$") as warned:
            model = segment(images, config(k=5, features=features)).model
        assert (len(warned), warned[0].filename) == (1, __file__)
        assert (model.k, model.k_requested) == (3, 5)
    with pytest.warns(KsegWarning, match="3 clusters, not 5"):
        segment(tmp_path / "in.png", config(k=5, features=features), output=str(tmp_path / "out.zarr"))
    model.save(str(tmp_path / "model.zarr"))
    segment(picture, RunConfig(None, model=str(tmp_path / "model.zarr")))  # nothing is asked for


def test_nodata_that_an_array_cannot_hold_is_a_warning() -> None:
    settings = dataclasses.replace(config(k=2), input=InputSettings("-5"))
    with pytest.warns(KsegWarning, match="--nodata -5: no pixel of uint16"):
        segment(np.arange(6000, dtype=np.uint16).reshape(60, 100), settings)
