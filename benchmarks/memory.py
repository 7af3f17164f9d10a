"""How near the estimate of memory is: python benchmarks/memory.py [--only WORD...] [--scratch FOLDER]

For each kind of picture and job: a picture is made, the least ``--memory`` with which the job starts is read from a dry
run, or where a command has none from its refusal, and the job is run with just that. Its processes' high-water marks
are read from ``/proc`` meanwhile (Linux only); what counts is the largest of one process, as ``--memory`` is of a
process. Prints a Markdown table, of megabytes, and ends with 1 where a job took more than was said, or less than 1/1.3
of it.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from kseg_core.sizes import parse_bytes

MOST = 1.3  # of an estimate to what is used
DEFAULTS = {"run": ("--k", "5", "--attempts", "2"), "fit": ("--attempts", "2"), "sweep": ("--attempts", "2")}
BETWEEN = 0.01  # seconds from one look at the processes to the next


@dataclass(frozen=True)
class Kind:
    """A picture, of so many megapixels each time, and what is done with it."""

    title: str
    suffix: str
    megapixels: Sequence[float]
    write: Callable[[Path, Any], None]
    options: Sequence[str] = ()
    command: str = "run"
    beside: Callable[[Path], Sequence[str]] = lambda _: ()

    def make(self, path: Path, megapixels: float) -> None:
        """Write it, in another process: what that takes is no part of what is measured."""
        if not path.exists():
            maker = multiprocessing.get_context("spawn").Process(
                target=write_picture, args=(self.title, path, megapixels)
            )
            maker.start()
            maker.join()
            if maker.exitcode:
                raise SystemExit(f"{self.title}: cannot be made")


def write_picture(title: str, path: Path, megapixels: float) -> None:
    part = path.with_name(f"part-{path.name}")
    (kind,) = (kind for kind in KINDS if kind.title == title)
    kind.write(part, picture(megapixels))
    part.rename(path)


def picture(megapixels: float) -> Any:
    """Colours as photographs have them, (y, x, 3): gradual, with noise, and about a million distinct ones."""
    import numpy as np

    width = round((megapixels * 1e6 * 1.5) ** 0.5 / 8) * 8
    height = round(megapixels * 1e6 / width)
    random = np.random.default_rng(0)
    out = np.empty((height, width, 3), np.uint8)
    across = np.linspace(0, 7, width)
    for top in range(0, height, 256):
        down = np.linspace(top, min(top + 256, height), min(256, height - top), endpoint=False)[:, None] * 5 / height
        light = 128 + 80 * np.sin(across + down) + random.normal(0, 5, (len(down), width))
        tint = 30 * np.cos(2 * across - down)
        for band, sign in enumerate((1.0, 0.0, -0.8)):
            noise = random.normal(0, 3.5, light.shape)
            out[top : top + 256, :, band] = np.clip(light + sign * tint + noise, 0, 255)
    return out


# ------------------------------------------------------------------------------------------------ writers


def by_pillow(form: str, mode: str = "RGB", **options: Any) -> Callable[[Path, Any], None]:
    def write(path: Path, rgb: Any) -> None:
        from PIL import Image

        image = Image.fromarray(rgb)
        if mode == "P":
            image = image.quantize(256, method=Image.Quantize.FASTOCTREE)
        elif mode == "RGBA":
            image.putalpha(Image.fromarray(rgb[..., 0] // 2 + 100))
        image.convert(mode).save(path, form, **options)

    return write


def turned(path: Path, rgb: Any) -> None:
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(rgb).save(path, "JPEG", quality=92, exif=exif)


def by_imagecodecs(name: str, deep: int = 0, bands: int = 3, **options: Any) -> Callable[[Path, Any], None]:
    def write(path: Path, rgb: Any) -> None:
        import imagecodecs
        import numpy as np

        samples = deepened(rgb, deep) if deep else rgb
        if bands == 1:
            samples = np.ascontiguousarray(samples[..., 1])
        path.write_bytes(getattr(imagecodecs, f"{name}_encode")(samples, **options))

    return write


def deepened(rgb: Any, bits: int) -> Any:
    """The same in more bits, the lower ones noise, which 8 bits do not show."""
    import numpy as np

    spread = (1 << bits - 8) // 2
    low = np.random.default_rng(1).integers(0, spread, rgb.shape, np.uint16)
    return (rgb.astype(np.uint16) << bits - 8) + low


def heic(path: Path, rgb: Any) -> None:
    import pillow_heif
    from PIL import Image

    pillow_heif.register_heif_opener()
    Image.fromarray(rgb).save(path, "HEIF", quality=80)


def tiled_jpeg2000(path: Path, rgb: Any) -> None:
    import rasterio

    profile = {"height": rgb.shape[0], "width": rgb.shape[1], "count": 3, "dtype": "uint8"}
    with rasterio.open(path, "w", driver="JP2OpenJPEG", blockxsize=1024, blockysize=1024, **profile) as out:
        out.write(rgb.transpose(2, 0, 1))


def tiff(dtype: str = "uint8", bands: int = 3, **options: Any) -> Callable[[Path, Any], None]:
    def write(path: Path, rgb: Any) -> None:
        import numpy as np
        import tifffile

        samples = rgb if dtype == "uint8" else deepened(rgb, 16).astype(dtype)
        samples = np.concatenate([samples, samples[::-1]], axis=2)[..., :bands] if bands > 3 else samples[..., :bands]
        if np.dtype(dtype).kind == "f":
            samples = samples / np.dtype(dtype).type(65535)
        kind = {"photometric": "rgb"} if bands == 3 else {"photometric": "minisblack"}
        tifffile.imwrite(path, samples, **kind, planarconfig="contig" if bands > 1 else None, **options)

    return write


def rows_of_runs(path: Path, rgb: Any) -> None:
    """A BMP of RLE8: each row as runs of literal pixels."""
    import struct

    import numpy as np

    gray = rgb[..., 1]
    height, width = gray.shape
    rows = []
    for row in gray[::-1]:
        for left in range(0, width, 254):
            part = row[left : left + 254].tobytes()
            rows.append(bytes([0, len(part)]) + part + b"\0" * (len(part) % 2))
        rows.append(b"\0\0")
    pixels = b"".join(rows) + b"\0\1"
    table = np.arange(256, dtype="<u4") * 0x010101
    start = 14 + 40 + 1024
    head = b"BM" + struct.pack("<IHHI", start + len(pixels), 0, 0, start)
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(pixels), 0, 0, 256, 0)
    path.write_bytes(head + info + table.tobytes() + pixels)


def plain_digits(path: Path, rgb: Any) -> None:
    import numpy as np

    digits = np.array([b"%3d " % value for value in range(256)], "V4")
    lines = np.full((rgb.shape[0], 1), b"\n", "V1")
    written = digits[rgb.reshape(len(rgb), -1)].view("V1").reshape(len(rgb), -1)
    head = f"P3\n{rgb.shape[1]} {rgb.shape[0]}\n255\n".encode()
    path.write_bytes(head + np.concatenate([written, lines], axis=1).tobytes())


def animated(form: str, **options: Any) -> Callable[[Path, Any], None]:
    def write(path: Path, rgb: Any) -> None:
        from PIL import Image

        first, second = Image.fromarray(rgb), Image.fromarray(rgb[::-1].copy())
        first.save(path, form, save_all=True, append_images=[second], **options)

    return write


def thumbnails(path: Path, rgb: Any) -> None:
    """A folder of 0.1 megapixels each."""
    from PIL import Image

    path.mkdir()
    for top in range(0, rgb.shape[0] - 255, 256):
        for left in range(0, rgb.shape[1] - 383, 384):
            part = Image.fromarray(rgb[top : top + 256, left : left + 384])
            part.save(path / f"{top}-{left}.jpg", quality=92)


def ome_zarr(path: Path, rgb: Any) -> None:
    import zarr as library

    group = library.create_group(path)
    array = group.create_array("0", shape=(3, *rgb.shape[:2]), chunks=(1, 1024, 1024), dtype=rgb.dtype)
    array[...] = rgb.transpose(2, 0, 1)
    axes = [{"name": "c", "type": "channel"}, *({"name": name, "type": "space"} for name in "yx")]
    scale = [{"type": "scale", "scale": [1.0, 1.0, 1.0]}]
    datasets = [{"path": "0", "coordinateTransformations": scale}]
    group.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": datasets}]}


def zarr(path: Path, rgb: Any) -> None:
    import zarr as library

    array = library.create_array(path, shape=rgb.shape, chunks=(1024, 1024, 3), dtype=rgb.dtype)
    array[...] = rgb


def mask(path: Path) -> Sequence[str]:
    """A mask as large as the picture, in a file beside it."""
    import numpy as np
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = None
    with Image.open(path) as image:
        used = np.ones((image.height, image.width), bool)
    used[: len(used) // 3, ::2] = False
    target = path.with_name("mask") / f"{path.stem}.png"
    target.parent.mkdir(exist_ok=True)
    Image.fromarray(used).save(target)
    return ("--mask", str(target))


def model(features: str) -> Callable[[Path], Sequence[str]]:
    def make(path: Path) -> Sequence[str]:
        target = path.with_suffix(f".{features}.model.zarr")
        if not target.exists():
            job = (sys.executable, "-m", "jobs", "fit", str(path), "--k", "5", "--attempts", "1", "-o", str(target))
            subprocess.run([*job, "--features", features], check=True, capture_output=True)
        return ("--model", str(target))

    return make


TILED = tiff(tile=(512, 512))
STRIPED = tiff(rowsperstrip=64, compression="deflate")
PHOTO = by_pillow("JPEG", quality=92)
COLOURS, BANDS = ("--features", "rgb"), ("--features", "bands")
KINDS = [
    Kind("JPEG", "jpg", (1, 10, 24, 50, 100), PHOTO),
    Kind("JPEG, progressive", "jpg", (10, 24), by_pillow("JPEG", quality=92, progressive=True)),
    Kind("JPEG, turned", "jpg", (10, 24), turned),
    Kind("JPEG, CMYK", "jpg", (10, 24), by_pillow("JPEG", "CMYK", quality=92)),
    Kind("JPEG, gray", "jpg", (10, 24), by_pillow("JPEG", "L", quality=92)),
    Kind("JPEG, 12 bits as colours", "jpg", (10, 24), by_imagecodecs("jpeg8", 12, level=92, bitspersample=12), COLOURS),
    Kind("JPEG, 12 bits as bands", "jpg", (10, 24), by_imagecodecs("jpeg8", 12, level=92, bitspersample=12)),
    Kind("PNG", "png", (1, 10, 24, 50), by_pillow("PNG", compress_level=1)),
    Kind("PNG, RGBA", "png", (10, 24), by_pillow("PNG", "RGBA", compress_level=1)),
    Kind("PNG, palette", "png", (10, 24), by_pillow("PNG", "P", compress_level=1)),
    Kind("PNG, gray", "png", (10, 24), by_pillow("PNG", "L", compress_level=1)),
    Kind("PNG, 16 bits as colours", "png", (1, 10, 24, 50), by_imagecodecs("png", 16, level=1), COLOURS),
    Kind("PNG, 16 bits as bands", "png", (10, 24), by_imagecodecs("png", 16, level=1)),
    Kind("PNG, 16 bits, gray as colours", "png", (10, 24), by_imagecodecs("png", 16, 1, level=1), COLOURS),
    Kind("PNG, 16 bits, gray as bands", "png", (10, 24), by_imagecodecs("png", 16, 1, level=1)),
    Kind("WebP", "webp", (10, 24), by_pillow("WebP", quality=85, method=0)),
    Kind("WebP, lossless", "webp", (10, 24), by_pillow("WebP", lossless=True, method=0, quality=0)),
    Kind("WebP, animated", "webp", (10,), animated("WebP", quality=85, method=0)),
    Kind("GIF", "gif", (10, 24), by_pillow("GIF", "P")),
    Kind("GIF, animated", "gif", (10,), animated("GIF")),
    Kind("GIF, a later frame", "gif", (10,), animated("GIF"), ("--page", "1")),
    Kind("WebP, a later frame", "webp", (10,), animated("WebP", quality=85, method=0), ("--page", "1")),
    Kind("PNG, a later frame", "png", (10,), animated("PNG", compress_level=1), ("--page", "1")),
    Kind("BMP", "bmp", (10, 24), by_pillow("BMP")),
    Kind("BMP, 32 bits", "bmp", (10, 24), by_pillow("BMP", "RGBA")),
    Kind("BMP, palette", "bmp", (10, 24), by_pillow("BMP", "P")),
    Kind("BMP, gray", "bmp", (10, 24), by_pillow("BMP", "L")),
    Kind("BMP, runs", "bmp", (10, 24), rows_of_runs),
    Kind("HEIC", "heic", (10, 24), heic),
    Kind("AVIF", "avif", (10, 24), by_imagecodecs("avif", level=80, speed=10, numthreads=2)),
    Kind(
        "AVIF, 10 bits as colours",
        "avif",
        (10, 24),
        by_imagecodecs("avif", 10, level=80, speed=10, bitspersample=10, numthreads=2),
        COLOURS,
    ),
    Kind("JPEG XL", "jxl", (10, 24), by_imagecodecs("jpegxl", level=85, effort=3, numthreads=2)),
    Kind("JPEG XL, lossless", "jxl", (10, 24), by_imagecodecs("jpegxl", lossless=True, effort=1, numthreads=2)),
    Kind(
        "JPEG XL, 16 bits as colours",
        "jxl",
        (10, 24),
        by_imagecodecs("jpegxl", 16, lossless=True, effort=1, numthreads=2),
        COLOURS,
    ),
    Kind("JPEG 2000", "jp2", (10, 24), by_imagecodecs("jpeg2k", level=60, numthreads=2)),
    Kind("JPEG 2000, lossless", "jp2", (10, 24), by_imagecodecs("jpeg2k", numthreads=2)),
    Kind("JPEG 2000, tiled", "jp2", (10, 24), tiled_jpeg2000),
    Kind("JPEG 2000, 16 bits as bands", "jp2", (10, 24), by_imagecodecs("jpeg2k", 16, level=80, numthreads=2)),
    Kind("JPEG XR", "jxr", (10, 24), by_imagecodecs("jpegxr", level=0.9)),
    Kind("QOI", "qoi", (10, 24), by_imagecodecs("qoi")),
    Kind("Netpbm", "ppm", (10, 24), by_pillow("PPM")),
    Kind("Netpbm, plain digits", "ppm", (10, 24), plain_digits),
    Kind("TIFF, tiled", "tif", (1, 10, 50, 100), TILED),
    Kind("TIFF, tiled, four workers", "tif", (50,), TILED, ("--workers", "4")),
    Kind("TIFF, striped", "tif", (10, 50), STRIPED),
    Kind("TIFF, one strip", "tif", (10, 24), tiff(rowsperstrip=1 << 20)),
    Kind("TIFF, 16 bits as colours", "tif", (10, 50), tiff("uint16", tile=(512, 512)), COLOURS),
    Kind("TIFF, 16 bits as bands", "tif", (10, 50), tiff("uint16", tile=(512, 512))),
    Kind("TIFF, one band of 16 bits", "tif", (10, 50), tiff("uint16", 1, tile=(512, 512))),
    Kind("TIFF, four bands of float32", "tif", (10, 50), tiff("float32", 4, tile=(512, 512))),
    Kind("TIFF, one band of float32", "tif", (10, 50), tiff("float32", 1, tile=(512, 512))),
    Kind("TIFF, one band of float64", "tif", (10,), tiff("float64", 1, tile=(512, 512))),
    Kind("Zarr", "zarr", (10, 50), zarr),
    Kind("OME-Zarr", "zarr", (10, 50), ome_zarr),
    Kind("JPEG, masked", "jpg", (10, 24), PHOTO, beside=mask),
    Kind("TIFF, masked", "tif", (10, 50), TILED, beside=mask),
    Kind("bands, masked", "tif", (10, 50), tiff("uint16", 4, tile=(512, 512)), beside=mask),
    Kind("thumbnails", "", (50,), thumbnails),
    Kind("thumbnails, a model each", "", (50,), thumbnails, ("--scope", "image")),
    Kind("sweep of a JPEG", "jpg", (10, 24), PHOTO, ("--k-range", "1:8"), "sweep"),
    Kind("sweep of bands", "tif", (10,), tiff("uint16", tile=(512, 512)), ("--k-range", "1:4"), "sweep"),
    Kind("fit of a JPEG", "jpg", (24,), PHOTO, ("--k", "5"), "fit"),
    Kind("apply to a JPEG", "jpg", (10, 24), PHOTO, command="apply", beside=model("rgb")),
    Kind("apply to a JPEG, lab", "jpg", (10, 24), PHOTO, command="apply", beside=model("lab")),
    Kind("apply to a TIFF, confidence", "tif", (50,), TILED, ("--confidence",), "apply", model("lab")),
    Kind("apply to bands", "tif", (50,), tiff("float32", 4, tile=(512, 512)), (), "apply", model("bands")),
    Kind("edges of a JPEG", "jpg", (10, 24), PHOTO, ("--low", "50", "--high", "100"), "edges"),
    Kind("edges of a TIFF", "tif", (10, 50), TILED, ("--low", "50", "--high", "100"), "edges"),
    Kind("JPEG, k 16", "jpg", (10, 24), PHOTO, ("--k", "16")),
    Kind("JPEG, k 64", "jpg", (10,), PHOTO, ("--k", "64")),
    Kind("JPEG, k 300", "jpg", (10,), PHOTO, ("--k", "300", "--attempts", "1")),
    Kind("JPEG, lab, k 16", "jpg", (10,), PHOTO, ("--k", "16", "--features", "lab")),
    Kind("JPEG, confidence and copy", "jpg", (10,), PHOTO, ("--confidence", "--copy-image")),
    Kind("JPEG, edges", "jpg", (10, 24), PHOTO, ("--edges", "50,100")),
    Kind("TIFF, edges", "tif", (10, 50), TILED, ("--edges", "50,100")),
    Kind("TIFF, confidence", "tif", (50,), TILED, ("--confidence",)),
    Kind("JPEG, a model each", "jpg", (10, 24), PHOTO, ("--scope", "image")),
    Kind("TIFF, a model each", "tif", (10,), TILED, ("--scope", "image")),
    Kind("TIFF, k 24, tiles of 2048", "tif", (10,), TILED, ("--k", "24", "--tile", "2048")),
    Kind(
        "the same, lab and copy",
        "tif",
        (10,),
        TILED,
        ("--k", "24", "--tile", "2048", "--features", "lab", "--copy-image"),
    ),
    Kind("TIFF, two processes", "tif", (10, 50), TILED, ("--scheduler", "processes", "--workers", "2")),
    Kind("JPEG, two processes", "jpg", (10, 24), PHOTO, ("--scheduler", "processes", "--workers", "2")),
    Kind(
        "float32 bands, two processes",
        "tif",
        (50,),
        tiff("float32", 4, tile=(512, 512)),
        ("--scheduler", "processes", "--workers", "2"),
    ),
]


# ------------------------------------------------------------------------------------------------ measuring


def least_memory(job: Sequence[str]) -> int:
    """The estimate: the least memory with which a job starts."""
    if job[3] in ("sweep", "edges"):  # have no dry run
        done = subprocess.run([*job, "--memory", "1MB"], capture_output=True, text=True, check=False)
        said = re.search(r"(?:needs at least|takes about) ([0-9.]+ [kMG]?i?B)", done.stderr)
        if said is None:
            raise SystemExit(f"{done.returncode}: {done.stderr}")
        return parse_bytes(said[1].replace(" ", ""), "the least")
    done = subprocess.run([*job, "--dry-run", "--json"], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return int(json.loads(done.stdout)["hold"]["estimate"])


def peak_of(job: Sequence[str]) -> int:
    """The most bytes that one process of a job had."""
    with tempfile.TemporaryFile("w+") as said:
        running = psutil.Popen(job, stdout=subprocess.DEVNULL, stderr=said)
        most = 0
        while running.poll() is None:
            with suppress(psutil.Error):
                most = max(most, *(high_water(process.pid) for process in (running, *running.children(recursive=True))))
            time.sleep(BETWEEN)
        if running.returncode:
            said.seek(0)
            raise SystemExit(f"{' '.join(job)}: {said.read()}")
    return most


def high_water(pid: int) -> int:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=[""], help="kinds whose name begins so")
    parser.add_argument("--scratch", type=Path, default=Path(tempfile.gettempdir()) / "kseg-memory")
    options = parser.parse_args()
    options.scratch.mkdir(exist_ok=True)
    print("| picture and job | megapixels | estimate | used | ratio |\n|---|---|---|---|---|")
    wrong = 0
    for kind in KINDS:
        if not any(kind.title.startswith(word) for word in options.only):
            continue
        for megapixels in kind.megapixels:
            name = f"{kind.title.replace(' ', '-')}-{megapixels}"
            path = options.scratch / (f"{name}.{kind.suffix}" if kind.suffix else name)
            kind.make(path, megapixels)
            with tempfile.TemporaryDirectory(dir=options.scratch) as folder:
                job = [sys.executable, "-m", "jobs", kind.command, str(path), "-o", f"{folder}/out.zarr"]
                job += ["--workers", "1", *DEFAULTS.get(kind.command, ()), *kind.options, *kind.beside(path)]
                estimate = least_memory(job)
                used = peak_of([*job, "--memory", str(estimate)])
            ratio = estimate / used
            wrong += not 1 <= ratio <= MOST
            mark = "" if 1 <= ratio <= MOST else "**"
            figures = f"{estimate / 1e6:.0f} | {used / 1e6:.0f} | {mark}{ratio:.2f}{mark}"
            print(f"| {kind.title} | {megapixels} | {figures} |", flush=True)
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
