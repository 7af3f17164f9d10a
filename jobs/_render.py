"""Results as lines for a person."""

from __future__ import annotations

from typing import Any

from kseg_core.sizes import format_bytes

MOST_LINES = 20  # clusters or failures shown; all of them are in the store and in --json


def result_lines(result: dict[str, Any], verb: str) -> list[str]:
    """The end of ``run``, ``fit`` and ``apply``: what was done, the palette, what could not be read."""
    images, pixels, output = result["images"], result["pixels"], printable(result["output"])
    if images["reused"]:
        head = f"{output}: already done, nothing changed ({_images(images['reused'])})"
    else:
        count = images["total"] - images["failed"]
        head = f"{verb} {_images(count)}, {pixels['total'] / 1e6:.1f} MP → {output}"
        head += f" in {result['seconds']['total']:.1f} s"
    lines = [head]
    if result["k"] is not None:
        lines.append(f"k {result['k']}, {result['features']}, {_mse(result['mse'])}")
        lines += palette_lines(result["colors"], result["counts"])
    lines += failure_lines(result["failures"])
    return lines


def dry_run_lines(found: dict[str, Any], *, already_done: bool) -> list[str]:
    """What a job would read, hold and write."""
    hold, write, images = found["hold"], found["write"], found["images"]
    count = images["total"] - images["failed"]
    large = f", {images['large']} of them by windows" if images["large"] else ""
    tasks = "1 task" if hold["threads"] == 1 else f"{hold['threads']} tasks"
    each = "one process" if hold["processes"] == 1 else f"each of {hold['processes']} processes"
    lines = [
        f"{printable(found['output'])}: " + ("already done; nothing would change" if already_done else "a dry run"),
        f"  read   {_images(count)}{large}, {found['pixels']['total'] / 1e6:.1f} MP, "
        f"{format_bytes(found['read']['bytes'])}",
        f"  hold   {format_bytes(hold['bytes'])} in {each} with {tasks} at a time, of {format_bytes(hold['memory'])}",
    ]
    if hold["colors"] is not None:
        lines.append(
            f"         and {hold['bytes_per_color']} MB a million distinct colours (photographs have one or two); "
            f"there is room for {hold['colors'] / 1e6:.1f} million"
        )
    if write["bytes_at_most"]:
        lines.append(
            f"  write  at most {format_bytes(write['bytes_at_most'])} before compression; "
            f"{format_bytes(write['free'])} are free"
        )
    return lines + failure_lines(found["failures"])


def inspect_lines(store: str, found: dict[str, Any]) -> list[str]:
    """A store for a person."""
    images, model = found["images"], found["model"]
    lines = [f"{printable(store)}: format {found['format']}, {found['status']}, {_images(len(images))}"]
    if model is not None:
        lines.append(f"k {model['k']}, {model['features']}, {_mse(model['mse'])}")
        lines += palette_lines(model["colors"], model["counts"])
    rows = []
    for image in images:
        height, width = image["shape"]
        rows.append(f"  {image['key']}  {width}x{height}  {_mse(image['mse'])}  ← {printable(image['source'])}")
    return lines + _cut(rows, "images")


def check_lines(store: str, found: dict[str, Any]) -> list[str]:
    """A verification for a person."""
    if found["status"] == "ok":
        if not found["images"]:
            return [f"{store}: complete and right"]
        again = f"{found['compared']} of {_images(found['images'])} labelled anew from their sources and compared"
        return [f"{printable(store)}: complete and right; {again}"]
    return [
        f"{printable(store)}: {_problems(len(found['problems']))}",
        *_cut([f"  {printable(p)}" for p in found["problems"]], "problems"),
    ]


def _problems(n: int) -> str:
    return f"{n} problem" if n == 1 else f"{n} problems"


def palette_lines(colors: list[list[int]], counts: list[int]) -> list[str]:
    """Each cluster's number, colour and share."""
    total = sum(counts) or 1
    rows = [
        f"  {j:>3}  #{r:02x}{g:02x}{b:02x}  {n / total:6.1%}"
        for j, ((r, g, b), n) in enumerate(zip(colors, counts, strict=True))
    ]
    return _cut(rows, "clusters")


def failure_lines(failures: list[dict[str, str]]) -> list[str]:
    """One line an input that could not be read."""
    if not failures:
        return []
    rows = [f"  {printable(f['source'])}: {printable(f['reason'])}" for f in failures]
    return [f"{len(failures)} of the inputs could not be read:", *_cut(rows, "inputs")]


def printable(text: str) -> str:
    """The text without control characters: a file's name must not steer the terminal."""
    return "".join(c if c.isprintable() else "�" for c in text)


def _mse(value: float | None) -> str:
    return "no valid pixel" if value is None else f"mse {value:.4g}"


def _cut(rows: list[str], what: str) -> list[str]:
    if len(rows) <= MOST_LINES + 1:
        return rows
    return [*rows[:MOST_LINES], f"  … and {len(rows) - MOST_LINES} more {what} (--json lists all)"]


def _images(n: int) -> str:
    return f"{n} image" if n == 1 else f"{n} images"
