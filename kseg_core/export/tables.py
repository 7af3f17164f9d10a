"""Tables as files: CSV by the standard library, Parquet by pyarrow (the ``parquet`` extra). Whole or not at all."""

from __future__ import annotations

import contextlib
import csv
import importlib.util
import os
import uuid
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path
from typing import Any

from .. import storage
from ..errors import KsegError, UsageError

ROWS = 65_536  # so many rows of a Parquet file are put together at once

Row = tuple[Any, ...]


def require_table(path: str, *, overwrite: bool) -> None:
    """Refuse a table that cannot be written, before any work is done for it.

    Raises
    ------
    UsageError
        If its name does not say CSV or Parquet, or pyarrow is missing.
    KsegError
        If something is there and may not be replaced, or there is no such folder.
    """
    kind = Path(path).suffix.lower()
    if kind not in _WRITERS:
        raise UsageError(f"a table is a .csv or a .parquet file; got {path!r}")
    if kind == ".parquet" and importlib.util.find_spec("pyarrow") is None:
        raise UsageError(
            f"{path}: Parquet needs pyarrow: pip install 'kseg-batch[parquet]', or name a .csv file instead"
        )
    storage.require_here(path, "a table is written")
    if os.path.lexists(path) and not (overwrite and os.path.isfile(path)):
        what = "replace it with --overwrite, or name another" if os.path.isfile(path) else "name another"
        raise KsegError(f"{path} exists; {what}")
    if not os.path.isdir(os.path.dirname(os.path.abspath(path))):
        raise KsegError(f"{path}: there is no such folder to write to")


def write_table(path: str, columns: dict[str, type], rows: Iterable[Row]) -> int:
    """Write a table, ``*.csv`` or ``*.parquet``; it appears whole or not at all, in place of a file that is there.

    Parameters
    ----------
    columns
        Names and types (str, int, float) of what is in the rows; any value may be None.
    rows
        As many values as there are columns.

    Returns
    -------
    How many rows were written.

    Raises
    ------
    KsegError
        If it cannot be written.
    """
    aside = f"{path}.{uuid.uuid4().hex[:8]}.partial"
    try:
        count = _WRITERS[Path(path).suffix.lower()](aside, columns, rows)
        os.replace(aside, path)
    except OSError as error:
        raise KsegError(f"{path}: the table cannot be written ({error.strerror or error})") from error
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(aside)
    return count


def _write_csv(path: str, columns: dict[str, type], rows: Iterable[Row]) -> int:
    """UTF-8, one line for the names; nothing between the commas where a value is not known."""
    count = 0
    with open(path, "x", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        for row in rows:
            writer.writerow(row)
            count += 1
    return count


def _write_parquet(path: str, columns: dict[str, type], rows: Iterable[Row]) -> int:
    import pyarrow
    from pyarrow import parquet

    types = {str: pyarrow.string(), int: pyarrow.int64(), float: pyarrow.float64()}
    schema = pyarrow.schema([(name, types[kind]) for name, kind in columns.items()])
    count = 0
    with parquet.ParquetWriter(path, schema) as writer:
        waiting = iter(rows)
        while batch := list(islice(waiting, ROWS)):
            values = zip(*batch, strict=True)
            arrays = [pyarrow.array(column, field.type) for column, field in zip(values, schema, strict=True)]
            writer.write_table(pyarrow.Table.from_arrays(arrays, schema=schema))
            count += len(batch)
    return count


_WRITERS: dict[str, Callable[[str, dict[str, type], Iterable[Row]], int]] = {
    ".csv": _write_csv,
    ".parquet": _write_parquet,
}
