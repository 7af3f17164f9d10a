"""Redo what verifying a store has found damaged: the images concerned, from their sources, and nothing else.

An image is made again with the store's own model and settings, so that it has the very bits it had: whole, or of a
large image whose documents are sound only the windows that are damaged (`mend`). While that goes on the store does not
say that it is complete, and tells which images are being made anew; each of these says that it is damaged: a repair
that is stopped is gone on with by the same command. Of an image that is lost altogether nobody knows the file but the
command that made the store: the store is left incomplete, and that command labels what is missing, and nothing else.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from dask.delayed import delayed

from kseg_core import storage
from kseg_core.config import ADDED, ExecutionSettings, FitSettings
from kseg_core.errors import StoreError, UnreadableImage
from kseg_core.expressions import chosen_bands
from kseg_core.inputs.listing import FACTS
from kseg_core.layers import LAYERS
from kseg_core.layers.layer import Layer
from kseg_core.layers.segments import SegmentLayer
from kseg_core.options import from_json
from kseg_core.reading.sources import ImageSource
from kseg_core.store.adding import forget_made_from
from kseg_core.store.manifest import BEGUN, INCOMPLETE, read_attributes
from kseg_core.store.markers import was_complete
from kseg_core.store.model import Model
from kseg_core.store.nodes import read_document, write_group
from kseg_core.store.opening import Store, StoredImage, open_store, update_attributes
from kseg_core.store.originals import Originals
from kseg_core.store.verify import Findings, layer_is_sound
from kseg_core.store.writing import LABELS, image_folder

from .check import Checked, check_model, images_lost, verify_store
from .computing.context import Context, Failure
from .computing.executor import Progress
from .labelling.cutting import recut_images
from .labelling.label import bands_of
from .labelling.label_plan import label_plan
from .labelling.mend import mend_images, mendable_images
from .labelling.naming import remake_classes
from .layer_job import maker_of
from .output import claim
from .planning.budget import Work, make_budget
from .planning.notes import notes_by_key, say
from .planning.plan import Plan, make_plan, remarked
from .request import CHOSEN
from .viewing.verify import output_settings, verify_images

DAMAGED = "damaged"  # the status of an image that is being made anew


class Origin(NamedTuple):
    """Which file an image of a store is of, as `Originals` wants to know it."""

    key: str
    attributes: dict[str, Any]


class Damaged(NamedTuple):
    """The damaged images of a store.

    Attributes
    ----------
    sources
        Those that can be made again.
    layers
        Those that were added to them, or are to be, by key.
    lost
        By key, a line for each image that cannot be made again.
    """

    sources: tuple[ImageSource, ...]
    layers: dict[str, tuple[Layer, ...]]
    lost: dict[str, str]


def repair_store(path: str, execution: ExecutionSettings, progress: Progress | None = None) -> dict[str, Any]:
    """Verify a store, make anew what is damaged, and verify that.

    Returns
    -------
    As `workflows.check.check_store`, after the repair; and ``repaired``: names of the images that were made anew.

    Raises
    ------
    OutputHeld
        If another run is writing the store.
    StoreError
        If there is no store.
    """
    if (read_attributes(path) or {}).get("kind") == "model":
        return {**check_model(path), "repaired": []}
    open_store(path)  # nothing is locked where there is none
    with claim(path), Context.open(execution, progress) as context:
        checked = verify_store(path, context, repairs=True)
        if not checked.findings or not was_complete(checked.store.attributes):
            return {**checked.to_json(), "repaired": []}  # of its model, or of all: there is nothing to go by
        return repair(checked, context)


def repair(checked: Checked, context: Context) -> dict[str, Any]:
    """Make the damaged images anew, and tell what is right and wrong then."""
    store, classes_anew = checked.store, classes_made_anew(checked, context)
    checked = dataclasses.replace(checked, findings=checked.findings | classes_anew)
    damaged = damaged_images(store, [*checked.damaged, *without_their_layers(store, checked.damaged)])
    failures: list[Failure] = []
    findings = cut_again(store, sorted(damaged.lost), context)
    cut = [key for key, found in (findings | classes_anew).items() if not found.problems]
    if damaged.sources:
        begin(store, damaged)
        failures, more = run_again(store, damaged, context)
        findings |= more
    status = INCOMPLETE if images_lost(store) else "complete"
    if store.attributes.get("status") != status or findings or BEGUN in store.attributes:
        update_attributes(store.path, {"status": status}, without=BEGUN)
    bad = {failure.key for failure in failures}
    made = [source.file.key for source in damaged.sources if source.file.key not in bad]
    lost = tuple(line for key, line in damaged.lost.items() if key not in cut)
    lost += tuple(f"{failure.key}: cannot be made anew ({failure.error})" for failure in failures)
    problems = Checked(store, checked.problems + lost, {**checked.findings, **findings})
    return {**problems.to_json(), "repaired": sorted({*cut, *made})}


def classes_made_anew(checked: Checked, context: Context) -> dict[str, Findings]:
    """Make the classes of damaged images anew, which takes their labels alone; what is found of these images then.

    Where that is not all that is damaged, the image is made anew after this, and its classes with it.
    """
    store = checked.store
    model = Model.load(store.path) if store.has_model else None
    keys = [key for key in checked.damaged if model is not None and (model.classes or _claims_classes(store, key))]
    if not keys:
        return {}
    failed = {each.key for each in remake_classes(store.path, keys, model, output_settings(store).tile, context)}
    return verify_images(store, [key for key in keys if key not in failed], model, context)


def _claims_classes(store: Store, key: str) -> bool:
    try:
        return store[key].has(LAYERS["classes"].node)
    except StoreError:
        return False


def begin(store: Store, damaged: Damaged) -> None:
    """Take the markers of the store and of what is made anew, and keep elsewhere what is known of these images."""
    origins = {
        source.file.key: {
            "source": source.file.source,
            **source.file.facts,
            **_settings(damaged.layers[source.file.key]),
        }
        for source in damaged.sources
    }
    update_attributes(store.path, {"status": INCOMPLETE, BEGUN: origins})
    store.attributes[BEGUN] = origins
    unmark(store, origins)


def cut_again(store: Store, keys: Sequence[str], context: Context) -> dict[str, Findings]:
    """Cut the segments of damaged images without files from contours that are whole, and verify what is cut so.

    Returns
    -------
    The findings of those that could be cut. They may have other damage, of which no more can be mended.
    """
    layers = {key: layer for key in keys for layer in added_layers(store, key) if isinstance(layer, SegmentLayer)}
    layers = {key: layer for key, layer in layers.items() if "source" in _facts(store, key)}
    if not layers:
        return {}
    origins = {key: {**_known_file(_facts(store, key)), **_settings(added_layers(store, key))} for key in layers}
    begun = {**(store.attributes.get(BEGUN) or {}), **origins}
    update_attributes(store.path, {"status": INCOMPLETE, BEGUN: begun})
    store.attributes[BEGUN] = begun
    cut: list[str] = []
    for layer in dict.fromkeys(layers.values()):
        some = [key for key, own in layers.items() if own == layer]
        made = recut_images(some, layer, store.path, output_settings(store).tile, context)
        bad = {failure.key for failure in made.failures}
        cut += [key for key in some if key not in bad]
        say(notes_by_key(made.notes, {key: str(origins[key]["source"]) for key in some}))
    model = Model.load(store.path) if store.has_model else None
    return verify_images(store, sorted(cut), model, context)


def unmark(store: Store, keys: Iterable[str]) -> None:
    """Take from some images the marker that they are complete; their sources stay known."""
    for key in keys:
        folder = image_folder(store.path, key)
        try:
            attributes = read_document(folder).get("attributes") or {}
            facts = attributes.get("kseg") or {}
        except (OSError, ValueError, AttributeError):
            attributes, facts = {}, {}
        write_group(folder, {**attributes, "kseg": {**_origin(store, key), **facts, "status": DAMAGED}})


def run_again(store: Store, damaged: Damaged, context: Context) -> tuple[list[Failure], dict[str, Findings]]:
    """Make the damaged images anew, large ones window by window where their documents are sound, and verify them.

    Damage that no checksum tells (a chunk that somebody wrote) is found where labels are compared: what of the large
    ones is not right then is made anew whole.
    """
    model = Model.load(store.path) if store.has_model else None
    failures: list[Failure] = []
    findings: dict[str, Findings] = {}
    sources = damaged.sources
    if store.is_labelled:
        fit = (store.attributes.get("config") or {}).get("fit") or {}
        bands = (
            chosen_bands(fit.get("bands") or (), fit.get("derive") or ())
            if fit.get("features") == "bands"
            else bands_of(model)
        )
        sources = remarked(sources, bands, asked_for=bool(fit))
    for by_windows in (True, False):
        plan = make_plan(sources, output_settings(store).tile, context.executor.workers)
        mended, bad = make_anew(store, plan, damaged.layers, context, by_windows=by_windows)
        failures += bad
        whole = sorted(plan.without(bad).keys)
        failures += remake_classes(store.path, whole, model, output_settings(store).tile, context)
        findings |= verify_images(store, sorted(plan.without(bad).keys), model, context)
        sources = tuple(s for s in sources if s.file.key in mended and findings[s.file.key].problems)
        if not sources:
            break
        unmark(store, [source.file.key for source in sources])
    return failures, findings


def make_anew(
    store: Store, plan: Plan, layers: dict[str, tuple[Layer, ...]], context: Context, *, by_windows: bool
) -> tuple[set[str], list[Failure]]:
    """Label the images of a plan as the run did, and add the layers to those that had them.

    ``by_windows``: of large images only what is damaged. Returns the names of those that were mended so, and all
    failures.
    """
    output = dataclasses.replace(output_settings(store), checksum=keeps_checksums(store))
    all_layers = tuple(dict.fromkeys(layer for key in plan.keys for layer in layers[key]))
    shared: Model | None = None
    mended: set[str] = set()
    if store.is_labelled:
        how = how_labelled(store)
        shared = how if isinstance(how, Model) else None
        budget, plan, failures = make_budget(plan, Work.of(how, output, all_layers, 0), context.executor)
        images = mendable_images(store, plan, shared, output) if by_windows else []
        keys, bad = mend_images(images, store.path, output, context) if images else ([], [])
        mended = set(keys)
        failures += bad
        rest = plan.without(failures).only(plan.keys - mended)
        if rest.sources:
            given = (store.attributes.get("config") or {}).get("fit") is None
            done = label_plan(rest, how, store.path, output, context, budget=budget, given=given)
            failures += done.failures
    else:
        _, plan, failures = make_budget(plan, Work(0, 0, 0, None, layers=all_layers), context.executor)
    task, path = delayed(layer_is_sound, pure=False), storage.absolute(store.path)
    for layer in all_layers:
        having = plan.without(failures).only({key for key, own in layers.items() if layer in own})
        some = [source for source in having.sources if source.file.key in mended]
        sound = context.compute([task(path, source, layer, shared) for source in some])
        whole = {source.file.key for source, is_sound in zip(some, sound, strict=True) if is_sound}
        anew = having.only(having.keys - whole)
        for source in anew.sources:
            forget_made_from(store.path, source.file.key, layer)
        failures += maker_of(layer)(anew, layer, store.path, output.tile, context).failures
    return mended, failures


# ------------------------------------------------------------------------------------------- what a store says of them


def damaged_images(store: Store, keys: Sequence[str]) -> Damaged:
    """The sources of some images, if they are there and what they were."""
    originals = Originals.of(store.attributes)
    sources, layers, lost = [], dict[str, tuple[Layer, ...]](), dict[str, str]()
    for key in keys:
        facts = _facts(store, key)
        origin = Origin(key, facts if "source" in facts else _origin(store, key))
        if not isinstance(origin.attributes.get("source"), str):
            lost[key] = f"{key}: which file it was made from is not known any more; make the store anew"
            continue
        try:
            sources.append(originals.open(origin))
        except UnreadableImage as error:
            lost[key] = f"{key}: cannot be made anew ({error})"
            continue
        layers[key] = added_layers(store, key)
    return Damaged(tuple(sources), layers, lost)


def added_layers(store: Store, key: str) -> tuple[Layer, ...]:
    """The layers that were added to an image, or are to be, as they are to be made."""
    begun = (store.attributes.get(BEGUN) or {}).get(key)
    config, output = store.attributes.get("config") or {}, output_settings(store)
    found = []
    for layer in (layer for layer in LAYERS.values() if layer.added and not layer.of_model):
        told, asked = config.get(layer.name, (store.attributes.get(layer.name) or {}).get("settings")), None
        if begun is not None:
            told = begun.get(layer.name)
        elif (asked := layer.asked(output)) is None and store.is_labelled:  # then not every image needs to have it
            folder = os.path.join(image_folder(store.path, key), layer.node)
            told = told if storage.is_dir(folder) else None
        wanted = asked if told is None else layer.told(told)
        found += [] if wanted is None else [wanted]
    return tuple(found)


def _settings(layers: Sequence[Layer]) -> dict[str, Any]:
    """How each of the layers that can be added is to be made, by name; None: not at all."""
    return {**dict.fromkeys(ADDED), **{layer.name: layer.to_json() for layer in layers}}


def _known_file(facts: dict[str, Any]) -> dict[str, Any]:
    """What is said of an image's file."""
    return {name: value for name, value in facts.items() if name in ("source", *FACTS)}


def _facts(store: Store, key: str) -> dict[str, Any]:
    """What an image says of itself; nothing where that cannot be read."""
    try:
        return StoredImage(store.path, key).attributes
    except StoreError:
        return {}


def _origin(store: Store, key: str) -> dict[str, Any]:
    """What is said of an image's file with its labels, or else by a repair that was stopped."""
    try:
        told = read_document(os.path.join(image_folder(store.path, key), LABELS))["attributes"]["kseg"]
    except (OSError, ValueError, KeyError, TypeError):
        told = None
    if not isinstance(told, dict):
        told = (store.attributes.get(BEGUN) or {}).get(key) or {}
    return _known_file(told)


def without_their_layers(store: Store, besides: Sequence[str]) -> list[str]:
    """Names of images that a repair, before it was stopped, labelled anew and did not come to add all layers to."""
    begun = [key for key in store if key in (store.attributes.get(BEGUN) or {}) and key not in besides]
    return [key for key in begun if not all(map(StoredImage(store.path, key).has_layer, added_layers(store, key)))]


def keeps_checksums(store: Store) -> bool:
    """Whether its images have the SHA-256 of their files: it is for each run to say, and not in its settings."""
    return any("checksum" in _facts(store, key) for key in store)


def how_labelled(store: Store) -> Model | FitSettings:
    """The model of all images, or how each got its own."""
    config = store.attributes.get("config") or {}
    fit = config.get("fit") or {}
    if fit.get("scope") != "image":
        return Model.load(store.path)
    return from_json(FitSettings, {**fit, "features_why": (config.get(CHOSEN) or {}).get("why")})
