"""Pictures made by whole numbers alone: the same on every machine, in every release."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

THEN = 1_700_000_000  # when all of them were last changed


def waves(height: int, width: int, seed: int, bands: int = 3) -> np.ndarray:
    """uint8 (height, width, bands): a few hundred colours in large patches."""
    y, x = np.mgrid[0:height, 0:width]
    parts = [
        (y * (3 + seed + b) // 7 + x * (5 + b) // 11 + ((y // 9) * (x // 13)) % (17 + b)) % 251 for b in range(bands)
    ]
    return np.stack(parts, axis=2).astype(np.uint8) // 8 * 8


def make_pictures(folder: Path) -> None:
    """All inputs of the contract below a folder."""
    for name, height, width, seed in (("a", 60, 90, 1), ("b", 75, 50, 2), ("c", 40, 40, 5)):
        save(folder / "photos" / f"{name}.png", waves(height, width, seed))
    save(folder / "more" / "d.png", waves(50, 64, 9))
    alpha = waves(200, 180, 4, 4)
    alpha[..., 3] = np.where(alpha[..., 3] > 30, 255, 0)
    save(folder / "alpha" / "e.png", alpha)
    mask = waves(60, 90, 3)[..., 0] > 30
    for name, shape in (("a", (60, 90)), ("b", (75, 50)), ("c", (40, 40))):
        save(folder / "masks" / f"{name}.png", np.resize(mask, shape).astype(np.uint8) * 255)
    bands = np.concatenate([waves(70, 80, seed) for seed in (1, 6)], axis=2)[..., :5]
    tif(folder / "bands8" / "f.tif", bands)
    tif(folder / "bands16" / "g.tif", bands.astype(np.uint16) * 131 + 7)
    tif(folder / "floats" / "h.tif", bands[..., :4].astype(np.float32) / 16 - 3)
    tif(folder / "tiled" / "i.tif", waves(2304, 2048, 3), tile=(256, 256), photometric="rgb", compression="zlib")
    wide = waves(2048, 2056, 6, 2).astype(np.uint16) * 131 + 7
    tif(folder / "wide" / "j.tif", wide, tile=(256, 256), photometric="minisblack", planarconfig="contig")
    y, x = np.mgrid[0:2048, 0:2056]
    for at in range(4):  # large, and next to nothing as a file
        flat = np.stack([y // 512 * 60, x // 514 * 60, (y // 512 + x // 514 + at) * 30], axis=2).astype(np.uint8)
        tif(folder / "flat" / f"{at}.tif", flat, tile=(256, 256), photometric="rgb", compression="zlib")
    (folder / "broken").mkdir()
    (folder / "broken" / "no.png").write_bytes(b"\x89PNG\r\n\x1a\n, cut off")
    (folder / "mixed").mkdir()
    for file in ("broken/no.png", "photos/a.png"):
        shutil.copy(folder / file, folder / "mixed")
    for path in folder.rglob("*.*"):
        os.utime(path, (THEN, THEN))


def save(path: Path, picture: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path)


def tif(path: Path, picture: np.ndarray, **how: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    how = how or {"photometric": "minisblack", "planarconfig": "contig", "tile": (64, 64)}
    tifffile.imwrite(path, picture, **how)  # type: ignore[arg-type]
