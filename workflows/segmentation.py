"""K-means segmentation from Python: paths or arrays in, a model and lazy label arrays out."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias, cast

import dask.array as da
import numpy as np
from dask.delayed import Delayed, delayed
from numpy.typing import NDArray

from kseg_core.areas import has_unit
from kseg_core.choice import InputSelection
from kseg_core.clustering.bands import BandSpace
from kseg_core.clustering.cleaning import Changes, Cleaning, Patch, apply_changes, join_patches, patch_of
from kseg_core.clustering.labelling import Labels, invalid_label, label_dtype
from kseg_core.clustering.summary import BatchRule, ChunkSummary, summarise
from kseg_core.config import AUTO, FitSettings, OutputSettings, RunConfig
from kseg_core.errors import KsegWarning, NoValidPixels, UnreadableImage, UsageError, from_facts
from kseg_core.images import Pixels
from kseg_core.images.kinds import PICTURE, Kind
from kseg_core.images.named_axes import NamedAxes, has_named_axes
from kseg_core.images.raster import DTYPES, Refused
from kseg_core.images.selection import Selection, derived_dtype
from kseg_core.images.validity import Nodata, combine, nodata_mask, nodata_of, unmasked
from kseg_core.inputs.listing import InputFile, list_selected
from kseg_core.inputs.stacks import Stacking
from kseg_core.reading.min_region import min_region_of, pixel_size_of
from kseg_core.reading.sources import ImageSource, Piece
from kseg_core.sizes import counted, only_so_many
from kseg_core.store.model import Model, as_rgb, labels_of, min_region_in_pixels, require_rgb
from kseg_core.store.opening import open_store

from .computing.context import Context, tree_reduce
from .earlier import bands_of_model, in_space_of_match, smoothing_as_model
from .fitting.fit import fit_plan, fit_points, points_of_colours
from .labelling.label import read_for_model
from .planning.arrays import info_of_array, plan_of_array
from .planning.notes import MOST_LINES, Note, gathering, notes_of_all, say
from .planning.plan import nodata_of_no_use
from .request import Request, prepare, require_mask
from .result import errors_of
from .run import earlier_model, fit_one, run
from .scan import fit_to_memory, survey

ARRAY_KEY = "image"
NO_VALID = "no valid pixel in the array: there is nothing to cluster; every one is transparent, masked, NaN or nodata"
ROWS_PX = 4_000_000  # a NumPy array is cut into windows of about so many pixels

Images: TypeAlias = str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | NDArray[Any] | da.Array


@dataclass(frozen=True, slots=True)
class Segmentation:
    """What `segment` found.

    Parameters
    ----------
    model
        The centroids; ``model.paint(labels)`` colours a picture.
    labels
        Lazy Dask arrays (y, x) by image key; ``"image"`` where one array was given, which of xarray
        is a lazy DataArray with its coordinates. ``.compute()`` makes them.
    failures
        Inputs that could not be read.
    notes
        What there is to say of inputs that were read and of the data, as ``(source, note)``; ``source`` is None where
        it is of all. The same as the notes of ``--json``.
    """

    model: Model
    labels: dict[str, da.Array]
    failures: tuple[UnreadableImage, ...] = field(default=())
    notes: tuple[Note, ...] = ()

    def __repr__(self) -> str:
        failed = f", {len(self.failures)} not readable" if self.failures else ""
        return f"Segmentation({counted(len(self.labels), 'image')}{failed}, {self.model!r})"


def segment(images: Images, config: RunConfig, *, output: str | None = None) -> Segmentation:
    """Find one palette for all images and label every pixel with it.

    Parameters
    ----------
    images
        A path (file, folder or glob) or several; or one image as a NumPy or Dask array, or xarray's DataArray with dims
        y, x and perhaps band, in any order, whose ``_FillValue`` is nodata and whose bands may have names. Of uint8 it
        is (y, x, c) of sRGB (c = 3), with alpha (c = 4), or gray (c = 1 or (y, x)); bool is black and white. Other
        integers and floats, and other numbers of bands, are clustered as bands (y, x, d), without pixels that have a
        NaN or infinity.
        Pixels with a masked value (``numpy.ma``, also in a Dask array's chunks) are invalid, and those of ``nodata``
        where values are given. A Dask array is never held whole.
    config
        The same settings as the commands'. ``scope`` is ``global`` here; ``mask``, ``choice`` and ``kind`` are of
        paths.
    output
        Also write a store there, as ``kseg-batch run`` does (paths only).

    Returns
    -------
    Segmentation
        Nothing is labelled before a label array is computed, nothing is written unless ``output`` is given.

    Warns
    -----
    KsegWarning
        Once for each note: what was chosen of a file, what is left out of it, values that are likely fill. Of a model
        that is given no values are looked at before labels are computed, unless ``output`` is given. And where the data
        has fewer distinct values than clusters were asked for.

    Raises
    ------
    UsageError
        If the settings or inputs make no sense.
    KsegError
        If there is nothing to cluster.
    ValueError
        If an array is not of the form above.
    """
    with gathering() as said:
        found = _segment(images, config, output)
    if config.classes is not None:
        found = replace(found, model=found.model.named(config.classes))
    if config.fit is not None and (few := only_so_many(found.model.k, found.model.k_requested)):
        warnings.warn(few, KsegWarning, stacklevel=2)
    for note in said[:MOST_LINES]:
        warnings.warn(note.text, KsegWarning, stacklevel=2)
    if len(said) > MOST_LINES:
        warnings.warn(f"… and {len(said) - MOST_LINES} more; `notes` has all", KsegWarning, stacklevel=2)
    return found if found.notes else replace(found, notes=tuple(said))


def _segment(images: Images, config: RunConfig, output: str | None) -> Segmentation:
    if config.fit is not None and config.fit.scope == "image":
        raise UsageError("segment finds one palette for all images; for scope 'image' call it for each")
    if isinstance(images, np.ndarray | da.Array) or has_named_axes(images):
        if output is not None:
            raise UsageError("an output store is made from paths; write an array's labels with dask.array.to_zarr")
        named = NamedAxes.of(images, "images") if has_named_axes(images) else None
        if named is not None:
            found = _segment_array(named.values, config, named)
            labels = {key: named.labels(each, invalid_label(found.model.k)) for key, each in found.labels.items()}
            return replace(found, labels=labels)
        return _segment_array(images, config)
    return _segment_paths(_paths_of(images), config, output)


def _paths_of(images: Any) -> tuple[str, ...]:
    """Paths as text."""
    wanted = (
        "images: expected a path, a sequence of paths, or one image as a NumPy or Dask array, or xarray's DataArray"
    )
    if isinstance(images, str | os.PathLike):
        return (os.fspath(images),)
    if hasattr(images, "dtype") or not isinstance(images, Iterable):
        raise ValueError(f"{wanted}; got {type(images).__name__}")
    paths = tuple(images)
    for i, path in enumerate(paths):
        if not isinstance(path, str | os.PathLike):
            shape = f" {path.shape} {path.dtype}" if hasattr(path, "shape") and hasattr(path, "dtype") else ""
            raise ValueError(f"{wanted}; got a sequence whose item {i} is a {type(path).__name__}{shape}")
    return tuple(os.fspath(path) for path in paths)


def _segment_paths(paths: tuple[str, ...], config: RunConfig, output: str | None) -> Segmentation:
    selection = InputSelection(paths)
    if output is not None:
        request = prepare(selection, config, output, "store")
        return _stored_images(output, request.finished or run(request).to_json())
    config = smoothing_as_model(in_space_of_match(config))
    require_mask(config.input)
    listing = list_selected(selection, Stacking.of(config.input.stack, bands_of_model(config)))
    request = Request(listing, config, "", config.fingerprint(), "")
    return _lazy_images(request, earlier_model(config.model), config)


def _stored_images(output: str, result: dict[str, Any]) -> Segmentation:
    """What a run has written, read when used."""
    store = open_store(output)
    labels = {key: da.from_zarr(image.labels) for key, image in store.items()}
    failures = tuple(from_facts(failure) for failure in result["failures"])
    notes = tuple(Note(note["source"], note["note"]) for note in result.get("notes", ()))
    return Segmentation(store.model, labels, failures, notes)


def _lazy_images(request: Request, model: Model | None, config: RunConfig) -> Segmentation:
    with Context.open(config.execution) as context:
        scan = survey(request, context, model)
        if model is None:
            model, scan = fit_one(fit_to_memory(scan, context, writes=False), context, earlier_model(config.match))
    images = [(piece,) for bundle in scan.plan.bundles for piece in bundle] + list(scan.plan.large)
    labels = {
        pieces[0].source.file.key: lazy_image(pieces, model, config.output)
        for pieces in sorted(images, key=lambda pieces: pieces[0].source.file.key)
    }
    return Segmentation(model, labels, errors_of(scan.failures))


def lazy_image(pieces: Sequence[Piece], model: Model, output: OutputSettings) -> da.Array:
    """The labels of one image, as a run makes them."""
    source = pieces[0].source
    least = min_region_of(source, output, pixel_size_of(source))
    return lazy_cleaned(lazy_labels(pieces, model, output), least, model)


def lazy_labels(pieces: Sequence[Piece], model: Model, output: OutputSettings) -> da.Array:
    """The labels of one image as K-means gives them, a chunk for each of its pieces."""
    task = delayed(label_piece, pure=True)
    rows: dict[int, list[da.Array]] = {}
    for piece in pieces:
        block = da.from_delayed(task(piece, model, output), (piece.height, piece.width), label_dtype(model.k))
        rows.setdefault(piece.top, []).append(block)
    return da.block(list(rows.values()))


def lazy_cleaned(raw: da.Array, least: int, model: Model) -> da.Array:
    """Lazy labels whose regions below so many pixels go to their neighbours: each chunk of them needs all of ``raw``,
    which is then held whole, a byte or two a pixel.
    """
    if not least:
        return raw
    how, shape, grid = Cleaning(least, model.centroids), raw.shape, raw.to_delayed()
    patch, join = delayed(patch_of, pure=True), delayed(join_all, pure=True)
    windows = [
        (slice(top, top + height), slice(left, left + width))
        for top, height in zip(np.cumsum([0, *raw.chunks[0][:-1]]).tolist(), raw.chunks[0], strict=True)
        for left, width in zip(np.cumsum([0, *raw.chunks[1][:-1]]).tolist(), raw.chunks[1], strict=True)
    ]
    blocks = grid.ravel().tolist()
    changes = join(
        [patch(block, window, shape, how) for block, window in zip(blocks, windows, strict=True)], shape, how
    )
    change = delayed(apply_changes, pure=True)
    made = [
        da.from_delayed(change(block, changes[at]), tuple(part.stop - part.start for part in window), dtype=raw.dtype)
        for at, (block, window) in enumerate(zip(blocks, windows, strict=True))
    ]
    columns = grid.shape[1]
    return da.block([made[at : at + columns] for at in range(0, len(made), columns)])


def join_all(patches: Sequence[Patch], shape: tuple[int, int], how: Cleaning) -> list[Changes]:
    """A task: what changes in each chunk."""
    return join_patches(list(patches), shape, how).windows


def label_piece(piece: Piece, model: Model, output: OutputSettings) -> Labels:
    """A task: the labels of one piece."""
    window = read_for_model(piece, model)
    return labels_of(window, model, output)


# ----------------------------------------------------------------------------------------------------- arrays


def _segment_array(image: NDArray[Any] | da.Array, config: RunConfig, named: NamedAxes | None = None) -> Segmentation:
    require_array(image)
    _require_of_arrays(config)
    lazy = image if isinstance(image, da.Array) else da.from_array(image, chunks=_row_chunks(image))
    if lazy.ndim == 3:
        lazy = lazy.rechunk({2: -1})
    if any(np.isnan(n) for axis in lazy.chunks for n in axis):
        raise ValueError(
            f"images: expected an array of known chunk sizes, got {lazy.chunks}; call compute_chunk_sizes() first"
        )
    model = None if config.model is None else Model.load(config.model)
    if model is not None and model.smooth:
        raise UsageError(
            "the model is of smoothed pixels, and a chunk does not have their surroundings: use its predict"
        )
    config = config if config.fit is None else replace(config, fit=_in_space_of(lazy, config))
    of_bands = model.bands is not None if model is not None else _is_of_bands(config)
    if of_bands:
        lazy = lazy[..., None] if lazy.ndim == 2 else lazy
        lazy = lazy.view(np.uint8) if lazy.dtype == np.bool_ else lazy
    else:
        require_rgb(image.shape, image.dtype, "images")
    info = info_of_array(lazy, named)
    nodata = nodata_of(config.input, info)
    source = ImageSource(InputFile("", "the array", ARRAY_KEY, 0, 0), info, nodata)
    say(notes_of_all(nodata_of_no_use([source], config.input)))
    if model is None:
        fit = _fit_bands if of_bands else _fit_array
        with Context.open(config.execution) as context:
            try:
                model = fit(lazy, image, config, context, source)
            except NoValidPixels as error:
                raise NoValidPixels(NO_VALID) from error
        say(notes_of_all(model.notes))
    if model.bands is not None:
        lazy, nodata = _bands_for(lazy, model.bands, source)
    labels = lazy.map_blocks(
        predict_block,
        model=model,
        nodata=nodata,
        settings=replace(config.output, min_region=None, keep_raw=False),
        dtype=label_dtype(model.k),
        drop_axis=2 if lazy.ndim == 3 else None,
        meta=np.empty((0, 0), label_dtype(model.k)),  # masked arrays have plain labels
    )
    return Segmentation(model, {ARRAY_KEY: lazy_cleaned(labels, min_region_in_pixels(config.output), model)})


def require_array(image: NDArray[Any] | da.Array) -> None:
    """An array is of pixels or of bands."""
    if image.ndim not in (2, 3):
        raise ValueError(f"images: expected an image (y, x) or (y, x, c); got {image.shape} {image.dtype}")
    name = "uint8" if image.dtype == np.bool_ else image.dtype.newbyteorder("=").name
    if name not in DTYPES:
        raise ValueError(
            f"images: expected an image of one of {', '.join(DTYPES)} or bool; got {image.shape} {image.dtype}"
        )


def _require_of_arrays(config: RunConfig) -> None:
    """Settings are of arrays too."""
    if config.input.mask is not None:
        raise UsageError("mask is of paths; of an array give a numpy.ma.MaskedArray")
    if not config.input.choice.is_default:
        raise UsageError("choice is of paths; of an array give the part that is meant")
    if config.input.smooth:
        raise UsageError("smooth is of paths: a chunk of an array does not have its pixels' surroundings")
    if config.output.min_region is not None and has_unit(config.output.min_region):
        raise UsageError("min_region of an array is in pixels: it does not say how large these are")
    if config.fit is not None and config.fit.kind is not None:
        raise UsageError("kind is of paths; an array is of its own kind: choose by features")


def _is_of_bands(config: RunConfig) -> bool:
    return config.fit is not None and config.fit.features == "bands"


def _in_space_of(image: da.Array, config: RunConfig) -> FitSettings:
    """The fit's settings with the features that suit an array, or those of the model to match, in the place of auto."""
    fit = config.fit
    assert fit is not None
    if fit.features != AUTO:
        return fit
    if config.match is not None:
        return replace(fit, features=Model.load(config.match).features)  # type: ignore[arg-type]  # checked there
    is_picture = image.dtype in (np.uint8, np.bool_) and (image.ndim == 2 or image.shape[2] in (1, 3, 4))
    dtype = "uint8" if image.dtype == np.bool_ else image.dtype.newbyteorder("=").name
    kind = PICTURE if is_picture else Kind(dtype, 1 if image.ndim == 2 else image.shape[2])
    return replace(fit, features=kind.features, features_why=kind.why)  # type: ignore[arg-type]  # checked there


def _fit_bands(
    lazy: da.Array, image: NDArray[Any] | da.Array, config: RunConfig, context: Context, source: ImageSource
) -> Model:
    """A model of an array's bands."""
    assert config.fit is not None
    if 0 in lazy.shape:
        raise NoValidPixels(NO_VALID)
    whole = None if isinstance(image, da.Array) else image.reshape(lazy.shape).view(lazy.dtype)
    plan, match = plan_of_array(lazy, whole, ARRAY_KEY, source.nodata, source.info), earlier_model(config.match)
    model, failures = fit_plan(plan, config.fit, context.silent(strict=True), match=match, refit=config.refit)
    if model is None:
        raise failures[0].error
    return model


def _bands_for(image: da.Array, space: BandSpace, source: ImageSource) -> tuple[da.Array, Nodata | None]:
    """The bands of an array that a model labels, in its order, and what stands for no data in these."""
    try:
        selection = Selection.of(space.bands, source.info)
    except Refused as error:
        raise ValueError(f"images: {error}") from error
    numbers = selection.numbers
    if max(numbers) > image.shape[2]:
        raise ValueError(
            f"expected an image with bands {', '.join(map(str, numbers))}, got {image.dtype} {image.shape}"
        )
    every = numbers == tuple(range(1, image.shape[2] + 1))
    read = image if every else image[..., [number - 1 for number in numbers]]
    if not selection.is_derived:
        return read, source.nodata
    if source.info.dtype != space.stored_dtype:
        raise ValueError(f"images: expected {space.stored_dtype}, of which this model is; got {image.dtype}")
    dtype = derived_dtype(image.dtype.name)
    made = read.map_blocks(
        derived_block,
        selection=selection,
        nodata=selection.nodata(source.nodata),
        dtype=dtype,
        chunks=(*read.chunks[:2], (len(space.bands),)),
        meta=np.empty((0, 0, 0), dtype),
    )
    return made, None


def derived_block(block: NDArray[Any], selection: Selection, nodata: Nodata | None) -> NDArray[Any]:
    """The derived bands of a chunk, NaN where a band that they are derived from has no data."""
    samples, counts = unmasked(block)
    numbers = [number - 1 for number in selection.numbers]
    made = selection.of_samples(np.ascontiguousarray(samples))
    valid = combine(nodata_mask(samples, nodata, "any", numbers), counts)
    if valid is not None:
        made[~valid] = np.nan
    return made


def _row_chunks(image: NDArray[Any]) -> tuple[int, ...]:
    rows = max(1, ROWS_PX // max(1, image.shape[1]))
    return (rows, *image.shape[1:])


def _fit_array(
    image: da.Array, _given: NDArray[Any] | da.Array, config: RunConfig, context: Context, source: ImageSource
) -> Model:
    """A model of an array's colours."""
    assert config.fit is not None
    if 0 in image.shape:
        raise NoValidPixels(NO_VALID)
    rule = BatchRule.for_pixels(image.shape[0] * image.shape[1], config.fit.batch_pixels, config.fit.seed)
    task = delayed(summarise_block, pure=True)
    parts = [task(block, top, left, rule, source.nodata) for block, top, left in _blocks(image)]
    merged = context.executor.persist([tree_reduce(parts, "summaries")])[0]
    points = points_of_colours(merged, config.fit, context.executor, image.shape[0] * image.shape[1])
    return fit_points(points, config.fit, context.executor, earlier_model(config.match))


def _blocks(image: da.Array) -> Iterator[tuple[Delayed, int, int]]:
    """Every chunk with the position of its first pixel."""
    grid = image.to_delayed()
    tops, lefts = (np.cumsum([0, *image.chunks[axis][:-1]]).tolist() for axis in (0, 1))
    for i, top in enumerate(tops):
        for j, left in enumerate(lefts):
            yield cast(Delayed, grid[i, j, 0] if image.ndim == 3 else grid[i, j]), top, left


def summarise_block(block: NDArray[Any], top: int, left: int, rule: BatchRule, nodata: Nodata | None) -> ChunkSummary:
    """A task: count the colours of one chunk."""
    rgb, valid = as_rgb(block)
    return summarise([Pixels(rgb, combine(valid, _with_data(block, nodata, of_bands=False)), top, left)], rule)


def predict_block(block: NDArray[Any], model: Model, nodata: Nodata | None, settings: OutputSettings) -> Labels:
    """A task: the labels of one chunk."""
    labels: Labels = model.predict(block, settings)
    counts = _with_data(block, nodata, of_bands=model.bands is not None)
    if counts is not None:
        labels[~counts] = invalid_label(model.k)
    return labels


def _with_data(block: NDArray[Any], nodata: Nodata | None, *, of_bands: bool) -> NDArray[np.bool_] | None:
    """Where a chunk has data, as of files: by any of its bands, or by all of its colours; None: everywhere."""
    if nodata is None:
        return None
    plain, _ = unmasked(block)
    samples = plain[..., None] if plain.ndim == 2 else plain
    if of_bands:
        return nodata_mask(samples, nodata, "any")
    return nodata_mask(samples[..., :3], nodata)
