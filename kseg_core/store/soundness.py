"""Are attributes what they must be?  A store's documents may have been damaged or edited: what is read from them is
looked at once, here, and everything above can rely on it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

from ..errors import StoreError

Check = Callable[[Any], bool]


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_time(value: Any) -> bool:
    """Nanoseconds since 1970; of files of archives and cameras without a clock often before."""
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_settings(value: Any) -> bool:
    return isinstance(value, dict)


def _is_shape(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(_is_count(side) and side > 0 for side in value)


def _are_counts(value: Any) -> bool:
    return isinstance(value, list) and all(_is_count(count) for count in value)


def _or_none(check: Check) -> Check:
    return lambda value: value is None or check(value)


def _are(check: Check) -> Check:
    return lambda value: isinstance(value, list) and all(check(item) for item in value)


IMAGE: dict[str, Check] = {
    "source": _is_text,
    "size": _is_count,
    "modified": _is_time,
    "beside": _is_text,
    "shape": _is_shape,
    "counts": _are_counts,
    "invalid": _is_count,
    "inertia": _is_number,
    "mse": _or_none(_is_number),
    "notes": _are(_is_text),
    "status": _is_text,
}

EDGES: dict[str, Check] = {
    "status": _is_text,
    "edge_pixels": _is_count,
}


def _has(known: dict[str, Check]) -> Check:
    """A JSON object, whose known members, where they are there, are of their kinds."""
    return lambda value: (
        isinstance(value, dict) and all(check(value[name]) for name, check in known.items() if name in value)
    )


def _has_all(known: dict[str, Check]) -> Check:
    """The same, and all of them are there."""
    has = _has(known)
    return lambda value: has(value) and value.keys() >= known.keys()


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


_COLORS = _or_none(_are(lambda color: isinstance(color, list) and len(color) == 3 and all(map(_is_count, color))))
_NOTE = _has_all({"source": _or_none(_is_text), "note": _is_text})
_FAILURE = _has_all({"source": _is_text, "reason": _is_text})
_PIXELS: dict[str, Check] = {"total": _is_count, "valid": _is_count}
_IMAGES: dict[str, Check] = {"total": _is_count, "labelled": _is_count, "reused": _is_count, "failed": _is_count}
_EDGED: dict[str, Check] = {"total": _is_count, "done": _is_count, "reused": _is_count, "failed": _is_count}

RESULT: dict[str, Check] = {
    "status": _is_text,
    "output": _is_text,
    "k": _or_none(_is_count),
    "features": _or_none(_is_text),
    "features_why": _or_none(_is_text),
    "images": _has_all(_IMAGES),
    "pixels": _has_all(_PIXELS),
    "inertia": _or_none(_is_number),
    "mse": _or_none(_is_number),
    "centroids": _or_none(_are(_are(_is_number))),
    "colors": _COLORS,
    "counts": _or_none(_are_counts),
    "failures": _are(_FAILURE),
    "notes": _are(_NOTE),
    "changes": _or_none(_has_all(dict.fromkeys(("added", "changed", "repaired", "removed", "outdated"), _is_count))),
    "seconds": _is_settings,
}
EDGES_RESULT: dict[str, Check] = {
    "status": _is_text,
    "output": _is_text,
    "images": _has_all(_EDGED),
    "pixels": _has_all({"total": _is_count}),
    "edge_pixels": _is_count,
    "failures": _are(_FAILURE),
    "seconds": _is_settings,
}
REQUIRED_OF_RESULT = frozenset({*RESULT} - {"centroids", "features", "features_why", "changes", "notes"})


def _is_result(value: Any) -> bool:
    """As ``--json`` printed it, of a run or of ``edges``: all of it, as it is printed again."""
    if isinstance(value, dict) and "edge_pixels" in value:
        return _has_all(EDGES_RESULT)(value)
    if not _has(RESULT)(value) or not value.keys() >= REQUIRED_OF_RESULT:
        return False
    k, colors, counts = value["k"], value["colors"], value["counts"]
    return k is None or (colors is not None and counts is not None and len(colors) == len(counts) == k)


_OUTPUT: dict[str, Check] = {
    "masks": _or_none(_is_flag),
    "tile": _is_count,
    "pyramid": _or_none(_is_flag),
    "confidence": _is_flag,
    "edges": _or_none(lambda value: _are(_is_number)(value) and len(value) == 2),
}
_CONFIG: dict[str, Check] = {
    "fit": _or_none(_is_settings),
    "output": _or_none(_has(_OUTPUT)),
    "input": _or_none(_is_settings),
    "model": _or_none(_is_text),
    "match": _or_none(_is_text),
    "auto": _has({"why": _is_text, "left_out": _is_count}),
}

_BEGUN = _has_all({"source": _is_text, "size": _is_count, "modified": _is_time, "edges": _or_none(_is_settings)})


def _are_begun(value: Any) -> bool:
    """The images that a repair is making anew, by name."""
    return isinstance(value, dict) and all(map(_BEGUN, value.values()))


STORE: dict[str, Check] = {
    "kind": _is_text,
    "status": _is_text,
    "config": _or_none(_has(_CONFIG)),
    "inputs_digest": _is_text,
    "folder": _is_text,
    "result": _or_none(_is_result),
    "failures": _are(_FAILURE),
    "keys": _are(_is_text),
    "edges": _or_none(_is_settings),
    "repairing": _are_begun,
}

MODEL: dict[str, Check] = {
    "features": _is_text,
    "k": _is_count,
    "k_requested": lambda value: _is_count(value) or value == "auto",
    "k_why": _or_none(_is_text),
    "features_why": _or_none(_is_text),
    "status": _is_text,
    "inputs_digest": _is_text,
    "folder": _is_text,
    "config": _or_none(_has(_CONFIG)),
    "result": _or_none(_is_result),
    "history": _are(_has({"batch": _are(_is_number), "steps": _are(_is_number)})),
    "seed": _or_none(_is_count),
    "attempts": _or_none(_is_count),
    "notes": _are(_is_text),
}


def require_sound(path: str, attributes: dict[str, Any], known: dict[str, Check]) -> None:
    """Refuse attributes of which one is not of its kind; those that are missing are told where they are needed.

    Raises
    ------
    StoreError
        Which one.
    """
    for name, check in known.items():
        if name in attributes and not check(attributes[name]):
            raise StoreError(f"{path}: a damaged zarr.json: its {name} cannot be {_shortly(attributes[name])}")


def _shortly(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 40 else f"{text[:37]}..."
