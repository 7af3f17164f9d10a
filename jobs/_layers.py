"""What ``edges`` and ``segments`` share: how a job that adds a layer to images is begun, carried out and told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kseg_core.choice import InputSelection
from kseg_core.config import LayerConfig

from ._options import Given
from ._runtime import DONE, SOME_UNREADABLE, Report


def failed(usual: LayerConfig) -> Callable[[Exception], dict[str, Any]]:
    """What ``--json`` prints of such a job that failed."""

    def told(error: Exception) -> dict[str, Any]:
        from workflows.layer_request import failed_layer

        return failed_layer(error, usual.layer)

    return told


def add_layer(given: Given, kind: type[LayerConfig], report: Report, lines: Callable[[Any], list[str]]) -> int:
    """Carry the job out; ``lines`` are what a person is told of its result."""
    settings, selection = given.make(kind), given.make(InputSelection)
    from kseg_core.resume.lock import sweep_after_kill
    from workflows.layer_request import nothing_done, prepare_layer

    request = prepare_layer(selection, settings, given["output"])
    if request.finished:
        sweep_after_kill(request.output)
        result = nothing_done(request)
    else:
        from workflows.layer_job import add_to_images

        result = add_to_images(request, report.progress)
    told = result.to_json()
    report.finish(told, lines(told))
    return SOME_UNREADABLE if result.failures else DONE
