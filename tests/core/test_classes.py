"""Named classes: their numbers, what is refused and how, and the documents that hold them."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kseg_core.classes import NO_CLASSES, Classes, NamedClass, parse_class, parse_colors
from kseg_core.errors import UsageError

PLANT, SOIL = NamedClass("plant", (4, 1, 2), "#2CA02C"), NamedClass("bare soil", (0,))
BOTH = Classes((PLANT, SOIL))

NAMES = st.text(st.characters(exclude_categories=["C", "Z"], exclude_characters=",=-"), min_size=1, max_size=9).filter(
    lambda name: not name.isdecimal()
)


@st.composite
def all_classes(draw: st.DrawFn) -> tuple[Classes, int]:
    """Classes of some clusters, and how many clusters there are."""
    k = draw(st.integers(1, 12))
    names = draw(st.lists(NAMES, max_size=k, unique_by=str.casefold))
    order = draw(st.permutations(range(k)))
    ends = sorted(draw(st.lists(st.integers(1, k), min_size=len(names), max_size=len(names), unique=True)))
    parts = [tuple(order[a:b]) for a, b in zip([0, *ends], ends, strict=False)]
    colors = st.none() | st.from_regex("#[0-9a-f]{6}", fullmatch=True)
    return Classes(tuple(NamedClass(n, c, draw(colors)) for n, c in zip(names, parts, strict=True))), k


def test_named_classes_come_first_and_clusters_without_a_name_follow() -> None:
    assert BOTH.names(6) == ("plant", "bare soil", "3", "5")
    assert BOTH.groups(6) == ((1, 2, 4), (0,), (3,), (5,))
    assert BOTH.of_clusters(6) == (1, 0, 0, 2, 0, 3)
    assert NO_CLASSES.names(2) == ("0", "1")
    assert not NO_CLASSES
    assert PLANT.color == "#2ca02c"


@given(all_classes())
def test_every_cluster_is_in_one_class_and_documents_give_them_back(made: tuple[Classes, int]) -> None:
    classes, k = made
    groups = classes.groups(k)
    assert sorted(cluster for group in groups for cluster in group) == list(range(k))
    assert all(cluster in groups[number] for cluster, number in enumerate(classes.of_clusters(k)))
    assert len(classes.names(k)) == len(set(classes.names(k))) == len(groups)
    assert Classes.from_json(classes.to_json()) == classes
    told = tomllib.loads(classes.to_toml())
    assert list(told["classes"].items()) == [(each.name, list(each.clusters)) for each in classes]


@given(all_classes())
def test_a_file_gives_them_back(tmp_path_factory: pytest.TempPathFactory, made: tuple[Classes, int]) -> None:
    path = tmp_path_factory.getbasetemp() / "classes.toml"
    path.write_text(made[0].to_toml(), encoding="utf-8")
    assert Classes.from_toml(str(path)) == made[0]


def test_changes_keep_the_order_and_the_colours_of_what_is_there() -> None:
    after = BOTH.changed([("plant", (1,)), ("root", (2, 4))], {"root": "#000000"})
    assert [(each.name, each.clusters, each.color) for each in after] == [
        ("plant", (1,), "#2ca02c"),
        ("bare soil", (0,), None),
        ("root", (2, 4), "#000000"),
    ]
    assert BOTH.changed([("plant", ())], {}) == Classes((SOIL,))
    assert BOTH.changed([], {"plant": "mean"}).named[0].color is None
    assert BOTH.changed([("plant", (1, 2)), ("bare soil", (0, 4))], {}).of_clusters(5) == (1, 0, 0, 2, 1)


@pytest.mark.parametrize(
    ("name", "clusters", "said"),
    [
        ("3", (1,), "a number is the name of a cluster"),
        ("", (1,), "printable"),
        (" a", (1,), "printable"),
        ("a\nb", (1,), "printable"),
        ("a,b", (1,), "comma"),
        ("a=b", (1,), "no ="),
        ("-a", (1,), "dash"),
        ("Invalid", (1,), "do not count"),
        ("n" * 101, (1,), "at most 100"),
        ("a", (), "a=0"),
        ("a", (-1,), "numbers from 0"),
        ("a", (1, 1), "twice: 1,1"),
    ],
)
def test_what_is_no_class_is_refused(name: str, clusters: tuple[int, ...], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        NamedClass(name, clusters)


def test_classes_that_do_not_go_together_are_refused() -> None:
    with pytest.raises(UsageError, match=r"cluster 4 is in 'plant' and in 'root'.*plant=…"):
        BOTH.changed([("root", (4,))], {})
    with pytest.raises(UsageError, match="'plant' and 'Plant'"):
        Classes((PLANT, NamedClass("Plant", (5,))))
    with pytest.raises(UsageError, match=r"no class 'rot' to remove \(there are: plant, bare soil\)"):
        BOTH.changed([("rot", ())], {})
    with pytest.raises(UsageError, match="name it first: rot="):
        BOTH.changed([], {"rot": "#000000"})
    with pytest.raises(UsageError, match="no cluster 4; clusters are numbered 0 to 3"):
        BOTH.require_within(4)


def test_texts_of_a_command_line() -> None:
    assert parse_class("plant=1,2,4") == ("plant", (1, 2, 4))
    assert parse_class(" bare soil = 0 ") == ("bare soil", (0,))
    assert parse_class("plant=") == ("plant", ())
    assert parse_colors(["plant=#2CA02C", "soil=mean"]) == {"plant": "#2ca02c", "soil": "mean"}
    for text in ("plant", "plant=a", "plant=1;2"):
        with pytest.raises(UsageError, match="plant=1,2,4"):
            parse_class(text)
    for text in ("#ffffff", "plant=red"):
        with pytest.raises(UsageError, match="#2ca02c"):
            parse_colors([text])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("plant = [1]", r"\[classes\].*it has 'plant' besides"),
        ("[classes]\nplant = 1", r"'plant' is a list of clusters, as in \[1, 2, 4\]; got 1"),
        ("[classes]\nplant = [1]\n[colors]\nplant = 'red'", "#2ca02c"),
        ("[classes]\nplant = [1]\n[colors]\nsoil = '#000000'", "no class has that name"),
        ("[classes", "not a TOML file"),
    ],
)
def test_a_file_that_is_something_else_is_named(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "c.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=f"c.toml: .*{said}"):
        Classes.from_toml(str(path))
    with pytest.raises(UsageError, match=r"none\.toml: cannot be read"):
        Classes.from_toml(str(tmp_path / "none.toml"))
