"""Verification finds what is wrong, and nothing where nothing is."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from PIL import Image

from kseg_core.clustering.features import SPACES
from kseg_core.clustering.labelling import NO_COLORS, no_labels
from kseg_core.config import OutputSettings
from kseg_core.layers.layer import LayerInput
from kseg_core.store import tally
from kseg_core.store.model import Model
from kseg_core.store.opening import create_store
from kseg_core.store.originals import Originals
from kseg_core.store.record import ImageRecord
from kseg_core.store.verify import Findings, ImageCheck
from kseg_core.store.writing import write_image

KEY = "leaf"


def a_model() -> Model:
    centroids = np.array([[20.0, 30, 40], [128, 128, 128], [240, 200, 220]])
    return Model("rgb", centroids, centroids.astype(np.uint8), np.array([1, 1, 1]), 0.0)


def make(folder: Path, *, own: bool = False, masks: bool = True, source: bool = True) -> str:
    """A store of one image with transparent pixels, and its source beside it."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (90, 110, 4), dtype=np.uint8)
    image[..., 3] = np.where(rng.random((90, 110)) < 0.1, 0, 255)
    file = folder / "leaf.png"
    Image.fromarray(image).save(file)
    status = file.stat()
    labelled = a_model().label(np.ascontiguousarray(image[..., :3]), image[..., 3] > 0)
    counts = tuple(labelled.sums.counts.tolist())
    inertia = labelled.sums.inertia(a_model().points, 1)
    record = ImageRecord(
        KEY, file.name, status.st_size, status.st_mtime_ns, (90, 110), counts, 9900 - sum(counts), inertia
    )
    path = str(folder / "s.zarr")
    create_store(path, {})
    output = OutputSettings(masks=masks, tile=64)
    model = a_model()
    write_image(path, record, LayerInput(labelled.labels), model.colors, output, own_model=model if own else None)
    if not source:
        file.unlink()
    return path


def look(path: str, model: Model | None = None, *, own: bool = False) -> Findings:
    return ImageCheck(path, KEY, Originals(os.path.dirname(path))).whole(None if own else model or a_model())


def arrays(path: str) -> tuple[Any, Any]:
    """Labels and masks, to be changed."""
    group = zarr.open_group(path, path=f"images/{KEY}", mode="r+")
    return group["labels/kmeans/0"], group.get("masks")


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("masks", [False, True])
def test_a_good_image_has_no_problems_and_was_compared_with_its_source(tmp_path: Path, own: bool, masks: bool) -> None:
    path = make(tmp_path, own=own, masks=masks)
    findings = look(path, own=own)
    assert findings.problems == ()
    assert findings.compared
    assert findings.counts == tuple((np.asarray(arrays(path)[0][...]) == j).sum() for j in range(3))


def test_windows_are_put_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make(tmp_path)
    whole = look(path)
    monkeypatch.setattr(tally, "VERIFY_PX", 32)
    assert look(path) == whole
    arrays(path)[1][2, 89, 109] ^= True
    assert look(path).problems == (f"{KEY}: 1 mask pixels disagree with the labels",)


@pytest.mark.parametrize("change", ["missing", "touched", "longer"])
def test_a_source_that_is_gone_or_was_changed_is_not_compared(tmp_path: Path, change: str) -> None:
    path = make(tmp_path)
    file = tmp_path / "leaf.png"
    if change == "missing":
        file.unlink()
    elif change == "touched":
        os.utime(file, ns=(0, file.stat().st_mtime_ns + 1))
    else:
        modified = file.stat().st_mtime_ns
        file.write_bytes(file.read_bytes() + b"x")
        os.utime(file, ns=(modified, modified))
    findings = look(path)
    assert (findings.problems, findings.compared) == ((), False)


def test_an_image_without_valid_pixels_and_model_is_sound(tmp_path: Path) -> None:
    path = str(tmp_path / "s.zarr")
    create_store(path, {})
    write_image(
        path,
        ImageRecord(KEY, "leaf.png", 1, 1, (5, 6), (), 30, 0.0),
        LayerInput(no_labels((5, 6))),
        NO_COLORS,
        OutputSettings(),
    )
    assert look(path, own=True) == Findings((), False, (), "an image without a valid pixel")


# ------------------------------------------------------------------------------------------------ damage


def swap_two_labels(path: str) -> None:
    """Two pixels exchange their labels, masks and all: only the source can tell."""
    labels, masks = arrays(path)
    values = np.asarray(labels[...])
    (a,), (b,) = np.argwhere(values == 0)[:1], np.argwhere(values == 2)[:1]
    values[tuple(a)], values[tuple(b)] = 2, 0
    labels[...] = values
    masks[...] = values == np.arange(3)[:, None, None]


def change_a_label(path: str) -> None:
    labels, _ = arrays(path)
    labels[5, 5] = (int(labels[5, 5]) + 1) % 3


def change_a_mask_bit(path: str) -> None:
    _, masks = arrays(path)
    masks[1, 7, 7] = not masks[1, 7, 7]


def label_of_no_cluster(path: str) -> None:
    arrays(path)[0][3, 3] = 77


def say(name: str, value: Any) -> Callable[[str], None]:
    """Change the image's attributes; None takes one away."""

    def apply(path: str) -> None:
        group = zarr.open_group(path, path=f"images/{KEY}", mode="r+")
        facts: dict[str, Any] = dict(group.attrs["kseg"])  # type: ignore[arg-type]
        if value is None:
            del facts[name]
        else:
            facts[name] = value(facts[name]) if callable(value) else value
        group.attrs["kseg"] = facts

    return apply


def file_of(path: str, name: str) -> Path:
    return Path(path) / "images" / KEY / name


def in_file(name: str, was: str, becomes: str) -> Callable[[str], None]:
    """Change a text in a file of the image, once."""

    def apply(path: str) -> None:
        text = file_of(path, name).read_text()
        assert was in text
        file_of(path, name).write_text(text.replace(was, becomes, 1))

    return apply


def replace(path: str, name: str, data: Any) -> None:
    zarr.open_group(path, path=f"images/{KEY}", mode="r+").create_array(name, data=data, overwrite=True)


LABELS, MASKS = "labels/kmeans/0", "masks"
LABEL_CHUNK, MASK_CHUNK = f"{LABELS}/c/0/0", f"{MASKS}/c/1/0/0"

DAMAGES: dict[str, tuple[Callable[[str], Any], str]] = {
    "two labels exchanged": (swap_two_labels, "2 labels are not the nearest centroid of their source's pixels"),
    "a label": (change_a_label, "mask pixels disagree with the labels"),
    "a label, as its source says": (change_a_label, "1 labels are not the nearest centroid"),
    "a label, as its counts say": (change_a_label, "the labels' counts are not those in its attributes"),
    "a mask bit": (change_a_mask_bit, "1 mask pixels disagree with the labels"),
    "a label that is no cluster": (label_of_no_cluster, "labels that are no cluster"),
    "counts": (
        say("counts", lambda c: [c[0] + 1, c[1] - 1, c[2]]),
        "the labels' counts are not those in its attributes",
    ),
    "counts of fewer clusters": (say("counts", lambda c: c[:2]), "the labels' counts are not those"),
    "invalid": (say("invalid", lambda n: n + 1), "the labels' counts are not those in its attributes"),
    "status": (say("status", "running"), "not complete"),
    "no status": (say("status", None), "not complete"),
    "no counts": (say("counts", None), "cannot be read"),
    "no shape": (say("shape", None), "cannot be read"),
    "shape of three": (say("shape", [90, 110, 3]), "cannot be read"),
    "shape": (say("shape", [110, 90]), "labels are uint8 (90, 110), expected uint8 (110, 90)"),
    "labels of another shape": (
        lambda p: replace(p, LABELS, np.zeros((90, 100), np.uint8)),
        "labels are uint8 (90, 100), expected uint8 (90, 110)",
    ),
    "labels of another dtype": (
        lambda p: replace(p, LABELS, np.zeros((90, 110), np.uint16)),
        "labels are uint16 (90, 110), expected uint8",
    ),
    "masks of another shape": (
        lambda p: replace(p, MASKS, np.zeros((2, 90, 110), bool)),
        "masks are bool (2, 90, 110)",
    ),
    "a label chunk missing": (lambda p: file_of(p, LABEL_CHUNK).unlink(), "the labels' counts are not those"),
    "a mask chunk missing": (lambda p: file_of(p, MASK_CHUNK).unlink(), "mask pixels disagree with the labels"),
    "a label chunk cut short": (
        lambda p: file_of(p, LABEL_CHUNK).write_bytes(file_of(p, LABEL_CHUNK).read_bytes()[:20]),
        "cannot be read",
    ),
    "a mask chunk cut short": (
        lambda p: file_of(p, MASK_CHUNK).write_bytes(file_of(p, MASK_CHUNK).read_bytes()[:20]),
        "cannot be read",
    ),
    "an empty label chunk": (lambda p: file_of(p, LABEL_CHUNK).write_bytes(b""), "cannot be read"),
    "the labels missing": (lambda p: shutil.rmtree(file_of(p, LABELS)), "labels/kmeans/0 is missing"),
    "all labels missing": (lambda p: shutil.rmtree(file_of(p, "labels")), "its labels are missing"),
    "label metadata": (lambda p: file_of(p, f"{LABELS}/zarr.json").write_bytes(b"{"), "cannot be read"),
    "image metadata": (lambda p: file_of(p, "zarr.json").write_bytes(b"{"), "cannot be read"),
    "image metadata missing": (lambda p: file_of(p, "zarr.json").unlink(), "cannot be read"),
    "the list of labels missing": (lambda p: file_of(p, "labels/zarr.json").unlink(), "labels/zarr.json"),
    "the list of labels": (lambda p: file_of(p, "labels/zarr.json").write_bytes(b"{"), "labels/zarr.json"),
    "an area": (in_file("labels/kmeans/zarr.json", '"area": ', '"area": 1'), "what is said with its labels"),
    "a colour": (in_file("labels/kmeans/zarr.json", "[20, 30", "[21, 30"), "what is said with its labels"),
    "the file's size, as its labels say": (
        in_file("labels/kmeans/zarr.json", '"size": ', '"size": 1'),
        "what is said with its labels",
    ),
    "mse": (say("mse", lambda mse: mse + 1), "its attributes do not agree"),
    "the image missing": (lambda p: shutil.rmtree(file_of(p, "")), "cannot be read"),
}


@pytest.mark.parametrize(("damage", "problem"), DAMAGES.values(), ids=list(DAMAGES))
def test_damage_is_found_and_named(tmp_path: Path, damage: Callable[[str], Any], problem: str) -> None:
    path = make(tmp_path)
    assert look(path).problems == ()
    damage(path)
    problems = look(path).problems
    assert any(problem in line for line in problems), problems
    assert all(line.startswith(f"{KEY}: ") and "\n" not in line for line in problems)


def test_a_changed_label_is_found_without_masks_and_without_the_source(tmp_path: Path) -> None:
    path = make(tmp_path, masks=False, source=False)
    assert look(path).problems == ()
    change_a_label(path)
    assert look(path).problems == (f"{KEY}: the labels' counts are not those in its attributes",)


def test_another_model_than_the_labels_are_of_is_found(tmp_path: Path) -> None:
    path = make(tmp_path)
    assert "labels are not the nearest centroid" in look(path, moved_model()).problems[0]
    wide = Model("rgb", np.zeros((300, 3)), np.zeros((300, 3), np.uint8), np.zeros(300, np.int64), 0.0)
    assert "labels are uint8 (90, 110), expected uint16 (90, 110)" in look(path, wide).problems[0]


def moved_model() -> Model:
    model = a_model()
    points = SPACES["rgb"].to_points(model.centroids) + np.array([[0, 0, 0], [40, 0, 0], [0, 0, 0]])
    return Model("rgb", points, model.colors, model.counts, 0.0)


@pytest.mark.parametrize("damage", ["missing", "digest"])
def test_a_damaged_model_of_the_image_is_found(tmp_path: Path, damage: str) -> None:
    path = make(tmp_path, own=True)
    file = file_of(path, "model/zarr.json")
    if damage == "missing":
        shutil.rmtree(file.parent)
    else:
        metadata = json.loads(file.read_text())
        metadata["attributes"]["kseg"]["digest"] = "0"
        file.write_text(json.dumps(metadata))
    assert look(path, own=True).problems


def test_one_damaged_image_does_not_hide_the_next(tmp_path: Path) -> None:
    path = make(tmp_path)
    assert (
        ImageCheck(path, "nobody", Originals(str(tmp_path)))
        .whole(a_model())
        .problems[0]
        .startswith("nobody: cannot be read")
    )
    assert look(path).problems == ()
