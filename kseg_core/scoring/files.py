"""The files of a score: a record of everything, tables, and a figure."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from .. import storage
from ..errors import KsegError
from ..inputs.passed_over import SCORE, SCORE_FIGURE, SCORE_RECORD

CONFUSION, CLASSES, IMAGES = "confusion.csv", "classes.csv", "images.csv"
OF_CLASS = ("name", "reference", "predicted", "correct", "precision", "recall", "f1", "iou")
OF_IMAGE = (
    "key", "source", "references", "judged", "unlabelled", "unjudged", "accuracy", "adjusted_rand",
    "mutual_information", "rand", "covering", "variation_of_information",
)  # fmt: skip
NO_CLASS = "unassigned"  # the last column of a confusion matrix


def write_score(folder: str, record: Mapping[str, Any]) -> list[str]:
    """Write a score into a folder, which is made; each file appears whole or not at all, the record last. What an
    earlier one had and this has not is removed.

    Parameters
    ----------
    record
        JSON values, as ``--json`` prints them.

    Returns
    -------
    Names of the files.

    Raises
    ------
    KsegError
        If one cannot be written.
    """
    files = {IMAGES: table(OF_IMAGE, record["each"])}
    classes = record["classes"]
    if classes is not None:
        files |= {CLASSES: table(OF_CLASS, classes["each"]), CONFUSION: confusion_csv(classes)}
        if classes["each"]:
            from ..figures.plots import confusion_figure, to_png  # Matplotlib: only where a figure is drawn

            files[SCORE_FIGURE] = to_png(confusion_figure(names_of(classes), classes["confusion"]))
    files[SCORE_RECORD] = json.dumps({"kind": SCORE, **record}, allow_nan=False, indent=1).encode()
    try:
        os.makedirs(folder, exist_ok=True)
        for name, content in files.items():
            storage.put(os.path.join(folder, name), [content])
        for name in {CONFUSION, CLASSES, SCORE_FIGURE} - files.keys():
            with suppress(FileNotFoundError):
                os.unlink(os.path.join(folder, name))
    except OSError as error:
        raise KsegError(f"{folder}: the score cannot be written ({error.strerror or error})") from error
    return list(files)


def names_of(classes: Mapping[str, Any]) -> list[str]:
    """Of the classes of a record."""
    return [each["name"] for each in classes["each"]]


def table(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> bytes:
    """Rows as CSV; nothing between the commas where a value is not known."""
    return _csv(columns, ([row[name] for name in columns] for row in rows))


def confusion_csv(classes: Mapping[str, Any]) -> bytes:
    """The matrix: a line a class of the reference, a column a class that labels stand for."""
    names = names_of(classes)
    rows = ([name, *counts] for name, counts in zip(names, classes["confusion"], strict=True))
    return _csv(["reference", *names, NO_CLASS], rows)


def _csv(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> bytes:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return file.getvalue().encode()


def read_score(path: str) -> dict[str, Any]:
    """The record of a score: what ``score --to`` or ``--json`` wrote.

    Parameters
    ----------
    path
        The file, or the folder that it is in.

    Raises
    ------
    KsegError
        If it is none.
    """
    file = os.path.join(path, SCORE_RECORD) if storage.is_dir(path) else path
    try:
        record = json.loads(storage.read(file))
    except OSError as error:
        raise KsegError(
            f"{file}: cannot be read ({error.strerror or error}); make it with: kseg-batch score"
        ) from error
    except ValueError as error:
        raise KsegError(f"{file}: not what the score command writes ({error})") from error
    if not isinstance(record, dict) or not _is_sound(record):
        raise KsegError(f"{file}: not what the score command writes; make it with: kseg-batch score STORE --to DIR")
    return record


def _is_sound(record: Mapping[str, Any]) -> bool:
    """Whether what is drawn of a record is there."""
    try:
        classes = record["classes"]
        if classes is not None:
            names = names_of(classes)
            rows = [[int(count) for count in row] for row in classes["confusion"]]
            if [len(row) for row in rows] != [len(names) + 1] * len(names):
                return False
            numbers = [classes[name] for name in ("accuracy", "kappa", "mean_f1", "mean_iou")]
            numbers += [each[name] for each in classes["each"] for name in OF_CLASS[1:]]
            if any(not (each is None or isinstance(each, int | float)) for each in numbers):
                return False
        agreement, pixels = record["agreement"], record["pixels"]
        counts = [pixels["judged"], pixels["unlabelled"], pixels["unjudged"], record["references"]]
        figures = [] if agreement is None else [agreement[name] for name in OF_IMAGE[7:]]
        figures += [each[name] for each in record["each"] for name in OF_IMAGE[7:]]
        if agreement is None or not all(isinstance(each["key"], str) for each in record["each"]):
            return False
        return all(isinstance(each, int | float) for each in (*counts, *figures))
    except (KeyError, TypeError, ValueError):
        return False
