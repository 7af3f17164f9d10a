"""Names for clusters: what the classes of a model or a store are, and setting them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kseg_core.classes import NO_CLASSES, Classes
from kseg_core.errors import StoreError
from kseg_core.inputs.keys import printable_source
from kseg_core.store.legend import Legend
from kseg_core.store.manifest import added_alone, read_attributes
from kseg_core.store.markers import is_complete
from kseg_core.store.model import Model
from kseg_core.store.opening import write_classes

from .output import claim


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
    """

    clear: bool = False
    file: str | None = None
    named: tuple[tuple[str, tuple[int, ...]], ...] = ()
    colors: tuple[tuple[str, str], ...] = ()

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


def classes_of_all(path: str, changes: ClassChanges) -> dict[str, Any]:
    """Set the classes of a model or a store, unless nothing is to change; what they are then.

    Returns
    -------
    ``output``, ``k``, ``changed`` (whether anything did), and ``classes``: number, name, clusters, colour, pixels and
    share of each, those that are clusters without a name at the end.

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
    model = _model_of(path)
    wanted = changes.of(model.classes)
    if wanted == model.classes:
        return describe_classes(path, model, changed=False)
    model.named(wanted)  # refused before anything is locked
    _require_finished(path)
    with claim(path):
        model = _model_of(path)
        model = model.named(changes.of(model.classes))
        write_classes(_folder_of(path), model.classes)
    return describe_classes(path, model, changed=True)


def as_toml(path: str) -> str:
    """The classes of a model or a store as a file that `ClassChanges` takes.

    Raises
    ------
    StoreError
        If there is no model whose clusters could have names.
    """
    return (_model_of(path.rstrip("/") or path).classes or NO_CLASSES).to_toml()


def describe_classes(path: str, model: Model, *, changed: bool) -> dict[str, Any]:
    """The classes of a model as JSON values, with shares of the pixels of its store, or of its fit."""
    counts = _counts_of(path, model)
    return {
        "status": "ok",
        "output": printable_source(path),
        "k": model.k,
        "changed": changed,
        "named": 0 if model.classes is None else len(model.classes),
        "classes": rows_of(Legend.of_classes(model), counts),
    }


def rows_of(legend: Legend, counts: Sequence[int]) -> list[dict[str, Any]]:
    """Each class with its number, and with its pixels by those of the clusters."""
    totals = legend.totals(counts)
    valid = sum(totals) or 1
    told = zip(legend.to_json(), totals, strict=True)
    return [{"class": at, **row, "count": n, "share": n / valid} for at, (row, n) in enumerate(told)]


def _model_of(path: str) -> Model:
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


def _require_finished(path: str) -> None:
    attributes = read_attributes(path) or {}
    if attributes.get("kind") == "store" and not is_complete(attributes):
        raise StoreError(
            f"{path}: the run that makes it has not finished; finish it with its command, then name classes"
        )


def _folder_of(path: str) -> str:
    """The group of the model."""
    is_store = (read_attributes(path) or {}).get("kind") == "store"
    return os.path.join(path, "model") if is_store else path


def _counts_of(path: str, model: Model) -> Sequence[int]:
    """Pixels of each cluster: of a finished store's labels, else of the fit."""
    attributes = read_attributes(path) or {}
    result = attributes.get("result")
    if attributes.get("kind") == "store" and is_complete(attributes) and isinstance(result, dict):
        return list(result.get("counts") or model.counts.tolist())
    return list(model.counts.tolist())
