"""Is a store complete and right?"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from kseg_core.command_lines import command_line, place
from kseg_core.config import ExecutionSettings, SegmentsConfig
from kseg_core.errors import StoreError
from kseg_core.layers import LAYERS
from kseg_core.resume.lock import holder
from kseg_core.store.cuts import hierarchy_facts
from kseg_core.store.manifest import a_few, added_alone, lost_images, read_attributes
from kseg_core.store.markers import was_complete
from kseg_core.store.model import Model
from kseg_core.store.opening import Store, mend_image_groups, open_store, unsound_groups
from kseg_core.store.segments import PALETTE
from kseg_core.store.verify import Findings

from .computing.context import Context
from .computing.executor import Progress
from .labelling.sharing import PALETTE_LOST
from .viewing.verify import verify_images

MODEL_CHECKED: dict[str, Any] = {
    "status": "ok",
    "problems": [],
    "images": 0,
    "compared": 0,
    "not_compared": {},
    "damaged": [],
}


def check_model(path: str) -> dict[str, Any]:
    """Is the model whole, and its digest that of its centroids and colours?"""
    try:
        Model.load(path)
    except StoreError as error:
        return {**MODEL_CHECKED, "status": "failed", "problems": [str(error)]}
    return dict(MODEL_CHECKED)


@dataclass(frozen=True, slots=True)
class Checked:
    """What verifying a store came to.

    Parameters
    ----------
    store
        Which.
    problems
        Of the store as a whole.
    findings
        Of each image, by key.
    """

    store: Store
    problems: tuple[str, ...]
    findings: dict[str, Findings]

    @property
    def damaged(self) -> list[str]:
        """Names of the images with problems."""
        return [key for key, finding in self.findings.items() if finding.problems]

    def to_json(self) -> dict[str, Any]:
        """The object ``--json`` prints."""
        problems = [*self.problems, *(line for finding in self.findings.values() for line in finding.problems)]
        if not problems:
            problems += self._wrong_sums()
        return {
            "status": "failed" if problems else "ok",
            "problems": problems,
            "images": len(self.store),
            "compared": sum(finding.compared for finding in self.findings.values()),
            "not_compared": dict(Counter(sorted(finding.why for finding in self.findings.values() if finding.why))),
            "damaged": self.damaged,
            **({} if self.store.is_labelled else {"labelled": False, "layer": added_alone(self.store.attributes)}),
        }

    def _wrong_sums(self) -> list[str]:
        """Do the images' counts add up to those of the run?"""
        result = self.store.attributes.get("result") or {}
        counts = [finding.counts for finding in self.findings.values() if finding.counts is not None]
        if not self.store.has_model or not counts or left_behind(result):
            return []
        same = np.sum(counts, axis=0).tolist() == result.get("counts")
        return [] if same else ["the images' counts do not add up to the run's"]


def left_behind(result: dict[str, Any]) -> int:
    """Images of a store that grows whose inputs are gone, or cannot be read any more."""
    changes = result.get("changes") or {}
    return int(changes.get("removed", 0)) + int(changes.get("outdated", 0))


def images_lost(store: Store) -> list[str]:
    """Names of the images its run made that are not there any more."""
    return lost_images(store.path, store.attributes) if was_complete(store.attributes) else []


def lacks_palette(store: Store) -> bool:
    """Whether the palette is not there that segments of its images share."""
    how = SegmentsConfig().beside(store.attributes).layer.settings
    if how["palette"] != "shared" or PALETTE in store.attributes:
        return False
    return any(hierarchy_facts(store.path, key) is not None for key in store)


def check_store(path: str, execution: ExecutionSettings, progress: Progress | None = None) -> dict[str, Any]:
    """Is the store complete and right?

    Returns
    -------
    ``status`` ("ok" or "failed"), ``problems`` (lines), ``images``, ``compared``: how many of them were labelled anew
    from their sources, ``not_compared``: why others were not, and how many each, ``damaged``: names of those with
    problems; ``labelled`` (False) where they have one layer alone, and which (``layer``).

    Raises
    ------
    StoreError
        If there is no store.
    """
    if (read_attributes(path) or {}).get("kind") == "model":
        return check_model(path)
    with Context.open(execution, progress) as context:
        return verify_store(path, context).to_json()


def verify_store(path: str, context: Context, *, repairs: bool = False) -> Checked:
    """Verify a store and all of its images. ``repairs``: that it is incomplete is no news."""
    store = open_store(path)
    problems = []
    if not (store.complete or (repairs and was_complete(store.attributes))):
        at_work = None if repairs else holder(path)  # a repair holds it itself
        problems.append(
            "the run that made it has not finished; the same command completes it"
            if at_work is None
            else f"it is being written: another run holds it, {at_work}; check it again when that has ended"
        )
    if repairs:
        mend_image_groups(path)
    else:
        problems += [f"{folder}/zarr.json, a group of images, is missing or damaged" for folder in unsound_groups(path)]
    if store.complete and lacks_palette(store):
        problems.append(
            f"{PALETTE_LOST}; all of them made anew by: {command_line('segments', place(path), '--overwrite')}"
        )
    for layer in (layer for layer in LAYERS.values() if layer.added):
        if (store.attributes.get(layer.name) or {}).get("status") == "running":
            problems.append(f"{layer.called} not finished; the same {layer.command} command completes them")
    model = None
    if store.has_model:
        try:
            model = Model.load(path)
        except StoreError as error:
            if store.complete:
                problems.append(str(error))
            return Checked(store, tuple(problems), {})
    elif was_complete(store.attributes) and store.attributes["result"].get("k") is not None:
        problems.append("its model is missing; restore it from a copy, or give the command that made the store again")
        return Checked(store, tuple(problems), {})
    if lost := images_lost(store):
        missing = "1 image is" if len(lost) == 1 else f"{len(lost)} images are"
        problems.append(f"{missing} missing: {a_few(lost)}; the command that made the store labels what is missing")
    return Checked(store, tuple(problems), verify_images(store, list(store), model, context))
