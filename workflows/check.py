"""Verify a store, one image a task."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from dask.delayed import delayed

from kseg_core.config import ExecutionSettings, OutputSettings
from kseg_core.errors import StoreError
from kseg_core.manifest import read_attributes
from kseg_core.originals import Originals
from kseg_core.store import Store, load_model, open_store
from kseg_core.verify import Findings, verify_image

from .budget import limit_tasks
from .executor import open_executor
from .progress import Progress, Silent


def output_settings(store: Store) -> OutputSettings:
    """What the run was told to write."""
    output = (store.attributes.get("config") or {}).get("output") or {}
    return OutputSettings(
        masks=output.get("masks"),
        tile=output.get("tile", OutputSettings().tile),
        confidence=bool(output.get("confidence")),
        edges=output.get("edges"),
    )


def check_model(path: str) -> dict[str, Any]:
    """Is the model whole, and its digest that of its centroids and colours?"""
    try:
        load_model(path)
    except StoreError as error:
        return {"status": "failed", "problems": [str(error)], "images": 0, "compared": 0}
    return {"status": "ok", "problems": [], "images": 0, "compared": 0}


def check_store(path: str, execution: ExecutionSettings, progress: Progress | None = None) -> dict[str, Any]:
    """Is the store complete and right?

    Returns
    -------
    ``status`` ("ok" or "failed"), ``problems`` (lines), ``images``, and ``compared``: how many of them were
    labelled anew from their sources; ``labelled`` (False) where they have edges alone.

    Raises
    ------
    StoreError
        If there is no store.
    """
    progress = progress or Silent()
    if (read_attributes(path) or {}).get("kind") == "model":
        return check_model(path)
    store = open_store(path)
    problems = [] if store.complete else ["the run that made it has not finished; the same command completes it"]
    if (store.attributes.get("edges") or {}).get("status") == "running":
        problems.append("its edges are not finished; the same edges command completes them")
    model = None
    if store.has_model:
        try:
            model = load_model(path)
        except StoreError as error:
            if store.complete:
                problems.append(str(error))
            return {"status": "failed", "problems": problems, "images": len(store), "compared": 0}
    keys = list(store)
    progress.stage("verifying", len(keys), 0)
    originals = Originals.of(store.attributes)
    output = output_settings(store)
    with open_executor(execution) as executor:
        limit_tasks(executor)
        shared = executor.share(model)
        task = delayed(verify_image, pure=False)
        lazy = [task(os.path.abspath(path), key, originals, shared, output) for key in keys]
        findings: list[Findings] = executor.compute(lazy, lazy, lambda _: progress.advance(1, 0))
    problems += [problem for finding in findings for problem in finding.problems]
    result = store.attributes.get("result") or {}
    labelled, gone = (result.get("images") or {}).get("labelled"), result.get("gone") or 0
    if store.complete and store.is_labelled and (labelled or 0) + gone != len(keys):
        problems.append(f"it holds {len(keys)} images, its run labelled {labelled}")
    counts = [finding.counts for finding in findings if finding.counts is not None]
    if not problems and model is not None and counts and not gone:
        total = np.sum(counts, axis=0).tolist()
        if total != result.get("counts"):
            problems.append("the images' counts do not add up to the run's")
    return {
        "status": "failed" if problems else "ok",
        "problems": problems,
        "images": len(keys),
        "compared": sum(finding.compared for finding in findings),
        **({} if store.is_labelled else {"labelled": False}),
    }
