"""Scenes as satellites deliver them: a file for each band, of different resolutions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray

Array = NDArray[Any]
BANDS = {"B02": 10, "B04": 10, "B05": 20, "B08": 10, "B8A": 20, "B09": 60}
"""Of a scene of Sentinel-2's, in the order of a stack: metres of a pixel."""
LOSSLESS = {"driver": "JP2OpenJPEG", "QUALITY": 100, "REVERSIBLE": "YES", "BLOCKXSIZE": 64, "BLOCKYSIZE": 64}


def save_band(path: Path, samples: Array, metres: float = 10, *, at: tuple[float, float] = (0, 0), **how: Any) -> str:
    """A GeoTIFF of one band (height, width) or more (bands, height, width), ``at`` metres off a corner."""
    transform = Affine(metres, 0, 399_960 + at[0], 0, -metres, 5_000_040 - at[1])
    how = {"driver": "GTiff", "crs": "EPSG:32632", "transform": transform, **how}
    bands = samples if samples.ndim == 3 else samples[None]
    count, height, width = bands.shape
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(path, "w", height=height, width=width, count=count, dtype=samples.dtype, **how) as dataset:
        dataset.write(bands)
    return str(path)


def ground(height: int, width: int, seed: int) -> Array:
    """A scene of six kinds of ground with noise: uint16 (6, height, width), at the finest resolution."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    kind = (np.sin(y / 17 + seed) * 2 + np.cos(x / 23) * 2 + rng.normal(0, 0.5, (height, width))).astype(int) % 6
    reflectances = np.random.default_rng(0).uniform(300, 6000, (6, len(BANDS)))
    samples = reflectances[kind] + rng.normal(0, 150, (height, width, len(BANDS)))
    return np.moveaxis(samples.clip(1, 10_000), 2, 0).astype(np.uint16)


def deliver(folder: Path, name: str, samples: Array, *, stacked: Path | None = None) -> list[str]:
    """Write a scene as Sentinel-2 delivers it, a JPEG 2000 for each band in a folder for each resolution, and other
    files with them; the names of the bands' files. ``stacked``: where the same is written as one GeoTIFF.
    """
    files, whole = [], samples.copy()
    for number, (band, metres) in enumerate(BANDS.items()):
        step = metres // 10
        own = np.ascontiguousarray(samples[number, ::step, ::step])
        files.append(save_band(folder / f"R{metres}m" / f"{name}_{band}_{metres}m.jp2", own, metres, **LOSSLESS))
        whole[number] = own.repeat(step, 0).repeat(step, 1)[: whole.shape[1], : whole.shape[2]]
    coarse = np.ascontiguousarray(samples[0, ::2, ::2])
    for band in ("B02", "SCL"):  # a band once more, and what is none
        save_band(folder / "R20m" / f"{name}_{band}_20m.jp2", coarse, 20, **LOSSLESS)
    if stacked is not None:
        save_band(stacked / f"{name}.tif", whole, 10, tiled=True, blockxsize=128, blockysize=128)
    return files
