"""``kseg-batch run``: one palette for all images, and every pixel labelled."""

from __future__ import annotations

from kseg_core.choice import InputSelection
from kseg_core.config import FitSettings, RunConfig

from ._labelling import EXECUTION, FIT, GROWING, INPUTS, LABELS, Extras, config_of, failed_labelling, label
from ._options import Given, command, pick
from ._runtime import General, Report


@command(
    "run",
    pick(InputSelection, "inputs"),
    pick(FitSettings, "k", "k_range"),
    pick(RunConfig, "model"),
    pick(Extras, "output"),
    *INPUTS,
    GROWING,
    pick(RunConfig, "refit"),
    *FIT,
    pick(RunConfig, "match", "classes"),
    *LABELS,
    *EXECUTION,
    General,
    failed=failed_labelling,
)
def run(given: Given, report: Report) -> int:
    """Find one set of K colours for all images, label every pixel, write labels, masks and centroids.

    Examples:

      kseg-batch run ./images --k 5
      kseg-batch run ./images --k auto --k-range 2:8
      kseg-batch run 'plants/**/*.jpg' --k 2 --features gray -o plants.zarr
      kseg-batch run ./S2A.SAFE --stack auto --k 8
      kseg-batch run ./scenes --k 4 --derive 'ndvi=(nir-red)/(nir+red)'
      kseg-batch run ./slides --k 4 --stains hdx
      kseg-batch run ./today --model ./yesterday.kseg.zarr
      kseg-batch run ./this-year --model ./last-year.kseg.zarr --refit
      kseg-batch run ./images --k 8 --scheduler tcp://127.0.0.1:8786
    """
    return label(given, config_of(given), report)
