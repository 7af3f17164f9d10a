"""``kseg-batch report`` as people call it, and its page in a real browser."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from kseg_core.layers.layer import ArraySpec
from kseg_core.store.model import Model
from kseg_core.store.nodes import write_array
from kseg_core.store.opening import open_store
from tests.browser import Page, browser, chromium

HOSTILE = ("<img src=x onerror=alert(1)>.png", "a&b \"c\" 'd'.png", "{{x}} ${y} \u202eab.png")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, png: Any, smooth: Any, job: Any) -> Path:
    """Twenty pictures, three of them with names that want to be more, and an input that cannot be read."""
    folder = tmp_path_factory.mktemp("report")
    for n in range(17):
        png(folder / "in" / f"leaf-{n:02d}.png", smooth(40, 60, n))
    for n, name in enumerate(HOSTILE):
        png(folder / "in" / name, smooth(30, 45, 50 + n))
    (folder / "in" / "broken<b>.png").write_bytes(b"\x89PNG\r\n\x1a\nno")
    job(folder / "in", folder / "leaves.kseg.zarr", 4)
    edges = np.zeros((40, 60), bool)
    edges[20] = True
    spec = ArraySpec(edges.shape, edges.shape, "bool", False, ("y", "x"), "bits")
    for name in ("leaf-03.png", "leaf-04.png"):
        path = folder / "leaves.kseg.zarr" / "images" / name / "edges"
        write_array(str(path), edges, spec)
        if name == "leaf-03.png":  # the other's are not finished
            zarr.open_array(path).attrs["kseg"] = {"status": "complete", "edge_pixels": 1}
    model = Model.load(str(folder / "leaves.kseg.zarr"))
    rows = [
        {
            "k": k, "k_found": k, "inertia": 90.0 / k, "mse": 9.0 / k, "silhouette": None, "calinski_harabasz": None,
            "centroids": model.centroids[:k].tolist(), "colors": model.colors[:k].tolist(),
        }
        for k in (1, 2, 3, 4)
    ]  # fmt: skip
    (folder / "sweep").mkdir()
    record = {"k": 2, "knee": 2, "why": "the knee", "features": "rgb", "sweep": rows, "each": None}
    (folder / "sweep" / "sweep.json").write_text(json.dumps(record))
    return folder / "leaves.kseg.zarr"


# ------------------------------------------------------------------------------------------------------- command


def test_a_store_of_edges_alone_is_told_what_it_lacks(tmp_path: Path, kseg: Any, png: Any, smooth: Any) -> None:
    png(tmp_path / "in" / "a.png", smooth(40, 60, 1))
    assert kseg("edges", tmp_path / "in", "-o", tmp_path / "e.zarr").code == 0
    outcome = kseg("report", tmp_path / "e.zarr", "--to", tmp_path / "out")
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err.endswith("e.zarr, only edges: label its images with kseg-batch run\n")
    assert not (tmp_path / "out").exists()


def test_a_k_that_was_found_brings_its_sweep_along(tmp_path: Path, kseg: Any, png: Any, smooth: Any) -> None:
    png(tmp_path / "in" / "a.png", smooth(40, 60, 1))
    auto = ("run", tmp_path / "in", "--k", "auto", "--k-range", "1:4", "--attempts", "1")
    assert kseg(*auto, "-o", tmp_path / "all.zarr").code == 0
    found = kseg("report", tmp_path / "all.zarr", "--to", tmp_path / "out", "--json").json()
    assert {"several-k.png", "elbow.png"} <= {Path(figure).name for figure in found["figures"]}
    page = (tmp_path / "out" / "report.html").read_text()
    assert all(f"k = {k}" in page for k in (2, 3, 4))
    assert kseg(*auto, "-o", tmp_path / "each.zarr", "--scope", "image").code == 0
    assert "centroids" not in (tmp_path / "each.zarr" / "images" / "a.png" / "model" / "zarr.json").read_text()


def test_a_report_is_written_beside_where_one_is(
    store: Path, tmp_path: Path, kseg: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    told = kseg("report", store, "--scheduler", "sync")
    assert (told.code, told.err) == (0, "")
    assert told.out == "leaves.report/report.html: 20 images, 20 with pictures, 6 figures beside it\n"
    names = {path.name for path in (tmp_path / "leaves.report").iterdir()}
    figures = {"palette.png", "comparison.png", "masks.png", "edges.png", "scatter.png", "history.png"}
    assert names == {"report.html", *figures}
    again = kseg("report", store, "--scheduler", "sync", "--json", "--limit", "2")
    assert again.code == 0
    found = again.json()
    assert set(found) == {"status", "output", "report", "figures", "images", "failures"}
    assert (found["status"], found["images"], found["failures"]) == ("ok", {"total": 20, "shown": 2}, [])
    assert found["report"] == "leaves.report/report.html"
    assert all((tmp_path / figure).is_file() for figure in found["figures"])


def test_what_cannot_be_reported_is_one_line(
    store: Path, tmp_path: Path, kseg: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "mine.txt").write_text("mine")
    for options, message in (
        (("--sweep", "nowhere"), "nowhere/sweep.json: cannot be read"),
        (("--to", "taken"), "taken holds other things than an earlier report"),
    ):
        told = kseg("report", store, *options, "--json")
        assert (told.code, told.err.count("\n"), told.json()["status"]) == (1, 1, "failed")
        assert message in told.err
        assert message in told.json()["error"]
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_a_damaged_image_is_named(tmp_path: Path, small_folder: Path, job: Any, kseg: Any) -> None:
    job(small_folder, tmp_path / "s.zarr", 2)
    (tmp_path / "s.zarr" / "images" / "b.png" / "zarr.json").write_text("{}")
    told = kseg("report", tmp_path / "s.zarr", "--to", tmp_path / "r", "--scheduler", "sync")
    assert told.code == 3
    assert "b.png" in told.out
    assert (tmp_path / "r" / "report.html").is_file()


# ------------------------------------------------------------------------------------------------------- browser


@pytest.fixture(scope="module")
def page_file(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of the store."""
    from kseg_core.config import ExecutionSettings
    from workflows.report import ReportRequest, make_report

    folder = tmp_path_factory.mktemp("page") / "report"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kseg_core.report.figures.figure_files", lambda _: {})  # the page has what it shows itself
        make_report(ReportRequest(str(store), str(folder), str(store.parent / "sweep")), ExecutionSettings("sync"))
    return folder / "report.html"


@pytest.fixture(scope="module")
def tabs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Page]]:
    """Opens tabs of one browser."""
    program = chromium()
    if program is None:
        pytest.skip("no Chromium on this machine")
    with contextlib.ExitStack() as ending:
        yield ending.enter_context(browser(program, tmp_path_factory.mktemp("browser")))


def test_the_check_for_requests_and_complaints_can_fail(tabs: Callable[[], Page], tmp_path: Path) -> None:
    bad = tmp_path / "bad.html"
    bad.write_text("<img src='http://127.0.0.1:9/x.png'><script>nothing.there</script>")
    page = tabs()
    page.open(bad)
    assert any(address.startswith("http:") for address in page.requests)
    assert any("nothing is not defined" in complaint for complaint in page.complaints)


@pytest.mark.parametrize(
    ("width", "dark"),
    [
        (1280, False),
        (400, True),
        pytest.param(1280, True, marks=pytest.mark.slow),
        pytest.param(400, False, marks=pytest.mark.slow),
    ],
)
def test_the_page_opens_without_a_complaint_or_a_request(
    width: int, dark: bool, tabs: Callable[[], Page], page_file: Path, tmp_path: Path
) -> None:
    page = tabs()
    page.open(page_file, width, 900, dark=dark)
    assert page.complaints == []
    assert page.requests == [page_file.resolve().as_uri()]
    assert page.evaluate("document.documentElement.scrollWidth") == width  # nothing sticks out sideways
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, ground[4:-1].split(","))) < 120) == dark
    broken = "[...document.images].filter(image => !image.complete || !image.naturalWidth).length"
    assert page.evaluate(broken) == 0
    assert page.evaluate("document.images.length") >= 2 * 20 + 1
    page.screenshot(tmp_path / "seen.png")
    assert (tmp_path / "seen.png").stat().st_size > 10_000


def test_names_are_shown_and_never_obeyed(tabs: Callable[[], Page], page_file: Path, store: Path) -> None:
    page = tabs()
    page.open(page_file)
    titles = page.evaluate("[...document.querySelectorAll('.card h3')].map(node => node.textContent)")
    shown = {"".join(c if c.isprintable() else "\ufffd" for c in name) for name in HOSTILE}
    assert shown <= set(titles)
    assert page.evaluate("document.querySelectorAll('img[src=x], b, [onerror]').length") == 0
    assert "broken<b>.png" in page.evaluate("document.querySelector('#warnings').textContent")
    rows = page.evaluate("[...document.querySelectorAll('#rows .name')].map(node => node.textContent)")
    assert set(rows) == {image.source.rpartition("/")[2] for image in open_store(str(store)).values()}


@pytest.mark.slow
def test_the_table_shows_the_numbers_of_the_store(tabs: Callable[[], Page], page_file: Path, store: Path) -> None:
    page = tabs()
    page.open(page_file)
    script = "[...document.querySelectorAll('#rows tr')].map(row => [...row.cells].map(cell => cell.textContent))"
    opened = open_store(str(store))
    by_name = {image.source.rpartition("/")[2]: image.attributes for image in opened.values()}
    rows = page.evaluate(script)
    assert len(rows) == 20
    for row in rows:
        facts = by_name[row[1]]
        valid = sum(facts["counts"])
        assert row[2] == f"{valid:,}"
        assert float(row[3].replace(",", "")) == pytest.approx(facts["mse"], rel=1e-3)
        for told, count in zip(row[6:10], facts["counts"], strict=True):
            share = Decimal(100 * count / valid)
            rounded = share.quantize(Decimal("0.1"), ROUND_HALF_UP)
            assert told == ("< 0.1 %" if 0 < share < Decimal("0.05") else f"{rounded} %")


def test_the_search_box_filters_pictures_and_rows(tabs: Callable[[], Page], page_file: Path) -> None:
    page = tabs()
    page.open(page_file)
    cards = "[...document.querySelectorAll('.card')].filter(card => !card.hidden).length"
    rows = "document.querySelectorAll('#rows tr').length"
    assert (page.evaluate(cards), page.evaluate(rows)) == (12, 20)
    page.evaluate("document.querySelector('#more-cards button').click()")
    assert page.evaluate(cards) == 20

    def search(text: str) -> tuple[int, int]:
        page.evaluate(f"search.value = {json.dumps(text)}; search.dispatchEvent(new Event('input'))")
        page.evaluate("new Promise(done => setTimeout(done, 250))")
        return page.evaluate(cards), page.evaluate(rows)

    assert search("leaf-0") == (10, 10)
    assert search("LEAF 03") == (1, 1)
    assert page.evaluate("document.getElementById('found').textContent") == "1 image found, 1 picture"
    assert search("nothing like it") == (0, 0)
    assert search("onerror") == (1, 1)
    assert search("") == (20, 20)
    assert page.complaints == []


@pytest.mark.slow
def test_headings_sort_and_names_lead_to_pictures(tabs: Callable[[], Page], page_file: Path) -> None:
    page = tabs()
    page.open(page_file)
    mse = "[...document.querySelectorAll('#rows tr')].map(row => parseFloat(row.cells[3].textContent.replace(',', '')))"
    page.evaluate("document.querySelectorAll('#images th button')[3].click()")
    falling = page.evaluate(mse)
    assert falling == sorted(falling, reverse=True)
    page.evaluate("document.querySelectorAll('#images th button')[3].click()")
    assert page.evaluate(mse) == sorted(falling)
    assert page.evaluate("document.querySelectorAll('#images th')[3].getAttribute('aria-sort')") == "ascending"
    page.evaluate("document.querySelectorAll('#images th button')[1].click()")
    names = page.evaluate("[...document.querySelectorAll('#rows .name')].map(node => node.textContent)")
    assert [name for name in names if name.startswith("leaf")] == [f"leaf-{n:02d}.png" for n in range(17)]
    hidden = page.evaluate("[...document.querySelectorAll('.card')].filter(card => card.hidden)[0].id")
    page.evaluate(f"document.querySelector('#rows a[href=\"#' + {json.dumps(hidden)} + '\"]').click()")
    page.evaluate("new Promise(done => setTimeout(done, 250))")
    assert not page.evaluate(f"document.getElementById({json.dumps(hidden)}).hidden")
    top = page.evaluate(f"document.getElementById({json.dumps(hidden)}).getBoundingClientRect().top")
    assert 0 <= top < 900


@pytest.mark.slow
def test_the_colours_are_turned_by_mouse_and_keys(tabs: Callable[[], Page], page_file: Path, tmp_path: Path) -> None:
    page = tabs()
    page.open(page_file)
    page.evaluate("cloud.scrollIntoView({block: 'center'})")
    page.evaluate("new Promise(done => setTimeout(done, 200))")
    box = page.evaluate("(({x, y, width, height}) => [x, y, width, height])(cloud.getBoundingClientRect())")
    left, top, width, height = box
    picture = "cloud.toDataURL()"
    first = page.evaluate(picture)
    pixels = "new Set(cloud.getContext('2d').getImageData(0, 0, cloud.width, cloud.height).data).size"
    assert page.evaluate(pixels) > 20  # something is drawn
    middle = (left + width / 2, top + height / 2)
    page.drag(middle, (middle[0] + 120, middle[1] + 30))
    page.evaluate("new Promise(done => setTimeout(done, 200))")
    turned = page.evaluate("Number(cloud.dataset.turn)")
    assert turned == pytest.approx(-0.45 + 120 * 0.009, abs=0.01)
    second = page.evaluate(picture)
    assert second != first
    page.evaluate("cloud.focus()")
    page.press("ArrowLeft")
    page.evaluate("new Promise(done => setTimeout(done, 200))")
    assert page.evaluate("Number(cloud.dataset.turn)") == pytest.approx(turned - 0.12, abs=0.01)
    third = page.evaluate(picture)
    assert third != second
    button = "document.querySelector('[data-cluster=\"1\"]')"
    page.evaluate(f"{button}.click()")
    page.evaluate("new Promise(done => setTimeout(done, 200))")
    assert page.evaluate(f"{button}.getAttribute('aria-pressed')") == "true"
    assert page.evaluate(picture) != third
    assert page.complaints == []


@pytest.mark.slow
def test_everything_can_be_reached_by_the_keyboard(tabs: Callable[[], Page], page_file: Path) -> None:
    page = tabs()
    page.open(page_file)
    script = """[...document.querySelectorAll('a[href], button, input, summary, canvas')].filter(node =>
        node.tabIndex < 0 || (node.matches('button, canvas') && !(node.textContent || node.ariaLabel))).length"""
    assert page.evaluate(script) == 0
    assert page.evaluate("document.querySelectorAll('input:not([type=radio])').length") == 1
    assert page.evaluate("search.labels[0].textContent") == "Search images by name"
