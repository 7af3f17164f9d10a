"""Makes the pictures of the README and the documents from examples/images: python docs/pictures.py"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from kseg_core import open_store
from kseg_core.config import FitSettings, RunConfig
from workflows import segment

HERE = Path(__file__).parent
EXAMPLES = HERE.parent / "examples" / "images"
SHOWN = ("coffee.jpg", "chelsea.png", "rocket.jpg")
HEIGHT, GAP = 240, 8


def main() -> None:
    """One picture: three originals above, the same painted with one palette of five colours below."""
    with tempfile.TemporaryDirectory() as scratch:
        output = str(Path(scratch) / "examples.zarr")
        segment(str(EXAMPLES), RunConfig(FitSettings(k=5)), output=output)
        store = open_store(output)
        model = store.model
        columns = []
        for name in SHOWN:
            original = Image.open(EXAMPLES / name).convert("RGB")
            painted = Image.fromarray(model.paint(np.asarray(store[name].labels[...])))
            width = round(original.width * HEIGHT / original.height)
            columns.append(
                (original.resize((width, HEIGHT)), painted.resize((width, HEIGHT), Image.Resampling.NEAREST))
            )
    total = sum(top.width for top, _ in columns) + GAP * (len(columns) - 1)
    sheet = Image.new("RGB", (total, 2 * HEIGHT + 3 * GAP + 28), "white")
    left = 0
    for top, bottom in columns:
        sheet.paste(top, (left, 0))
        sheet.paste(bottom, (left, HEIGHT + GAP))
        left += top.width + GAP
    draw = ImageDraw.Draw(sheet)
    shares = model.counts / model.counts.sum()
    edges = np.round(np.concatenate([[0], np.cumsum(shares)]) * total).astype(int)
    for j, color in enumerate(model.colors.tolist()):
        box = (int(edges[j]), 2 * HEIGHT + 2 * GAP, int(edges[j + 1]) - 1, 2 * HEIGHT + 2 * GAP + 28)
        draw.rectangle(box, fill=tuple(color))
    (HERE / "images").mkdir(exist_ok=True)
    sheet.save(HERE / "images" / "result.png", optimize=True)


if __name__ == "__main__":
    main()
