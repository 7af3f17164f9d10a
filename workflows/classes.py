"""Names for clusters: what the classes of a model or a store are, and setting them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kseg_core.classes import NO_CLASSES, Classes
from kseg_core.config import ExecutionSettings, OutputSettings
from kseg_core.errors import StoreError, UsageError
from kseg_core.inputs.keys import printable_source
from kseg_core.store.legend import Legend
from kseg_core.store.manifest import added_alone, images_of, read_attributes
from kseg_core.store.markers import COMPLETE, is_complete
from kseg_core.store.model import Model
from kseg_core.store.naming import Naming
from kseg_core.store.opening import sweep_store, update_attributes, write_classes

from .computing.context import Context, Failure
from .computing.executor import Progress
from .labelling.naming import name_images
from .output import claim
from .viewing.tasks import limit_tasks

NAMING_BYTES = 200 << 20  # of a window of labels that is looked up, as labels, classes and masks of 4096 x 4096 pixels


@dataclass(frozen=True, slots=True)
class ClassChanges:
    """What is to become of the classes of a model or a store.

    Parameters
    ----------
    clear
        Whether none of those that are there stays.
    file
        A TOML file whose classes take the place of those that are there.
    named
        Names, and the clusters of each; none: the class is removed.
    colors
        By name; ``mean``: the mean colour of its clusters.
    masks
        Whether the images of a store have a mask of each class; None: as it is.
    """

    clear: bool = False
    file: str | None = None
    named: tuple[tuple[str, tuple[int, ...]], ...] = ()
    colors: tuple[tuple[str, str], ...] = ()
    masks: bool | None = None

    @property
    def asks_for_nothing(self) -> bool:
        """Whether all stays as it is."""
        return self == ClassChanges()

    def of(self, there: Classes | None) -> Classes | None:
        """The classes after them; None: there are none.

        Raises
        ------
        UsageError
            If that makes no sense.
        """
        before = there or NO_CLASSES
        if self.file is not None:
            before = Classes.from_toml(self.file)
        elif self.clear:
            before = NO_CLASSES
        return before.changed(self.named, dict(self.colors)) or None

    def masks_of(self, store: Mapping[str, Any]) -> bool:
        """Whether there are masks after them, by what a store says of itself; without classes there are none."""
        if self.masks is not None:
            return self.masks
        return _has_masks(store) and not (self.clear and not self.named)


def _has_masks(store: Mapping[str, Any]) -> bool:
    return bool(_told_by(store).get("masks"))


def _is_under_way(store: Mapping[str, Any]) -> bool:
    """Whether a command that sets classes was stopped."""
    return _told_by(store).get("status") == "running"


def _told_by(store: Mapping[str, Any]) -> dict[str, Any]:
    """What a store says of its classes; nothing of a model, whose attribute of that name has classes."""
    return dict(store.get("classes") or {}) if store.get("kind") == "store" else {}


def classes_of_all(
    path: str,
    changes: ClassChanges,
    execution: ExecutionSettings | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Set the classes of a model or a store, unless nothing is to change; what they are then.

    The images of a store get a layer of their classes, by a look-up of their labels. A command that is stopped is gone
    on with by the same one.

    Returns
    -------
    ``output``, ``k``, ``changed`` (whether anything did), ``finished`` (whether all images have them), and ``classes``:
    number, name, clusters, colour, pixels and share of each, those that are clusters without a name at the end.

    Raises
    ------
    UsageError
        If the changes make no sense.
    StoreError
        If there is no model whose clusters could have names.
    OutputHeld
        If another job writes it.
    """
    path = path.rstrip("/") or path
    model, attributes = model_of(path), read_attributes(path) or {}
    if changes.asks_for_nothing:
        return describe_classes(path, model, changed=False)
    wanted, masks = changes.of(model.classes), changes.masks_of(attributes)
    if masks and attributes.get("kind") == "model":
        raise UsageError(f"{path} is a model, which has no images: --masks is for a store")
    if masks and wanted is None:
        raise UsageError("--masks are of classes: name one, as in plant=0,1")
    if (wanted, masks) == (model.classes, _has_masks(attributes)) and not _is_under_way(attributes):
        return describe_classes(path, model, changed=False)
    model.named(wanted)  # refused before anything is locked
    require_finished(path)
    execution = execution or ExecutionSettings()
    with claim(path):
        model = model_of(path)
        model = model.named(changes.of(model.classes))
        if attributes.get("kind") == "model":
            write_classes(path, model.classes)
            failures: list[Failure] = []
        else:
            failures = _name_store(path, model, masks, execution, progress)
    return describe_classes(path, model, changed=True, failures=failures)


def _name_store(
    path: str, model: Model, masks: bool, execution: ExecutionSettings, progress: Progress | None
) -> list[Failure]:
    """The classes of a store's model, and the layers of its images; until these are there the store says so."""
    sweep_store(path)
    update_attributes(path, {"classes": {"status": "running", "masks": masks}})
    write_classes(os.path.join(path, "model"), model.classes)
    output = (read_attributes(path) or {}).get("config", {}).get("output") or {}
    with Context.open(execution, progress) as context:
        limit_tasks(context.executor, task_bytes=NAMING_BYTES)
        naming = Naming.of(model, OutputSettings.from_json(output).tile, masks=masks)
        failures = name_images(path, sorted(images_of(path)), naming, context)
    done = {"classes": {"status": COMPLETE, "masks": masks}}
    update_attributes(path, done if model.classes is not None else {}, without="classes")
    return failures


def as_toml(path: str) -> str:
    """The classes of a model or a store as a file that `ClassChanges` takes.

    Raises
    ------
    StoreError
        If there is no model whose clusters could have names.
    """
    return (model_of(path.rstrip("/") or path).classes or NO_CLASSES).to_toml()


def describe_classes(path: str, model: Model, *, changed: bool, failures: Sequence[Failure] = ()) -> dict[str, Any]:
    """The classes of a model as JSON values, with shares of the pixels of its store, or of its fit."""
    attributes = read_attributes(path) or {}
    counts = _counts_of(attributes, model)
    return {
        "status": "partial" if failures else "ok",
        "output": printable_source(path),
        "k": model.k,
        "changed": changed,
        "finished": not _is_under_way(attributes),
        "named": 0 if model.classes is None else len(model.classes),
        "classes": rows_of(Legend.of_classes(model), counts),
        "failures": [{"key": each.key, "reason": str(each.error)} for each in failures],
    }


def named_rows(path: str) -> list[dict[str, Any]]:
    """The classes of a model, or of a store whose images share one, as `rows_of` has them; none where no cluster has a
    name.

    Raises
    ------
    StoreError
        If there is no model.
    """
    model = Model.load(path)
    if model.classes is None:
        return []
    return rows_of(Legend.of_classes(model), _counts_of(read_attributes(path) or {}, model))


def rows_of(legend: Legend, counts: Sequence[int]) -> list[dict[str, Any]]:
    """Each class with its number, and with its pixels by those of the clusters."""
    totals = legend.totals(counts)
    valid = sum(totals) or 1
    told = zip(legend.to_json(), totals, strict=True)
    return [{"class": at, **row, "count": n, "share": n / valid} for at, (row, n) in enumerate(told)]


def model_of(path: str) -> Model:
    """The model of a store, or that is there.

    Raises
    ------
    StoreError
        If there is none whose clusters could have names.
    """
    attributes = read_attributes(path)
    if attributes is not None and (alone := added_alone(attributes)) is not None:
        raise StoreError(f"{path} was made for {alone} alone; it has no clusters that could have names")
    fit = ((attributes or {}).get("config") or {}).get("fit") or {}
    if fit.get("scope") == "image" and (attributes or {}).get("kind") == "store":
        raise StoreError(
            f"{path}: each of its images has clusters of its own (--scope image), so a name would not mean the same in "
            "two of them; label the images with one model: run without --scope image, or apply --model"
        )
    return Model.load(path)


def require_finished(path: str) -> None:
    """Refuse a store whose run has not finished.

    Raises
    ------
    StoreError
        Which.
    """
    attributes = read_attributes(path) or {}
    if attributes.get("kind") == "store" and not is_complete(attributes):
        raise StoreError(
            f"{path}: the run that makes it has not finished; finish it with its command, then name classes"
        )


def _counts_of(attributes: Mapping[str, Any], model: Model) -> Sequence[int]:
    """Pixels of each cluster: of a finished store's labels, else of the fit."""
    result = attributes.get("result")
    if attributes.get("kind") == "store" and is_complete(attributes) and isinstance(result, dict):
        return list(result.get("counts") or model.counts.tolist())
    return list(model.counts.tolist())
