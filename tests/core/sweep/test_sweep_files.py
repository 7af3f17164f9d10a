"""The files of a sweep: what is in the table, what is drawn, and that each appears whole or not at all."""

from __future__ import annotations

import io
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure
from PIL import Image

from kseg_core.figures.elbow import elbow_figure, elbow_png, elbows_figure
from kseg_core.sweep.files import chosen_k, drops, table_csv, write_whole


def row(k: int, inertia: float, silhouette: float | None, found: int | None = None) -> dict[str, Any]:
    return {
        "k": k,
        "k_found": k if found is None else found,
        "inertia": inertia,
        "mse": inertia / 10,
        "silhouette": silhouette,
        "calinski_harabasz": None if silhouette is None else 12.5,
    }


def swept(k: int, knee: int | None, *rows: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"k": k, "knee": knee, "sweep": list(rows), "each": None, **more}


KNEE = swept(2, 2, row(1, 100.0, None), row(2, 20.0, 0.75), row(3, 15.0, 0.5))
NO_KNEE = swept(3, None, row(2, 30.0, 0.5), row(3, 20.0, 0.625))
FEWER = swept(2, None, row(1, 8.0, None), row(2, 0.0, 1.0), row(3, 0.0, 1.0, found=2))


def test_the_table_has_a_line_for_every_k() -> None:
    assert table_csv(KNEE).splitlines() == [
        "k,k_found,inertia,mse,drop_percent,silhouette,calinski_harabasz,knee,chosen",
        "1,1,100.0,10.0,,,,0,0",
        "2,2,20.0,2.0,80.0,0.75,12.5,1,1",
        "3,3,15.0,1.5,25.0,0.5,12.5,0,0",
    ]
    assert table_csv(FEWER).splitlines()[2:] == ["2,2,0.0,0.0,100.0,1.0,12.5,0,1", "3,2,0.0,0.0,,1.0,12.5,0,0"]


def test_the_table_of_each_image_names_it() -> None:
    each = [
        KNEE | {"key": "a", "source": 'x, "y".png'},
        {"key": "b", "source": "b", "k": None, "knee": None, "sweep": None},
    ]
    lines = table_csv({"each": each}).splitlines()
    assert lines[0].startswith("key,source,k,")
    assert lines[1] == 'a,"x, ""y"".png",1,1,100.0,10.0,,,,0,0'
    assert len(lines) == 4


def test_drops_are_missing_where_there_is_nothing_to_fall_from() -> None:
    assert drops([]) == []
    assert drops(FEWER["sweep"]) == [None, 100.0, None]


def test_the_chosen_line_is_the_first_of_so_many_clusters() -> None:
    assert (chosen_k(KNEE), chosen_k(FEWER)) == (2, 2)
    assert chosen_k({"k": None, "sweep": None}) is None


def words(figure: Figure) -> set[str]:
    """Everything written on a figure."""
    figure.canvas.draw()
    return {text.get_text() for text in figure.findobj(match=lambda artist: hasattr(artist, "get_text"))}


def test_the_figure_shows_the_curve_and_marks_the_knee_by_shape_line_and_word() -> None:
    figure = elbow_figure(KNEE)
    upper, lower = figure.axes
    curve = next(line for line in upper.lines if len(line.get_xdata()) == 3)
    assert (list(curve.get_xdata()), list(curve.get_ydata())) == ([1, 2, 3], [100.0, 20.0, 15.0])
    rated = next(line for line in lower.lines if line.get_marker() == "s")
    assert (list(rated.get_xdata()), list(rated.get_ydata())) == ([2, 3], [0.75, 0.5])
    for axes, value in ((upper, 20.0), (lower, 0.75)):
        (mark,) = [line for line in axes.lines if line.get_marker() == "D"]
        assert (list(mark.get_xdata()), list(mark.get_ydata())) == ([2], [value])
        assert any(list(line.get_xdata()) == [2, 2] and line.get_linestyle() == "--" for line in axes.lines)
    assert "knee: k = 2" in words(figure)


def test_a_figure_without_a_knee_says_so_and_what_was_chosen() -> None:
    assert {"no knee in this curve", "chosen: k = 3", "largest"} <= words(elbow_figure(NO_KNEE))


@pytest.mark.parametrize(
    "record", [KNEE, NO_KNEE, FEWER, swept(1, None, row(1, 0.0, None)), swept(4, None, row(4, 3.0, 0.1))]
)
def test_every_sweep_has_a_figure(record: dict[str, Any]) -> None:
    png = elbow_png(record)
    assert png == elbow_png(record)  # no times in it
    with Image.open(io.BytesIO(png)) as image:
        image.load()
        assert min(image.size) > 500


def test_the_figure_of_many_images_counts_which_k_was_chosen() -> None:
    nothing = {"k": None, "knee": None, "sweep": None}
    one_value = swept(1, None, *[row(k, 0.0, None, found=1) for k in (1, 2, 3)])
    figure = elbows_figure([KNEE, KNEE, one_value, nothing])
    _, lower = figure.axes
    bars = {round(bar.get_x() + bar.get_width() / 2): bar.get_height() for bar in lower.patches}
    assert bars == {2: 2, 1: 1}
    elbows_figure([nothing]).canvas.draw()


def test_a_file_appears_whole_and_for_whom_the_umask_allows(tmp_path: Path) -> None:
    write_whole(tmp_path / "a.txt", b"one")
    write_whole(tmp_path / "a.txt", b"two")
    assert (tmp_path / "a.txt").read_bytes() == b"two"
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o666 & ~umask
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("kseg_core.sweep.files.os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_whole(tmp_path / "a.txt", b"one")
    assert list(tmp_path.iterdir()) == []
