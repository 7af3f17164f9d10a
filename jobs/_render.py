"""Results as lines for a person."""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from kseg_core.sizes import counted, format_bytes

from ._again import place, word

MOST_LINES = 20  # clusters or failures shown; all of them are in the store and in --json
BAR_WIDTH = 20  # characters of a cluster that is the whole image
COLORS_A_ROW = 4  # in 80 columns, one less where each has a block
MOST_COLORS = 12  # of an image among others
_EIGHTHS = " ▏▎▍▌▋▊▉"


def result_lines(result: dict[str, Any], verb: str, palettes: Sequence[str] = ()) -> list[str]:
    """The end of ``run``, ``fit`` and ``apply``: what was done, the palette or those of the images, what could not be
    read.
    """
    images, pixels, output = result["images"], result["pixels"], printable(result["output"])
    if images["reused"] and result["seconds"]["label"] is None:
        head = f"{output}: already done, nothing changed ({_images(images['reused'])})"
    elif images["reused"] and not images["labelled"] and verb == "labelled":
        there = "1 image was" if images["reused"] == 1 else f"{images['reused']} images were"
        head = f"{output}: nothing new: {there} there already"
    else:
        count = images["total"] - images["failed"] - images["reused"]
        there = f" ({images['reused']} more were there already)" if images["reused"] else ""
        head = f"{verb} {_images(count)}{there}, {pixels['total'] / 1e6:.1f} MP → {output}"
        head += f" in {result['seconds']['total']:.1f} s"
    lines = [head]
    if result["k"] is not None:
        lines.append(f"k {result['k']}, {_features(result)}, {_mse_in_words(result)}")
        if result.get("k_why"):
            lines.append(f"k {result['k']} was chosen: {result['k_why']}")
        lines += palette_lines(result["colors"], result["counts"])
    else:
        lines.append(f"a palette for each image, {_features(result)}, {_mse_in_words(result)}")
        lines += palettes
        if result.get("k_requested") == "auto":
            lines.append("k was chosen for each image alone; its model in the store says why")
    lines += drift_lines(result.get("drift"))
    lines += _changes_lines(result.get("changes") or {}, output)
    lines += failure_lines(result["failures"], result.get("left_out", ()))
    return lines


def _changes_lines(changes: dict[str, int], output: str) -> list[str]:
    """What was labelled anew in a store that grows, and what has no input any more."""
    lines = []
    if changes.get("changed"):
        lines.append(f"{changes['added']} added, {changes['changed']} changed since they were labelled")
    for name, why, done in (
        ("repaired", "missing or damaged", "made anew"),
        ("removed", "not among the inputs any more", None),
        ("outdated", "of inputs that cannot be read now", None),
    ):
        n = changes.get(name, 0)
        if n:
            left = f"left as {'it is' if n == 1 else 'they are'}"
            lines.append(f"{_images(n)} in {output} {why}; {done or left}")
    return lines


def drift_lines(drift: dict[str, Any] | None) -> list[str]:
    """How far new images are from those of the model, and which stand out."""
    batch = (drift or {}).get("batch")
    if drift is None or batch is None or batch["share_distance"] is None:
        return []
    lines = [f"drift of the {_images(batch['images'])} from the model's: {_drift(batch)}"]
    odd = [image for image in drift["images"] if image["outlier"]]
    lines += [f"  stands out: {printable(image['source'])}, {_drift(image)}" for image in odd]
    more = drift.get("outliers", len(odd)) - len(odd)  # stores of earlier releases have no number
    return [*lines, f"  … and {more} more {'stands' if more == 1 else 'stand'} out"] if more else lines


def _drift(found: dict[str, Any]) -> str:
    ratio, distance = found["mse_ratio"], found["share_distance"]
    shares = "no valid pixel" if distance is None else f"cluster shares differ by {distance:.3f}"
    return shares if ratio is None else f"{shares}, mse {ratio:.2f} times"


def edges_lines(result: dict[str, Any]) -> list[str]:
    """The end of ``edges``."""
    images, pixels, output = result["images"], result["pixels"], printable(result["output"])
    share = f"{result['edge_pixels'] / pixels['total']:.1%} of the pixels are edges"
    if images["done"]:
        head = f"edges of {_images(images['done'])} → {output} in {result['seconds']['total']:.1f} s; {share}"
        head += f" ({images['reused']} more were there already)" if images["reused"] else ""
    else:
        head = f"{output}: already done, nothing changed ({_images(images['reused'])}); {share}"
    return [head, *_named("no edges of {} of the inputs:", result["failures"], "inputs")]


def dry_run_lines(found: dict[str, Any], *, already_done: bool) -> list[str]:
    """What a job would read, hold and write."""
    hold, write, images = found["hold"], found["write"], found["images"]
    there = f" ({images['reused']} more are there already)" if images["reused"] and not already_done else ""
    large = f", {images['large']} of them by windows" if images["large"] else ""
    tasks = "1 task" if hold["threads"] == 1 else f"{hold['threads']} tasks"
    each = "one process" if hold["processes"] == 1 else f"each of {hold['processes']} processes"
    lines = [
        f"{printable(found['output'])}: " + ("already done; nothing would change" if already_done else "a dry run"),
        f"  read   {_images(images['to_do'])}{large}, {found['pixels']['total'] / 1e6:.1f} MP, "
        f"{format_bytes(found['read']['bytes'])}{there}",
        f"  hold   {format_bytes(hold['bytes'])} in {each} with {tasks} at a time, of {format_bytes(hold['memory'])} "
        f"({hold['memory_from']})",
    ]
    if found["features"] is not None:
        lines.insert(1, f"  fit    {_features(found)}")
    if hold["colors"]:  # none of a job that has nothing to do
        each_image = f" for each of {hold['tables']} images at a time" if hold["tables"] > 1 else ""
        lines.append(
            f"         and {hold['bytes_per_color']} MB a million distinct colours (photographs have one or two); "
            f"there is room for {hold['colors'] / 1e6:.1f} million{each_image}"
        )
    if write["bytes_at_most"]:
        free = "" if write["free"] is None else f"; {format_bytes(write['free'])} are free"
        lines.append(f"  write  at most {format_bytes(write['bytes_at_most'])} before compression{free}")
    return lines + failure_lines(found["failures"], found.get("left_out", ()))


def inspect_lines(store: str, found: dict[str, Any]) -> list[str]:
    """A store for a person."""
    images, model = found["images"], found["model"]
    lines = [f"{printable(store)}: format {found['format']}, {found['status']}, {_images(len(images))}"]
    if model is not None:
        lines.append(f"k {model['k']}, {_features(model)}, {_mse_in_words(model)}")
        if model["k_why"]:
            lines.append(f"k {model['k']} was chosen: {model['k_why']}")
        lines += palette_lines(model["colors"], model["counts"])
        lines += [printable(note) for note in model["notes"]]
    lines += _cut_blocks([_image_lines(image) for image in images], "images")
    if found["failures"]:
        bad = [f"  {printable(each['key'])}: {printable(each['reason'])}" for each in found["failures"]]
        lines += [f"{_images(len(bad))} cannot be read (kseg-batch check --repair makes such anew):"]
        lines += _cut(bad, "images")
    if found.get("table") is not None:
        lines.append(f"regions of every image's clusters → {printable(found['table'])}")
    return lines


def _image_lines(image: dict[str, Any]) -> list[str]:
    """An image of a store, with its palette where it has one of its own, and what there is to say of its file."""
    if image["shape"] is None:
        return [f"  {image['key']}  not complete"]
    height, width = image["shape"]
    about = "edges alone" if image["labels"] is None else _about(image)
    head = f"  {image['key']}  {width}x{height}  {about}  ← {printable(image['source'])}"
    return [head, *_own_palette(image), *(f"    {printable(note)}" for note in image["notes"])]


def palettes_lines(images: list[dict[str, Any]], total: int) -> list[str]:
    """The palettes of images that have each its own."""
    lines = [line for image in images for line in (f"  {image['key']}  {_about(image)}", *_own_palette(image))]
    more = total - len(images)
    return [*lines, f"  … and {more} more images (inspect --json lists all)"] if more else lines


def _about(image: dict[str, Any]) -> str:
    of = "" if image["colors"] is None else f"k {len(image['colors'])}, "
    return f"{of}{_mse(image['mse'])}"


def _own_palette(image: dict[str, Any]) -> list[str]:
    return [] if image["colors"] is None else palette_columns(image["colors"], image["counts"])


def check_lines(store: str, found: dict[str, Any]) -> list[str]:
    """A verification for a person."""
    made = found.get("repaired")
    names = [f"  {printable(key)}" for key in made or ()]
    return [*([f"made anew: {_images(len(names))}", *_cut(names, "images")] if made else []), *_verdict(store, found)]


def _verdict(store: str, found: dict[str, Any]) -> list[str]:
    why = [f"  not compared: {_images(n)}: {printable(reason)}" for reason, n in found["not_compared"].items()]
    if found["status"] == "ok":
        if not found["images"]:
            return [f"{store}: complete and right"]
        if not found.get("labelled", True):
            return [f"{printable(store)}: complete and right; {_images(found['images'])}, with edges alone"]
        again = f"{found['compared']} of {_images(found['images'])} labelled anew from their sources and compared"
        return [f"{printable(store)}: complete and right; {again}", *_cut(why, "reasons")]
    hint = found["damaged"] and "repaired" not in found
    return [
        f"{printable(store)}: {counted(len(found['problems']), 'problem')}",
        *_cut([f"  {printable(p)}" for p in found["problems"]], "problems"),
        *_cut(why, "reasons"),
        *([f"what is damaged is made anew by: kseg-batch check {word(place(store))} --repair"] if hint else []),
    ]


def sweep_lines(result: dict[str, Any]) -> list[str]:
    """The end of ``sweep``: the table, the choice, what could not be read."""
    low, high = result["k_range"]
    swept, seconds = _images(result["images"]["swept"]), result["seconds"]["total"]
    megapixels = result["pixels"]["total"] / 1e6
    lines = [
        f"swept {swept}, {megapixels:.1f} MP, {_features(result)}, k {low} to {high} → {printable(result['output'])} "
        f"in {seconds:.1f} s"
    ]
    if result["each"] is None:
        lines += [*_table(result), f"k {result['k']}: {result['why']}"]
    else:
        lines += _cut(
            [f"  {image['key']}  k {image['k'] or '–'}  {image['why']}" for image in result["each"]], "images"
        )
        chosen = Counter(image["k"] for image in result["each"] if image["k"] is not None)
        lines += [f"k {k} for {_images(n)}" for k, n in sorted(chosen.items())]
    return lines + failure_lines(result["failures"], result.get("left_out", ()))


def _table(result: dict[str, Any]) -> list[str]:
    """A line for every k, in columns."""
    cells = [("k", "inertia", "mse", "drop", "silhouette", "Calinski-Harabasz", "")]
    rows, before = result["sweep"], None
    marked = False
    for row in rows:
        drop = "–" if not before else f"{1 - row['inertia'] / before:.1%}"
        before = row["inertia"]
        marks = []
        if row["k_found"] < row["k"]:
            marks.append(f"only {counted(row['k_found'], 'distinct value')}")
        if row["k"] == result["knee"]:
            marks.append("← knee")
        if row["k_found"] == result["k"] and result["knee"] is None and not marked:
            marked = True
            marks.append("← chosen")
        silhouette = "–" if row["silhouette"] is None else f"{row['silhouette']:.3f}"
        index = (
            "–"
            if row["calinski_harabasz"] is None
            else f"{row['calinski_harabasz']:{',.0f' if row['calinski_harabasz'] < 1e12 else '.3g'}}"
        )
        numbers = (str(row["k"]), f"{row['inertia']:.4e}", f"{row['mse']:.6g}", drop, silhouette, index)
        cells.append((*numbers, "  ".join(marks)))
    widths = [max(len(row[column]) for row in cells) for column in range(6)]
    return [
        "  " + "  ".join([*(text.rjust(width) for text, width in zip(row, widths, strict=False)), row[6]]).rstrip()
        for row in cells
    ]


def palette_lines(colors: list[list[int]], counts: list[int]) -> list[str]:
    """Each cluster's number, colour and share."""
    return _cut(palette_rows(colors, counts), "clusters")


def export_lines(result: dict[str, Any]) -> list[str]:
    """The end of ``export``."""
    made = Counter(file["what"] for file in result["files"])
    of = f" ({', '.join(f'{n} {what}' for what, n in made.items())})" if len(made) > 1 else ""
    head = f"{counted(len(result['files']), 'file')}{of} of {_images(result['images']['total'])}"
    head += f" → {printable(result['output'])}"
    if result["kept"]:
        head += f"; {result['kept']} were there already and were left alone"
    rows = [
        f"  {printable(f['image'])} ({', '.join(f['what'])}): {printable(f['source'])}: {printable(f['reason'])}"
        for f in result["failures"]
    ]
    failed = result["images"]["failed"]
    return [head, *([f"not everything of {_images(failed)}:", *_cut(rows, "failures")] if rows else [])]


def failure_lines(failures: list[dict[str, Any]], left_out: Sequence[dict[str, Any]] = ()) -> list[str]:
    """One line an input that could not be read, not in the memory there is, or not together with the others."""
    others = [failure for failure in failures if "kind" in failure]
    large = [failure for failure in failures if "needs" in failure and "kind" not in failure]
    unread = [failure for failure in failures if not {"needs", "kind"} & failure.keys()]
    do, were = "does" if len(large) == 1 else "do", "was" if len(others) == 1 else "were"
    return [
        *_named("{} of the inputs could not be read:", unread, "inputs"),
        *_named(f"{{}} of the inputs {do} not fit into the memory:", large, "inputs"),
        *_named(f"{_images(len(others))} of another kind {were} left out:", others, "images"),
        *(f"{_images(kind['images'])} of kind {kind['kind']}: {printable(kind['command'])}" for kind in left_out),
    ]


def _named(head: str, failures: Sequence[dict[str, Any]], what: str) -> list[str]:
    """How many failed, and a line for each; nothing of none."""
    rows = [f"  {printable(failure['source'])}: {printable(failure['reason'])}" for failure in failures]
    return [head.format(len(rows)), *_cut(rows, what)] if rows else []


def report_lines(result: dict[str, Any]) -> list[str]:
    """A report that was written."""
    images = result["images"]
    head = f"{printable(result['report'])}: {_images(images['total'])}, {images['shown']} with pictures"
    head += f", {len(result['figures'])} figures beside it"
    return [head, *failure_lines(result["failures"])]


def printable(text: str) -> str:
    """The text without control characters: a file's name must not steer the terminal."""
    return "".join(c if c.isprintable() else "�" for c in text)


def _features(result: dict[str, Any]) -> str:
    """The features, and why they were taken where they were not asked for."""
    why = result.get("features_why")
    return str(result["features"]) if why is None else f"{result['features']} ({why})"


def _mse(value: float | None) -> str:
    return "no valid pixel" if value is None else f"mse {value:.4g}"


def _mse_in_words(result: dict[str, Any]) -> str:
    """The mean squared error, and its root in words where that is a length that people know."""
    unit = {
        "rgb": "mean colour error {} levels",
        "gray": "mean gray error {} levels",
        "bands": "mean error {} in the data's units" if result.get("normalize") == "none" else None,
    }.get(result["features"])
    if unit is None or result["mse"] is None:
        return _mse(result["mse"])
    error = math.sqrt(result["mse"])
    figures = max(2, min(15, len(str(int(error)))))  # whole levels, but of small errors two figures
    words = unit.format(f"{error:.{figures}g}").replace(" 1 levels", " 1 level")
    return f"{_mse(result['mse'])} ({words})"


def _cut(rows: list[str], what: str) -> list[str]:
    return _cut_blocks([[row] for row in rows], what)


def _cut_blocks(blocks: list[list[str]], what: str) -> list[str]:
    shown = blocks if len(blocks) <= MOST_LINES + 1 else blocks[:MOST_LINES]
    lines = [line for block in shown for line in block]
    more = len(blocks) - len(shown)
    return [*lines, f"  … and {more} more {what} (--json lists all)"] if more else lines


def _images(n: int) -> str:
    return counted(n, "image")


# ------------------------------------------------------------------------------------------------ palettes


def palette_rows(colors: list[list[int]], counts: list[int]) -> list[str]:
    """Each cluster's number, colour and share of the pixels; with a block and a bar where stdout shows colours."""
    total = sum(counts) or 1
    block = blocks_of_terminal()
    rows = []
    for cluster, ((red, green, blue), count) in enumerate(zip(colors, counts, strict=True)):
        share = count / total
        code = f"#{red:02x}{green:02x}{blue:02x}"
        if block is None:
            rows.append(f"  {cluster:>3}  {code}  {share:6.1%}")
        else:
            rows.append(f"  {cluster:>3}  {block(red, green, blue)}  {code}  {share:6.1%}  {_bar(share)}".rstrip())
    return rows


def palette_columns(colors: list[list[int]], counts: list[int]) -> list[str]:
    """The same in few lines of at most 80 columns: colours and shares beside each other."""
    total = sum(counts) or 1
    block = blocks_of_terminal()
    cells = []
    for (red, green, blue), count in list(zip(colors, counts, strict=True))[:MOST_COLORS]:
        cell = "" if block is None else f"{block(red, green, blue)} "
        cells.append(f"{cell}#{red:02x}{green:02x}{blue:02x} {count / total:6.1%}")
    a_row = COLORS_A_ROW if block is None else COLORS_A_ROW - 1
    rows = ["  ".join(cells[at : at + a_row]) for at in range(0, len(cells), a_row)]
    more = len(colors) - len(cells)
    return [f"    {row}" for row in [*rows, *([f"… and {more} more colours"] if more > 0 else [])]]


def blocks_of_terminal() -> Callable[[int, int, int], str] | None:
    """What draws a block of a colour (red, green, blue); None where stdout is no terminal or shows no colours.

    ``NO_COLOR`` and ``TERM=dumb`` are respected; a terminal of few colours shows the nearest it has.
    """
    if not sys.stdout.isatty():
        return None
    from rich.color import Color, ColorSystem
    from rich.console import Console

    console = Console()
    systems = {
        "standard": ColorSystem.STANDARD,
        "256": ColorSystem.EIGHT_BIT,
        "truecolor": ColorSystem.TRUECOLOR,
        "windows": ColorSystem.WINDOWS,
    }
    if console.no_color or console.color_system is None:
        return None
    system = systems[console.color_system]

    def block(red: int, green: int, blue: int) -> str:
        codes = Color.from_rgb(red, green, blue).downgrade(system).get_ansi_codes(foreground=False)
        return f"\x1b[{';'.join(codes)}m    \x1b[0m"

    return block


def _bar(share: float) -> str:
    """A bar to the eighth of a character; none where stdout cannot write it."""
    if not str(sys.stdout.encoding).lower().startswith("utf"):
        return ""
    whole, part = divmod(round(share * BAR_WIDTH * 8), 8)
    return "█" * whole + _EIGHTHS[part].strip()
