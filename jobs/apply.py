"""``kseg-batch apply``: images labelled with a model found earlier."""

from __future__ import annotations

from kseg_core.choice import InputSelection
from kseg_core.config import RunConfig
from kseg_core.errors import UsageError

from ._labelling import EXECUTION, GROWING, INPUTS, LABELS, Extras, failed_labelling, label
from ._options import Given, command, pick
from ._runtime import General, Report


@command(
    "apply",
    pick(InputSelection, "inputs"),
    pick(
        RunConfig,
        "model",
        help="What to label with: a model that fit saved, or a store of an earlier run. Must be given.",
    ),
    pick(Extras, "output"),
    *INPUTS,
    GROWING,
    pick(RunConfig, "classes", help="Names for the clusters, of a TOML file. Default: those of the model."),
    *LABELS,
    *EXECUTION,
    General,
    failed=failed_labelling,
)
def apply(given: Given, report: Report) -> int:
    """Label images with a model found earlier, by `fit` or by `run`.

    Examples:

      kseg-batch apply ./new-images --model palette.zarr
      kseg-batch apply ./new-images --model ./images.kseg.zarr -o new.zarr
      kseg-batch apply ./scenes --model cover.zarr --stack auto
      kseg-batch apply ./growing --model palette.zarr --fail-on-drift 0.3
    """
    if given["model"] is None:
        raise UsageError("apply needs a model: --model M, a model or a store of an earlier run")
    return label(given, given.make(RunConfig, fit=None), report)
