"""Contacts of clusters: windows of any sizes add up to what NumPy counts on the whole."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise, product

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from kseg_core.grouping.contacts import contacts_of
from kseg_core.scoring.pairs import Pairs
from tests.strategies import QUICK

Labels = NDArray[np.uint8] | NDArray[np.uint16]


def by_numpy(labels: Labels, k: int) -> dict[tuple[int, int], int]:
    found: Counter[tuple[int, int]] = Counter()
    for one, other in ((labels[:, :-1], labels[:, 1:]), (labels[:-1], labels[1:])):
        for a, b in zip(one.ravel().tolist(), other.ravel().tolist(), strict=True):
            if a != b and max(a, b) < k:
                found[min(a, b), max(a, b)] += 1
    return dict(found)


def as_dict(pairs: Pairs) -> dict[tuple[int, int], int]:
    entries = zip(pairs.rows.tolist(), pairs.columns.tolist(), pairs.counts.tolist(), strict=True)
    return {(one, other): often for one, other, often in entries}


def test_a_small_picture_by_hand() -> None:
    labels = np.array([[0, 0, 1], [2, 255, 1], [2, 2, 0]], np.uint8)
    found = contacts_of(labels, (3, 3), 3)
    assert as_dict(found) == {(0, 1): 2, (0, 2): 2}
    assert (found.rows.dtype, found.counts.dtype) == (np.int64, np.int64)


@QUICK
@given(st.data())
def test_windows_add_up_to_the_whole(data: st.DataObject) -> None:
    k, dtype = data.draw(st.sampled_from([(3, np.uint8), (254, np.uint8), (300, np.uint16), (65534, np.uint16)]))
    shape = data.draw(st.tuples(st.integers(1, 12), st.integers(1, 12)))
    values = [0, 1, 2, k // 2, k - 1, int(np.iinfo(dtype).max)]
    labels = data.draw(hnp.arrays(dtype, shape, elements=st.sampled_from(values)))
    cuts = [sorted({0, size, *data.draw(st.lists(st.integers(0, size), max_size=4))}) for size in shape]
    parts = [
        contacts_of(labels[top : bottom + 1, left : right + 1], (bottom - top, right - left), k)
        for (top, bottom), (left, right) in product(pairwise(cuts[0]), pairwise(cuts[1]))
    ]
    parts = [parts[at] for at in data.draw(st.permutations(range(len(parts))))]
    assert as_dict(Pairs.merged(parts)) == by_numpy(labels, k)
