"""Groups of clusters: by hand, against merging that looks at every pair anew, and whatever order contacts come in."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from kseg_core.classes import Classes
from kseg_core.grouping.suggestion import suggest_groups, to_toml
from kseg_core.scoring.pairs import Pairs
from tests.strategies import QUICK

Contacts = dict[tuple[int, int], int]


def pairs_of(contacts: Contacts) -> Pairs:
    rows, columns, counts = (
        np.array(each, np.int64)
        for each in ([pair[0] for pair in contacts], [pair[1] for pair in contacts], list(contacts.values()))
    )
    return Pairs.of(rows, columns, counts)


def column(*values: float) -> NDArray[np.float64]:
    return np.array(values, np.float64)[:, np.newaxis]


def plainly(
    contacts: Contacts, means: dict[int, NDArray[np.float64]], pixels: dict[int, int], wanted: int
) -> list[list[int]]:
    """All prices worked out again after each merge."""
    groups = {cluster: [cluster] for cluster in pixels if pixels[cluster]}
    while len(groups) > wanted:
        total = {each: sum(often for pair, often in contacts.items() if each in pair) for each in groups}
        priced = [
            (math.sqrt(float(((means[a] - means[b]) ** 2).sum())) * min(total[a], total[b]) / often, a, b)
            for (a, b), often in contacts.items()
        ]
        if not priced:
            break
        _, a, b = min(priced)
        means[a] = (means[a] * pixels[a] + means[b] * pixels[b]) / (pixels[a] + pixels[b])
        pixels[a] += pixels[b]
        groups[a] += groups.pop(b)
        joined: Contacts = {}
        for pair, often in contacts.items():
            one, other = sorted(a if each == b else each for each in pair)
            if one != other:
                joined[one, other] = joined.get((one, other), 0) + often
        contacts = joined
    return sorted(sorted(group) for group in groups.values())


def test_speckles_of_one_texture_go_together_and_a_patch_of_like_colour_stays() -> None:
    # 0 and 1 lie among each other, 2 is as far from 1 as 0 is and touches it at a short border
    contacts = {(0, 1): 1000, (1, 2): 10, (0, 2): 10, (2, 3): 100}
    found = suggest_groups(pairs_of(contacts), column(10, 20, 30, 90), np.array([500, 500, 400, 300]), 3)
    assert found.groups == ((0, 1), (2,), (3,))
    assert found.price == pytest.approx(10 * 1010 / 1000)
    assert found.fewest is None


def test_without_a_number_it_ends_where_the_price_rises_most() -> None:
    contacts = {(0, 1): 50, (2, 3): 50, (1, 2): 10, (4, 5): 50, (3, 4): 10}
    means = column(0, 1, 100, 101.5, 220, 222)
    counts = np.array([10, 10, 40, 40, 20, 20])
    found = suggest_groups(pairs_of(contacts), means, counts)
    assert found.groups == ((2, 3), (4, 5), (0, 1))
    assert found.fewest == 1
    assert [each.name for each in found.classes] == ["class-1", "class-2", "class-3"]


@pytest.mark.parametrize(("k", "groups"), [(1, ((0,),)), (2, ((0,), (1,))), (3, ((0, 1), (2,)))])
def test_two_are_proposed_at_least(k: int, groups: tuple[tuple[int, ...], ...]) -> None:
    contacts = {(a, a + 1): 1 for a in range(k - 1)}
    assert suggest_groups(pairs_of(contacts), column(*range(k)), np.full(k, 7)).groups == groups


def test_those_that_nowhere_touch_stay_apart_and_those_without_pixels_are_in_none() -> None:
    contacts = {(0, 1): 4, (2, 4): 4}
    found = suggest_groups(pairs_of(contacts), column(0, 1, 2, 3, 4), np.array([1, 1, 1, 0, 1]), 1)
    assert (found.groups, found.fewest) == (((0, 1), (2, 4)), 2)
    alone = suggest_groups(Pairs(), column(0, 1), np.array([1, 2]), 1)
    assert (alone.groups, alone.fewest, alone.price) == (((1,), (0,)), 2, None)
    with pytest.raises(ValueError, match="at least one"):
        suggest_groups(Pairs(), column(0), np.array([1]), 0)


@QUICK
@given(st.data())
def test_it_is_what_merging_the_cheapest_of_all_pairs_gives(data: st.DataObject) -> None:
    k = data.draw(st.integers(1, 9))
    every = [(a, b) for a in range(k) for b in range(a + 1, k)]
    chosen = data.draw(st.lists(st.sampled_from(every), unique=True)) if every else []
    contacts = {pair: data.draw(st.integers(1, 5)) for pair in chosen}  # few values: ties
    means = np.array(data.draw(st.lists(st.tuples(*[st.integers(0, 3)] * 2), min_size=k, max_size=k)), np.float64)
    counts = np.array([data.draw(st.integers(1, 3)) for _ in range(k)], np.int64)
    wanted = data.draw(st.integers(1, k))
    found = suggest_groups(pairs_of(contacts), means, counts, wanted)
    expected = plainly(contacts, dict(enumerate(means)), dict(enumerate(counts.tolist())), wanted)
    assert sorted(map(list, found.groups)) == expected
    assert (found.fewest is None) == (len(found.groups) == wanted)
    turned = dict(data.draw(st.permutations(list(contacts.items()))))
    columns = [np.array([entry[at] for entry in ((*pair, often) for pair, often in turned.items())]) for at in range(3)]
    assert suggest_groups(Pairs(*columns) if turned else Pairs(), means, counts, wanted) == found
    sizes = [int(counts[list(group)].sum()) for group in found.groups]
    assert sizes == sorted(sizes, reverse=True)


def test_the_file_is_one_that_classes_are_read_from(tmp_path: Path) -> None:
    found = suggest_groups(pairs_of({(0, 1): 1}), column(0, 1, 5), np.array([1, 1, 1]), 2)
    rows = [{"share": 2 / 3, "color": "#010203"}, {"share": 1 / 3, "color": "#0a0b0c"}]
    file = tmp_path / "c.toml"
    file.write_text(to_toml(found, rows))
    assert "# 66.7%, #010203" in file.read_text()
    assert Classes.from_toml(str(file)) == found.classes
