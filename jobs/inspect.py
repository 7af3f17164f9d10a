"""``kseg-batch inspect``: what is in a store or a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kseg_core.command_lines import made_anew_by
from kseg_core.config import ExecutionSettings, InputSettings
from kseg_core.errors import UsageError
from kseg_core.object_settings import ObjectSettings
from kseg_core.options import argument, option
from kseg_core.segment_settings import level_name
from kseg_core.sizes import counted

from ._options import WORKERS, Given, command, pick
from ._render import (
    about_image,
    class_rows,
    cut,
    cut_blocks,
    features_of,
    mse_in_words,
    n_images,
    own_palette,
    palette_lines,
    printable,
)
from ._runtime import DONE, SOME_UNREADABLE, General, Report

INPUT_LOST = {"gone": ", its file is gone", "changed": ", its file has changed"}


@dataclass(frozen=True, slots=True)
class Shown:
    """Of which store, and what is made of it."""

    store: str = argument("A store made by run, apply, edges or segments, or a model.", "STORE", required=True)
    table: str | None = option(
        None,
        "Also write area, number of regions and largest region of every image's classes, or of its clusters where "
        "they have no names.",
        "Output",
        "FILE.csv|FILE.parquet",
    )
    objects: str | None = option(
        None,
        "Also write a row for each connected region: class, area, box, centroid, shape, mean of each band.",
        "Output",
        "FILE.csv|FILE.parquet",
    )
    signatures: str | None = option(
        None,
        "Also print and write what is in each class or cluster: mean, standard deviation, least and greatest value of "
        "each band, pixels, area.",
        "Output",
        "FILE.csv|FILE.parquet",
    )
    image: tuple[str, ...] = option(
        (),
        "With --objects and --signatures: only these images: a key or source, a name without its suffix, a folder, a "
        "suffix such as .jpg, or a glob; may be given again.",
        "Output",
        "KEY|GLOB",
        many=True,
    )
    overwrite: bool = option(False, "Replace a table that is there.", "Output")

    def __post_init__(self) -> None:
        files = [file for file in (self.table, self.objects, self.signatures) if file is not None]
        if self.overwrite and not files:
            raise UsageError("--overwrite is for a table: name it with --table, --objects or --signatures")
        if (twice := next((file for file in files if files.count(file) > 1), None)) is not None:
            raise UsageError(f"two tables are both {twice}: name a file for each")
        if self.image and self.objects is None and self.signatures is None:
            raise UsageError("--image chooses for --objects: name its file, as in --objects objects.csv")


@command(
    "inspect",
    pick(Shown, "store", "table", "signatures", "objects"),
    ObjectSettings,
    pick(Shown, "image", "overwrite"),
    pick(InputSettings, "pixel_size"),
    WORKERS,
    General,
    failed=lambda error: {"status": "failed", "error": str(error)},
)
def inspect(given: Given, report: Report) -> int:
    """Show what is in a store or model.

    --table also counts the connected regions of every class or cluster; --objects measures each of them. --signatures
    tells of every class and band mean, deviation and extremes.

    Examples:

      kseg-batch inspect images.kseg.zarr
      kseg-batch inspect images.kseg.zarr --json
      kseg-batch inspect images.kseg.zarr --table regions.csv
      kseg-batch inspect images.kseg.zarr --table plants.csv --cluster plant
      kseg-batch inspect images.kseg.zarr --objects o.csv --cluster plant
      kseg-batch inspect images.kseg.zarr --objects parts.parquet --of segments
      kseg-batch inspect photos.kseg.zarr --table leaves.csv --pixel-size 0.12mm
      kseg-batch inspect scene.kseg.zarr --signatures signatures.csv
    """
    execution, asked = given.make(ExecutionSettings), given.make(Shown)
    settings = given.make(ObjectSettings)
    _require_use(asked, settings, [item.flag for item in given.changed(ObjectSettings)])
    size = given.make(InputSettings).pixel_size
    if size is not None and asked.objects is None and asked.signatures is None and asked.table is None:
        raise UsageError("--pixel-size is for areas of a table: name it with --table, --objects or --signatures")
    from kseg_core.inputs.keys import printable_source
    from workflows.inspect import describe

    found = describe(asked.store)
    if asked.table is not None:
        from workflows.regions import RegionsOf, write_region_table

        write_region_table(
            asked.store,
            asked.table,
            execution,
            report.progress,
            overwrite=asked.overwrite,
            of=RegionsOf(settings, size),
        )
        found |= {"table": printable_source(asked.table)}
    if asked.signatures is not None:
        from workflows.objects import ObjectRequest
        from workflows.signatures import write_signatures

        classes = ObjectSettings(settings.of)
        request = ObjectRequest(asked.store, asked.signatures, classes, asked.image, asked.overwrite, size)
        signed = write_signatures(request, execution, report.progress)
        found |= {"signature_table": printable_source(asked.signatures), **signed.to_json()}
    if asked.objects is not None:
        from workflows.objects import ObjectRequest, write_object_table

        request = ObjectRequest(asked.store, asked.objects, settings, asked.image, asked.overwrite, size)
        made = write_object_table(request, execution, report.progress)
        found |= {"objects": printable_source(asked.objects), **made.to_json()}
    report.finish(found, inspect_lines(asked.store, found))
    return SOME_UNREADABLE if found["failures"] else DONE


def _require_use(asked: Shown, settings: ObjectSettings, flags: Sequence[str]) -> None:
    """Refuse options of tables that the tables named have no use for.

    Raises
    ------
    UsageError
        Naming the option.
    """
    if asked.objects is not None:
        return
    with_table = {"--of", "--cluster"} if asked.table is not None else set()
    with_signatures = {"--of"} if asked.signatures is not None else set()
    for flag in flags:
        if flag == "--min-area":
            raise UsageError(f"{flag} is of objects: name their file, as in --objects objects.csv")
        if flag not in with_table | with_signatures:
            raise UsageError(f"{flag} is of a table: name it, as in --objects objects.csv or --table regions.csv")
    if settings.of == "segments" and asked.table is not None:
        raise UsageError("--of segments is of objects: name their file, as in --objects objects.csv")


def inspect_lines(store: str, found: dict[str, Any]) -> list[str]:
    """A store for a person."""
    images, model = found["images"], found["model"]
    lines = [f"{printable(store)}: format {found['format']}, {found['status']}, {n_images(len(images))}"]
    if model is not None:
        lines.append(f"k {model['k']}, {features_of(model)}, {mse_in_words(model)}")
        if "bands" in model:
            lines.append(printable(f"bands: {', '.join(model['bands'])}"))
        if model["k_why"]:
            lines.append(f"k {model['k']} was chosen: {model['k_why']}")
    lines += _how_made(found)
    if model is not None:
        lines += palette_lines(model["colors"], model["counts"])
        lines += class_rows(found["classes"]) if found["classes"] else []
        lines += [printable(note) for note in model["notes"]]
    lines += cut_blocks([_image_lines(image, found) for image in images], "images")
    if found["failures"]:
        bad = [f"  {printable(each['key'])}: {printable(each['reason'])}" for each in found["failures"]]
        lines += [f"{n_images(len(bad))} cannot be read; damaged ones are {made_anew_by(store)}"]
        lines += cut(bad, "images")
    if found.get("table") is not None:
        lines.append(f"regions of every image → {printable(found['table'])}")
    if found.get("signature_table") is not None:
        lines += _signature_lines(found["signatures"])
        lines.append(f"signatures → {printable(found['signature_table'])}")
    if found.get("objects") is not None:
        lines.append(f"{counted(found['object_count'], 'object')} → {printable(found['objects'])}")
    if without := found.get("without_bands"):
        first = f"{printable(without[0]['key'])}: {printable(without[0]['reason'])}"
        more = f"; and {len(without) - 1} more" if len(without) > 1 else ""
        lines.append(f"without means of bands: {first}{more}")
    return lines


def _signature_lines(rows: list[dict[str, Any]]) -> list[str]:
    """Signatures as a table in columns."""
    if not rows:
        return []
    heads = ("class", "band", "pixels", "mean", "std", "min", "max")
    table = [heads, *(tuple(_cell(row[head]) for head in heads) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if at < 2 else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in table
    ]
    return [f"  {lines[0].rstrip()}", *cut([f"  {line.rstrip()}" for line in lines[1:]], "rows")]


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.6g}" if isinstance(value, float) else printable(str(value))


def _how_made(found: dict[str, Any]) -> list[str]:
    """Whether labels are of smoothed pixels, and cleaned; of a model by itself, whether it is of smoothed pixels."""
    how = [f"of pixels smoothed with --smooth {found['smooth']}"] if "smooth" in found else []
    if "min_region" in found:
        how.append(f"cleaned of small regions with --min-region {found['min_region']}")
    if how:
        return [f"labels are {', '.join(how)}{'; raw labels are kept' if 'keep_raw' in found else ''}"]
    smooth = (found["model"] or {}).get("smooth")
    return [] if smooth is None else [f"the model is of pixels smoothed with --smooth {smooth}"]


def _in_pixels(image: dict[str, Any], found: dict[str, Any]) -> str:
    """What lengths and areas that were asked for are in an image's own pixels."""
    told = ""
    if isinstance(found.get("smooth"), str) and "smooth" in image:
        told += f", smoothed at {counted(image['smooth'], 'pixel')}"
    if isinstance(found.get("min_region"), str) and "min_region" in image:
        told += f", regions from {counted(image['min_region'], 'pixel')}"
    return told


def _image_lines(image: dict[str, Any], found: dict[str, Any]) -> list[str]:
    """An image of a store, with its palette where it has one of its own, and what there is to say of its file."""
    if image["shape"] is None:
        return [f"  {printable(image['key'])}  not complete"]
    height, width = image["shape"]
    layers = "edges alone" if image.get("edges") else "segments alone"
    about = layers if image["labels"] is None else about_image(image) + _in_pixels(image, found)
    if image.get("segments"):
        about += f", {counted(image['segment_count'], 'segment')} (level {level_name(image['segment_level'])})"
    about += INPUT_LOST.get(image["input"], "")
    head = f"  {printable(image['key'])}  {width}x{height}  {about}  ← {printable(image['source'])}"
    return [head, *own_palette(image), *(f"    {printable(note)}" for note in image["notes"])]
