"""Makes the pictures of docs/segments.md from examples/images: python docs/segment_pictures.py"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import zarr
from numpy.typing import NDArray
from PIL import Image
from tutorial_pictures import EXAMPLES, HERE, opened, original, sheet

from kseg_core.halos import Region
from kseg_core.segment_settings import LEVELS, MOST, SegmentSettings
from kseg_core.segments.blocks import segment_block
from kseg_core.segments.cutting import cut_window
from kseg_core.segments.maps import GRID, OCTAVES, find_maps
from kseg_core.segments.palette import PixelSample

TO = HERE / "images" / "segments"

RGB = NDArray[np.uint8]


def main() -> None:
    """Segments by the command, and the steps that lead to them."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(scratch)
        if not (folder / "segments.zarr").exists():
            run(folder, "segments", str(EXAMPLES), "-o", "segments.zarr")
            run(folder, "run", str(EXAMPLES), "--k", "5", "-o", "five.zarr")
            run(folder, "export", "five.zarr", "--to", "five")
            for level in LEVELS:
                run(folder, "export", "segments.zarr", "--to", level, "--what", "segments", "--level", level)
        TO.mkdir(parents=True, exist_ok=True)
        pictures = {
            "idea": sheet([idea(folder, name) for name in ("coffee.jpg", "rocket.jpg")]),
            "steps": steps("chelsea.png"),
            "levels": sheet([levels(folder, name) for name in ("astronaut.jpg", "coffee.jpg")]),
            "failures": sheet([failures(folder)]),
        }
    for name, picture in pictures.items():
        picture.save(TO / f"{name}.jpg", quality=82, subsampling="4:4:4", optimize=True)


def run(folder: Path, *arguments: str) -> None:
    """A command in a folder."""
    subprocess.run([sys.executable, "-m", "jobs", *arguments], cwd=folder, check=True)


def contours_of(folder: Path, name: str) -> NDArray[np.uint8]:
    """uint8 (2, y, x), as the store has them."""
    array = zarr.open_array(folder / "segments.zarr" / "images" / name / "contours", mode="r")
    return np.asarray(array[...], np.uint8)


def outlined(picture: Image.Image, numbers: NDArray[np.int32]) -> Image.Image:
    """A picture with white lines between different numbers."""
    pixels = np.asarray(picture).copy()
    pixels[:, :-1][numbers[:, :-1] != numbers[:, 1:]] = 255
    pixels[:-1][numbers[:-1] != numbers[1:]] = 255
    return Image.fromarray(pixels)


def painted(folder: Path, name: str, level: str) -> Image.Image:
    """Segments in their mean colours, with lines between them."""
    picture = opened(folder / level / f"{name}.segments.png")
    return outlined(picture, cut_window(contours_of(folder, name), SegmentSettings(LEVELS[level]).most))


def idea(folder: Path, name: str) -> list[Image.Image]:
    """The photograph, its clusters, its segments."""
    clusters = opened(folder / "five" / f"{name}.segmented.png")
    return [original(name), clusters, painted(folder, name, "medium")]


def levels(folder: Path, name: str) -> list[Image.Image]:
    """The contours, dark where they stay longest, and three levels."""
    strength = contours_of(folder, name).max(0)
    drawn = Image.fromarray(np.rint(255 - 255.0 * np.minimum(strength, MOST) / MOST).astype(np.uint8)).convert("RGB")
    return [drawn, *(painted(folder, name, level) for level in reversed(LEVELS))]


def failures(folder: Path) -> list[Image.Image]:
    """Two that a person would divide otherwise, beside their segments."""
    row = []
    for name in ("hubble_deep_field.jpg", "retina.jpg"):
        row += [original(name), painted(folder, name, "medium")]
    return row


def steps(name: str) -> Image.Image:
    """From the photograph to what is merged first."""
    pixels = np.asarray(original(name))
    height, width = pixels.shape[:2]
    sample = PixelSample(height * width, of_bands=False)
    sample.add(pixels, None, 0, 0)
    convert, palette = sample.finish()
    maps = find_maps(pixels, None, convert, palette)
    everywhere: Region = (slice(0, height), slice(0, width))
    _, found = segment_block(maps, everywhere, everywhere, (height, width))
    gradient = gray(255 - 255 * np.minimum(maps.gradient / (GRID * 20.0), 1))
    label = maps.palette.ravel()
    colours = in_means(pixels, label)
    textures = [gray(each * (255.0 / (OCTAVES - 1))) for each in (maps.fine, maps.broad)]
    cells = outlined(in_means(pixels, found.cell.ravel()), found.cell)
    regions = outlined(in_means(pixels, found.region.ravel()), found.region)
    return sheet([[gradient, colours, textures[0]], [textures[1], cells, regions]])


def gray(values: NDArray[np.float64]) -> Image.Image:
    """Values from 0 to 255 as a picture."""
    return Image.fromarray(np.rint(values).astype(np.uint8)).convert("RGB")


def in_means(pixels: RGB, label: NDArray[np.integer]) -> Image.Image:
    """Each pixel in the mean colour of those with its label."""
    counts = np.maximum(np.bincount(label), 1)
    means = np.stack([np.bincount(label, pixels[..., channel].ravel()) / counts for channel in range(3)], axis=1)
    return Image.fromarray(np.rint(means).astype(np.uint8)[label].reshape(pixels.shape))


if __name__ == "__main__":
    main()
