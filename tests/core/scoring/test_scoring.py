"""Figures of agreement against scikit-learn and against what their definitions say, whatever the tiling."""

from __future__ import annotations

import warnings
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from sklearn import metrics

from kseg_core.errors import UsageError
from kseg_core.scoring import confusion as confusions
from kseg_core.scoring.agreement import Agreement, Agreements
from kseg_core.scoring.confusion import UNASSIGNED, Confusion, assigned, by_majority, by_name, one_to_one
from kseg_core.scoring.pairs import Pairs, Sum, TooManyPairs
from tests.strategies import QUICK

I64 = NDArray[np.int64]
CLOSE = {"rel": 0, "abs": 1e-12}


@st.composite
def labellings(draw: st.DrawFn) -> tuple[NDArray[Any], I64, NDArray[np.bool_]]:
    """Labels, a reference, and which pixels count."""
    shape = draw(st.tuples(st.integers(1, 14), st.integers(1, 14)))
    dtype = draw(st.sampled_from([np.uint8, np.uint16, np.uint32]))
    k, m = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    labels = draw(hnp.arrays(dtype, shape, elements=st.integers(0, k - 1)))
    far = draw(st.sampled_from([1, -(1 << 62), 1 << 40]))
    codes = draw(hnp.arrays(np.int64, shape, elements=st.integers(0, m - 1))) * far
    valid = draw(hnp.arrays(np.bool_, shape, elements=st.sampled_from([True, True, True, False])))
    return labels, codes, valid


def tiled(draw: st.DrawFn, *arrays: NDArray[Any]) -> list[tuple[NDArray[Any], ...]]:
    """The windows of some grid over arrays, in some order."""
    cuts = []
    for size in arrays[0].shape:
        inside = draw(st.lists(st.integers(1, size), unique=True, max_size=3))
        cuts.append(sorted({0, size, *inside}))
    rows, columns = map(pairwise, cuts)
    columns = list(columns)
    return draw(st.permutations([tuple(a[t:b, l:r] for a in arrays) for t, b in rows for l, r in columns]))


def entries(pairs: Pairs) -> list[tuple[int, int, int]]:
    return list(zip(pairs.rows.tolist(), pairs.columns.tolist(), pairs.counts.tolist(), strict=True))


@settings(QUICK, max_examples=100)
@given(st.data())
def test_a_table_is_that_of_the_whole_image_whatever_the_windows(data: st.DataObject) -> None:
    labels, codes, valid = data.draw(labellings())
    whole = Pairs.count(labels, codes, valid)
    met = list(zip(labels[valid].tolist(), codes[valid].tolist(), strict=True))
    assert entries(whole) == [(*pair, met.count(pair)) for pair in sorted(set(met))]
    total = Sum()
    for window in tiled(data.draw, labels, codes, valid):
        total.add(Pairs.count(*window))
    assert entries(total.pairs) == entries(whole)


def test_more_pairs_than_there_is_room_for_at_first_are_counted_too_and_more_than_allowed_are_refused() -> None:
    labels = np.arange(90_000, dtype=np.uint32).reshape(300, 300)
    pairs = Pairs.count(labels, labels[::-1].astype(np.int64), np.ones(labels.shape, np.bool_))
    assert (len(pairs), pairs.total, pairs.counts.max()) == (90_000, 90_000, 1)
    total = Sum(most=100_000)
    total.add(pairs)
    total.add(pairs)
    assert total.pairs.total == 180_000
    total.add(pairs.with_rows(pairs.rows + 1))
    with pytest.raises(TooManyPairs) as raised:
        _ = total.pairs
    assert raised.value.count == 180_000 - 1 + 1


# --------------------------------------------------------------------------------------------------- scikit-learn


@settings(QUICK, max_examples=60)
@given(st.data())
def test_partitions_agree_as_scikit_learn_says(data: st.DataObject) -> None:
    labels, codes, valid = data.draw(labellings())
    found = Agreement.of(Pairs.merged([Pairs.count(*each) for each in tiled(data.draw, labels, codes, valid)]))
    mine, theirs = labels[valid], codes[valid]
    assert found.rand == pytest.approx(metrics.rand_score(theirs, mine), **CLOSE)
    assert found.adjusted_rand == pytest.approx(metrics.adjusted_rand_score(theirs, mine), **CLOSE)
    assert found.mutual_information == pytest.approx(metrics.normalized_mutual_info_score(theirs, mine), **CLOSE)


@settings(QUICK, max_examples=60)
@given(st.data(), st.sampled_from(["majority", "one-to-one"]))
def test_classes_are_met_as_scikit_learn_says(data: st.DataObject, how: str) -> None:
    labels, codes, valid = data.draw(labellings())
    codes = np.unique(codes, return_inverse=True)[1].reshape(codes.shape).astype(np.int64)
    valid[0, 0] = True
    pairs = Pairs.merged([Pairs.count(*each) for each in tiled(data.draw, labels, codes, valid)])
    assignment = by_majority(pairs) if how == "majority" else one_to_one(pairs)
    names = [str(code) for code in range(int(codes.max()) + 1)]
    found = Confusion.of(assigned(pairs, assignment), names, np.arange(len(names)))
    theirs = codes[valid]
    mine = np.array([assignment.get(int(label), UNASSIGNED) for label in labels[valid]])
    there = list(range(len(names)))
    assert found.accuracy == pytest.approx(metrics.accuracy_score(theirs, mine), **CLOSE)
    expected = metrics.confusion_matrix(theirs, mine, labels=[*there, UNASSIGNED])
    np.testing.assert_array_equal(found.counts, expected[:-1])
    assert found.unassigned == (mine == UNASSIGNED).sum()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what is not defined
        kappa = metrics.cohen_kappa_score(theirs, mine)
        precision, recall, f1, _ = metrics.precision_recall_fscore_support(theirs, mine, labels=there, zero_division=0)
        iou = metrics.jaccard_score(theirs, mine, labels=there, average=None, zero_division=0)
    assert (found.kappa is None) == np.isnan(kappa)
    assert found.kappa is None or found.kappa == pytest.approx(kappa, **CLOSE)
    for at, each in enumerate(found.classes):
        assert (each.precision or 0.0) == pytest.approx(precision[at], **CLOSE)
        assert (each.precision is None) == (each.predicted == 0)
        assert (each.recall or 0.0) == pytest.approx(recall[at], **CLOSE)
        assert (each.f1 or 0.0) == pytest.approx(f1[at], **CLOSE)
        assert (each.iou or 0.0) == pytest.approx(iou[at], **CLOSE)
    met = np.isin(there, np.concatenate([theirs, mine]))
    assert found.mean_f1 == pytest.approx(f1[met].mean(), **CLOSE)
    assert found.mean_iou == pytest.approx(iou[met].mean(), **CLOSE)


# ------------------------------------------------------------------------------------------- people's segmentations


def direct(labels: I64, truth: I64) -> tuple[float, float, float]:
    """Covering, Rand index and variation of information, straight from what they are."""
    n = labels.size
    covered = 0.0
    for region in np.unique(truth):
        inside = truth == region
        ious = [(inside & (labels == part)).sum() / (inside | (labels == part)).sum() for part in np.unique(labels)]
        covered += inside.sum() * max(ious)
    first, second = np.triu_indices(n, 1)
    agree = (labels[first] == labels[second]) == (truth[first] == truth[second])

    def entropy(values: Any) -> float:
        shares = np.unique(values, return_counts=True, axis=0)[1] / n
        return float(-(shares * np.log2(shares)).sum())

    joint = entropy(np.stack([labels, truth], axis=1))
    return covered / n, agree.mean(), 2 * joint - entropy(labels) - entropy(truth)


@pytest.mark.parametrize("seed", range(50))
def test_segmentations_agree_as_a_direct_computation_says(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(2, 24, 2))
    labels, *truths = (rng.integers(0, rng.integers(1, 12), shape) for _ in range(4))
    everywhere = np.ones(shape, np.bool_)
    each = [Agreement.of(Pairs.count(labels, truth, everywhere)) for truth in truths]
    expected = [direct(labels.ravel(), truth.ravel()) for truth in truths]
    for found, (covering, rand, voi) in zip(each, expected, strict=True):
        assert found.covering == pytest.approx(covering, **CLOSE)
        assert found.rand == pytest.approx(rand, **CLOSE)
        assert found.variation_of_information == pytest.approx(voi, **CLOSE)
    together = Agreements.of_image(each)
    np.testing.assert_allclose(
        (together.covering, together.rand, together.variation_of_information), np.mean(expected, axis=0), atol=1e-12
    )


def test_images_are_averaged_and_their_regions_pooled() -> None:
    good, bad = Agreement(100, 1.0, 1.0, 1.0, 0.0, 100.0), Agreement(300, 0.5, 0.0, 0.0, 2.0, 60.0)
    found = Agreements.of_images([Agreements.of_image([good, bad]), Agreements.of_image([bad])])
    assert found is not None
    assert (found.images, found.rand, found.variation_of_information) == (2, 0.625, 1.5)
    assert found.covering == (100 + 60 + 60) / 700
    assert Agreements.of_images([]) is None


# ------------------------------------------------------------------------------------------------------ whole numbers


def test_pairs_of_pixels_beyond_64_bits_are_counted_exactly() -> None:
    """Of 10^13 pixels there are 10^26 pairs; two that differ are seen."""
    n = 10**13
    pairs = Pairs.of(np.array([0, 1, 1]), np.array([0, 0, 1]), np.array([n, 2, n]))
    found = Agreement.of(pairs)
    joint, rows, columns = 2 * n * n + 4, n * n + (n + 2) ** 2, (n + 2) ** 2 + n * n
    total = (2 * n + 2) * (2 * n + 1)
    assert found.rand == (total - rows - columns + 2 * joint) / total
    assert 0 < 1 - found.adjusted_rand < 1e-12
    confusion = Confusion.of(assigned(pairs, {0: 0, 1: 1}), ["a", "b"], np.arange(2))
    total = 2 * n + 2
    chance = 2 * n * (n + 2)
    assert confusion.kappa == (total * 2 * n - chance) / (total * total - chance)
    assert confusion.accuracy == 2 * n / total


def test_nothing_to_compare_is_no_error() -> None:
    found = Agreement.of(Pairs())
    assert (found.pixels, found.rand, found.adjusted_rand, found.mutual_information, found.covering) == (0, 1, 1, 1, 1)
    confusion = Confusion.of(assigned(Pairs(), {}), [], np.zeros(0, np.int64))
    assert (confusion.accuracy, confusion.kappa, confusion.mean_iou, confusion.classes) == (None, None, None, ())


# -------------------------------------------------------------------------------------------------------- assignments


def test_a_tie_goes_to_the_first_class_and_names_meet_only_themselves() -> None:
    pairs = Pairs.of(np.array([0, 0, 1, 2]), np.array([4, 7, 7, 4]), np.array([5, 5, 9, 1]))
    assert by_majority(pairs) == {0: 4, 1: 7, 2: 4}
    assert one_to_one(pairs) == {0: 4, 1: 7}
    assert by_name(pairs, {0: "soil", 1: "plant", 2: "2"}, {"plant": 4, "soil": 7}) == {0: 7, 1: 4}
    found = Confusion.of(assigned(pairs, one_to_one(pairs)), ["plant", "soil"], np.array([-9] * 4 + [0, -9, -9, 1]))
    assert found.counts.tolist() == [[5, 0, 1], [5, 9, 0]]
    assert [each.name for each in found.classes] == ["plant", "soil"]
    assert found.classes[0].to_json() == {
        "name": "plant", "reference": 6, "predicted": 10, "correct": 5,
        "precision": 0.5, "recall": 5 / 6, "f1": 10 / 16, "iou": 5 / 11,
    }  # fmt: skip


def test_a_table_too_large_to_be_assigned_one_to_one_names_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confusions, "MOST_MATRIX", 3)
    pairs = Pairs.of(np.array([0, 1]), np.array([0, 1]), np.array([1, 1]))
    with pytest.raises(UsageError, match="--assign majority"):
        one_to_one(pairs)
