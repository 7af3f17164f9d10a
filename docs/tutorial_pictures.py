"""Makes the pictures of docs/tutorials.md from what the page's own commands write: python docs/tutorial_pictures.py

With a folder as argument, the commands' outputs are kept there, and used again where they are there already.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from kseg_core import open_store
from kseg_core.figures.charts import text_on

HERE = Path(__file__).parent
EXAMPLES = HERE.parent / "examples" / "images"
TO = HERE / "images" / "tutorials"
WIDTH, GAP, STRIP = 912, 8, 24
FONT = ImageFont.load_default(15)

Row = Sequence[Image.Image]


def main() -> None:
    """Run the page's commands, then put their outputs together."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(scratch)
        if not (folder / "examples").exists():
            (folder / "examples").symlink_to(EXAMPLES.parent)
            run_commands(folder)
        TO.mkdir(parents=True, exist_ok=True)
        photographs = {
            "painted": painted(folder),
            "cutout": cutouts(folder),
            "gray": gray(folder),
            "three-five-seven": three_five_seven(folder),
            "hsv": hsv(folder),
            "speckle": speckle(folder),
            "edges": sheet([[original("chelsea.png"), opened(folder / "edges" / "chelsea.edges.png")]]),
        }
        drawings = {
            "masks": masks(folder),
            "elbow": narrowed(Image.open(folder / "elbow" / "sweep.png")),
            "scatter": narrowed(Image.open(folder / "five.report" / "scatter.png")),
        }
    for name, picture in photographs.items():
        # every colour of its own: a photograph of few colours would look segmented itself
        picture.save(TO / f"{name}.jpg", quality=82, subsampling="4:4:4", optimize=True)
    for name, picture in drawings.items():
        picture.quantize(128).save(TO / f"{name}.png", optimize=True)


def run_commands(folder: Path) -> None:
    """Every command of the page, from top to bottom."""
    page = (HERE / "tutorials.md").read_text(encoding="utf-8")
    for line in re.findall(r"^    kseg-batch (.*)$", page, flags=re.MULTILINE):
        subprocess.run([sys.executable, "-m", "jobs", *shlex.split(line)], cwd=folder, check=True)


def original(name: str) -> Image.Image:
    """A photograph of the examples."""
    return opened(EXAMPLES / name)


def opened(path: Path) -> Image.Image:
    """A picture file in RGB."""
    return Image.open(path).convert("RGB")


def sheet(rows: Sequence[Row]) -> Image.Image:
    """Rows of pictures, each scaled to the sheet's width; all pictures of a row have one height."""
    lines = []
    for row in rows:
        ratios = [picture.width / picture.height for picture in row]
        height = round((WIDTH - GAP * (len(row) - 1)) / sum(ratios))
        line, left = Image.new("RGB", (WIDTH, height), "white"), 0.0
        for picture, ratio in zip(row, ratios, strict=True):
            right = left + (WIDTH - GAP * (len(row) - 1)) * ratio / sum(ratios)
            line.paste(picture.resize((round(right) - round(left), height), Image.Resampling.BOX), (round(left), 0))
            left = right + GAP
        lines.append(line)
    return stacked(lines)


def stacked(lines: Sequence[Image.Image]) -> Image.Image:
    """Pictures of the sheet's width, one below the other."""
    whole = Image.new("RGB", (WIDTH, sum(line.height for line in lines) + GAP * (len(lines) - 1)), "white")
    top = 0
    for line in lines:
        whole.paste(line, (0, top))
        top += line.height + GAP
    return whole


def swatches(colors: np.ndarray, shares: Sequence[float]) -> Image.Image:
    """A strip of numbered colours, as wide as their shares."""
    strip = Image.new("RGB", (WIDTH, STRIP), "white")
    draw = ImageDraw.Draw(strip)
    ends = np.rint(np.cumsum([0.0, *shares]) / sum(shares) * WIDTH).astype(int).tolist()
    for j, (red, green, blue) in enumerate(colors.tolist()):
        draw.rectangle((ends[j], 0, ends[j + 1] - 1, STRIP), fill=(red, green, blue))
        centre = ((ends[j] + ends[j + 1]) / 2, STRIP / 2)
        draw.text(centre, str(j), fill=text_on((red, green, blue)), font=FONT, anchor="mm")
    return strip


def painted(folder: Path) -> Image.Image:
    """Three photographs, the same in five colours, and the palette by share."""
    names = ("coffee.jpg", "astronaut.jpg", "rocket.jpg")
    model = open_store(str(folder / "five.zarr")).model
    segmented = [opened(folder / "painted" / f"{name}.segmented.png") for name in names]
    rows = sheet([[original(name) for name in names], segmented])
    return stacked([rows, swatches(model.colors, model.counts.tolist())])


def masks(folder: Path) -> Image.Image:
    """The coffee's five masks in a row, each below its colour."""
    model = open_store(str(folder / "five.zarr")).model
    row = [opened(folder / "masks" / f"coffee.mask-{j}.png") for j in range(model.k)]
    return stacked([swatches(model.colors, [1.0] * model.k), sheet([row])])


def cutouts(folder: Path) -> Image.Image:
    """The red parts of three photographs, on a checkerboard."""
    row = []
    for name in ("coffee.jpg", "astronaut.jpg", "retina.jpg"):
        cutout = Image.open(folder / "red" / f"{name}.cutout-2+3.png").convert("RGBA")
        y, x = np.mgrid[: cutout.height, : cutout.width]
        board = np.where((y // 16 + x // 16) % 2, 255, 228).astype(np.uint8)
        row.append(Image.alpha_composite(Image.fromarray(board).convert("RGBA"), cutout).convert("RGB"))
    return sheet([row])


def gray(folder: Path) -> Image.Image:
    """Two photographs, each beside its gray values and its two clusters, painted with their mean colours."""
    store = open_store(str(folder / "two.zarr"))
    rows = []
    for name in ("coffee.jpg", "chelsea.png"):
        model = store[name].model
        assert model is not None
        segmented = Image.fromarray(model.paint(np.asarray(store[name].labels[...])))
        rows.append([original(name), original(name).convert("L").convert("RGB"), segmented])
    return sheet(rows)


def three_five_seven(folder: Path) -> Image.Image:
    """The rocket, and in three, five and seven colours."""
    segmented = [opened(folder / f"k{k}" / "rocket.segmented.png") for k in (3, 5, 7)]
    return sheet([[original("rocket.jpg"), segmented[0]], segmented[1:]])


def hsv(folder: Path) -> Image.Image:
    """Two photographs, and painted with the palette found in RGB, and with that found in HSV."""
    rows = []
    for name in ("astronaut.jpg", "rocket.jpg"):
        both = [opened(folder / palette / f"{name}.segmented.png") for palette in ("painted", "hsv")]
        rows.append([original(name), *both])
    return sheet(rows)


def speckle(folder: Path) -> Image.Image:
    """The coffee in clusters, smoothed, without small regions, and in segments."""
    segmented = [opened(folder / run / "coffee.segmented.png") for run in ("painted", "calm", "clean")]
    segments = opened(folder / "parts" / "coffee.segments.png")
    return sheet([segmented[:2], [segmented[2], segments]])


def narrowed(figure: Image.Image) -> Image.Image:
    """A figure at two thirds of its size."""
    return figure.convert("RGB").resize((figure.width * 2 // 3, figure.height * 2 // 3), Image.Resampling.LANCZOS)


if __name__ == "__main__":
    main()
