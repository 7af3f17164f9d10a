"""Layers of named classes for the images of a store, by a look-up of their labels: no source is read.

An image of up to `WINDOW_PX` pixels a side is done in its task; a larger one window by window, and its levels after
that. An image is done when its own documents say so, so a job that was stopped goes on with those that are not.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from kseg_core.layers.layer import Layout
from kseg_core.layers.tiles import Region
from kseg_core.store.manifest import read_attributes
from kseg_core.store.model import Model
from kseg_core.store.naming import (
    WINDOW_PX,
    Naming,
    State,
    begin_naming,
    end_naming,
    name_image,
    name_window,
    state_of,
    unname_image,
)
from kseg_core.store.writing import build_level

from ..computing.context import Context, Failure
from ..viewing.tasks import Work, on_images
from .pieces import writing_to

TOGETHER = 64  # images in a task where documents alone are read or written


class Level(NamedTuple):
    """A window of a level."""

    level: int
    region: Region


def naming_of(store: str, model: Model, tile: int) -> Naming | None:
    """What the images of a store are to have, as the command last had it."""
    told = (read_attributes(store) or {}).get("classes") or {}
    return Naming.of(model, tile, masks=bool(told.get("masks")))


def name_images(store: str, keys: Sequence[str], naming: Naming | None, context: Context) -> list[Failure]:
    """Give images the layers of classes, or take them away where there are none; what failed.

    Raises
    ------
    KsegError
        If they cannot be written.
    """
    context.progress.stage("naming classes", len(keys), 0)
    with writing_to(store) as path:
        if naming is None:
            made = on_images(context, unname_image, _works(keys), path, name="unname", together=TOGETHER)
            return [each for each in made if isinstance(each, Failure)]
        states = dict(zip(keys, _states(keys, path, naming, context), strict=True))
        failures = [state for state in states.values() if isinstance(state, Failure)]
        found = {key: state for key, state in states.items() if isinstance(state, State)}
        renamed = [key for key, state in found.items() if state.what == "renamed"]
        made = on_images(context, end_naming, _works(renamed), path, naming, name="rename", together=TOGETHER)
        failures += [each for each in made if isinstance(each, Failure)]
        todo = {key: state.shape for key, state in found.items() if state.what == "to do"}
        if not todo:
            return failures
        context.progress.stage("naming classes", len(todo), sum(height * width for height, width in todo.values()))
        small = [Work(key, key, h * w, True) for key, (h, w) in todo.items() if max(h, w) <= WINDOW_PX]
        made = on_images(context, name_image, small, path, naming, name="name")
        failures += [each for each in made if isinstance(each, Failure)]
        for key, shape in todo.items():
            if max(shape) > WINDOW_PX:
                failures += _name_large(key, path, naming, context)
    return failures


def remake_classes(store: str, keys: Sequence[str], model: Model | None, tile: int, context: Context) -> list[Failure]:
    """Make the classes of images anew, whatever they say that they have; what failed."""
    naming = None if model is None else naming_of(store, model, tile)
    context.progress.stage("naming classes", len(keys), 0)
    with writing_to(store) as path:
        made = on_images(context, unname_image, _works(keys), path, name="unname", together=TOGETHER)
        failures = [each for each in made if isinstance(each, Failure)]
    return failures if naming is None else failures + name_images(store, keys, naming, context)


def _works(keys: Iterable[str]) -> Iterable[Work]:
    return (Work(key, key) for key in keys)


def _states(keys: Sequence[str], path: str, naming: Naming, context: Context) -> list[State | Failure]:
    return list(on_images(context, state_of, _works(keys), path, naming, name="named", together=TOGETHER))


def _name_large(key: str, path: str, naming: Naming, context: Context) -> list[Failure]:
    """An image window by window, then level by level; what failed first."""
    (layout,) = on_images(context, begin_naming, [Work(key, key)], path, naming, name="begin")
    if isinstance(layout, Failure):
        return [layout]
    regions = list(layout.windows(0, WINDOW_PX))
    work = [Work(key, (key, region), _pixels(region), region is regions[-1]) for region in regions]
    made = list(on_images(context, name_window, work, path, naming, layout, name="name"))
    for level in range(1, layout.levels):
        made = [*made, *_build(key, level, path, naming, layout, context)]
    if failures := [each for each in made if isinstance(each, Failure)]:
        return failures[:1]
    ended = on_images(context, end_naming, [Work(key, key)], path, naming, name="end")
    return [each for each in ended if isinstance(each, Failure)]


def _build(key: str, level: int, path: str, naming: Naming, layout: Layout, context: Context) -> list[Failure | None]:
    regions = [Work(key, Level(level, region)) for region in layout.windows(level, WINDOW_PX)]
    return list(on_images(context, _build_window, regions, key, path, naming, layout, name="level"))


def _build_window(what: Level, key: str, path: str, naming: Naming, layout: Layout) -> None:
    """A task: a window of a level."""
    build_level(path, key, what.level, what.region, layout, naming.layers)


def _pixels(region: Region) -> int:
    rows, columns = region
    height, width = rows.stop - rows.start, columns.stop - columns.start
    return int(height * width)
