"""The settings of every command and of the Python functions: frozen, checked where they are made.

Light on purpose (standard library only), so that wrong usage is refused before anything heavy is loaded.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from . import storage
from .areas import Area, parse_area
from .choice import DEFAULT, PictureChoice
from .edge_settings import EdgeSettings, edge_thresholds, parse_thresholds
from .errors import UsageError
from .options import from_json, joined, option, plain, to_json
from .segment_settings import Scale, SegmentSettings, parse_level
from .sizes import counted, parse_bytes, parse_length

ColorSpace = Literal["rgb", "gray", "hsv", "lab"]  # `kseg_core.clustering.features.SPACES` has what they are
Features = Literal["auto", ColorSpace, "bands"]
Scope = Literal["global", "image"]
Init = Literal["k-means++", "random"]  # `kseg_core.kernels.search.SEEDINGS` has what they are
Normalize = Literal["none", "standard", "minmax"]
NodataIn = Literal["any", "all"]

FEATURES: tuple[str, ...] = get_args(Features)
SCOPES: tuple[str, ...] = get_args(Scope)
INITS: tuple[str, ...] = get_args(Init)
NORMALIZE: tuple[str, ...] = get_args(Normalize)
NODATA_IN: tuple[str, ...] = get_args(NodataIn)

MAX_K = 65_534  # labels are at most uint16 and its largest value means "invalid"
AUTO: Literal["auto"] = "auto"  # clusters: the elbow of the inertia curve; features: what suits most images
KIND = r"rgb|[a-z]+[0-9]+(x[0-9]+)?"  # as `kseg_core.images.kinds` names them
K_RANGE = (1, 10)  # what ``auto`` tries unless told otherwise: an elbow further out is hardly seen as one
DEFAULT_TOL = 1e-6  # of steps that read all data anew
MASKS_UP_TO_K = 32  # more masks than this are only made when asked for
EDGES_OF_BANDS = (
    "--edges are of colours, --features bands of samples: leave out --edges; the command edges can add them "
    "afterwards where the images have colours"
)
MOST_SMOOTH_PX = 16  # of more a pixel's surroundings are rather another place than a noisier view of the same
SMOOTH_TAKES = f"--smooth takes whole pixels from 1 to {MOST_SMOOTH_PX}, a length like 2um or 1.5m, or 0 for none"
LABELS = "labels/kmeans"  # where the levels of the labels are in an image's group
RAW = "labels/raw"  # the same as they were before small regions went to their neighbours
# Where that is which a setting of `OutputSettings` asks for ({}: so many levels): written with the labels, in order
WITH_LABELS = {"masks": "masks", "confidence": "confidence", "copy_image": "{}", "keep_raw": f"{RAW}/{{}}"}
ADDED = {
    "edges": "edges",
    "segments": "labels/segments/{}",
}  # the same of layers that are added to labelled images, each called like its setting
VALIDITY = 2  # the rules of which pixels count: 1 are those of release 0.1.0, whose stores do not say


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise UsageError(message)


def _require_one_of(name: str, value: str, choices: tuple[str, ...]) -> None:
    _require(value in choices, f"{name} is one of {', '.join(choices)}; got {value!r}")


def _clusters(k: str) -> int | Literal["auto"]:
    if k == AUTO:
        return AUTO
    try:
        return int(k)
    except ValueError:
        raise UsageError(f"--k takes a number of clusters, as in --k 5, or auto; got {k!r}") from None


def _smooth(text: str) -> int | str:
    """A scale in pixels, or a length as it is told."""
    number, unit = parse_length(text, SMOOTH_TAKES)
    if unit:
        return f"{number:.12g}{unit}"
    _require(number.is_integer(), f"{SMOOTH_TAKES}; got {text!r}")
    return int(number)


def _range(text: str) -> tuple[int, int]:
    low, colon, high = text.partition(":")
    try:
        if colon:
            return int(low), int(high)
    except ValueError:
        pass
    raise UsageError(f"--k-range takes two numbers like 1:10; got {text!r}")


def _bands(values: Sequence[str]) -> tuple[int, ...]:
    text = joined(values)
    try:
        return tuple(int(band) for band in text.split(",")) if text else ()
    except ValueError:
        raise UsageError(f"--bands takes numbers like 4,3,2; got {text!r}") from None


def _colors(values: Sequence[str]) -> tuple[str, ...]:
    return tuple(color.strip() for color in joined(values).replace(";", ",").split(","))


@dataclass(frozen=True, slots=True)
class FitSettings:
    """What is clustered and how the centroids are found.

    Parameters
    ----------
    features
        ``start`` makes ``auto`` ``rgb``; ``bands``, ``normalize`` and a ``kind`` of bands make it ``bands``.
    max_iter
        Counts on the first batch and on all data together.
    batch_pixels
        Of all images together.
    start
        sRGB colours ``#rrggbb``; then there is one attempt and no search.
    bands, normalize
        Of ``features="bands"``. The order of bands counts; ``standard`` is mean 0 and deviation 1, ``minmax`` 0 to 1.
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
        f"Space of the distances: colours ({', '.join(get_args(ColorSpace))}), bands as they are stored, or auto: rgb "
        "for 8-bit pictures, bands for what is deeper or has other bands; most images decide.",
        "Model",
        "NAME",
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
    bands: tuple[int, ...] = option(
        (),
        "Cluster these bands, from 1, as in 4,3,2; may be given again. Default: all but alpha.",
        "Model",
        "LIST",
        many=True,
        parse=_bands,
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
            _require(type(value) is int, f"{flag} is a whole number; got {value!r}")
        self._check_k()
        _require_one_of("--features", self.features, FEATURES)
        _require_one_of("--normalize", self.normalize, NORMALIZE)
        _require(
            self.kind is None or re.fullmatch(KIND, self.kind) is not None,
            f"--kind is rgb, or a type and a number of bands like uint16x4; got {self.kind!r}",
        )
        if self.features == AUTO and (implied := self._implied()) is not None:
            object.__setattr__(self, "features", implied)
        is_bands = self.features == "bands"
        _require(is_bands or not self.bands, "--bands goes with --features bands")
        _require(is_bands or self.normalize == "none", "--normalize goes with --features bands")
        _require(
            not is_bands or self.scope == "global",
            "--features bands finds one model for all images; leave out --scope image",
        )
        _require(not is_bands or not self.start, "--start gives colours; bands have none")
        _require(not is_bands or self.kind != "rgb", "--kind rgb is of pictures: leave out --features bands")
        told = ",".join(map(str, self.bands))
        _require(all(band >= 1 for band in self.bands), f"--bands are numbered from 1; got {told}")
        _require(len(set(self.bands)) == len(self.bands), f"--bands names a band twice: {told}; give each once")
        _require_one_of("--scope", self.scope, SCOPES)
        _require_one_of("--init", self.init, INITS)
        _require(self.attempts >= 1, f"--attempts is at least 1; got {self.attempts}")
        _require(self.max_iter >= 1, f"--max-iter is at least 1; got {self.max_iter}")
        _require(self.tol is None or 0 <= self.tol < float("inf"), f"--tol is zero or more; got {self.tol}")
        _require(self.batch_pixels >= 1, f"--batch-pixels is at least 1; got {self.batch_pixels}")
        _require(0 <= self.seed < 1 << 63, f"--seed is a whole number from 0 to 2^63 - 1; got {self.seed}")
        for color in self.start:
            _require(
                re.fullmatch(r"#[0-9a-fA-F]{6}", color) is not None,
                f"--start takes colours like '#1f77b4,#ff7f0e'; got {color!r}",
            )
        _require(
            not self.start or len(self.start) == self.k,
            f"--start gives {counted(len(self.start), 'colour')} for {self.k} clusters; give one for each",
        )
        _require(
            len({color.lower() for color in self.start}) == len(self.start),
            "--start names a colour twice; first centroids must differ",
        )

    def _implied(self) -> Features | None:
        """The features that other settings ask for; None where nothing does."""
        of_bands = bool(self.bands) or self.normalize != "none" or self.kind not in (None, "rgb")
        of_colors = bool(self.start) or self.kind == "rgb"
        return "bands" if of_bands else "rgb" if of_colors else None

    def _check_k(self) -> None:
        if self.k == AUTO:
            _require(not self.start, "--start gives first centroids for a number of clusters: leave out --k auto")
            numbers = tuple(self.tried)
            two = len(numbers) == 2 and all(type(number) is int for number in numbers)
            _require(two, f"--k-range is two whole numbers; got {self.k_range!r}")
            low, high = numbers
            _require(1 <= low <= high <= MAX_K, f"--k-range is A:B with 1 <= A <= B <= {MAX_K}; got {low}:{high}")
            return
        _require(type(self.k) is int, f"--k is a whole number or auto; got {self.k!r}")
        _require(1 <= self.k <= MAX_K, f"--k is a whole number from 1 to {MAX_K}; got {self.k}")
        _require(self.k_range is None, "--k-range goes with --k auto")

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
        if self.k == AUTO:
            return values | {"k_range": list(self.tried)}
        del values["k_range"]
        return values

    def facts(self) -> dict[str, Any]:
        """What a model says of how it was found, as JSON values, beside what its centroids are."""
        values = to_json(self, _FIRST_OF_FIT - {"normalize"})
        beside = ("k", "features", "scope", "bands", "k_range", "kind", "features_why")
        return {name: value for name, value in values.items() if name not in beside}


#: What outputs of release 0.1.0 tell of a fit, be it at its default or not.
_FIRST_OF_FIT = frozenset(
    {"k", "features", "scope", "init", "attempts", "max_iter", "tol", "batch_pixels", "seed", "start", "bands"}
    | {"normalize", "k_range", "kind", "features_why"}
)

#: What ``refit`` has of its model: all else of a fit may be given.
FIT_OF_MODEL = frozenset({"k", "features", "scope", "init", "attempts", "start", "bands", "normalize", "k_range"})


@dataclass(frozen=True, slots=True)
class InputSettings:
    """Which pixels of the inputs count, and what is too large.

    Parameters
    ----------
    nodata_in
        None: any of bands, all of colours, where 0 is also a colour. Of the bands that are selected.
    smooth
        Pixels, or a text with a unit; 0 is none, and None what the model says that is given.
    validity
        Which rules are followed. 1, for what was made by release 0.1.0: nodata in all of the bands, and the masks that
        files carry are not used; alpha is the last band of a TIFF, by its tags alone.
    """

    nodata: str = option(
        "auto",
        "Values that stand for no data: auto (what the file says), none, -9999,0 (numbers), or auto,-9999; may be "
        "given again.",
        "Input",
        "V,...|auto|none",
        many=True,
        parse=lambda values: joined(values) or AUTO,
    )
    mask: str | None = option(
        None,
        "Pixels where this image is 0, or outside these polygons (GeoJSON, shapefile, GeoPackage, ...), are invalid; "
        "or a folder of such masks with the images' names.",
        "Input",
        "PATH",
    )
    max_pixels: int = option(1 << 29, "Refuse larger images that cannot be read by windows.", "Input", "N")
    choice: PictureChoice = DEFAULT
    nodata_in: NodataIn | None = option(
        None,
        "A pixel is invalid where any or all of its bands are nodata. Default: any of bands, all of colours.",
        "Input",
        "any|all",
    )
    smooth: int | str | None = option(
        None,
        f"Smooth pixels, along edges and not across them, before they are clustered and labelled: at a scale of 1 to "
        f"{MOST_SMOOTH_PX} pixels, or of a length where images say how large pixels are, as in 2um or 1.5m; 0: not. "
        "Default: not, and with a model as it was fitted.",
        "Input",
        "PX|LENGTH",
        parse=_smooth,
    )
    validity: int = VALIDITY

    def __post_init__(self) -> None:
        object.__setattr__(self, "nodata", str(self.nodata))  # from Python it may be a number
        try:
            _ = self.nodata_values
        except ValueError:
            raise UsageError(
                f"--nodata is auto, none, or numbers with commas between them; got {self.nodata!r}"
            ) from None
        _require(self.mask is None or storage.exists(self.mask), f"no such mask or folder of masks: {self.mask}")
        _require(self.max_pixels >= 1, f"--max-pixels is at least 1; got {self.max_pixels}")
        if self.nodata_in is not None:
            _require_one_of("--nodata-in", self.nodata_in, NODATA_IN)
        if isinstance(self.smooth, str):
            object.__setattr__(self, "smooth", _smooth(self.smooth))
        if self.smooth is not None and not isinstance(self.smooth, str):
            fits = type(self.smooth) is int and 0 <= self.smooth <= MOST_SMOOTH_PX
            _require(fits, f"{SMOOTH_TAKES}; got {self.smooth!r}")

    @property
    def nodata_values(self) -> tuple[float, ...]:
        """The values given; whole numbers as such, which may be beyond what a float can tell apart."""
        if self.nodata == "none":
            return ()
        return tuple(_number(text) for text in self._nodata if text != AUTO)

    @property
    def takes_stated_nodata(self) -> bool:
        """Whether what a file says of itself counts."""
        return AUTO in self._nodata

    @property
    def _nodata(self) -> list[str]:
        return [text.strip() for text in self.nodata.split(",")]

    def as_before(self) -> InputSettings:
        """The same by the rules of release 0.1.0."""
        return dataclasses.replace(self, validity=1)

    def to_json(self) -> dict[str, Any]:
        """As JSON values, the choice's among the others'; in the words of the release whose rules are followed."""
        values = to_json(self, {"nodata", "mask", "max_pixels", "validity"})
        values.pop("choice", None)
        if not self.smooth:
            values.pop("smooth", None)
        if self.validity == 1:
            del values["validity"]
        return values | self.choice.to_json()

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> InputSettings:
        """What `to_json` told; what is not among it has its default, and the rules are the first where none are told.

        Raises
        ------
        UsageError
            If something of it is no such setting, or the mask is not there.
        """
        return from_json(cls, {"validity": 1, **told, "choice": PictureChoice.from_json(told)})


def _number(text: str) -> float:
    try:
        return int(text)
    except ValueError:
        return float(text)


@dataclass(frozen=True, slots=True)
class OutputSettings:
    """What is written. ``checksum`` decides nothing that is written but the SHA-256 kept beside labels."""

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
    checksum: bool = option(
        False,
        "With --model: tell by SHA-256, not by size and time alone, which files of a growing folder have changed, "
        "where they were labelled with it.",
        "Input",
    )

    def __post_init__(self) -> None:
        _require(64 <= self.tile <= 16_384, f"--tile is from 64 to 16384 pixels; got {self.tile}")
        if self.edges is not None:
            object.__setattr__(self, "edges", edge_thresholds(self.edges))
        if self.min_region is not None:
            object.__setattr__(self, "min_region", parse_area(self.min_region, "--min-region"))
        _require(
            self.min_region is not None or not self.keep_raw,
            "--keep-raw keeps labels as they were before --min-region: give that, or leave out --keep-raw",
        )
        if self.segments is not None:
            object.__setattr__(self, "segments", parse_level(self.segments))
        SegmentSettings(scale=self.segment_scale)  # checks it

    def to_json(self) -> dict[str, Any]:
        """What of it decides what a store holds, as plain JSON values."""
        values = to_json(self, {"masks", "tile", "pyramid", "copy_image", "confidence", "edges"})
        return {name: value for name, value in values.items() if name not in ("overwrite", "checksum")}

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> OutputSettings:
        """What `to_json` told; what is not among it has its default.

        Raises
        ------
        UsageError
            If something of it is no such setting.
        """
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
class ExecutionSettings:
    """Where the work runs. Nothing here changes a bit of any result.

    ``memory`` is in bytes; None: a share of what there is.
    """

    scheduler: str = option(
        "threads",
        "threads, processes, sync, tcp://HOST:PORT, tls://HOST:PORT, or a scheduler FILE.json.",
        "Execution",
        "WHERE",
    )
    workers: int | None = option(
        None,
        "Threads or processes. Default: one a processor that this job may use (cgroups, Slurm, PBS and LSF say).",
        "Execution",
        "N",
    )
    strict: bool = option(False, "Stop at the first unreadable input.", "Execution")
    memory: int | None = option(
        None,
        "Most memory of each process, as in 4GB. Default: 60 % of what this job may use, shared by the processes: the "
        "least of the machine, its cgroups, Slurm and ulimit.",
        "Execution",
        "SIZE",
        parse=lambda text: parse_bytes(text, "--memory"),
    )
    performance_report: str | None = option(
        None,
        "Write Dask's report of the run, an HTML page: which task ran where, how long. Not for threads or sync.",
        "Execution",
        "FILE.html",
    )

    def __post_init__(self) -> None:
        known = self.scheduler in ("threads", "processes", "sync") or self.is_cluster
        _require(
            known,
            "--scheduler is threads, processes, sync, an address like tcp://host:8786, or a scheduler file (.json); "
            f"got {self.scheduler!r}",
        )
        _require(self.workers is None or self.workers >= 1, f"--workers is at least 1; got {self.workers}")
        _require(
            self.workers is None or not self.is_cluster,
            "--workers is for threads and processes; an existing cluster has the workers it has",
        )
        _require(
            self.workers in (None, 1) or self.scheduler != "sync",
            "--scheduler sync has one worker; leave out --workers, or use threads",
        )
        _require(self.memory is None or self.memory >= 1, f"--memory is at least a byte; got {self.memory}")
        _require(
            self.performance_report is None or self.scheduler not in ("threads", "sync"),
            "--performance-report is made by a Dask cluster: add --scheduler processes, or the address of one",
        )
        _require(
            not self.scheduler.endswith(".json") or Path(self.scheduler).is_file(),
            f"no such scheduler file: {self.scheduler}",
        )

    @property
    def is_cluster(self) -> bool:
        """Whether the scheduler is one that someone else started."""
        return "://" in self.scheduler or self.scheduler.endswith(".json")


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
    refit: bool = option(
        False,
        "With --model: fit anew, starting from its centroids and keeping its numbers, its features and its bands.",
        "Model",
    )

    def __post_init__(self) -> None:
        _require(
            not self.refit or (self.fit is not None and self.match is not None and not self.fit.start),
            "--refit starts from the centroids of --model: leave out --start",
        )
        _require(
            not self.output.checksum or self.model is not None,
            "--checksum is for a growing folder, labelled with --model",
        )
        _require(
            (self.fit is None) == (self.model is not None),
            "say how many clusters with --k 5 or --k auto, or give --model with a model that has them: one of the two",
        )
        _require(
            self.match is None or self.model is None, "--match renumbers a new fit; with --model the numbers stand"
        )
        _require(
            self.match is None or self.fit is None or self.fit.scope == "global",
            "--match needs one palette for all images: leave out --scope image",
        )
        _require(
            self.output.edges is None or self.fit is None or self.fit.features != "bands",
            EDGES_OF_BANDS,
        )

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
            OutputSettings(tile=self.tile)  # its bounds
        told = f"--smooth is of what is clustered; {self.layer.name} are found in images as they are"
        _require(not self.input.smooth, told)

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
    """Of segments. ``scale`` is in the place of that of the settings; None: that of the store that is there."""

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

    def beside(self, store: Mapping[str, Any]) -> LayerConfig:
        """With the scale that its segments have, where another is not asked for."""
        if self.scale is not None:
            return self
        config = store.get("config") or {}
        told = config.get("segments") or (store.get("segments") or {}).get("settings") or {}
        by_run = (config.get("output") or {}).get("segment_scale")
        return dataclasses.replace(self, scale=told.get("scale") or by_run)

    @property
    def layer(self) -> AskedLayer:
        """What is to be added: at another level it is cut anew, from a hierarchy that stays."""
        settings = dataclasses.replace(self.settings, scale=self.scale or self.settings.scale).to_json()
        path = ADDED["segments"].format(0)
        return AskedLayer("segments", path, settings, "segment_pixels", ("level",), "contours")


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
