"""OME-Zarr metadata by itself; validators are asked in the tests of the store."""

from __future__ import annotations

from typing import Any

import numpy as np

from kseg_core.store import ome


def test_a_single_level_is_of_its_own_scale() -> None:
    (described,) = ome.multiscales("kmeans", 1, (1.0, 1.0))
    assert described == {
        "name": "kmeans",
        "axes": [{"name": "y", "type": "space"}, {"name": "x", "type": "space"}],
        "datasets": [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [1.0, 1.0]}]}],
    }


def test_levels_double_their_pixels_and_begin_in_the_middle_of_what_they_stand_for() -> None:
    (described,) = ome.multiscales("kmeans", 3, (0.5, 0.25), "micrometer")
    assert described["axes"] == [{"name": axis, "type": "space", "unit": "micrometer"} for axis in ("y", "x")]
    assert [dataset["path"] for dataset in described["datasets"]] == ["0", "1", "2"]
    assert [dataset["coordinateTransformations"] for dataset in described["datasets"]] == [
        [{"type": "scale", "scale": [0.5, 0.25]}],
        [{"type": "scale", "scale": [1.0, 0.5]}, {"type": "translation", "translation": [0.25, 0.125]}],
        [{"type": "scale", "scale": [2.0, 1.0]}, {"type": "translation", "translation": [0.75, 0.375]}],
    ]


def test_channels_have_an_axis_that_is_neither_scaled_nor_moved() -> None:
    (described,) = ome.multiscales("image", 2, (3.0, 2.0), channels=True)
    assert described["axes"][0] == {"name": "c", "type": "channel"}
    scale, translation = described["datasets"][1]["coordinateTransformations"]
    assert scale["scale"] == [1.0, 6.0, 4.0]
    assert translation["translation"] == [0.0, 1.5, 1.0]


def test_only_colours_are_told_how_to_be_shown() -> None:
    shown: Any = ome.image("x.png", 1, (1.0, 1.0), None, "rgb")["ome"]
    assert [channel["color"] for channel in shown["omero"]["channels"]] == ["FF0000", "00FF00", "0000FF"]
    assert "omero" not in ome.image("x.png", 1, (1.0, 1.0), None, "bands")["ome"]


def test_a_label_image_has_the_pyramid_it_is_given() -> None:
    pyramid = ome.multiscales("kmeans", 4, (1.0, 1.0))
    described = ome.label_image(np.zeros((2, 3), np.uint8), [1, 2], 255, 3, pyramid)["ome"]
    assert described["multiscales"] == pyramid
    assert [entry["area"] for entry in described["image-label"]["properties"]] == [1, 2, 3]
