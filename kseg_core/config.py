"""The settings of every command and of the Python functions: frozen, checked where they are made.

Light on purpose (standard library only), so that wrong usage is refused before anything heavy is loaded.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from . import storage
from .choice import DEFAULT, PictureChoice
from .edge_settings import edge_thresholds
from .errors import UsageError
from .sizes import counted

Features = Literal["auto", "rgb", "gray", "hsv", "lab", "bands"]
Scope = Literal["global", "image"]
Init = Literal["k-means++", "random"]
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
VALIDITY = 2  # the rules of which pixels count: 1 are those of release 0.1.0, whose stores do not say


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise UsageError(message)


def _require_one_of(name: str, value: str, choices: tuple[str, ...]) -> None:
    _require(value in choices, f"{name} is one of {', '.join(choices)}; got {value!r}")


@dataclass(frozen=True, slots=True)
class FitSettings:
    """What is clustered and how the centroids are found.

    Parameters
    ----------
    k
        Number of clusters, 1 to 65534, or ``"auto"``: chosen from ``k_range`` by the elbow method.
    features
        The space distances are measured in: of colours, or ``bands`` as they are stored. ``auto`` is what suits most of
        the images: ``rgb`` for pictures of 8 bits, ``bands`` for what is deeper or has other bands. ``start`` makes it
        ``rgb``; ``bands``, ``normalize`` and a ``kind`` of bands make it ``bands``.
    scope
        One palette for all images (``global``) or one for each (``image``).
    init
        How the first centroids of an attempt are drawn.
    attempts
        Independent searches; the best by inertia over all the data wins.
    max_iter
        Most steps of one attempt, on the first batch and on all data together.
    tol
        Stop when the sum of squared centroid shifts is at most ``tol`` times the mean variance of the features.
        None: go on until no label changes.
    batch_pixels
        Upper bound of the first mini-batch's size, in pixels of all images together.
    seed
        Chooses the first batch and every random draw.
    start
        First centroids as sRGB colours ``#rrggbb``, one a cluster; then there is one attempt and no search.
    bands
        Of ``features="bands"``: which, from 1, in the order wanted; empty for all but alpha.
    normalize
        Of ``features="bands"``: ``standard`` (mean 0, deviation 1), ``minmax`` (0 to 1) or ``none``.
    k_range
        With ``k="auto"``: the least and the greatest number to try; None stands for (1, 10).
    kind
        Take the images of one kind alone: ``rgb`` (pictures of 8 bits), or a type and a number of bands as in
        ``uint16x4``; None: of those that most are of where that must be one, else of all.
    features_why
        Why ``auto`` became these features, for the model to say: whoever chooses sets it.
    """

    k: int | Literal["auto"]
    features: Features = "auto"
    scope: Scope = "global"
    init: Init = "k-means++"
    attempts: int = 10
    max_iter: int = 1000
    tol: float | None = None
    batch_pixels: int = 1 << 18
    seed: int = 0
    start: tuple[str, ...] = ()
    bands: tuple[int, ...] = ()
    normalize: Normalize = "none"
    k_range: tuple[int, int] | None = None
    kind: str | None = None
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


@dataclass(frozen=True, slots=True)
class InputSettings:
    """Which pixels of the inputs count, and what is too large.

    Parameters
    ----------
    nodata
        ``none``, or with commas between them ``auto`` (what a file says of itself) and values: where a pixel has one of
        them it has no data.
    mask
        A mask, or a folder of masks found by the images' paths: pixels where it is 0, or outside its polygons, are
        invalid.
    max_pixels
        Most pixels of an image that cannot be read by windows.
    choice
        Which picture of a file that holds several.
    nodata_in
        A pixel is invalid where ``any`` of the selected bands has no data, or where ``all`` have none; None: any of
        bands, all of colours, where 0 is also a colour.
    validity
        Which rules are followed. 1, for what was made by release 0.1.0: nodata in all of the bands, and the masks that
        files carry are not used; alpha is the last band of a TIFF, by its tags alone.
    """

    nodata: str = "auto"
    mask: str | None = None
    max_pixels: int = 1 << 29
    choice: PictureChoice = DEFAULT
    nodata_in: NodataIn | None = None
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
        values = dataclasses.asdict(self)
        del values["choice"]
        if self.validity == 1:
            del values["validity"]
        if self.nodata_in is None:
            del values["nodata_in"]
        return values | self.choice.to_json()


def _number(text: str) -> float:
    try:
        return int(text)
    except ValueError:
        return float(text)


@dataclass(frozen=True, slots=True)
class OutputSettings:
    """What is written.

    Parameters
    ----------
    masks
        One boolean image a cluster; None: up to 32 clusters.
    tile
        Side of the store's chunks in pixels, 64 to 16384.
    overwrite
        Replace an existing kseg store.
    pyramid
        Levels of half the size, down to one tile; None: for images worked on in pieces.
    copy_image
        Keep the pixels beside their labels, as a complete OME-Zarr image.
    confidence
        Also write how clearly each pixel belongs to its cluster.
    edges
        Also write Canny edges, with these two thresholds.
    checksum
        Keep the inputs' SHA-256 with their labels, and tell by it what has changed. Decides nothing that is written
        else.
    """

    masks: bool | None = None
    tile: int = 1024
    overwrite: bool = False
    pyramid: bool | None = None
    copy_image: bool = False
    confidence: bool = False
    edges: tuple[float, float] | None = None
    checksum: bool = False

    def __post_init__(self) -> None:
        _require(64 <= self.tile <= 16_384, f"--tile is from 64 to 16384 pixels; got {self.tile}")
        if self.edges is not None:
            object.__setattr__(self, "edges", edge_thresholds(self.edges))

    def writes_masks(self, k: int) -> bool:
        """Whether masks are made for ``k`` clusters."""
        return k <= MASKS_UP_TO_K if self.masks is None else self.masks


@dataclass(frozen=True, slots=True)
class ExecutionSettings:
    """Where the work runs. Nothing here changes a bit of any result.

    Parameters
    ----------
    scheduler
        ``threads``, ``processes``, ``sync``, a Dask address (``tcp://…``, ``tls://…``) or a scheduler file
        (``*.json``).
    workers
        Threads or processes; None: one a core. An existing cluster has its own.
    strict
        Stop at the first unreadable input.
    memory
        Most bytes of each process; None: a share of what there is.
    performance_report
        Where Dask writes its report of the job, an HTML page; None: nowhere.
    """

    scheduler: str = "threads"
    workers: int | None = None
    strict: bool = False
    memory: int | None = None
    performance_report: str | None = None

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


def _plain(settings: FitSettings) -> dict[str, Any]:
    """As JSON values; ``k_range`` is among them only where it decides anything."""
    values = dataclasses.asdict(settings)
    del values["features_why"]  # which decides nothing
    if settings.k == AUTO:
        values["k_range"] = settings.tried
    else:
        del values["k_range"]
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


@dataclass(frozen=True, slots=True)
class RunConfig:
    """Everything one job is told besides its inputs.

    Parameters
    ----------
    fit
        None where ``model`` is given: there is nothing to fit.
    model
        Label with this model (a model or a store of an earlier run).
    match
        Number the clusters as in this earlier model.
    refit
        Start the fit from the centroids of ``match``; there is one attempt and no search.
    """

    fit: FitSettings | None
    output: OutputSettings = field(default_factory=OutputSettings)
    execution: ExecutionSettings = field(default_factory=ExecutionSettings)
    input: InputSettings = field(default_factory=InputSettings)
    model: str | None = None
    match: str | None = None
    refit: bool = False

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
            "fit": None if self.fit is None else _plain(self.fit),
            "input": self.input.to_json(),
            "output": {
                "masks": self.output.masks,
                "tile": self.output.tile,
                "pyramid": self.output.pyramid,
                "copy_image": self.output.copy_image,
                "confidence": self.output.confidence,
                "edges": None if self.output.edges is None else list(self.output.edges),
            },
            "model": self.model,
            "match": self.match,
            **({"refit": True} if self.refit else {}),
        }
