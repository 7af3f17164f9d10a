"""What the features that are taken leave out of an image: said beside what its reader says of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from kseg_core.images.kinds import remarks_of_bands, remarks_of_colours
from kseg_core.reading.sources import ImageSource


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
        told = remarks_of_colours(info, asked_for=asked_for) if bands is None else remarks_of_bands(info, bands)
        noted = dataclasses.replace(info, notes=(*info.notes, *told))
        found.append(dataclasses.replace(source, info=noted) if told else source)
    return tuple(found)
