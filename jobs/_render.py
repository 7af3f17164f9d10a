"""Results as lines for a person: what several commands say."""

from __future__ import annotations

import io
import math
import sys
from collections.abc import Callable, Sequence
from typing import Any

from kseg_core.sizes import counted, format_bytes

MOST_LINES = 20  # clusters or failures shown; all of them are in the store and in --json
WIDEST = 400  # characters of a table: names may be long, and a terminal breaks lines itself
BAR_WIDTH = 20  # characters of a cluster that is the whole image
COLORS_A_ROW = 4  # in 80 columns, one less where each has a block
MOST_COLORS = 12  # of an image among others
_EIGHTHS = " ▏▎▍▌▋▊▉"


def result_lines(result: dict[str, Any], verb: str, palettes: Sequence[str] = ()) -> list[str]:
    """The end of ``run``, ``fit`` and ``apply``: what was done, the palette or those of the images, what could not be
    read. ``palettes``: what says those of the images, or the named classes of one that they share.
    """
    images, pixels, output = result["images"], result["pixels"], printable(result["output"])
    if images["reused"] and result["seconds"]["label"] is None:
        head = f"{output}: already done, nothing changed ({n_images(images['reused'])})"
    elif images["reused"] and not images["labelled"] and verb == "labelled":
        there = "1 image was" if images["reused"] == 1 else f"{images['reused']} images were"
        head = f"{output}: nothing new: {there} there already"
    else:
        count = images["total"] - images["failed"] - images["reused"]
        there = more_were_there(images["reused"])
        head = f"{verb} {n_images(count)}{there}, {pixels['total'] / 1e6:.1f} MP → {output}"
        head += f" in {result['seconds']['total']:.1f} s"
    lines = [head]
    if result["k"] is not None:
        lines.append(f"k {result['k']}, {features_of(result)}, {mse_in_words(result)}")
        if result.get("k_why"):
            lines.append(f"k {result['k']} was chosen: {result['k_why']}")
        lines += palette_lines(result["colors"], result["counts"])
        lines += palettes
    else:
        lines.append(f"a palette for each image, {features_of(result)}, {mse_in_words(result)}")
        lines += palettes
        if result.get("k_requested") == "auto":
            lines.append("k was chosen for each image alone; its model in the store says why")
    lines += drift_lines(result.get("drift"))
    lines += _changes_lines(result.get("changes") or {}, output)
    lines += failure_lines(result["failures"], result.get("left_out", ()))
    return lines


def more_were_there(reused: int) -> str:
    """What follows a number of images that were worked on."""
    return f" ({reused} more were there already)" if reused else ""


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
            more = " (inspect says which; --prune removes them)" if name == "removed" else ""
            lines.append(f"{n_images(n)} in {output} {why}; {done or left}{more}")
    return lines


def drift_lines(drift: dict[str, Any] | None) -> list[str]:
    """How far new images are from those of the model, and which stand out."""
    batch = (drift or {}).get("batch")
    if drift is None or batch is None or batch["share_distance"] is None:
        return []
    lines = [f"drift of the {n_images(batch['images'])} from the model's: {_drift(batch)}"]
    odd = [image for image in drift["images"] if image["outlier"]]
    lines += [f"  stands out: {printable(image['source'])}, {_drift(image)}" for image in odd]
    more = drift.get("outliers", len(odd)) - len(odd)  # stores of earlier releases have no number
    return [*lines, f"  … and {more} more {'stands' if more == 1 else 'stand'} out"] if more else lines


def _drift(found: dict[str, Any]) -> str:
    ratio, distance = found["mse_ratio"], found["share_distance"]
    shares = "no valid pixel" if distance is None else f"cluster shares differ by {distance:.3f}"
    return shares if ratio is None else f"{shares}, mse {ratio:.2f} times"


def dry_run_lines(found: dict[str, Any], *, already_done: bool) -> list[str]:
    """What a job would read, hold and write."""
    hold, write, images = found["hold"], found["write"], found["images"]
    there = f" ({images['reused']} more are there already)" if images["reused"] and not already_done else ""
    large = f", {images['large']} of them by windows" if images["large"] else ""
    tasks = "1 task" if hold["threads"] == 1 else f"{hold['threads']} tasks"
    each = "one process" if hold["processes"] == 1 else f"each of {hold['processes']} processes"
    lines = [
        f"{printable(found['output'])}: " + ("already done; nothing would change" if already_done else "a dry run"),
        f"  read   {n_images(images['to_do'])}{large}, {found['pixels']['total'] / 1e6:.1f} MP, "
        f"{format_bytes(found['read']['bytes'])}{there}",
        f"  hold   {format_bytes(hold['bytes'])} in {each} with {tasks} at a time, of {format_bytes(hold['memory'])} "
        f"({hold['memory_from']})",
    ]
    if found["features"] is not None:
        lines.insert(1, f"  fit    {features_of(found)}")
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


def palettes_lines(images: list[dict[str, Any]], total: int) -> list[str]:
    """The palettes of images that have each its own."""
    lines = [
        line for image in images for line in (f"  {printable(image['key'])}  {about_image(image)}", *own_palette(image))
    ]
    more = total - len(images)
    return [*lines, f"  … and {more} more images (inspect --json lists all)"] if more else lines


def about_image(image: dict[str, Any]) -> str:
    of = "" if image["colors"] is None else f"k {len(image['colors'])}, "
    return f"{of}{_mse(image['mse'])}"


def own_palette(image: dict[str, Any]) -> list[str]:
    return [] if image["colors"] is None else palette_columns(image["colors"], image["counts"])


def palette_lines(colors: list[list[int]], counts: list[int]) -> list[str]:
    """Each cluster's number, colour and share."""
    return cut(palette_rows(colors, counts), "clusters")


def failure_lines(failures: list[dict[str, Any]], left_out: Sequence[dict[str, Any]] = ()) -> list[str]:
    """One line an input that could not be read, or not as was asked, in the memory there is, or with the others."""
    others = [failure for failure in failures if "kind" in failure]
    large = [failure for failure in failures if "needs" in failure and "kind" not in failure]
    unsuited = [failure for failure in failures if "option" in failure]
    unread = [failure for failure in failures if not {"needs", "kind", "option"} & failure.keys()]
    options = " and ".join(sorted({failure["option"] for failure in unsuited}))
    do, were = "does" if len(large) == 1 else "do", "was" if len(others) == 1 else "were"
    return [
        *named("{} of the inputs could not be read:", unread, "inputs"),
        *named(f"{{}} of the inputs can be read, but not with {options}:", unsuited, "inputs"),
        *named(f"{{}} of the inputs {do} not fit into the memory:", large, "inputs"),
        *named(f"{n_images(len(others))} of another kind {were} left out:", others, "images"),
        *(f"{n_images(kind['images'])} of kind {kind['kind']}: {printable(kind['command'])}" for kind in left_out),
    ]


def named(head: str, failures: Sequence[dict[str, Any]], what: str) -> list[str]:
    """How many failed, and a line for each; nothing of none."""
    rows = [f"  {printable(failure['source'])}: {printable(failure['reason'])}" for failure in failures]
    return [head.format(len(rows)), *cut(rows, what)] if rows else []


def printable(text: str) -> str:
    """The text without control characters: a file's name must not steer the terminal."""
    return "".join(c if c.isprintable() else "�" for c in text)


def features_of(result: dict[str, Any]) -> str:
    """The features, and why they were taken where they were not asked for."""
    why = result.get("features_why")
    return str(result["features"]) if why is None else f"{result['features']} ({why})"


def _mse(value: float | None) -> str:
    return "no valid pixel" if value is None else f"mse {value:.4g}"


def mse_in_words(result: dict[str, Any]) -> str:
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


def cut(rows: list[str], what: str) -> list[str]:
    return cut_blocks([[row] for row in rows], what)


def cut_blocks(blocks: list[list[str]], what: str) -> list[str]:
    shown = blocks if len(blocks) <= MOST_LINES + 1 else blocks[:MOST_LINES]
    lines = [line for block in shown for line in block]
    more = len(blocks) - len(shown)
    return [*lines, f"  … and {more} more {what} (--json lists all)"] if more else lines


def n_images(n: int) -> str:
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


def class_rows(classes: Sequence[dict[str, Any]]) -> list[str]:
    """A table of classes: name, clusters, share of the pixels and colour."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = classes if len(classes) <= MOST_LINES + 1 else classes[:MOST_LINES]
    block = blocks_of_terminal()
    table = Table(box=None, pad_edge=False, show_header=True, header_style="")
    for head in ("class", "clusters", "share", "colour"):
        table.add_column(head, justify="right" if head == "share" else "left", no_wrap=True)
    for each in shown:
        red, green, blue = bytes.fromhex(each["color"][1:])
        color = each["color"] if block is None else f"{block(red, green, blue)}  {each['color']}"
        clusters = ",".join(map(str, each["clusters"]))
        table.add_row(*map(Text.from_ansi, (printable(each["name"]), clusters, f"{each['share']:.1%}", color)))
    text = io.StringIO()
    console = Console(file=text, width=WIDEST, force_terminal=block is not None, highlight=False, legacy_windows=False)
    console.print(table)
    more = len(classes) - len(shown)
    rows = [f"  {line.rstrip()}" for line in text.getvalue().splitlines()]
    return [*rows, f"  … and {more} more classes (--json lists all)"] if more else rows


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
