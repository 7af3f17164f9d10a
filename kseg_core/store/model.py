"""Centroids and everything needed to label the same way next year."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .. import storage
from ..areas import has_unit, least_pixels
from ..classes import Classes
from ..clustering.bands import BandSpace
from ..clustering.cleaning import Cleaning, clean_labels
from ..clustering.features import FeatureSpace, feature_space
from ..clustering.kmeans import History, Solution
from ..clustering.labelling import LabelledPixels, Labels, invalid_label, label_pixels, no_labels, painted
from ..clustering.sums import ClusterSums
from ..config import AUTO, MAX_K, FitSettings, OutputSettings
from ..errors import StoreError, UsageError
from ..expressions import called
from ..images import PictureInfo, Pixels
from ..images.named_axes import NamedAxes, has_named_axes
from ..images.validity import combine, nodata_mask, unmasked
from ..layers.labelled import NO_CONFIDENCE
from ..layers.layer import ArraySpec
from ..reading.smoothing import Smoothing, smooth_image
from ..sizes import counted
from ..storage.sidecars import appearing
from . import schemas
from .manifest import KINDS, WAY_OUT, read_attributes, remove_kseg_store
from .nodes import DAMAGE, write_array, write_group

if TYPE_CHECKING:
    import zarr

F64 = NDArray[np.float64]
U8 = NDArray[np.uint8]

MODEL_FORMAT = 1
CLASSES = "classes"  # the attribute of a model that has them
MAX_VALUES = 1 << 27  # a gigabyte of centroids: more is damaged metadata


@dataclass(frozen=True, slots=True)
class Model:
    """A fitted K-means model.

    Parameters
    ----------
    features
        Name of the feature space.
    centroids
        float64 (k, d) in feature units.
    colors
        uint8 (k, 3): mean sRGB of each cluster's pixels, to paint it with.
    counts
        int64 (k,): valid pixels of each cluster over the whole fit.
    inertia
        Sum of squared distances over the fit, in squared feature units.
    facts
        How it was found (seed, attempts, history, ...): kept, not used.
    bands
        The feature space, where ``features`` is ``bands``.
    classes
        What people call its clusters, or some of them together; None: they have no names. No label depends on it.
    """

    features: str
    centroids: F64
    colors: U8
    counts: NDArray[np.int64]
    inertia: float
    facts: dict[str, Any] = field(default_factory=dict)
    bands: BandSpace | None = None
    classes: Classes | None = None

    def __post_init__(self) -> None:
        try:
            _ = self.space
        except (ValueError, UsageError):
            raise StoreError(f"the model's features are {self.features!r}, which this version does not know") from None
        k, d = len(self.centroids), self.space.dimensions
        for name, array, dtype, shape in (
            ("centroids", self.centroids, np.float64, (k, d)),
            ("colors", self.colors, np.uint8, (k, 3)),
            ("counts", self.counts, np.int64, (k,)),
        ):
            if array.dtype != dtype or array.shape != shape:
                raise StoreError(
                    f"the model's {name} are {array.dtype} {array.shape}; expected {np.dtype(dtype)} {shape}"
                )
        if not 1 <= k <= MAX_K or not np.isfinite(self.centroids).all():
            raise StoreError("the model's centroids are not 1 to 65534 rows of finite numbers")
        if self.classes is not None:
            self.classes.require_within(k)

    def __repr__(self) -> str:
        mse = "" if self.mse is None else f", mse {self.mse:.4g}"
        named = "" if self.classes is None else f", classes {', '.join(each.name for each in self.classes)}"
        return f"Model({counted(self.k, 'cluster')} of {self.features}, {counted(self.pixels, 'pixel')}{mse}{named})"

    @classmethod
    def from_solution(
        cls, solution: Solution, settings: FitSettings, history: History, bands: BandSpace | None = None
    ) -> Model:
        """The model of a finished fit."""
        space = feature_space(settings.features) if bands is None else bands
        facts = {
            "k_requested": settings.k,
            **({} if settings.features_why is None else {"features_why": settings.features_why}),
            **(settings.facts() | {"attempts": len(history)}),
            "history": [h.to_json() for h in history],
        }
        sums = solution.sums
        return cls(
            settings.features,
            space.to_features(solution.centroids),
            solution.colors,
            sums.counts,
            space.inertia(sums, solution.centroids),
            json.loads(json.dumps(facts)),
            bands,
        )

    @property
    def k(self) -> int:
        """Number of clusters."""
        return len(self.centroids)

    @property
    def k_requested(self) -> int | str:
        """The number of clusters asked for (data with fewer distinct values has fewer), or ``"auto"``."""
        asked = self.facts.get("k_requested", self.k)
        return AUTO if asked == AUTO else int(asked)

    @property
    def k_why(self) -> str | None:
        """Why there are so many clusters; None where that number was asked for."""
        why = self.facts.get("k_why")
        return None if why is None else str(why)

    @property
    def features_why(self) -> str | None:
        """Why its features were taken; None where they were asked for."""
        why = self.facts.get("features_why")
        return None if why is None else str(why)

    @property
    def normalize(self) -> str | None:
        """How the bands were brought to one scale; None of colours."""
        return None if self.bands is None else str(self.facts.get("normalize", "none"))

    @property
    def notes(self) -> tuple[str, ...]:
        """What there was to say of the data it was found on, a line each."""
        return tuple(str(note) for note in self.facts.get("notes", ()))

    def noted(self, notes: Sequence[str]) -> Model:
        """The same model, which also says these lines of the data it was found on; each is said once."""
        told = list(dict.fromkeys([*self.notes, *notes]))
        return dataclasses.replace(self, facts=self.facts | {"notes": told}) if told else self

    def naming(self, bands: tuple[str, ...]) -> Model:
        """The same model, which also says what the images that it was found on call its bands."""
        return dataclasses.replace(self, facts=self.facts | {"band_names": list(bands)}) if bands else self

    @property
    def band_names(self) -> tuple[str, ...]:
        """What its bands are called, by the images that it was found on; ``band 4`` where they say nothing of one."""
        if self.bands is None:
            return ()
        told = self.facts.get("band_names") or [""] * self.bands.dimensions
        plain = [f"band {band}" if isinstance(band, int) else str(called(band)) for band in self.bands.bands]
        return tuple(str(name) or own for name, own in zip(told, plain, strict=False))

    @property
    def smooth(self) -> int | str | None:
        """How the pixels were smoothed that it was found on, and is for: pixels, or a length; None: not."""
        asked: int | str | None = self.facts.get("smooth")
        return asked

    def named(self, classes: Classes | None) -> Model:
        """The same model with these classes; None, or none of them: its clusters have no names.

        Raises
        ------
        UsageError
            If a class is of a cluster that it does not have.
        """
        return dataclasses.replace(self, classes=classes or None)

    def of_smoothed(self, how: Smoothing | None) -> Model:
        """The same model, which also says that it is of pixels smoothed so."""
        return self if how is None else dataclasses.replace(self, facts=self.facts | {"smooth": how.asked})

    @property
    def stack(self) -> tuple[str, ...]:
        """What the bands are called, in order, of the stacks of files that it is of; none where of no such."""
        return tuple(map(str, self.facts.get("stack", ())))

    def of_stack(self, info: PictureInfo) -> Model:
        """The same model, which also says what the bands of an image are called, where that is a stack of files."""
        return dataclasses.replace(self, facts=self.facts | {"stack": [*info.band_names]}) if info.separate else self

    @property
    def space(self) -> FeatureSpace | BandSpace:
        """The feature space."""
        return feature_space(self.features) if self.bands is None else self.bands

    @property
    def points(self) -> F64:
        """Centroids in grid units, float64 (k, 3)."""
        return self.space.to_points(self.centroids)

    @property
    def pixels(self) -> int:
        """Valid pixels of the fit."""
        return int(self.counts.sum())

    @property
    def mse(self) -> float | None:
        """Inertia per valid pixel; None without pixels."""
        return self.inertia / self.pixels if self.pixels else None

    @property
    def digest(self) -> str:
        """SHA-256 of what decides a label and its colour: features, centroids, colours."""
        parts = [f"kseg-model-{MODEL_FORMAT}:{self.features}:{self.k}".encode()]
        parts += [self.centroids.astype("<f8").tobytes(), self.colors.tobytes()]
        if self.bands is not None:
            parts.append(json.dumps(self.bands.attributes(), sort_keys=True).encode())
        return hashlib.sha256(b"\0".join(parts)).hexdigest()

    def attributes(self) -> dict[str, Any]:
        """All that is said of it beside its arrays, as JSON values: what they tell, and the facts."""
        return {
            "format": MODEL_FORMAT,
            "kind": "model",
            "features": self.features,
            "components": list(self.space.components),
            "bands": None,
            "normalisation": None,
            **({} if self.bands is None else self.bands.attributes()),
            "k": self.k,
            **self.facts,
            "inertia": self.inertia,
            "mse": self.mse,
            **({} if self.classes is None else {CLASSES: self.classes.to_json()}),
            "digest": self.digest,
        }

    def label(
        self, pixels: NDArray[Any], valid: NDArray[np.bool_] | None = None, *, confidence: bool = False
    ) -> LabelledPixels:
        """Labels of uint8 (y, x, 3) sRGB pixels, or of a bands model's samples (y, x, d), with their sums.

        ``confidence`` also tells how clearly each pixel belongs to its cluster: ``floor(254 (d2 - d1) / d2)`` with the
        distances to the nearest and the second nearest centroid.
        """
        if self.bands is not None:
            return self.bands.label(pixels, valid, self.centroids, confidence=confidence)
        return label_pixels(pixels, valid, feature_space(self.features), self.points, confidence=confidence)

    def predict(self, image: Any, output: OutputSettings | None = None) -> Any:
        """Label every pixel of an image, as a run does; ``output``: its settings, where they are not the default.

        A model of smoothed pixels smooths the image first, which has to be whole.

        Parameters
        ----------
        image
            uint8 sRGB (y, x, 3), with alpha (y, x, 4), or gray (y, x): pixels of alpha 0 are invalid. For a model of
            bands its bands (y, x, d) as stored: pixels with a NaN or infinity are invalid. So are pixels with a masked
            value, of a NumPy masked array. Or such an array by Dask, which is held whole; or xarray's DataArray with
            dims y, x and perhaps band, in any order, whose ``_FillValue`` is nodata.

        Returns
        -------
        (y, x): 0 to k - 1, uint8 up to 254 clusters and uint16 above; the dtype's largest value where invalid. Of a
        DataArray one with its coordinates, else a NumPy array.

        Raises
        ------
        ValueError
            If the image is not one of these, or to be smoothed by a length, or small regions are to go and how large
            its pixels are would have to be known.
        """
        if has_named_axes(image):
            named = NamedAxes.of(image, "image")
            return named.labels(
                self.predict(named.masked(of_bands=self.bands is not None), output), invalid_label(self.k)
            )
        if not isinstance(image, np.ndarray):
            image = np.asanyarray(image.compute() if hasattr(image, "compute") else image)
        output = output or OutputSettings()
        least = min_region_in_pixels(output)
        pixels = self._pixels_of(image)
        if self.smooth is not None:
            if isinstance(self.smooth, str):
                raise ValueError(f"expected a file, got an array: how many of its pixels --smooth {self.smooth} are")
            how = Smoothing(self.smooth, self.smooth)
            pixels = smooth_image(pixels.samples, pixels.valid, how, together=self.bands is None)
        labels = labels_of(pixels, self, output)
        cleaned: Labels = clean_labels(labels, Cleaning(least, self.centroids))[0] if least else labels
        return cleaned

    def _pixels_of(self, image: NDArray[Any]) -> Pixels:
        """An image's pixels as the model labels them, but for their smoothing; errors are those of `predict`."""
        if self.bands is not None:
            image = image[..., None] if image.ndim == 2 and self.bands.dimensions == 1 else image
            wanted = f"(y, x, {self.bands.dimensions}) {self.bands.dtype}, the bands of this model"
            if not np.ma.isMaskedArray(image):
                image = image.astype(image.dtype.newbyteorder("="), copy=False)  # FITS and others have the other order
            if image.ndim != 3 or image.shape[2] != self.bands.dimensions or image.dtype != self.bands.dtype:
                raise ValueError(f"image: expected an array {wanted}; got {image.shape} {image.dtype}")
            samples, counts = unmasked(image)
            return Pixels(samples, combine(nodata_mask(samples, None), counts))
        return Pixels(*as_rgb(image))

    def paint(self, labels: Any) -> U8:
        """Every label as its cluster's colour: (y, x) -> uint8 (y, x, 3); invalid pixels are black, and so are masked
        ones. Labels may be NumPy's, Dask's or xarray's.

        Raises
        ------
        ValueError
            If a label is neither a cluster nor the invalid value.
        """
        if labels.dtype.kind not in "iu":
            raise ValueError(f"labels: expected whole numbers, as predict returns; got {labels.shape} {labels.dtype}")
        labels = labels.compute() if hasattr(labels, "compute") else labels
        labels = np.asarray(np.ma.filled(getattr(labels, "values", labels), invalid_label(self.k)))
        return painted(labels, self.colors)

    def save(self, path: str, *, overwrite: bool = False) -> None:
        """Write the model as a Zarr group of its own; it appears whole or not at all.

        Raises
        ------
        StoreError
            If something other than a kseg model or store is there, or one is and ``overwrite`` is False.
        """
        path = os.fspath(path).rstrip(os.sep) or path  # what is written aside must not lie inside
        if storage.exists(path):
            attributes = read_attributes(path)
            if not overwrite:
                what = "a kseg store or model" if attributes else "something else"
                raise StoreError(f"{path} already exists ({what}); choose another output, or --overwrite a kseg one")
            if attributes is None:
                raise StoreError(f"{path} is not a kseg store; it is left alone. Choose another output with -o")
        try:
            with appearing(path, remove_kseg_store) as new:
                self.write(new)
        except OSError as error:
            raise StoreError(f"{path}: the model cannot be written ({error.strerror or error})") from error

    @classmethod
    def load(cls, path: str) -> Model:
        """Read a model, or the one of a whole store.

        Raises
        ------
        StoreError
            If there is none, or it is damaged, or each image of the store has its own.
        """
        attributes = read_attributes(path)
        if attributes is None or attributes.get("kind") not in KINDS:
            raise StoreError(f"{path}: no kseg model or store there")
        if attributes["kind"] == "model":
            return cls.in_folder(path)
        config = attributes.get("config") or {}
        if (config.get("fit") or {}).get("scope") == "image":
            raise StoreError(
                f"{path}: each of its images has a model of its own (--scope image); there is none for all"
            )
        inside = os.path.join(path, "model")
        if not storage.is_dir(inside):
            raise StoreError(f"{path}: a store without a model: its run did not get that far")
        return cls.in_folder(inside)

    @classmethod
    def in_folder(cls, path: str) -> Model:
        """The model in a group of its own.

        Raises
        ------
        StoreError
            If it is damaged.
        """
        import zarr

        try:
            return cls.read(zarr.open_group(storage.for_zarr(path), mode="r"))
        except StoreError as error:
            raise StoreError(f"{path}: {error}") from error
        except DAMAGE as error:
            raise StoreError(f"{path}: a damaged model ({error}); {WAY_OUT}") from error

    def write(self, folder: str) -> None:
        """Make a Zarr group of it: arrays first, attributes last.

        Raises
        ------
        OSError
            If it cannot be written.
        """
        for name, array in (("centroids", self.centroids), ("colors", self.colors), ("counts", self.counts)):
            names = ("cluster", "channel")[: array.ndim]
            spec = ArraySpec(array.shape, array.shape, array.dtype.name, 0, names, "small")
            write_array(os.path.join(folder, name), array, spec)
        write_group(folder, {"kseg": self.attributes()})

    @classmethod
    def read(cls, group: zarr.Group) -> Model:
        """The model in a Zarr group.

        Raises
        ------
        StoreError
            If the group holds none or its digest does not match.
        """
        attributes = group.attrs.get("kseg")
        if not isinstance(attributes, dict) or "digest" not in attributes:
            raise StoreError("no kseg model there")
        schemas.require_sound("the model", attributes, schemas.Model)
        if attributes.get("format") != MODEL_FORMAT:
            raise StoreError(f"a model of format {attributes.get('format')}; this version reads format {MODEL_FORMAT}")
        bands = None
        if attributes.get("features") == "bands":
            try:
                bands = BandSpace.from_attributes(attributes)
            except (KeyError, TypeError, ValueError) as error:
                raise StoreError(f"a damaged model: its bands cannot be read ({error})") from error
        centroids, colors, counts = (_read_array(group, name) for name in ("centroids", "colors", "counts"))
        try:
            inertia = float(attributes["inertia"])
        except (KeyError, TypeError, ValueError) as error:
            raise StoreError("a damaged model: its inertia is not a number") from error
        model = cls(str(attributes.get("features")), centroids, colors, counts, inertia, {}, bands)
        if model.digest != attributes["digest"]:
            raise StoreError("a damaged model: its digest does not match its centroids and colours")
        own = {*model.attributes(), CLASSES}
        facts = {name: told for name, told in attributes.items() if name not in own}
        return dataclasses.replace(model, facts=facts, classes=classes_of(attributes, model.k))


def classes_of(attributes: Mapping[str, Any], k: int) -> Classes | None:
    """The classes that a model of k clusters tells of; None where it has none.

    Raises
    ------
    StoreError
        If they are damaged.
    """
    if not attributes.get(CLASSES):
        return None
    try:
        classes = Classes.from_json(attributes[CLASSES])
        classes.require_within(k)
    except (UsageError, KeyError, TypeError) as error:
        raise StoreError(f"a damaged model: its classes cannot be read ({error})") from error
    return classes


def label_window(pixels: Pixels, model: Model | None, output: OutputSettings) -> LabelledPixels:
    """Label pixels as a run with these settings does: whoever needs the labels of a run asks this and nothing else.

    ``pixels`` are as the model needs them; without a model not one of them is valid. Small regions are another step, of
    whole images (`clustering.cleaning`, `store.cleaned`).
    """
    if model is None:
        shape = pixels.samples.shape[:2]
        return LabelledPixels(no_labels(shape), ClusterSums.zero(0), np.full(shape, NO_CONFIDENCE, np.uint8))
    return model.label(pixels.samples, pixels.valid, confidence=output.confidence)


def min_region_in_pixels(output: OutputSettings) -> int:
    """The fewest pixels of a region of an array's labels that does not go to a neighbour; 0: none does.

    Raises
    ------
    ValueError
        If it is asked for with a unit.
    """
    if output.min_region is None:
        return 0
    if has_unit(output.min_region):
        raise ValueError(f"min_region: expected a number of pixels for an array, got {output.min_region}")
    return least_pixels(output.min_region, None)


def labels_of(pixels: Pixels, model: Model, output: OutputSettings) -> Labels:
    """The labels of `label_window`, and nothing that is made beside them."""
    return label_window(pixels, model, dataclasses.replace(output, confidence=False)).labels


def _read_array(group: zarr.Group, name: str) -> NDArray[Any]:
    try:
        array: Any = group[name]
        if array.size > MAX_VALUES:  # damaged metadata must not ask for all memory
            raise ValueError(f"shape {array.shape}")
        return np.asarray(array[...])
    except KeyError as error:
        raise StoreError(f"a damaged model: its {name} are missing") from error
    except (AttributeError, TypeError, ValueError, OSError, RuntimeError) as error:  # the last from codecs
        raise StoreError(f"a damaged model: its {name} cannot be read ({error})") from error


def as_rgb(image: U8) -> tuple[U8, NDArray[np.bool_] | None]:
    """An array as sRGB pixels and validity.

    Parameters
    ----------
    image
        uint8: gray (y, x), (y, x, 1), RGB (y, x, 3) or RGBA (y, x, 4); bool counts as black and white. Pixels with a
        masked value are invalid.

    Raises
    ------
    ValueError
        If it is none of these.
    """
    image, counts = unmasked(image)
    if image.dtype == np.bool_:
        image = image.view(np.uint8) * np.uint8(255)
    require_rgb(image.shape, image.dtype, "image")
    if image.ndim == 2:
        image = image[..., None]
    if image.shape[2] == 1:
        return np.repeat(image, 3, axis=2), counts
    valid = image[..., 3] > 0 if image.shape[2] == 4 else None
    return np.ascontiguousarray(image[..., :3]), combine(valid, counts)


def require_rgb(shape: tuple[int, ...], dtype: np.dtype[Any], name: str) -> None:
    """Refuse an array, of which this is all that is known, that is not an image of 8-bit colours.

    Parameters
    ----------
    shape, dtype
        Of the array, whole.
    name
        The argument it was given as.

    Raises
    ------
    ValueError
        Saying what it is, and what helps.
    """
    if dtype == np.uint8 and (len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3, 4))):
        return
    if dtype != np.uint8:
        helps = "; bring its values to 0..255 and convert it with .astype(numpy.uint8)"
    elif len(shape) == 3 and shape[0] in (1, 3, 4):
        helps = "; its channels come first: numpy.moveaxis(image, 0, -1) puts them last"
    else:
        helps = "; more than four channels are bands (features 'bands')"
        helps = helps if len(shape) == 3 else ""
    raise ValueError(
        f"{name}: expected an array of uint8 (y, x), (y, x, 3) or (y, x, 4); got {shape} {np.dtype(dtype)}{helps}"
    )
