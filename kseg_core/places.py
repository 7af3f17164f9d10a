"""Where the layers of an image are in its group, and which of them a run makes: known from settings, without a pixel.

Light on purpose: what is missing of a finished output is seen before NumPy is loaded. All else of a layer is in
`layers`, whose classes have their place from here.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from .config import OutputSettings


class Place:
    """That of a layer.

    Attributes
    ----------
    name
        In the store, and in JSON.
    group
        Where in the image's group its levels are, if it has a pyramid (``""``: at the top); None: it is one array.
    added
        Whether it is added to finished images and says itself that it is complete; else it is written with the labels.
    """

    name: ClassVar[str]
    group: ClassVar[str | None] = None
    added: ClassVar[bool] = True

    def is_wanted(self, output: OutputSettings, k: int) -> bool:  # noqa: ARG002
        """Whether a run with these settings makes it of an image of so many clusters; labels it makes of any."""
        return False

    @property
    def node(self) -> str:
        """The group or array whose attributes are about it."""
        return self.name if self.group is None else self.group

    def path(self, level: int = 0) -> str:
        """Where in the image's group one of its levels is."""
        return self.name if self.group is None else os.path.join(self.group, str(level))


class LabelPlace(Place):
    """Labels and the pyramid of them."""

    name = "labels"
    group = "labels/kmeans"
    added = False


class MaskPlace(Place):
    """One plane a cluster."""

    name = "masks"
    added = False

    def is_wanted(self, output: OutputSettings, k: int) -> bool:
        return k > 0 and output.writes_masks(k)


class ConfidencePlace(Place):
    """Beside the labels."""

    name = "confidence"
    added = False

    def is_wanted(self, output: OutputSettings, k: int) -> bool:  # noqa: ARG002
        return output.confidence


class CopyPlace(Place):
    """The image itself, with its own pyramid."""

    name = "copy"
    group = ""
    added = False

    def is_wanted(self, output: OutputSettings, k: int) -> bool:  # noqa: ARG002
        return output.copy_image


class EdgePlace(Place):
    """Found after labelling."""

    name = "edges"

    def is_wanted(self, output: OutputSettings, k: int) -> bool:  # noqa: ARG002
        return output.edges is not None


def arrays_made(output: OutputSettings, k: int, *, levels: int = 1, added: bool = False) -> list[str]:
    """Paths of the arrays that a run with these settings makes of an image of so many clusters.

    Parameters
    ----------
    levels
        So many of each pyramid.
    added
        Whether those are among them that are added when it is labelled.
    """
    made = [each for each in (MaskPlace(), ConfidencePlace(), CopyPlace(), EdgePlace()) if each.is_wanted(output, k)]
    places = [LabelPlace(), *(each for each in made if added or not each.added)]
    return [each.path(level) for each in places for level in range(1 if each.group is None else levels)]
