"""The files of a sweep: a table, a figure, and a record of everything."""

from __future__ import annotations

import csv
import io
import json
import os
from itertools import pairwise
from typing import Any

from .. import storage
from ..figures.charts import chosen_k
from ..inputs.passed_over import SWEEP, SWEEP_FIGURE, SWEEP_RECORD, SWEEP_TABLE

COLUMNS = ("k", "k_found", "inertia", "mse", "drop_percent", "silhouette", "calinski_harabasz", "knee", "chosen")
OF_IMAGES = ("key", "source")  # before the others, where each image was swept alone


def write_sweep(folder: str, record: dict[str, Any]) -> None:
    """Write table, figure and record into a folder; each appears whole or not at all, the record last.

    Parameters
    ----------
    folder
        It exists.
    record
        JSON values: what ``--json`` prints and for every k the clusters.

    Raises
    ------
    OSError
        If one cannot be written.
    """
    from ..figures.plots import sweep_figure, to_png  # Matplotlib: only where a figure is drawn

    text = json.dumps({"kind": SWEEP, **record}, allow_nan=False, indent=1)
    files = {SWEEP_TABLE: table_csv(record).encode(), SWEEP_FIGURE: to_png(sweep_figure(record))}
    for name, content in {**files, SWEEP_RECORD: text.encode()}.items():
        storage.put(os.path.join(folder, name), [content])


def drops(rows: list[dict[str, Any]]) -> list[float | None]:
    """By how many per cent the inertia falls from each k to the next one; None for the first, and where it is 0."""
    inertia = [row["inertia"] for row in rows]
    falls = [100.0 * (1.0 - now / was) if was else None for was, now in pairwise(inertia)]
    return [None, *falls] if rows else []


def table_csv(record: dict[str, Any]) -> str:
    """The table as CSV: a line for every k, or for every image and k; empty where a number is missing."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    each = record["each"]
    writer.writerow(COLUMNS if each is None else (*OF_IMAGES, *COLUMNS))
    for swept in [record] if each is None else each:
        names = () if each is None else (swept["key"], swept["source"])
        rows = swept["sweep"] or []
        for row, drop in zip(rows, drops(rows), strict=True):
            marks = (int(row["k"] == swept["knee"]), int(row["k"] == chosen_k(swept)))
            numbers = [row["k"], row["k_found"], row["inertia"], row["mse"], drop]
            numbers += [row["silhouette"], row["calinski_harabasz"], *marks]
            writer.writerow([*names, *("" if number is None else number for number in numbers)])
    return file.getvalue()
