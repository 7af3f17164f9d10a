"""Legends: clusters by number, classes by name, and the values of classes by those of clusters."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kseg_core.classes import Classes, NamedClass
from kseg_core.clustering.labelling import invalid_label, label_dtype
from kseg_core.store.legend import Legend
from kseg_core.store.model import Model

CLASSES = Classes((NamedClass("plant", (1, 3), "#2ca02c"), NamedClass("soil", (0, 2))))


def model_of(k: int, counts: list[int] | None = None, classes: Classes | None = None) -> Model:
    rng = np.random.default_rng(k)
    colors = rng.integers(0, 256, (k, 3), dtype=np.uint8)
    numbers = np.array(counts or [1] * k, np.int64)
    return Model("rgb", colors.astype(float), colors, numbers, 1.0, {}, None, classes)


def test_of_clusters_numbers_and_mean_colours() -> None:
    model = model_of(3)
    legend = Legend.of_clusters(model)
    assert (legend.what, legend.names, legend.clusters) == ("cluster", ("0", "1", "2"), ((0,), (1,), (2,)))
    assert np.array_equal(legend.colors, model.colors)
    assert Legend.of(model).what == "cluster"


def test_of_classes_names_given_colours_and_means_by_counts() -> None:
    model = model_of(5, [3, 1, 1, 7, 2], CLASSES)
    legend = Legend.of(model)
    assert (legend.what, legend.names, legend.given) == ("class", ("plant", "soil", "4"), (True, False, False))
    assert legend.colors[0].tolist() == [0x2C, 0xA0, 0x2C]
    assert np.abs(legend.colors[1] - np.average(model.colors[[0, 2]], axis=0, weights=[3, 1])).max() <= 0.5
    assert np.array_equal(legend.colors[2], model.colors[4])
    assert legend.totals(model.counts) == [8, 4, 2]
    assert legend.to_json()[0] == {"name": "plant", "clusters": [1, 3], "color": "#2ca02c"}
    assert Legend.of(model, by="cluster").names == ("0", "1", "2", "3", "4")
    nothing = Legend.of(model_of(5, [0] * 5, CLASSES))
    assert np.abs(nothing.colors[1] - model.colors[[0, 2]].mean(axis=0)).max() <= 0.5


@given(st.data())
def test_values_are_those_of_a_dictionary(data: st.DataObject) -> None:
    k = data.draw(st.sampled_from([2, 5, 254, 255, 300]))
    mine = data.draw(st.lists(st.integers(0, k - 1), min_size=1, max_size=k, unique=True))
    classes = Classes((NamedClass("a", tuple(mine)),))
    legend = Legend.of_classes(model_of(k, classes=classes))
    labels = np.array(data.draw(st.lists(st.integers(0, k), max_size=30)), label_dtype(k))
    labels[labels == k] = invalid_label(k)
    number = dict(enumerate(classes.of_clusters(k)))
    found = legend.values_of(labels)
    assert found.dtype == label_dtype(len(legend))
    assert found.tolist() == [number.get(each, legend.invalid) for each in labels.tolist()]


def test_what_does_not_go_together_is_refused() -> None:
    with pytest.raises(ValueError, match="of 1 values"):
        Legend("cluster", ("0",), np.zeros((2, 3), np.uint8), (False,), ((0,),))
