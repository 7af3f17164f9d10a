"""What is to be exported, file by file: known, and refused where it cannot be, before the first file is made."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Literal

from kseg_core.command_lines import command_line, made_anew_by, place
from kseg_core.config import ADDED
from kseg_core.errors import KsegError, StoreError, UnreadableImage, UsageError
from kseg_core.export.files import ExportFile, names_for_files
from kseg_core.export.settings import ExportSettings
from kseg_core.inputs.keys import image_keys
from kseg_core.inputs.listing import NAMES
from kseg_core.inputs.patterns import Filter
from kseg_core.layers import LAYERS
from kseg_core.products import KINDS, Clusters, What, written_as
from kseg_core.result_folder import require_outside
from kseg_core.store.legend import Legend, chosen_values, named_legend
from kseg_core.store.manifest import added_alone
from kseg_core.store.model import Model
from kseg_core.store.opening import Store, StoredImage
from kseg_core.store.originals import path_below

Existing = Literal["refuse", "replace", "keep"]


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """What to export, and where to.

    Parameters
    ----------
    store
        The store.
    folder
        For the files; made where it is not there.
    settings
        What is made of each image.
    images
        Keys, sources, or patterns of either; none: all images.
    existing
        What happens to files that are there already: nothing is done at all, they are replaced, or they are kept.
    """

    store: str
    folder: str
    settings: ExportSettings = field(default_factory=ExportSettings)
    images: tuple[str, ...] = ()
    existing: Existing = "refuse"


@dataclass(frozen=True, slots=True)
class PlannedImage:
    """An image, and the files to be made of it; or why there can be none."""

    key: str
    pixels: int
    files: tuple[ExportFile, ...]
    failure: UnreadableImage | None = None


def plan_export(store: Store, shared: Model | None, request: ExportRequest) -> list[PlannedImage]:
    """The files of every image that is meant, in the order of keys.

    Raises
    ------
    UsageError, StoreError
        As `export`.
    """
    settings = request.settings
    require_folder(request.folder, store.path)
    images, damaged = chosen_images(store, request.images)
    if damaged and not images:
        raise next(iter(damaged.values()))
    legend, chosen = legend_and_chosen(store, images, shared, settings)
    for layer in (LAYERS[what] for what in settings.what if what in ADDED):
        if not any(image.has_layer(layer) for image in images):
            alone = f"{command_line(layer.command, place(store.path))}, or with " if layer.command else ""
            flag = layer.name.replace("_", "-")
            raise StoreError(f"no {layer.name} in {store.path}; make them with: {alone}run --{flag}")
    if any(KINDS[what].of_labels for what in settings.what) and not any(image.has_labels for image in images):
        alone = added_alone(store.attributes) or "edges"
        raise StoreError(f"no labels in {store.path}, only {alone}: --what {alone}")
    if "raw" in settings.what and not any(image.has_layer(LAYERS["raw"]) for image in images):
        raise StoreError(f"no raw labels in {store.path}; a run with --min-region and --keep-raw keeps them")
    names = names_of_files(store)
    planned = [plan_image(image, names[image.key], settings, legend, chosen) for image in images]
    for key, error in damaged.items():
        reason = f"{error}; {made_anew_by(store.path)}"
        planned.append(PlannedImage(key, 0, (), UnreadableImage(key, reason)))
    return sorted(planned, key=lambda image: image.key)


def chosen_images(store: Store, wanted: Sequence[str]) -> tuple[list[StoredImage], dict[str, StoreError]]:
    """The images whose key or source is one of these, or matches one as a pattern; all, without any. Of those that
    are damaged, which have no source to go by, what is wrong with each.

    Raises
    ------
    UsageError
        If one of them means no image.
    """
    images: dict[str, StoredImage] = {}
    damaged: dict[str, StoreError] = {}
    for key in store:
        try:
            images[key] = store[key]
        except StoreError as error:
            damaged[key] = error
    if not images and not damaged:
        raise StoreError(f"{store.path}: a store without images")
    meant: set[str] = set()
    for name in wanted:
        pattern = Filter((name,))
        names = {key: names_by_which(image) for key, image in images.items()} | {key: (key,) for key in damaged}
        found = {key for key, known in names.items() if name in known}
        found = found or {
            key for key, known in names.items() if any(pattern.matches(each.lstrip("/"), each) for each in known)
        }
        if not found:
            listing = command_line("inspect", place(store.path))
            raise UsageError(f"--image {name}: no image of {store.path} is called so; they are listed by: {listing}")
        meant |= found
    return (
        [image for key, image in images.items() if not wanted or key in meant],
        {key: error for key, error in damaged.items() if not wanted or key in meant},
    )


def names_by_which(image: StoredImage) -> tuple[str, ...]:
    """What a person may call an image: its key, its path below the input, and its path as it was given."""
    return image.key, path_below(image.source, image.key) or image.key, image.source


def legend_and_chosen(
    store: Store, images: Sequence[StoredImage], shared: Model | None, settings: ExportSettings
) -> tuple[Legend | None, tuple[int, ...] | None]:
    """Names of what masks, cut-outs and outlines are of, and which values of it were chosen, None: all.

    Images with clusters of their own have numbers only, and no legend in common.

    Raises
    ------
    UsageError
        If there are no such classes or clusters, naming those there are.
    """
    wanted = settings.clusters
    required: What | None = "class" if "classes" in settings.what else None
    if shared is not None:
        named_legend(shared, required, store.path, "--what classes")
        legend = named_legend(shared, settings.legend_by, store.path, "--by class")
        return legend, None if wanted is None else chosen_values(shared, legend, wanted, "--by cluster")
    for flag, needs in (("--what classes", required), ("--by class", settings.legend_by)):
        if needs == "class":
            raise UsageError(f"{flag}: the images of {store.path} have no model in common whose clusters have names")
    k = max(map(clusters_of, images))
    for name in wanted or ():
        if not (name.isdecimal() and int(name) < k):
            there = f"clusters are 0 to {k - 1}" if k else "there are no clusters"
            raise UsageError(f"--cluster {name}: {there}")
    return None, None if wanted is None else tuple(map(int, wanted))


def clusters_of(image: StoredImage) -> int:
    """How many clusters an image's model has."""
    return len(image.attributes.get("counts") or ())


def require_folder(folder: str, store: str) -> None:
    """Refuse a place for the files that is none.

    Raises
    ------
    UsageError
        If it is a file, or in the store.
    """
    require_outside(folder, store, "files are exported")
    if os.path.lexists(folder) and not os.path.isdir(folder):
        raise UsageError(f"--to {folder}: that is a file, not a folder")


def names_of_files(store: Store) -> dict[str, str]:
    """What files of each image of a store begin with: the same whichever of them are exported.

    Keys of release 0.1.0 do not mirror paths; there names are made of the paths themselves.
    """
    if NAMES in store.attributes:
        return names_for_files(store)
    paths = {key: path_below(source_of(store, key), key) or key for key in store}
    mirrored = image_keys(paths.values())
    names = names_for_files(mirrored.values())
    return {key: names[mirrored[path]] for key, path in paths.items()}


def source_of(store: Store, key: str) -> str:
    """The path an image came from; its key where it does not say so."""
    try:
        return store[key].source
    except StoreError:
        return key


def plan_image(
    image: StoredImage, name: str, settings: ExportSettings, legend: Legend | None, chosen: tuple[int, ...] | None
) -> PlannedImage:
    """The files of one image, all of whose names begin with ``name``; ``legend``, ``chosen``: as `legend_and_chosen`
    has them.
    """
    facts = image.attributes
    try:
        if not image.complete:
            raise StoreError("not complete")
        height, width = facts["shape"]
        placed = image.georeference is not None
    except (StoreError, KeyError, ValueError):
        reason = "not complete in the store: the command that made it completes it, if given again"
        return PlannedImage(image.key, 0, (), UnreadableImage(str(facts.get("source", image.key)), reason))
    pixels, k = height * width, clusters_of(image)
    count = k if legend is None or not k else len(legend)
    kinds = [KINDS[what] for what in dict.fromkeys(settings.what)]
    files = tuple(
        ExportFile(image.key, image.source, name, kind.name, *shown_by(legend, values), written_as=each.name)
        for kind in kinds
        for each in written_as(kind, settings.format, pixels, placed)
        for values in kind.files(count, chosen)
    )
    return PlannedImage(image.key, pixels, files)


def shown_by(legend: Legend | None, values: Clusters) -> tuple[Clusters, tuple[str, ...] | None]:
    """The clusters of values of a legend, and the names of these where it is of classes."""
    if values is None or legend is None or legend.what == "cluster":
        return values, None
    return tuple(sorted(chain(*(legend.clusters[value] for value in values)))), tuple(legend.names[j] for j in values)


def leave_existing(planned: list[PlannedImage], request: ExportRequest) -> tuple[list[PlannedImage], int]:
    """The plan without the files that are to be kept, and how many those are.

    Raises
    ------
    KsegError
        If files are there that must neither be replaced nor kept.
    """
    if request.existing == "replace" or not os.path.isdir(request.folder):
        return planned, 0
    names = (file.name for image in planned for file in image.files)
    old = [name for name in names if os.path.lexists(os.path.join(request.folder, name))]
    if old and request.existing == "refuse":
        more = f" and {len(old) - 1} more of these files" if len(old) > 1 else ""
        raise KsegError(
            f"{os.path.join(request.folder, old[0])}{more} already there; --overwrite replaces them, "
            "--skip-existing leaves them alone"
        )
    there = set(old)
    left = [replace(image, files=tuple(file for file in image.files if file.name not in there)) for image in planned]
    return left, len(old)
