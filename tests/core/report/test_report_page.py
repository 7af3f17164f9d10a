"""The page: whole, well-formed, deaf to what is in names, and with an upper bound."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from kseg_core.report.charts import Line, Mark, line_chart, ticks
from kseg_core.report.content import Cloud, ClusterRow, Painted, Report, ShownImage, Sweep, SweepRow
from kseg_core.report.encoding import mask_file, original_file, pixels_of, segmented_file
from kseg_core.report.facts import ImageFacts
from kseg_core.report.markup import json_in_script, percent
from kseg_core.report.page import build_page, with_pictures_that_fit
from kseg_core.report.ranking import rank

HOSTILE = ("</script><script>alert(1)</script>", '"><img src=x onerror=alert(2)>', "a&b<b>'\x1b[31m", "$x ${name} $$")
AXES = ("red", "green", "blue")
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
    shown = tuple(
        ShownImage(
            image,
            segmented_file(labels, palette),
            original_file(photo) if at != 1 else None,
            lost="" if at != 1 else f"gone: {image.facts.source}",
            masks=((0, mask_file(labels == 0)),),
        )
        for at, image in enumerate(ranked)
    )
    rows = tuple(SweepRow(j, 100.0 / j, 1.0 / j, None, 5.0) for j in range(1, 6))
    return Report(
        name=names[0],
        lead="3 images",
        facts=(("Images", "3"), ("k", str(k))),
        about=(("Images from", names[-1]),),
        warnings=(f"note {names[0]}",),
        failures=tuple((name, f"bad {name}") for name in names),
        clusters=tuple(ClusterRow(c, 10 * (j + 1), (j + 1) / 6, 3, 5.0, 1.5) for j, c in enumerate(colors)),
        images=tuple(ranked),
        shown=shown,
        history=([[9.0, 8.0], [7.0]], [[], [100.0, 90.0]]),
        sweep=Sweep(3, rows, f"because {names[0]}"),
        painted=Painted(names[0], original_file(photo), ((2, segmented_file(labels % 2, palette)),)),
        cloud=Cloud(
            np.array([[1, 2, 3], [4, 5, 6]], np.uint8), np.array([0, k - 1]), palette, ("red", "green", "blue"), True
        ),
        looked_at=1234,
    )


@pytest.mark.parametrize("k", [1, 3, 300])
def test_the_page_is_well_formed_and_says_what_it_is(k: int) -> None:
    page = build_page(make_report(k=k))
    reader = read(page)
    assert page.startswith('<!DOCTYPE html>\n<html lang="en">')
    assert "<title>a.png – K-means segmentation</title>" in page
    ids = [attributes["id"] for _, attributes in reader.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = [a["href"] for tag, a in reader.tags if tag == "a"]
    assert links
    assert all(link is not None and link[0] == "#" and link[1:] in ids for link in links)
    for tag, attributes in reader.tags:
        if tag == "img":
            assert attributes["alt"]
        if tag == "svg" or attributes.get("role") == "img":
            assert attributes["aria-label"]


def test_the_page_asks_nobody_for_anything() -> None:
    page = build_page(make_report())
    addresses = re.findall(r"""(?:src|href|action|data|poster|xlink:href)\s*=\s*["']([^"']*)""", page)
    assert addresses
    assert {address.partition(":")[0] for address in addresses if not address.startswith("#")} == {"data"}
    assert not re.search(r"https?://", page)
    assert not re.search(r"@import|url\(|fetch\(|XMLHttpRequest|WebSocket|import\(", page)
    assert "default-src 'none'" in page


def test_hostile_names_are_text_and_nothing_else() -> None:
    reader = read(build_page(make_report(HOSTILE)))
    assert sum(tag == "script" for tag, _ in reader.tags) == 2
    assert not [a for tag, a in reader.tags if tag == "img" and a.get("src") == "x"]
    assert not [name for _, attributes in reader.tags for name in attributes if name.startswith("on")]
    told = " ".join(reader.texts)
    for name in HOSTILE:
        assert "".join(c if c.isprintable() else "\ufffd" for c in name) in told


def test_the_data_of_the_script_is_what_was_given() -> None:
    page = build_page(make_report(HOSTILE))
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    data = json.loads(text)
    assert sorted(row[1] for row in data["images"]) == sorted(HOSTILE)
    assert data["cloud"]["points"] == [1, 2, 3, 4, 5, 6]
    assert [column["id"] for column in data["columns"]][-3:] == ["c0", "c1", "c2"]
    assert json.loads(json_in_script({"x": "</script><!--&"})) == {"x": "</script><!--&"}
    assert "<" not in json_in_script({"x": "</script><!--&"})


def test_the_same_report_is_the_same_page() -> None:
    assert build_page(make_report()) == build_page(make_report())


def test_an_empty_report_is_a_page_too() -> None:
    bare = replace(
        make_report(), clusters=(), shown=(), images=(), history=None, sweep=None, painted=None, cloud=None,
        warnings=(), failures=(), facts=(), about=(),
    )  # fmt: skip
    reader = read(build_page(bare))
    assert "Please note" not in " ".join(reader.texts)


def test_pictures_are_left_out_before_the_page_is_too_large() -> None:
    report = make_report()
    large = [replace(image, segmented=b"\x89PNG" + bytes(4_000_000)) for image in report.shown]
    kept = with_pictures_that_fit(replace(report, shown=tuple(large)))
    assert len(kept.shown) == 2
    assert kept.warnings[-1].startswith("Pictures of 2 images fill the page; 1 more")
    assert with_pictures_that_fit(report) is report


@pytest.mark.parametrize(("share", "text"), [(0.0, "0.0 %"), (0.6525, "65.3 %"), (0.0004, "< 0.1 %"), (1.0, "100.0 %")])
def test_what_is_there_is_never_called_nothing(share: float, text: str) -> None:
    assert percent(share) == text


# -------------------------------------------------------------------------------------------------- pictures, charts


@pytest.mark.parametrize(("k", "dtype"), [(1, "uint8"), (3, "uint8"), (15, "uint8"), (254, "uint8"), (300, "uint16")])
def test_a_segmented_picture_is_the_colours_of_its_labels(k: int, dtype: str) -> None:
    random = np.random.default_rng(k)
    colors = random.integers(0, 256, (k, 3), dtype=np.uint8)
    labels = random.integers(0, k, (9, 14)).astype(dtype)
    invalid = random.random((9, 14)) < 0.2
    labels[invalid] = np.iinfo(labels.dtype).max
    picture = pixels_of(segmented_file(labels, colors))
    assert (picture[..., 3] == np.where(invalid, 0, 255)).all()
    assert (picture[..., :3][~invalid] == colors[labels[~invalid]]).all()


def test_an_image_without_a_cluster_is_transparent() -> None:
    picture = pixels_of(segmented_file(np.full((2, 3), 255, np.uint8), np.empty((0, 3), np.uint8)))
    assert picture.shape == (2, 3, 4)
    assert not picture[..., 3].any()


def test_a_photograph_is_transparent_where_no_pixel_counts() -> None:
    cells = np.full((8, 8, 4), (200, 100, 50, 255), np.uint8)
    assert pixels_of(original_file(cells)).shape == (8, 8, 3)
    assert np.abs(pixels_of(original_file(cells)).astype(int) - (200, 100, 50)).max() <= 4
    cells[:4, :, 3] = 0
    assert (pixels_of(original_file(cells))[..., 3] == cells[..., 3]).all()


def test_a_mask_is_white_inside() -> None:
    mask = np.eye(6, dtype=bool)
    assert (pixels_of(mask_file(mask)) == mask * np.uint8(255)).all()


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 10, [0, 2, 4, 6, 8, 10]),
        (1, 10, [2, 4, 6, 8, 10]),
        (0, 0.011, [0, 0.002, 0.004, 0.006, 0.008, 0.01]),
        (3, 3, [3]),
    ],
)
def test_ticks_are_round_numbers(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high) == pytest.approx(expected)


def test_a_chart_has_its_points_where_the_numbers_are() -> None:
    svg = line_chart([Line("one", [1, 2, 3], [10, 5, 0], True)], "k", "mse", "said <b>", Mark(2, 5, "here"))
    read(svg)
    (points,) = re.findall(r'points="([^"]*)"', svg)
    (x1, y1), (x2, y2), (x3, y3) = (map(float, point.split(",")) for point in points.split())
    assert (x2 - x1, y2 - y1) == pytest.approx((x3 - x2, y3 - y2), abs=0.2)
    assert y1 < y2 < y3
    (mark,) = re.findall(r'class="mark" cx="([\d.]+)" cy="([\d.]+)"', svg)
    assert tuple(map(float, mark)) == (x2, y2)
    assert "said &lt;b&gt;" in svg
    assert "nothing to draw" in line_chart([], "x", "y", "none")


def test_pictures_are_of_the_kind_they_say(tmp_path: object) -> None:
    import io

    file = original_file(np.full((4, 4, 4), 255, np.uint8))
    assert Image.open(io.BytesIO(file)).format == "WEBP"
