"""What features leave out of an image, and nodata leaves in: said beside what the image's reader says of it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence

import numpy as np

from kseg_core.config import InputSettings
from kseg_core.images.kinds import remarks_of_bands, remarks_of_colours
from kseg_core.images.validity import fits
from kseg_core.reading.sources import ImageSource

from .notes import first_of


def remarked(
    sources: Iterable[ImageSource], bands: tuple[int, ...] | None, *, asked_for: bool
) -> tuple[ImageSource, ...]:
    """The images, whose notes also say what is left out of them.

    Parameters
    ----------
    sources
        The images.
    bands
        Which are clustered, none for all but alpha; None: colours are.
    asked_for
        Whether the fit's settings say so, rather than a model that is given.
    """
    found = []
    for source in sources:
        info = source.info
        told = (
            remarks_of_colours(info, asked_for=asked_for)
            if bands is None
            else remarks_of_bands(info, bands, asked_for=asked_for)
        )
        noted = dataclasses.replace(info, notes=(*info.notes, *told))
        found.append(dataclasses.replace(source, info=noted) if told else source)
    return tuple(found)


def nodata_of_no_use(sources: Sequence[ImageSource], settings: InputSettings) -> tuple[str, ...]:
    """A line for each value of ``--nodata`` that the samples of some images cannot have."""
    lines = []
    for value in dict.fromkeys(value for value in settings.nodata_values if not math.isnan(value)):
        without = [source for source in sources if not fits(value, np.dtype(source.info.dtype))]
        if without:
            dtypes = ", ".join(sorted({source.info.dtype for source in without}))
            where = first_of([source.file.source for source in without])
            lines.append(
                f"--nodata {value}: no pixel of {dtypes} can have this value; it leaves out nothing of {where}"
            )
    return tuple(lines)
