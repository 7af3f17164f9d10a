"""The page: whole, well-formed, deaf to what is in names, and with an upper bound."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kseg_core import products
from kseg_core.config import ADDED
from kseg_core.figures.charts import Chart, Line
from kseg_core.inputs.listing import list_inputs
from kseg_core.report.content import Card, Cloud, ClusterRow, Painted, Report
from kseg_core.report.facts import ImageFacts, rank
from kseg_core.report.figures import PICTURES, PictureFigure, figure_files, shown_on_page
from kseg_core.report.page import (
    LINES,
    LineFigure,
    PicturePart,
    area,
    build_page,
    percent,
    with_pictures_that_fit,
    write_report,
)
from kseg_core.report.thumbnails import data_uri, gray_file, original_file, segmented_file
from kseg_core.report.views import Pictures
from kseg_core.scoring.confusion import Confusion

HOSTILE = ("</script><script>alert(1)</script>", '"><img src=x onerror=alert(2)>', "a&b<b>'\x1b[31m", "$x ${name} $$")
VOID = {"meta", "link", "img", "input", "br"}
SVG_LEAVES = {"line", "circle", "polyline"}


class Reader(HTMLParser):
    """Reads a page, and checks that what is opened is closed."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in VOID | SVG_LEAVES, tag
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> of nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip() and self.open and self.open[-1] not in ("script", "style"):
            self.texts.append(data)


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert reader.open == []
    return reader


def make_report(names: tuple[str, ...] = ("a.png", "b.png", "c.png"), k: int = 3) -> Report:
    """A report with everything in it."""
    colors = tuple((int(j * 37 % 256), int(j * 91 % 256), int(j * 13 % 256)) for j in range(k))
    palette = np.array(colors, np.uint8)
    images = []
    for n, name in enumerate(names):
        counts = tuple((n + 2) * (j + 1) for j in range(k))
        images.append(ImageFacts(f"key-{n}", name, (20, 30), counts, 7, 10.0 * n + 1, colors, 2.0))
    ranked = rank(images, k)
    labels = (np.arange(600).reshape(20, 30) % k).astype(np.uint8 if k < 255 else np.uint16)
    labels[0, 0] = np.iinfo(labels.dtype).max
    photo = np.dstack([np.random.default_rng(0).integers(0, 256, (20, 30, 3)), np.full((20, 30), 255)]).astype(np.uint8)
    cards = tuple(
        Card(
            image,
            Pictures(
                segmented_file(labels, palette),
                original_file(photo) if at != 1 else None,
                lost="" if at != 1 else f"gone: {image.facts.source}",
                masks=((0, gray_file(labels == 0)),),
            ),
        )
        for at, image in enumerate(ranked)
    )
    rows = [
        {"k": j, "k_found": j, "inertia": 100.0 / j, "mse": 1.0 / j, "silhouette": None, "calinski_harabasz": 5.0}
        for j in range(1, 6)
    ]
    return Report(
        name=names[0],
        lead="3 images",
        facts=(("Images", "3"), ("k", str(k))),
        about=(("Images from", names[-1]),),
        warnings=(f"note {names[0]}",),
        failures=tuple((name, f"bad {name}") for name in names),
        clusters=tuple(ClusterRow(c, 10 * (j + 1), (j + 1) / 6, 3, 5.0, 1.5) for j, c in enumerate(colors)),
        images=tuple(ranked),
        cards=cards,
        fit={"history": [{"batch": [9.0, 8.0], "steps": []}, {"batch": [7.0], "steps": [100.0, 90.0]}]},
        sweep={"k": 3, "knee": 3, "why": f"because {names[0]}", "sweep": rows, "each": None},
        painted=Painted(names[0], original_file(photo), ((2, segmented_file(labels % 2, palette)),)),
        cloud=Cloud(
            np.array([[1, 2, 3], [4, 5, 6]], np.uint8), np.array([0, k - 1]), palette, ("red", "green", "blue"), True
        ),
        sampled=1234,
    )


@pytest.mark.parametrize("k", [1, 3, 300])
def test_the_page_is_well_formed_and_asks_nobody_for_anything(k: int) -> None:
    page = build_page(make_report(k=k))
    assert page == build_page(make_report(k=k))
    reader = read(page)
    assert page.startswith('<!DOCTYPE html>\n<html lang="en">')
    assert "<title>a.png – K-means segmentation</title>" in page
    ids = [attributes["id"] for _, attributes in reader.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = [a["href"] for tag, a in reader.tags if tag == "a"]
    assert links
    assert all(link is not None and link[0] == "#" and link[1:] in ids for link in links)
    for tag, attributes in reader.tags:
        assert tag != "img" or attributes["alt"]
        assert not (tag == "svg" or attributes.get("role") == "img") or attributes["aria-label"]
    addresses = re.findall(r"""(?:src|href|action|data|poster|xlink:href)\s*=\s*["']([^"']*)""", page)
    assert {address.partition(":")[0] for address in addresses if not address.startswith("#")} == {"data"}
    assert not re.search(r"https?://|@import|url\(|fetch\(|XMLHttpRequest|WebSocket|import\(", page)
    assert "default-src 'none'" in page


def test_hostile_names_are_text_and_nothing_else_and_the_scripts_data_is_what_was_given() -> None:
    page = build_page(make_report(HOSTILE))
    reader = read(page)
    assert sum(tag == "script" for tag, _ in reader.tags) == 2
    assert not [a for tag, a in reader.tags if tag == "img" and a.get("src") == "x"]
    assert not [name for _, attributes in reader.tags for name in attributes if name.startswith("on")]
    told = " ".join(reader.texts)
    for name in HOSTILE:
        assert "".join(c if c.isprintable() else "\ufffd" for c in name) in told
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    data = json.loads(text)
    assert sorted(row[1] for row in data["images"]) == sorted(HOSTILE)
    assert data["cloud"]["points"] == [1, 2, 3, 4, 5, 6]
    assert [column["id"] for column in data["columns"]][-3:] == ["c0", "c1", "c2"]
    assert not set("<>&") & set(text)


def test_an_empty_report_is_a_page_too_and_has_no_figure() -> None:
    bare = replace(
        make_report(), clusters=(), cards=(), images=(), fit={}, sweep=None, painted=None, cloud=None,
        warnings=(), failures=(), facts=(), about=(),
    )  # fmt: skip
    assert "Please note" not in " ".join(read(build_page(bare)).texts)
    assert figure_files(bare) == {}


def test_pictures_are_left_out_before_the_page_is_too_large() -> None:
    report = make_report()
    large = [replace(image, pictures=Pictures(b"\x89PNG" + bytes(4_000_000))) for image in report.cards]
    kept = with_pictures_that_fit(replace(report, cards=tuple(large)))
    assert len(kept.cards) == 2
    assert kept.warnings[-1].startswith("Pictures of 2 images fill the page; 1 more")
    assert with_pictures_that_fit(report) is report


@pytest.mark.parametrize(
    ("told", "value", "text"),
    [
        *((percent, *each) for each in ((0.0, "0.0 %"), (0.6525, "65.3 %"), (0.0004, "< 0.1 %"), (1.0, "100.0 %"))),
        *((area, *each) for each in ((None, "–"), (2.5e6, "2.5 km²"), (12_345.0, "12,345 m²"))),
        *((area, *each) for each in ((3e-6, "3 mm²"), (125e-12, "125 µm²"))),
    ],
)
def test_numbers_are_as_people_read_them(told: Any, value: float | None, text: str) -> None:
    assert told(value) == text


def test_the_pages_elbow_and_history_are_drawn_where_the_numbers_are() -> None:
    page = build_page(make_report())
    elbow, batch, steps = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    (points,) = re.findall(r'points="([^"]*)"', elbow)
    places = [tuple(map(float, point.split(","))) for point in points.split()]
    heights = [320 - 46 - y for _, y in places]
    assert [height / heights[0] for height in heights] == pytest.approx([1 / k for k in range(1, 6)], abs=0.01)
    assert {b - a for (a, _), (b, _) in pairwise(places)} <= {133.5, 133.4}
    assert re.findall(r'class="mark" cx="([\d.]+)" cy="([\d.]+)"', elbow) == [tuple(map(str, places[2]))]
    assert "knee: k = 3" in elbow
    assert "mean squared error" in elbow
    assert [svg.count("<polyline") for svg in (batch, steps)] == [2, 1]
    assert [svg.count("line strong") for svg in (batch, steps)] == [1, 1]
    assert "% above the lowest" in batch


def test_an_outlier_is_called_so_and_a_long_table_scrolls() -> None:
    report = make_report(tuple(f"{n}.png" for n in range(50)), k=50)
    far = [replace(image, distance=1.0 if at == 0 else 0.1, ratio=1.0) for at, image in enumerate(report.images)]
    cards = [replace(image, ranked=ranked) for image, ranked in zip(report.cards, far, strict=True)]
    page = build_page(replace(report, images=tuple(far), cards=tuple(cards)))
    assert page.count(">outlier<") == 1
    assert page.count('tall" tabindex="0" role="region"') == 1


def test_every_figure_has_its_file_and_a_new_one_is_an_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shares of the clusters as lines, and their palette once more: on the page, in a file, and no input."""

    def charts(report: Report) -> list[Chart]:
        shares = [cluster.share for cluster in report.clusters]
        return [Chart("Rising", "rank", "share", (Line("", range(len(shares)), sorted(shares)),), "Rising shares")]

    figures = (*products.FIGURES, "shares.png", "again.png")
    for module in ("products", "inputs.passed_over", "report.figures", "report.page"):
        monkeypatch.setattr(f"kseg_core.{module}.FIGURES", figures)
    monkeypatch.setitem(LINES, "shares.png", LineFigure("Shares", "How even", "Of all clusters.", charts))
    part = PicturePart("again", "Again", "The palette again", "All of it.", "palette", "all clusters")
    monkeypatch.setitem(PICTURES, "again.png", PictureFigure(PICTURES["palette.png"].draw, lambda _: part))
    report = make_report()
    added = tuple((name, gray_file(np.eye(9, dtype=bool))) for name in ADDED)
    edged = replace(report.cards[0], pictures=replace(report.cards[0].pictures, added=added))
    pixels, agreement = {"judged": 9, "unlabelled": 0, "unjudged": 0}, {"adjusted_rand": 0.5}
    classes = Confusion(("a", "b"), np.array([[4, 1, 0], [0, 3, 1]])).to_json()
    score = {
        "pixels": pixels,
        "references": 1,
        "agreement": agreement,
        "classes": classes,
        "assign": "name",
        "each": [],
    }
    report = replace(report, cards=(edged, *report.cards[1:]), score=score)
    files = figure_files(report)
    page = build_page(report, shown_on_page(report, files))
    assert files.keys() == set(products.FIGURES)
    assert all(file.startswith(b"\x89PNG") for file in files.values())
    assert '<a href="#shares">Shares</a>' in page
    assert '<a href="#again">Again</a>' in page
    assert page.count(data_uri(files["again.png"])) == 1
    assert "<figcaption>all clusters</figcaption>" in page
    assert "<h3>Rising</h3><svg" in page
    read(page)
    write_report(str(tmp_path / "r"), {**files, products.PAGE: page.encode()})
    assert (list_inputs([str(tmp_path)]).files, list_inputs([str(tmp_path)]).ours) == ((), len(figures))
