"""A store's own account of itself: the ``kseg`` attributes at its root, read and written without loading Zarr.

Light on purpose: whether an output may be used is known before anything heavy is imported.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from typing import Any

from .. import storage
from ..config import ADDED, FLAGS, UNSAID
from ..errors import StoreError, system_reason
from ..inputs.keys import StoreNames
from ..inputs.listing import NAMES
from ..options import plain
from ..storage.sidecars import aside
from . import schemas

FORMAT = 1
INCOMPLETE = "incomplete"  # the status of a store that was complete, and of which something has been lost since
BEGUN = "repairing"  # the attribute of a store that tells which images a repair is making anew
KEYS = "keys"  # the attribute of a store that names the images it had when it was last complete
WAY_OUT = "restore it from a copy, or remove this folder and give the command that made it again"
NAMED = 5  # of the images in one line; the others are counted
KINDS = ("store", "model")  # what stands on its own; an image's group inside a store does not


def has_classes(path: str) -> bool:
    """Whether clusters have names, of a model or of a store whose images share one.

    Raises
    ------
    StoreError
        As of `read_attributes`.
    """
    models = (read_attributes(place) or {} for place in (os.path.join(path, "model"), path))
    return any(each.get("kind") == "model" and bool(each.get("classes")) for each in models)


def read_attributes(path: str | os.PathLike[str]) -> dict[str, Any] | None:
    """The ``kseg`` attributes of a Zarr v3 group on disk, or None where there are none.

    Raises
    ------
    StoreError
        If the group's metadata cannot be read.
    """
    try:
        metadata = json.loads(storage.read(os.path.join(path, "zarr.json")))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, RecursionError) as error:
        why = system_reason(error) if isinstance(error, OSError) else "it is not valid JSON"
        raise StoreError(f"{path}: its zarr.json cannot be read ({why}); {WAY_OUT}") from error
    attributes = metadata.get("attributes", {}) if isinstance(metadata, dict) else {}
    kseg = attributes.get("kseg") if isinstance(attributes, dict) else None
    if not isinstance(kseg, dict):
        return None
    schema = {"store": schemas.Store, "model": schemas.Model}.get(str(kseg.get("kind")))
    if schema is not None:
        schemas.require_sound(str(path), kseg, schema)
    return kseg


def image_folder(path: str, key: str) -> str:
    """Where an image of a store is."""
    return os.path.join(path, "images", key)


def image_facts(folder: str) -> dict[str, Any] | None:
    """What an image says of itself; None where that is nothing, or is damaged: then the image is to be done again."""
    try:
        return read_attributes(folder)
    except StoreError:
        return None


def added_alone(attributes: dict[str, Any]) -> str | None:
    """The layer that is all that a store was made for, without labels, by what it says of itself; None: a run made
    it.
    """
    config = attributes.get("config") or {}
    return next((name for name in ADDED if name in config), None)


def images_of(store: str) -> set[str]:
    """Names of all images that a store has."""
    folders = folders_of(image_facts(store))
    return {name for folder in ("", *folders) for name in _within(store, folder)}.difference(folders)


def _within(store: str, folder: str) -> list[str]:
    """What is in a folder of images."""
    try:
        with storage.scan(os.path.join(store, "images", folder)) as entries:
            return [os.path.join(folder, entry.name) for entry in entries if entry.is_dir()]
    except (FileNotFoundError, NotADirectoryError):
        return []


def folders_of(attributes: dict[str, Any] | None) -> list[str]:
    """Where images of a store are, or are to be, besides its ``images`` itself; what is in a folder after it."""
    return sorted(((attributes or {}).get(NAMES) or {}).get("folders") or ())


def names_in(store: str, attributes: dict[str, Any] | None) -> StoreNames | None:
    """The names that a store, or a model, with these attributes has; None where release 0.1.0 gave them."""
    names = (attributes or {}).get(NAMES)
    if names is None:
        return None
    return StoreNames(frozenset(images_of(store)), frozenset(names["folders"]), frozenset(names["hashed"]))


def lost_images(store: str, attributes: dict[str, Any]) -> list[str]:
    """Names of the images that a store had when it was last complete and has no more."""
    return sorted(set(attributes.get(KEYS) or ()) - images_of(store))


def a_few(names: Sequence[str]) -> str:
    """The first of some names, and how many more there are."""
    more = len(names) - NAMED
    return ", ".join(names) if more < 2 else f"{', '.join(names[:NAMED])} and {more} more"


def inputs_digest(files: Iterable[tuple[str | int, ...]]) -> str:
    """SHA-256 over (key, bytes, modification time, state of what belongs to it) of all inputs, in any order."""
    lines = sorted(json.dumps(entry) for entry in files)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def differences(earlier: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Settings that differ, as ``--name was → is`` texts, with values as the command line takes them.

    A setting that one of them does not name, as an earlier version did not know it, is at its default there.
    """
    found = []
    for name in sorted(set(earlier) | set(now)):
        was, is_now = (plain(settings.get(name, UNSAID.get(name))) for settings in (earlier, now))
        if isinstance(was, dict) and isinstance(is_now, dict):
            found += differences(was, is_now)
        elif was != is_now:
            flag = FLAGS.get(name, name.replace("_", "-"))
            found.append(f"--{flag} {_typed(name, was)} → {_typed(name, is_now)}")
    return found


def _typed(name: str, value: Any) -> str:
    """A setting's value as it is typed, or what it is where it is not."""
    if value is None:
        return "not given"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, dict):
        return ", ".join(f"--{key.replace('_', '-')} {_typed(key, item)}" for key, item in sorted(value.items()))
    if isinstance(value, list | tuple):
        return (":" if name == "k_range" else ",").join(_typed(name, item) for item in value) or "not given"
    return f"{value:.17g}" if isinstance(value, float) and value.is_integer() else str(value)


def remove_kseg_store(path: str) -> None:
    """Delete a kseg store or model, and nothing else.

    Raises
    ------
    StoreError
        If something is there that is not one.
    """
    path = path.rstrip(os.sep) or path  # "link/" is what the link points to
    if not storage.exists(path):
        return
    attributes = None if storage.is_link(path) else read_attributes(path)
    if attributes is None or attributes.get("kind") not in KINDS:
        raise StoreError(f"{path} is not a kseg store; it is left alone. Choose another output with -o")
    if storage.is_remote(path):
        _unvouch(path)
        doomed = path
    else:
        doomed = aside(path)
        try:
            os.rename(path, doomed)  # in one step: a job killed now leaves no half of a store
        except OSError:
            doomed = path  # such as where another disk is mounted
    storage.remove_tree(doomed)


def _unvouch(path: str) -> None:
    """What cannot be taken away in one step says first that it is not complete."""
    document = os.path.join(path, "zarr.json")
    metadata = json.loads(storage.read(document))
    metadata["attributes"]["kseg"]["status"] = "running"
    storage.put(document, [json.dumps(metadata, allow_nan=False).encode()])
