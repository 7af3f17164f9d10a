"""What people write today with other libraries on the same work, for `compare.py`; runs in an environment of its own.

    python benchmarks/peers.py WAY INPUT OUT.zarr K [--workers 2]

Needs imageio, tifffile, imagecodecs, zarr, numcodecs, scikit-learn and opencv-python-headless. The ways:

- ``floor``: read each picture once, write arrays of the same shapes, chunks and codecs; no clustering at all.
- ``floor-tiled``: the same for a tiled TIFF, a tile at a time.
- ``kmeans``, ``minibatch``, ``opencv``: fit one palette on a million sampled pixels of all pictures, then read each
  again, label and write it.
- ``minibatch-bands``: the same for one TIFF of bands.

The last line of what is printed is a JSON object with the centroids found.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import zarr
from zarr.codecs import BloscCodec, BloscShuffle, ZstdCodec

SAMPLED = 1_000_000
TILE = 1024
PIECE = 2048  # pixels along a side of what a thread reads and writes of a tiled picture
PICTURES = (".jpg", ".jpeg", ".png", ".tif", ".tiff")

Label = Callable[[np.ndarray], np.ndarray]


def pictures_below(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in PICTURES)


def read_rgb(path: Path) -> np.ndarray:
    image = iio.imread(path)
    return image[..., :3] if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2)


def make_arrays(group: zarr.Group, shape: tuple[int, int], k: int) -> tuple[zarr.Array, zarr.Array]:
    """Labels and masks as kseg-batch makes them."""
    chunks = (min(TILE, shape[0]), min(TILE, shape[1]))
    labels = group.create_array("labels", shape=shape, chunks=chunks, dtype="uint8", compressors=ZstdCodec(level=1))
    bits = BloscCodec(cname="zstd", clevel=1, shuffle=BloscShuffle.bitshuffle, typesize=1)
    masks = group.create_array("masks", shape=(k, *shape), chunks=(1, *chunks), dtype="bool", compressors=bits)
    return labels, masks


def write(arrays: tuple[zarr.Array, zarr.Array], found: np.ndarray, window: tuple[slice, slice]) -> None:
    labels, masks = arrays
    labels[window] = found
    masks[(slice(None), *window)] = found == np.arange(masks.shape[0], dtype=np.uint8)[:, None, None]


# -------------------------------------------------------------------------------------------------- folders of pictures


def label_folder(folder: Path, root: zarr.Group, k: int, workers: int, label: Label) -> None:
    def one(path: Path) -> None:
        image = read_rgb(path)
        arrays = make_arrays(root.create_group(path.name), image.shape[:2], k)
        write(arrays, label(image), (slice(None), slice(None)))

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(one, pictures_below(folder)))


def sample_folder(folder: Path, workers: int) -> np.ndarray:
    paths = pictures_below(folder)

    def one(at: int) -> np.ndarray:
        pixels = read_rgb(paths[at]).reshape(-1, 3)
        return pixels[np.random.default_rng(at).integers(0, len(pixels), SAMPLED // len(paths))]

    with ThreadPoolExecutor(workers) as pool:
        return np.concatenate(list(pool.map(one, range(len(paths))))).astype(np.float32)


def thirds(k: int) -> Label:
    """Labels that cost next to nothing: levels of green."""
    levels = (np.arange(256) * k // 256).astype(np.uint8)
    return lambda image: levels[image[..., 1]]


def predicted(model: Any) -> Label:
    def label(image: np.ndarray) -> np.ndarray:
        flat = image.reshape(-1, image.shape[-1]).astype(np.float32)
        return model.predict(flat).astype(np.uint8).reshape(image.shape[:2])

    return label


def nearest(centroids: np.ndarray) -> Label:
    offsets = (centroids**2).sum(axis=1)

    def label(image: np.ndarray) -> np.ndarray:
        flat = image.reshape(-1, image.shape[-1]).astype(np.float32)
        return (offsets - 2 * flat @ centroids.T).argmin(axis=1).astype(np.uint8).reshape(image.shape[:2])

    return label


def fit(way: str, sample: np.ndarray, k: int) -> tuple[Label, np.ndarray]:
    """Labels and centroids of a sample."""
    if way == "opencv":
        import cv2

        until = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 100, 0.1)
        cv2.setRNGSeed(0)
        _, _, centroids = cv2.kmeans(sample, k, None, until, 3, cv2.KMEANS_PP_CENTERS)
        return nearest(centroids), centroids
    from sklearn.cluster import KMeans, MiniBatchKMeans

    if way == "kmeans":
        model = KMeans(k, n_init=3, random_state=0)
    else:
        model = MiniBatchKMeans(k, n_init=3, batch_size=4096, random_state=0)
    model.fit(sample)
    return predicted(model), model.cluster_centers_


# ------------------------------------------------------------------------------------------------------- one large TIFF


def windows(shape: tuple[int, int]) -> Iterator[tuple[slice, slice]]:
    for top in range(0, shape[0], PIECE):
        for left in range(0, shape[1], PIECE):
            yield slice(top, min(top + PIECE, shape[0])), slice(left, min(left + PIECE, shape[1]))


def label_tiff(path: Path, root: zarr.Group, k: int, workers: int, label: Label) -> None:
    """Every piece is read through tifffile's Zarr view, labelled and written by one thread."""
    import tifffile

    with tifffile.TiffFile(path) as tiff:
        picture = zarr.open_array(tiff.aszarr(maxworkers=1), mode="r")
        shape = picture.shape[:2]
        arrays = make_arrays(root.create_group(path.name), shape, k)
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(lambda window: write(arrays, label(picture[window]), window), windows(shape)))


def sample_tiff(path: Path) -> np.ndarray:
    """A million pixels, drawn from all tiles: the picture is read once, piece by piece."""
    import tifffile

    with tifffile.TiffFile(path) as tiff:
        picture = zarr.open_array(tiff.aszarr(maxworkers=1), mode="r")
        places = list(windows(picture.shape[:2]))

        def one(at: int) -> np.ndarray:
            pixels = picture[places[at]].reshape(-1, picture.shape[2])
            share = SAMPLED * len(pixels) // (picture.shape[0] * picture.shape[1])
            return pixels[np.random.default_rng(at).integers(0, len(pixels), share)]

        with ThreadPoolExecutor(2) as pool:
            return np.concatenate(list(pool.map(one, range(len(places))))).astype(np.float32)


def work(way: str, source: Path, root: zarr.Group, k: int, workers: int) -> np.ndarray | None:
    if way == "floor":
        label_folder(source, root, k, workers, thirds(k))
        return None
    if way == "floor-tiled":
        label_tiff(source, root, k, workers, thirds(k))
        return None
    if way == "minibatch-bands":
        label, centroids = fit("minibatch", sample_tiff(source), k)
        label_tiff(source, root, k, workers, label)
        return centroids
    label, centroids = fit(way, sample_folder(source, workers), k)
    label_folder(source, root, k, workers, label)
    return centroids


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ways = ("floor", "floor-tiled", "kmeans", "minibatch", "opencv", "minibatch-bands")
    parser.add_argument("way", choices=ways)
    parser.add_argument("source", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("k", type=int)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    root = zarr.create_group(str(options.output))
    centroids = work(options.way, options.source, root, options.k, options.workers)
    print(json.dumps({"centroids": None if centroids is None else np.asarray(centroids, float).tolist()}))


if __name__ == "__main__":
    main()
