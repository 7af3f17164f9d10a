"""Zarr hierarchies of several images: bioformats2raw, plates, plain groups, on a disk and zipped; zarr is the judge."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import imageio.v3 as imageio
import numpy as np
import pytest
import zarr
from numpy.typing import NDArray

from kseg_core.choice import PictureChoice
from kseg_core.errors import UnreadableImage
from kseg_core.images import open_picture, read_info
from kseg_core.images.pixel_size import read_pixel_size
from kseg_core.inputs.listing import InputListing, file_status, list_inputs

Array = NDArray[Any]


def noise(*shape: int, dtype: str = "uint8", seed: int = 5) -> Array:
    return np.random.default_rng(seed).integers(0, 200, shape).astype(dtype)


def group(path: Path, version: str, **attributes: Any) -> None:
    path.mkdir(parents=True, exist_ok=True)
    if version == "0.5":
        document = {"zarr_format": 3, "node_type": "group", "attributes": {"ome": {"version": version, **attributes}}}
        (path / "zarr.json").write_text(json.dumps(document))
    else:
        (path / ".zgroup").write_text('{"zarr_format": 2}')
        if attributes:
            (path / ".zattrs").write_text(json.dumps(attributes))


def image(path: Path, data: Array, version: str, axes: str = "tczyx") -> None:
    kinds = {"t": "time", "c": "channel"}
    scale = {"type": "scale", "scale": [1] * (len(axes) - 2) + [0.5, 0.25]}
    named = [
        {"name": axis, "type": kinds.get(axis, "space"), **({"unit": "micrometer"} if axis in "yx" else {})}
        for axis in axes
    ]
    multiscale = {"version": version, "axes": named, "datasets": [{"path": "0", "coordinateTransformations": [scale]}]}
    group(path, version, multiscales=[multiscale])
    chunks = tuple(min(size, 16) for size in data.shape)
    options: dict[str, Any] = {"chunk_key_encoding": {"name": "v2", "separator": "/"}} if version == "0.4" else {}
    array = zarr.create_array(
        str(path / "0"), shape=data.shape, dtype=data.dtype, chunks=chunks, zarr_format=3 if version == "0.5" else 2,
        **options,
    )  # fmt: skip
    array[...] = data


def packed(folder: Path, target: Path, *, with_folder: bool = False) -> Path:
    with zipfile.ZipFile(target, "w") as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, file.relative_to(folder.parent if with_folder else folder))
    return target


def below(listing: InputListing) -> list[str]:
    return [file.below for file in sorted(listing.files, key=lambda file: file.below)]


def samples_of(path: str, **chosen: Any) -> Array:
    with open_picture(path, choice=PictureChoice(**chosen)) as picture:
        return picture.samples(slice(None), slice(None))[0]


def bioformats2raw(path: Path, version: str, *, named: bool) -> list[Array]:
    images = [noise(1, 2, 1, 40, 50, seed=1), noise(1, 2, 1, 20, 30, seed=2)]
    group(path, version, **{"bioformats2raw.layout": 3})
    for number, data in enumerate(images):
        image(path / str(number), data, version)
    (path / "OME").mkdir()
    (path / "OME" / "METADATA.ome.xml").write_text("<OME/>")
    if named:
        group(path / "OME", version, series=["1", "0"])
    return [data[0, :, 0].transpose(1, 2, 0) for data in images]


@pytest.mark.parametrize(("version", "named"), [("0.4", False), ("0.4", True), ("0.5", False), ("0.5", True)])
def test_each_series_of_bioformats2raw_is_an_image(tmp_path: Path, version: str, named: bool) -> None:
    images = bioformats2raw(tmp_path / "x.zarr", version, named=named)
    listing = list_inputs([str(tmp_path / "x.zarr")])
    assert below(listing) == ["x.zarr/0", "x.zarr/1"]
    assert not listing.failures
    for file in listing.files:
        assert file_status(file.path) is not None
        np.testing.assert_array_equal(samples_of(file.path), images[int(file.below[-1])])
    assert below(list_inputs([str(tmp_path)])) == ["x.zarr/0", "x.zarr/1"]


@pytest.mark.parametrize(("version", "zipped"), [("0.4", True), ("0.5", False)])
def test_each_field_of_a_plate_is_an_image(tmp_path: Path, version: str, zipped: bool) -> None:
    plate = tmp_path / "in" / "plate.zarr"
    wells = [{"path": "A/1"}, {"path": "B/12"}, {"path": "C/3"}]
    group(plate, version, plate={"wells": wells, "rows": [], "columns": []})
    fields = {"A/1": ["0", "1"], "B/12": ["0"]}
    data = {}
    for well, names in fields.items():
        group(plate / well, version, well={"images": [{"path": name} for name in names]})
        for name in names:
            data[f"{well}/{name}"] = noise(1, 3, 1, 24, 32, seed=len(data))
            image(plate / well / name, data[f"{well}/{name}"], version)
    given = packed(plate, tmp_path / "plate.ozx") if zipped else plate
    listing = list_inputs([str(given)])
    assert below(listing) == [f"{given.name}/{place}" for place in sorted(data)]
    for file in listing.files:
        field = data[file.below.removeprefix(f"{given.name}/")]
        np.testing.assert_array_equal(samples_of(file.path), field[0, :, 0].transpose(1, 2, 0))
        size = read_pixel_size(file.path)
        assert size is not None
        assert (size.y, size.x, size.unit) == (0.5, 0.25, "micrometer")
    assert [(failure.source, failure.reason) for failure in listing.failures] == [
        (f"{given}/C/3", "it is named as an image, but is not there")
    ]
    one = list_inputs([str(given / "A" / "1" / "1")])
    np.testing.assert_array_equal(samples_of(one.files[0].path), data["A/1/1"][0, :, 0].transpose(1, 2, 0))
    well = list_inputs([str(given / "A" / "1")])
    assert len(well.files) == 2


@pytest.mark.parametrize(
    ("version", "ending", "with_folder"),
    [("0.4", ".zarr.zip", True), ("0.5", ".ozx", False), ("0.5", ".OME.ZARR.ZIP", True)],
)
def test_a_zipped_image_is_read_in_place(tmp_path: Path, version: str, ending: str, with_folder: bool) -> None:
    data = noise(2, 3, 4, 40, 50, dtype="uint16")
    image(tmp_path / "made" / "x.zarr", data, version)
    folder = tmp_path / "in"
    folder.mkdir()
    packed(tmp_path / "made" / "x.zarr", folder / f"x{ending}", with_folder=with_folder)
    (folder / "papers.zip").write_bytes(b"PK\x05\x06" + bytes(18))
    listing = list_inputs([str(folder)])
    (file,) = listing.files
    assert listing.passed_over == 1
    assert file.size == (folder / f"x{ending}").stat().st_size
    for path in (file.path, str(folder / f"x{ending}")):
        np.testing.assert_array_equal(samples_of(path, z=2, t=1), data[1, :, 2].transpose(1, 2, 0))
    assert [entry.name for entry in folder.iterdir() if entry.name != "papers.zip"] == [f"x{ending}"]


def test_a_damaged_zip_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.zarr.zip").write_bytes(b"PK no zip")
    listing = list_inputs([str(tmp_path)])
    assert not listing.files
    (failure,) = listing.failures
    assert "zip" in failure.reason


@pytest.mark.parametrize("damage", ["sum", "encrypted", "packing", "bomb"])
def test_a_document_in_a_zip_that_cannot_be_read_is_named_and_stops_nothing(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "x.zarr.zip"
    document = b'{"zarr_format": 3, "node_type": "group", "attributes": {}}'
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED if damage == "bomb" else zipfile.ZIP_STORED) as archive:
        archive.writestr("zarr.json", bytes(20_000_000) if damage == "bomb" else document)
    whole = bytearray(path.read_bytes())
    central = whole.index(b"PK\x01\x02")
    if damage == "sum":
        whole[whole.index(document) + 3] ^= 1
    elif damage == "encrypted":
        whole[6] |= 1
        whole[central + 8] |= 1
    elif damage == "packing":
        whole[8] = whole[central + 10] = 97
    path.write_bytes(whole)
    imageio.imwrite(tmp_path / "a.png", noise(9, 9, 3))
    listing = list_inputs([str(tmp_path)])
    assert below(listing) == ["a.png"]
    (failure,) = listing.failures
    assert failure.source.endswith("x.zarr.zip")
    assert any(word in failure.reason for word in ("zip file", "states 20 MB"))


def test_paths_in_documents_stay_inside_and_name_each_image_once(tmp_path: Path) -> None:
    plate = tmp_path / "p.zarr"
    wells = ["A/1", "A//1", "./A/1", "../secret.zarr/0", "B\0/1"]
    group(plate, "0.5", plate={"wells": [{"path": well} for well in wells]})
    group(plate / "A", "0.5")
    group(plate / "A" / "1", "0.5", well={"images": [{"path": "0"}]})
    image(plate / "A" / "1" / "0", noise(1, 1, 1, 20, 30), "0.5")
    listing = list_inputs([str(plate)])
    assert below(listing) == ["p.zarr/A/1/0"]
    assert [(failure.source, failure.reason) for failure in listing.failures] == [
        (f"{plate}/../secret.zarr/0", "it is named as an image, but is no path within its group"),
        (f"{plate}/B\\x00/1", "it is named as an image, but is no path within its group"),
    ]
    image(tmp_path / "secret.zarr" / "0", noise(1, 1, 1, 20, 30), "0.5")
    raw = tmp_path / "raw.zarr"
    bioformats2raw(raw, "0.5", named=True)
    named = json.loads((raw / "OME" / "zarr.json").read_text())
    named["attributes"]["ome"]["series"] = ["0", "../secret.zarr/0"]
    (raw / "OME" / "zarr.json").write_text(json.dumps(named))
    listing = list_inputs([str(raw)])
    assert below(listing) == ["raw.zarr/0"]
    assert [failure.source for failure in listing.failures] == [f"{raw}/../secret.zarr/0"]


@pytest.mark.parametrize(
    ("version", "wells"),
    [
        ("0.5", None),
        ("0.4", []),
        ("0.5", "A/1"),
        ("0.4", [{}]),
        ("0.5", [{"path": 7}]),
        ("0.4", [{"path": ""}]),
        ("0.5", [None]),
    ],
)
def test_a_plate_whose_wells_have_no_paths_is_named_and_the_rest_goes_on(
    tmp_path: Path, version: str, wells: Any
) -> None:
    group(tmp_path / "p.zarr", version, plate={"rows": []} | ({} if wells is None else {"wells": wells}))
    image(tmp_path / "q.zarr", noise(1, 1, 1, 20, 30), version)
    listing = list_inputs([str(tmp_path)])
    assert below(listing) == ["q.zarr"]
    (failure,) = listing.failures
    assert failure.source == f"{tmp_path}/p.zarr"
    assert "names no" in failure.reason


@pytest.mark.parametrize(("version", "zipped"), [("0.4", False), ("0.5", True)])
def test_a_series_of_a_group_is_not_chosen_but_named(tmp_path: Path, version: str, zipped: bool) -> None:
    bioformats2raw(tmp_path / "x.zarr", version, named=False)
    given = packed(tmp_path / "x.zarr", tmp_path / "x.zarr.zip") if zipped else tmp_path / "x.zarr"
    for file in list_inputs([str(given)]).files:
        for series, named in ((0, "0"), (1, "1"), (7, file.below[-1])):
            with pytest.raises(UnreadableImage, match=f"name the image: {given.name}/{named}$"):
                read_info(file.path, choice=PictureChoice(series=series))
    image(tmp_path / "alone.zarr", noise(1, 1, 1, 20, 30), version)
    assert read_info(str(tmp_path / "alone.zarr"), choice=PictureChoice(series=0)).shape == (20, 30)


def test_a_plain_group_is_its_images_or_else_its_arrays(tmp_path: Path) -> None:
    root = zarr.create_group(str(tmp_path / "x.zarr"))
    for name, shape in (("red", (20, 30)), ("swir", (20, 30, 3)), ("time", (9,))):
        root.create_array(name, shape=shape, dtype="uint8")[...] = 7
    assert below(list_inputs([str(tmp_path / "x.zarr")])) == ["x.zarr/red", "x.zarr/swir"]
    image(tmp_path / "x.zarr" / "images" / "first", noise(1, 1, 1, 9, 9), "0.5")
    (tmp_path / "x.zarr" / "images" / "zarr.json").write_text('{"zarr_format": 3, "node_type": "group"}')
    assert below(list_inputs([str(tmp_path / "x.zarr")])) == ["x.zarr/images/first"]


def test_labels_of_an_image_are_no_images(tmp_path: Path) -> None:
    image(tmp_path / "x.zarr", noise(1, 1, 1, 9, 9), "0.5")
    image(tmp_path / "x.zarr" / "labels" / "nuclei", noise(1, 1, 1, 9, 9), "0.5")
    assert below(list_inputs([str(tmp_path / "x.zarr")])) == ["x.zarr"]


@pytest.mark.parametrize("axes", ["tczyx", "zyx", "czyx", "xyzct"])
def test_slices_and_times(tmp_path: Path, axes: str) -> None:
    sizes = {"t": 2, "c": 3, "z": 5, "y": 20, "x": 30}
    data = noise(*(sizes[axis] for axis in axes), dtype="int16") - 100
    path = tmp_path / "x.zarr"
    image(path, data, "0.5", axes)
    full = data.transpose([axes.index(axis) for axis in "tzyxc" if axis in axes])
    if "t" not in axes:
        full = full[None]
    if "c" not in axes:
        full = full[..., None]
    np.testing.assert_array_equal(samples_of(str(path)), full[0, 0])
    np.testing.assert_array_equal(samples_of(str(path), z=2), full[0, 2])
    np.testing.assert_array_equal(samples_of(str(path), z="max"), full[0].max(axis=0))
    if "t" in axes:
        np.testing.assert_array_equal(samples_of(str(path), z="max", t=1), full[1].max(axis=0))
    notes = read_info(str(path)).notes
    assert "z 1 of 5; --z chooses, from 0 to 4, or max" in notes
    assert ("t 1 of 2; --t chooses, from 0 to 1" in notes) == ("t" in axes)
    assert read_info(str(path), choice=PictureChoice(z=3, t=0)).notes == ()
    with pytest.raises(UnreadableImage, match="no z 5; there is --z 0 to 4"):
        read_info(str(path), choice=PictureChoice(z=5))
    with pytest.raises(UnreadableImage, match="no page 1"):
        read_info(str(path), choice=PictureChoice(page=1))
    if "c" in axes:
        np.testing.assert_array_equal(samples_of(str(path), channel=(2,)), full[0, 0][..., 2:])


@pytest.mark.parametrize("chunks", [(1, 8, 8), (4, 8, 8), (9, 20, 30)])
def test_the_maximum_of_slices_cut_in_any_way(tmp_path: Path, chunks: tuple[int, ...]) -> None:
    data = noise(9, 20, 30, dtype="float32") - 100
    data[3, 2, 2] = np.nan
    array = zarr.create_array(
        str(tmp_path / "x"), shape=data.shape, dtype=data.dtype, chunks=chunks, dimension_names=["depth", "y", "x"]
    )
    array[...] = data
    np.testing.assert_array_equal(samples_of(str(tmp_path / "x"), z="max")[..., 0], data.max(axis=0))
