"""The settings of every command and of the Python functions: frozen, checked where they are made.

Light on purpose (standard library only), so that wrong usage is refused before anything heavy is loaded.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, Literal, get_args

from .areas import Area, parse_area
from .choice import PictureChoice
from .classes import Classes
from .edge_settings import EdgeSettings, edge_thresholds, parse_thresholds
from .errors import UsageError
from .execution_settings import ExecutionSettings as ExecutionSettings
from .expressions import Bands, chosen_bands, derived_of, several_of
from .input_settings import AUTO as AUTO
from .input_settings import MOST_SMOOTH_PX as MOST_SMOOTH_PX
from .input_settings import InputSettings as InputSettings
from .input_settings import NodataIn as NodataIn
from .layer_config import ADDED as ADDED
from .layer_config import AskedLayer as AskedLayer
from .layer_config import EdgesConfig as EdgesConfig
from .layer_config import LayerConfig as LayerConfig
from .layer_config import SegmentsConfig as SegmentsConfig
from .options import from_json, joined, option, plain, require, require_one_of, require_tile, to_json
from .segment_settings import Scale, SegmentSettings, WhosePalette, parse_level
from .sizes import counted
from .stains import HED
from .stains import NAMED as STAINS
from .stains import canonical as canonical_stains

ColorSpace = Literal["rgb", "gray", "hsv", "lab", "hed"]  # `kseg_core.clustering.features.SPACES` has what they are
Features = Literal["auto", ColorSpace, "bands"]
Scope = Literal["global", "image"]
Init = Literal["k-means++", "random"]  # `kseg_core.kernels.search.SEEDINGS` has what they are
Normalize = Literal["none", "standard", "minmax"]

FEATURES: tuple[str, ...] = get_args(Features)
SCOPES: tuple[str, ...] = get_args(Scope)
INITS: tuple[str, ...] = get_args(Init)
NORMALIZE: tuple[str, ...] = get_args(Normalize)

MAX_K = 65_534  # labels are at most uint16 and its largest value means "invalid"
KIND = r"rgb|[a-z]+[0-9]+(x[0-9]+)?"  # as `kseg_core.images.kinds` names them
K_RANGE = (1, 10)  # what ``auto`` tries unless told otherwise: an elbow further out is hardly seen as one
DEFAULT_TOL = 1e-6  # of steps that read all data anew
MASKS_UP_TO_K = 32  # more masks than this are only made when asked for
EDGES_OF_BANDS = (
    "--edges are of colours, --features bands of samples: leave out --edges; the command edges can add them "
    "afterwards where the images have colours"
)
LABELS = "labels/kmeans"  # where the levels of the labels are in an image's group
RAW = "labels/raw"  # the same as they were before small regions went to their neighbours
# Where that is which a setting of `OutputSettings` asks for ({}: so many levels): written with the labels, in order
WITH_LABELS = {"masks": "masks", "confidence": "confidence", "copy_image": "{}", "keep_raw": f"{RAW}/{{}}"}


def _clusters(k: str) -> int | Literal["auto"]:
    if k == AUTO:
        return AUTO
    try:
        return int(k.removeprefix("="))  # of -k=5
    except ValueError:
        raise UsageError(f"--k takes a number of clusters, as in --k 5, or auto; got {k!r}") from None


def _range(text: str) -> tuple[int, int]:
    low, colon, high = text.partition(":")
    try:
        if colon:
            return int(low), int(high)
    except ValueError:
        pass
    raise UsageError(f"--k-range takes two numbers like 1:10; got {text!r}")


def _bands(values: Sequence[str], flag: str = "--bands") -> tuple[int | str, ...]:
    text = joined(values)
    parts = [part.strip() for part in text.split(",")] if text else []
    if not all(parts):
        raise UsageError(f"{flag} takes numbers or names like 4,3,2 or nir,red; got {text!r}")
    return tuple(int(part) if re.fullmatch(r"[+-]?[0-9]+", part) else part for part in parts)


def _colors(values: Sequence[str]) -> tuple[str, ...]:
    return tuple(color.strip() for color in joined(values).replace(";", ",").split(","))


@dataclass(frozen=True, slots=True)
class FitSettings:
    """What is clustered and how the centroids are found.

    Parameters
    ----------
    features
        ``start`` makes ``auto`` ``rgb``, ``stains`` make it ``hed``; ``bands``, ``derive``, ``display``,
        ``normalize`` and a ``kind`` of bands make it ``bands``. With stains of their own it is ``hed:STAINS``, for
        whatever asks for a feature space by name.
    max_iter
        Counts on the first batch and on all data together.
    batch_pixels
        Of all images together.
    start
        sRGB colours ``#rrggbb``; then there is one attempt and no search.
    bands, derive, display, normalize
        Of ``features="bands"``. The order of bands counts; those derived that are not among them follow, and are all
        there is where none are named. ``standard`` is mean 0 and deviation 1, ``minmax`` 0 to 1.
    kind
        None: of those that most are of where that must be one, else of all.
    features_why
        Why ``auto`` became these features, for the model to say: whoever chooses sets it.
    """

    k: int | Literal["auto"] = option(
        MISSING,
        "Number of clusters, 1 to 65534; auto: as many as the elbow method finds.",
        "Model",
        "N|auto",
        short="k",
        parse=_clusters,
    )
    features: Features = option(
        "auto",
        f"Space of the distances: colours ({', '.join(get_args(ColorSpace))}; hed is stains of histology), bands as "
        "they are stored, or auto: rgb for 8-bit pictures, bands for what is deeper or has other bands; most images "
        "decide.",
        "Model",
        "NAME",
    )
    stains: str | None = option(
        None,
        f"Of hed: which stains, of {', '.join(STAINS)} (as scikit-image has them), or two or three vectors of optical "
        "density, as in '0.65,0.70,0.29;0.07,0.99,0.11'. Default: hed (hematoxylin, eosin, DAB).",
        "Model",
        "NAME|VECTORS",
    )
    scope: Scope = option(
        "global", "One palette for all images (global), or one for each (image).", "Model", "global|image"
    )
    init: Init = option("k-means++", f"First centroids: {' or '.join(INITS)}.", "Model", "NAME")
    attempts: int = option(10, "Independent searches; the best wins.", "Model", "N")
    max_iter: int = option(1000, "Most steps of an attempt.", "Model", "N")
    tol: float | None = option(
        None,
        "Stop when the squared centroid shifts are at most TOL x the features' mean variance. Unless given, steps go "
        "on until no label changes.",
        "Model",
        "TOL",
    )
    batch_pixels: int = option(1 << 18, "Most pixels of the first mini-batch.", "Model", "N")
    seed: int = option(0, "Chooses the first mini-batch and every random draw.", "Model", "N")
    start: tuple[str, ...] = option(
        (),
        "Given first centroids, one a cluster, as in '#1f77b4,#ff7f0e'; then there is one attempt and no search.",
        "Model",
        "COLOURS",
        many=True,
        parse=_colors,
    )
    bands: tuple[int | str, ...] = option(
        (),
        "Cluster these bands, by number from 1 or by what files call them, as in 4,3,2 or B08,B04; may be given again. "
        "Default: all but alpha.",
        "Model",
        "LIST",
        many=True,
        parse=_bands,
    )
    derive: tuple[str, ...] = option(
        (),
        "Cluster a band worked out from others, as in 'ndvi=(nir-red)/(nir+red)' or 'ndvi=(b4-b1)/(b4+b1)', with + - * "
        "/ **, abs, sqrt, log, exp, min and max; may be given again, and goes with --bands. Pixels that divide by zero "
        "are invalid.",
        "Model",
        "NAME=EXPR",
        many=True,
        parse=several_of,
    )
    display: tuple[int | str, ...] = option(
        (),
        "Of bands: those that pictures and the clusters' colours show, three as red, green and blue or one as gray, by "
        "number or name, as in 3,2,1; the clusters stay the same. Default: those that files describe as red, green and "
        "blue, else the first three, or one.",
        "Model",
        "LIST",
        many=True,
        parse=lambda values: _bands(values, "--display"),
    )
    normalize: Normalize = option("none", "Of bands: none, standard or minmax.", "Model", "NAME")
    k_range: tuple[int, int] | None = option(
        None, "With --k auto: which numbers to try. Default: 1:10.", "Model", "A:B", parse=_range
    )
    kind: str | None = option(
        None,
        "Of a folder of several kinds take this one alone: rgb (8-bit pictures), or a type and a number of bands, as "
        "in uint16x4.",
        "Model",
        "KIND",
    )
    features_why: str | None = None

    def __post_init__(self) -> None:
        for name in ("attempts", "max_iter", "batch_pixels", "seed"):
            value = getattr(self, name)
            flag = f"--{name.replace('_', '-')}"
            require(type(value) is int, f"{flag} is a whole number; got {value!r}")
        self._check_k()
        self._check_features()
        require_one_of("--normalize", self.normalize, NORMALIZE)
        require(
            self.kind is None or re.fullmatch(KIND, self.kind) is not None,
            f"--kind is rgb, or a type and a number of bands like uint16x4; got {self.kind!r}",
        )
        is_bands = self.features == "bands"
        require(is_bands or not self.bands, "--bands goes with --features bands")
        require(is_bands or not self.derive, "--derive goes with --features bands")
        require(is_bands or not self.display, "--display goes with --features bands: colours are shown as they are")
        require(is_bands or self.normalize == "none", "--normalize goes with --features bands")
        require(
            not is_bands or self.scope == "global",
            "--features bands finds one model for all images; leave out --scope image",
        )
        require(not is_bands or not self.start, "--start gives colours; bands have none")
        require(not is_bands or self.kind != "rgb", "--kind rgb is of pictures: leave out --features bands")
        self._check_bands()
        require_one_of("--scope", self.scope, SCOPES)
        require_one_of("--init", self.init, INITS)
        require(self.attempts >= 1, f"--attempts is at least 1; got {self.attempts}")
        require(self.max_iter >= 1, f"--max-iter is at least 1; got {self.max_iter}")
        require(self.tol is None or 0 <= self.tol < float("inf"), f"--tol is zero or more; got {self.tol}")
        require(self.batch_pixels >= 1, f"--batch-pixels is at least 1; got {self.batch_pixels}")
        require(0 <= self.seed < 1 << 63, f"--seed is a whole number from 0 to 2^63 - 1; got {self.seed}")
        for color in self.start:
            require(
                re.fullmatch(r"#[0-9a-fA-F]{6}", color) is not None,
                f"--start takes colours like '#1f77b4,#ff7f0e'; got {color!r}",
            )
        require(
            not self.start or len(self.start) == self.k,
            f"--start gives {counted(len(self.start), 'colour')} for {self.k} clusters; give one for each",
        )
        require(
            len({color.lower() for color in self.start}) == len(self.start),
            "--start names a colour twice; first centroids must differ",
        )

    def _check_bands(self) -> None:
        told = ",".join(map(str, self.bands))
        numbers = [band for band in self.bands if isinstance(band, int)]
        names = [str(band).casefold() for band in self.bands]
        require(all(band >= 1 for band in numbers), f"--bands are numbered from 1; got {told}")
        require(len(set(names)) == len(names), f"--bands names a band twice: {told}; give each once")
        shown = ",".join(map(str, self.display))
        require(
            len(self.display) in (0, 1, 3), f"--display takes three bands (red, green, blue) or one (gray); got {shown}"
        )
        numbers = [band for band in self.display if isinstance(band, int)]
        require(all(band >= 1 for band in numbers), f"--display: bands are numbered from 1; got {shown}")
        derived = [band.name.casefold() for band in map(derived_of, self.derive)]
        twice = next((name for name in derived if derived.count(name) > 1), None)
        require(twice is None, f"--derive gives {twice} twice; call them differently")

    @property
    def chosen(self) -> Bands:
        """The bands that are clustered, derived ones among them; none: all of a file but alpha."""
        return chosen_bands(self.bands, self.derive)

    def _check_features(self) -> None:
        if self.features == AUTO and (implied := self._implied()) is not None:
            object.__setattr__(self, "features", implied)
        space, colon, stains = self.features.partition(":")
        if self.stains is not None:
            require(space == HED, f"--stains goes with --features {HED}")
            colon, stains = ":", self.stains
        if space == HED and colon:  # one name says it all
            told = canonical_stains(stains)
            object.__setattr__(self, "stains", None if told == HED else told)
            object.__setattr__(self, "features", HED if told == HED else f"{HED}:{told}")
            return
        require_one_of("--features", self.features, FEATURES)

    def _implied(self) -> Features | None:
        """The features that other settings ask for; None where nothing does."""
        told = self.bands or self.derive or self.display
        of_bands = bool(told) or self.normalize != "none" or self.kind not in (None, "rgb")
        of_colors = bool(self.start) or self.kind == "rgb"
        if self.stains is not None:
            return HED
        return "bands" if of_bands else "rgb" if of_colors else None

    def _check_k(self) -> None:
        if self.k == AUTO:
            require(not self.start, "--start gives first centroids for a number of clusters: leave out --k auto")
            numbers = tuple(self.tried)
            two = len(numbers) == 2 and all(type(number) is int for number in numbers)
            require(two, f"--k-range is two whole numbers; got {self.k_range!r}")
            low, high = numbers
            require(1 <= low <= high <= MAX_K, f"--k-range is A:B with 1 <= A <= B <= {MAX_K}; got {low}:{high}")
            return
        require(type(self.k) is int, f"--k is a whole number or auto; got {self.k!r}")
        require(1 <= self.k <= MAX_K, f"--k is a whole number from 1 to {MAX_K}; got {self.k}")
        require(self.k_range is None, "--k-range goes with --k auto")

    @property
    def tried(self) -> tuple[int, int]:
        """With ``k="auto"``: the least and the greatest number of clusters tried."""
        return K_RANGE if self.k_range is None else self.k_range

    @property
    def clusters(self) -> int:
        """The number of clusters, for the solver.

        Raises
        ------
        ValueError
            If it is still to be chosen.
        """
        if self.k == AUTO:
            raise ValueError("expected a number of clusters, got auto: `for_k` sets one")
        return self.k

    def for_k(self, k: int) -> FitSettings:
        """The same settings for a number of clusters."""
        return dataclasses.replace(self, k=k, k_range=None)

    def to_json(self) -> dict[str, Any]:
        """As JSON values; ``k_range`` is among them only where it decides anything."""
        values = to_json(self, _FIRST_OF_FIT)
        del values["features_why"]  # which decides nothing
        values.pop("stains", None)  # which the features name
        if self.k == AUTO:
            return values | {"k_range": list(self.tried)}
        del values["k_range"]
        return values

    def facts(self) -> dict[str, Any]:
        """What a model says of how it was found, as JSON values, beside what its centroids are."""
        values = to_json(self, _FIRST_OF_FIT - {"normalize"})
        beside = ("k", "features", "stains", "scope", "bands", "derive", "display", "k_range", "kind", "features_why")
        return {name: value for name, value in values.items() if name not in beside}


#: What outputs of release 0.1.0 tell of a fit, be it at its default or not.
_FIRST_OF_FIT = frozenset(
    {"k", "features", "scope", "init", "attempts", "max_iter", "tol", "batch_pixels", "seed", "start", "bands"}
    | {"normalize", "k_range", "kind", "features_why"}
)

#: What ``refit`` has of its model: all else of a fit may be given.
FIT_OF_MODEL = frozenset(
    {"k", "features", "stains", "scope", "init", "attempts", "start", "bands", "derive", "normalize", "k_range"}
)


@dataclass(frozen=True, slots=True)
class OutputSettings:
    """What is written. ``checksum`` decides nothing that is written but the SHA-256 kept beside labels, ``prune``
    nothing of the images whose inputs are there.
    """

    masks: bool | None = option(None, "One boolean mask a cluster. Default: up to k = 32.", "Output")
    tile: int = option(1024, "Side of the store's chunks in pixels.", "Output", "PX")
    overwrite: bool = option(False, "Replace an existing kseg output (nothing else is ever deleted).", "Output")
    pyramid: bool | None = option(
        None, "Label levels of half the size, down to one tile. Default: for images worked on in pieces.", "Output"
    )
    copy_image: bool = option(False, "Keep the pixels beside their labels: a complete OME-Zarr image.", "Output")
    confidence: bool = option(False, "Also write how clearly each pixel belongs to its cluster, 0 to 254.", "Output")
    min_region: Area | None = option(
        None,
        "Connected regions of a cluster below AREA go to the neighbour that they share most border with, smallest "
        "first: pixels, as in 50, or 50um2, 100m2, 2ha where the size of a pixel is known.",
        "Output",
        "AREA",
        parse=lambda text: parse_area(text, "--min-region"),
    )
    keep_raw: bool = option(False, "With --min-region: also keep the labels as they were before it.", "Output")
    edges: tuple[float, float] | None = option(
        None,
        "Also write Canny edges, with these thresholds (see the command edges).",
        "Output",
        "LOW,HIGH",
        many=True,
        parse=parse_thresholds,
    )
    segments: float | None = option(
        None,
        "Also find segments, and cut their hierarchy at this level: coarse, medium (where no level is given), fine, or "
        "a number from 0 (the finest) to 1 (one segment). See the command segments.",
        "Output",
        "[LEVEL]",
        parse=parse_level,
        bare="medium",
    )
    segment_scale: Scale = option(
        "auto",
        "At which scale segments are sought: photo (the same parts of a picture whatever its resolution), native (its "
        "own pixels), or auto: native for bands and where the size of a pixel is known, else photo.",
        "Output",
        "NAME",
    )
    segment_palette: WhosePalette = option(
        "image",
        "By whose 64 colours the parts of an image are compared: its own (image), or those of all images together "
        "(shared), which the store keeps.",
        "Output",
        "NAME",
    )
    checksum: bool = option(
        False,
        "With --model: tell by SHA-256, not by size and time alone, which files of a growing folder have changed, "
        "where they were labelled with it.",
        "Input",
    )
    prune: bool = option(
        False,
        "With --model: remove the images from the output whose files are not among the inputs any more.",
        "Output",
    )

    def __post_init__(self) -> None:
        require_tile(self.tile)
        if self.edges is not None:
            object.__setattr__(self, "edges", edge_thresholds(self.edges))
        if self.min_region is not None:
            object.__setattr__(self, "min_region", parse_area(self.min_region, "--min-region"))
        require(
            self.min_region is not None or not self.keep_raw,
            "--keep-raw keeps labels as they were before --min-region: give that, or leave out --keep-raw",
        )
        if self.segments is not None:
            object.__setattr__(self, "segments", parse_level(self.segments))
        usual = SegmentSettings()
        SegmentSettings(scale=self.segment_scale, palette=self.segment_palette)  # checks them
        for flag, value, default in (
            ("--segment-scale", self.segment_scale, usual.scale),
            ("--segment-palette", self.segment_palette, usual.palette),
        ):
            require(
                self.segments is not None or value == default,
                f"{flag} {value} says how segments are found: give --segments with it, or leave it out",
            )

    def to_json(self) -> dict[str, Any]:
        """What of it decides what a store holds, as plain JSON values."""
        values = to_json(self, {"masks", "tile", "pyramid", "copy_image", "confidence", "edges"})
        return {name: value for name, value in values.items() if name not in ("overwrite", "checksum", "prune")}

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> OutputSettings:
        """What `to_json` told; what is not among it has its default, and so has how segments are found where there are
        none, which was once taken and had no use.

        Raises
        ------
        UsageError
            If something of it is no such setting.
        """
        if told.get("segments") is None:
            told = {name: value for name, value in told.items() if name not in ("segment_scale", "segment_palette")}
        return from_json(cls, told)

    def writes_masks(self, k: int) -> bool:
        """Whether masks are made for ``k`` clusters."""
        return k <= MASKS_UP_TO_K if self.masks is None else self.masks

    def arrays(self, k: int, *, levels: int = 1, added: bool = False) -> list[str]:
        """Paths of the arrays that a run makes of an image of so many clusters, known without NumPy.

        Parameters
        ----------
        levels
            So many of each pyramid.
        added
            Whether those are among them that are added when it is labelled.
        """
        asked = {name: getattr(self, name) not in (None, False) for name in (*WITH_LABELS, *ADDED)}
        asked["masks"] = k > 0 and self.writes_masks(k)
        optional = {**WITH_LABELS, **(ADDED if added else {})}
        paths = [f"{LABELS}/{{}}", *(path for name, path in optional.items() if asked[name])]
        return [path.format(level) for path in paths for level in range(levels if "{}" in path else 1)]


@dataclass(frozen=True, slots=True)
class RunConfig:
    """Everything one job is told besides its inputs.

    Parameters
    ----------
    fit
        None where ``model`` is given: there is nothing to fit.
    refit
        Start the fit from the centroids of ``match``; there is one attempt and no search.
    """

    fit: FitSettings | None
    output: OutputSettings = field(default_factory=OutputSettings)
    execution: ExecutionSettings = field(default_factory=ExecutionSettings)
    input: InputSettings = field(default_factory=InputSettings)
    model: str | None = option(None, "Skip the fit: use this model, or the one of this store.", "Model", "M")
    match: str | None = option(None, "Number the clusters as in this earlier model or store.", "Model", "M")
    classes: Classes | None = option(
        None,
        "Names for the clusters, of a TOML file as kseg-batch classes --toml prints it. Default: those of --model or "
        "--match.",
        "Model",
        "FILE.toml",
        parse=Classes.from_toml,
    )
    refit: bool = option(
        False,
        "With --model: fit anew, starting from its centroids and keeping its numbers, its features and its bands.",
        "Model",
    )

    def __post_init__(self) -> None:
        require(
            not self.refit or (self.fit is not None and self.match is not None and not self.fit.start),
            "--refit starts from the centroids of --model: leave out --start",
        )
        require(
            not self.output.checksum or self.model is not None,
            "--checksum is for a growing folder, labelled with --model",
        )
        require(
            not self.output.prune or self.model is not None,
            "--prune is for a folder that changes, labelled with --model: leave it out",
        )
        require(
            (self.fit is None) == (self.model is not None),
            "say how many clusters with --k 5 or --k auto, or give --model with a model that has them: one of the two",
        )
        require(self.match is None or self.model is None, "--match renumbers a new fit; with --model the numbers stand")
        require(
            self.match is None or self.fit is None or self.fit.scope == "global",
            "--match needs one palette for all images: leave out --scope image",
        )
        require(
            self.output.edges is None or self.fit is None or self.fit.features != "bands",
            EDGES_OF_BANDS,
        )
        if self.classes is not None and self.fit is not None:
            require(
                self.fit.scope == "global",
                "--classes are of one model for all images: leave out --scope image",
            )
            require(
                self.fit.k != AUTO,
                "--classes name clusters by number, which --k auto does not tell beforehand: name them afterwards with "
                "kseg-batch classes",
            )
            self.classes.require_within(int(self.fit.k))

    def fingerprint(self) -> dict[str, Any]:
        """The settings that decide what a store holds, as plain JSON values: neither where the work runs nor
        ``overwrite``.
        """
        return {
            "fit": None if self.fit is None else self.fit.to_json(),
            "input": self.input.to_json(),
            "output": self.output.to_json(),
            "model": self.model,
            "match": self.match,
            **({"refit": True} if self.refit else {}),
        }


#: What has a setting that decides what a store holds.
DECIDING = (FitSettings, InputSettings, PictureChoice, OutputSettings, RunConfig, EdgeSettings, SegmentSettings)

#: How settings are given whose flags are not their names.
FLAGS = {
    each.name: each.metadata["option"].flag
    for kind in (*DECIDING, SegmentsConfig)
    for each in fields(kind)
    if "option" in each.metadata and each.metadata["option"].flag is not None
}

#: What a setting is that a document does not name, by its name there, as JSON has it.
UNSAID: dict[str, Any] = {
    each.name: plain(each.default) for kind in DECIDING for each in fields(kind) if each.default is not MISSING
} | {"validity": 1}
