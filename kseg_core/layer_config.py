"""The settings of the commands that add a layer to images (``edges``, ``segments``). Light on purpose (standard library
only), as `kseg_core.config` is, which has their names too.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .edge_settings import EdgeSettings
from .execution_settings import ExecutionSettings
from .input_settings import InputSettings
from .options import option, require, require_tile
from .segment_settings import Scale, SegmentSettings, WhosePalette

# Where layers are that are added to labelled images ({}: so many levels), each called like its setting of a run
ADDED = {"edges": "edges", "segments": "labels/segments/{}"}


class AskedLayer(NamedTuple):
    """A layer that is to be added to images, as far as it is known without NumPy.

    Attributes
    ----------
    name, path
        What it is called, and where in the image's group the array is that says that it is complete.
    settings
        How it is made, as JSON values.
    counted
        By which name it says how many pixels are not 0; None: it does not.
    free
        Settings that may be changed without asking to replace the layer: nothing is lost by it.
    made_from
        Where in the image's group the array is of which it can be made anew, with other free settings, without the
        image's file; None: there is none.
    """

    name: str
    path: str
    settings: dict[str, Any]
    counted: str | None = None
    free: tuple[str, ...] = ()
    made_from: str | None = None


@dataclass(frozen=True, slots=True)
class LayerConfig:
    """Everything a job that adds a layer to images is told besides its inputs.

    ``tile`` is None for that of the store that is there, or 1024. Nothing but the layer is ever replaced.
    """

    settings: Any
    input: InputSettings = field(default_factory=InputSettings)
    execution: ExecutionSettings = field(default_factory=ExecutionSettings)
    tile: int | None = option(
        None,
        "Side of the store's chunks in pixels. Default: that of the store that is there, or 1024.",
        "Output",
        "PX",
    )
    overwrite: bool = option(
        False, "Replace those that are there, made with other settings; labels and all else stay.", "Output"
    )

    def __post_init__(self) -> None:
        if self.tile is not None:
            require_tile(self.tile)
        told = f"--smooth is of what is clustered; {self.layer.name} are found in images as they are"
        require(not self.input.smooth, told)

    @property
    def layer(self) -> AskedLayer:
        """What is to be added."""
        raise NotImplementedError

    def beside(self, store: Mapping[str, Any]) -> LayerConfig:  # noqa: ARG002 - of those that take something from it
        """The same for a store that is there, by what it says of itself."""
        return self


@dataclass(frozen=True, slots=True)
class EdgesConfig(LayerConfig):
    """Of edges."""

    settings: EdgeSettings = field(default_factory=EdgeSettings)

    @property
    def layer(self) -> AskedLayer:
        """What is to be added."""
        return AskedLayer("edges", ADDED["edges"], self.settings.to_json(), "edge_pixels")


@dataclass(frozen=True, slots=True)
class SegmentsConfig(LayerConfig):
    """Of segments. ``scale`` and ``palette`` are in the place of those of the settings; None: those of the store that
    is there.
    """

    settings: SegmentSettings = field(default_factory=SegmentSettings)
    scale: Scale | None = option(
        None,
        "At which scale segments are sought: photo (the same parts of a picture whatever its resolution), native (its "
        "own pixels), or auto: native for bands and where the size of a pixel is known, else photo. Default: that of "
        "the store that is there, or auto.",
        "Output",
        "NAME",
        flag="segment-scale",
    )
    palette: WhosePalette | None = option(
        None,
        "By whose 64 colours the parts of an image are compared: its own (image), or those of all images together "
        "(shared), which the store keeps. Default: that of the store that is there, or image.",
        "Output",
        "NAME",
        flag="segment-palette",
    )

    def beside(self, store: Mapping[str, Any]) -> LayerConfig:
        """With the scale and the palette that its segments have, where others are not asked for."""
        config = store.get("config") or {}
        output = config.get("output") or {}
        by_run = {name: output.get(f"segment_{name}") for name in ("scale", "palette")}
        told = config.get("segments") or (store.get("segments") or {}).get("settings") or by_run
        scale, palette = self.scale or told.get("scale"), self.palette or told.get("palette")
        return dataclasses.replace(self, scale=scale, palette=palette)

    @property
    def layer(self) -> AskedLayer:
        """What is to be added: at another level it is cut anew, from a hierarchy that stays."""
        usual = self.settings
        settings = dataclasses.replace(
            usual, scale=self.scale or usual.scale, palette=self.palette or usual.palette
        ).to_json()
        path = ADDED["segments"].format(0)
        return AskedLayer("segments", path, settings, "segment_pixels", ("level",), "contours")
