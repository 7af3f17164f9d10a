"""Every option, once: its names, its help, its ``KSEG_*`` variable. Commands pick the ones they take.

An option whose value is a list with commas is a list of such values (see `jobs._jobs.joined`): given again it adds to
what was given before.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ._config import defaults_from, remember

MODEL, EDGES, OUTPUT, EXECUTION, GENERAL = "Model", "Edges", "Output", "Execution", "General"


def _option(panel: str, *names: str, help: str, **more: Any) -> Any:
    variable = next(name for name in names if name.startswith("--")).split("/")[0].lstrip("-").replace("-", "_")
    return typer.Option(
        *names, help=help, envvar=f"KSEG_{variable.upper()}", rich_help_panel=panel, show_envvar=False, **more
    )


def _load_config(context: typer.Context, file: Path | None) -> Path | None:
    """Use a TOML file's values as the defaults of this command."""
    remember(context, file)
    if file is not None:
        context.default_map = defaults_from(file, context)
    return file


Inputs = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="INPUT...",
        help="Image files, folders (searched recursively) or quoted globs; s3:// too.",
        show_default=False,
    ),
]
Include = Annotated[
    list[str] | None,
    _option(
        "Input",
        "--include",
        help="Only files below a folder that match: a glob, a name with or without its suffix, a folder, or a suffix "
        "such as .jpg; case is ignored. May be given again.",
        metavar="GLOB",
    ),
]
Exclude = Annotated[
    list[str] | None,
    _option(
        "Input",
        "--exclude",
        help="Leave out files below a folder that match: as --include. May be given again.",
        metavar="GLOB",
    ),
]
FromFile = Annotated[
    str | None,
    _option("Input", "--from", help="Read inputs, one a line, from a file; - is standard input.", metavar="FILE|-"),
]
Null = Annotated[
    bool,
    _option("Input", "--null", "-0", help="The names of --from are separated by NUL, as find -print0 writes them."),
]

StoreOrModel = Annotated[
    str, typer.Argument(metavar="STORE", help="A store made by run, apply or edges, or a model.", show_default=False)
]
StoreOfImages = Annotated[
    str, typer.Argument(metavar="STORE", help="A store made by run, apply or edges.", show_default=False)
]
LabelledStore = Annotated[
    str, typer.Argument(metavar="STORE", help="A store made by run or apply.", show_default=False)
]

Nodata = Annotated[
    list[str],
    _option(
        "Input",
        "--nodata",
        help="Values that stand for no data: auto (what the file says), none, -9999,0 (numbers), or auto,-9999; may "
        "be given again.",
        metavar="V,...|auto|none",
    ),
]
NODATA = ["auto"]
NodataIn = Annotated[
    str | None,
    _option(
        "Input",
        "--nodata-in",
        help="A pixel is invalid where any or all of its bands are nodata. Default: any of bands, all of colours.",
        metavar="any|all",
        show_default=False,
    ),
]
Mask = Annotated[
    str | None,
    _option(
        "Input",
        "--mask",
        help="Pixels where this image is 0, or outside these polygons (GeoJSON, shapefile, GeoPackage, ...), are "
        "invalid; or a folder of such masks with the images' names.",
        metavar="PATH",
        show_default=False,
    ),
]
MaxPixels = Annotated[
    int,
    _option("Input", "--max-pixels", help="Refuse larger images that cannot be read by windows.", metavar="N"),
]

Series = Annotated[
    int | None,
    _option(
        "Input",
        "--series",
        help="Which image of a file of several (OME-TIFF, SVS, SCN), from 0. Default: the largest.",
        metavar="N",
        show_default=False,
    ),
]
Page = Annotated[
    int | None,
    _option(
        "Input",
        "--page",
        help="Which page of a TIFF, as it is stored, or frame of an animated GIF, PNG or WebP, from 0. Default: the "
        "largest, of equal ones the first.",
        metavar="N",
        show_default=False,
    ),
]
Channel = Annotated[
    list[str] | None,
    _option(
        "Input",
        "--channel",
        help="Which channels, from 0, as in 2,0: they become the image's bands; may be given again. Default: all.",
        metavar="N,...",
        show_default=False,
    ),
]
Z = Annotated[
    str | None,
    _option(
        "Input",
        "--z",
        help="Which slice of a stack, from 0, or max: the largest value over all. Default: the first.",
        metavar="N|max",
        show_default=False,
    ),
]
T = Annotated[
    int | None,
    _option("Input", "--t", help="Which point in time, from 0. Default: the first.", metavar="N", show_default=False),
]

K = Annotated[
    str | None,
    _option(
        MODEL,
        "--k",
        "-k",
        help="Number of clusters, 1 to 65534; auto: as many as the elbow method finds.",
        metavar="N|auto",
        show_default=False,
    ),
]
KRange = Annotated[
    str | None,
    _option(
        MODEL,
        "--k-range",
        help="With --k auto: which numbers to try. Default: 1:10.",
        metavar="A:B",
        show_default=False,
    ),
]
SweepRange = Annotated[str, _option(MODEL, "--k-range", help="Numbers of clusters to try.", metavar="A:B")]
Features = Annotated[
    str,
    _option(
        MODEL,
        "--features",
        help="Space of the distances: colours (rgb, gray, hsv, lab), bands as they are stored, or auto: rgb for 8-bit "
        "pictures, bands for what is deeper or has other bands; most images decide.",
        metavar="NAME",
    ),
]
Kind = Annotated[
    str | None,
    _option(
        MODEL,
        "--kind",
        help="Of a folder of several kinds take this one alone: rgb (8-bit pictures), or a type and a number of bands, "
        "as in uint16x4.",
        metavar="KIND",
        show_default=False,
    ),
]
Bands = Annotated[
    list[str] | None,
    _option(
        MODEL,
        "--bands",
        help="Cluster these bands, from 1, as in 4,3,2; may be given again. Default: all but alpha.",
        metavar="LIST",
        show_default=False,
    ),
]
Normalize = Annotated[str, _option(MODEL, "--normalize", help="Of bands: none, standard or minmax.", metavar="NAME")]
Scope = Annotated[
    str,
    _option(
        MODEL, "--scope", help="One palette for all images (global), or one for each (image).", metavar="global|image"
    ),
]
Init = Annotated[str, _option(MODEL, "--init", help="First centroids: k-means++ or random.", metavar="NAME")]
Attempts = Annotated[int, _option(MODEL, "--attempts", help="Independent searches; the best wins.", metavar="N")]
MaxIter = Annotated[int, _option(MODEL, "--max-iter", help="Most steps of an attempt.", metavar="N")]
Tol = Annotated[
    float | None,
    _option(
        MODEL,
        "--tol",
        help="Stop when the squared centroid shifts are at most TOL x the features' mean variance. "
        "Unless given, steps go on until no label changes.",
        metavar="TOL",
        show_default=False,
    ),
]
BatchPixels = Annotated[int, _option(MODEL, "--batch-pixels", help="Most pixels of the first mini-batch.", metavar="N")]
Seed = Annotated[int, _option(MODEL, "--seed", help="Chooses the first mini-batch and every random draw.", metavar="N")]
Start = Annotated[
    list[str] | None,
    _option(
        MODEL,
        "--start",
        help="Given first centroids, one a cluster, as in '#1f77b4,#ff7f0e'; then there is one attempt and no search.",
        metavar="COLOURS",
        show_default=False,
    ),
]
GivenModel = Annotated[
    str | None,
    _option(
        MODEL,
        "--model",
        help="Skip the fit: use this model, or the one of this store.",
        metavar="M",
        show_default=False,
    ),
]
ModelToApply = Annotated[
    str | None,
    _option(
        MODEL,
        "--model",
        help="What to label with: a model that fit saved, or a store of an earlier run. Must be given.",
        metavar="M",
        show_default=False,
    ),
]
RefitModel = Annotated[
    str | None,
    _option(
        MODEL, "--model", help="With --refit: the model, or the store, to start from.", metavar="M", show_default=False
    ),
]
Refit = Annotated[
    bool,
    _option(
        MODEL,
        "--refit",
        help="With --model: fit anew, starting from its centroids and keeping its numbers, its features and its bands.",
    ),
]
Checksum = Annotated[
    bool,
    _option(
        "Input",
        "--checksum",
        help="With --model: tell by SHA-256, not by size and time alone, which files of a growing folder have changed, "
        "where they were labelled with it.",
    ),
]
FailOnDrift = Annotated[
    float | None,
    _option(
        MODEL,
        "--fail-on-drift",
        help="With --model: exit 1 (everything is written) if the new images' cluster shares are further than X from "
        "the model's: half the sum of the differences, 0 to 1.",
        metavar="X",
        show_default=False,
    ),
]
Match = Annotated[
    str | None,
    _option(
        MODEL, "--match", help="Number the clusters as in this earlier model or store.", metavar="M", show_default=False
    ),
]

Output = Annotated[
    str | None,
    _option(
        OUTPUT,
        "--output",
        "-o",
        help="The Zarr store to write. Default: <input name>.kseg.zarr in the current folder.",
        metavar="OUT",
        show_default=False,
    ),
]
SweepOutput = Annotated[
    str | None,
    _option(
        OUTPUT,
        "--output",
        "-o",
        help="The folder to write table, figure and record to. Default: <input name>.sweep in the current folder.",
        metavar="DIR",
        show_default=False,
    ),
]
SweepOverwrite = Annotated[
    bool,
    _option(OUTPUT, "--overwrite", help="Write into a folder that holds other files (nothing else in it is touched)."),
]
ModelOutput = Annotated[
    str | None, _option(OUTPUT, "--output", "-o", help="The model to write.", metavar="MODEL", show_default=False)
]
Masks = Annotated[
    bool | None,
    _option(
        OUTPUT, "--masks/--no-masks", help="One boolean mask a cluster. Default: up to k = 32.", show_default=False
    ),
]
Pyramid = Annotated[
    bool | None,
    _option(
        OUTPUT,
        "--pyramid/--no-pyramid",
        help="Label levels of half the size, down to one tile. Default: for images worked on in pieces.",
        show_default=False,
    ),
]
CopyImage = Annotated[
    bool, _option(OUTPUT, "--copy-image", help="Keep the pixels beside their labels: a complete OME-Zarr image.")
]
Confidence = Annotated[
    bool,
    _option(OUTPUT, "--confidence", help="Also write how clearly each pixel belongs to its cluster, 0 to 254."),
]
WithEdges = Annotated[
    list[str] | None,
    _option(
        OUTPUT,
        "--edges",
        help="Also write Canny edges, with these thresholds (see the command edges).",
        metavar="LOW,HIGH",
        show_default=False,
    ),
]
Tile = Annotated[int, _option(OUTPUT, "--tile", help="Side of the store's chunks in pixels.", metavar="PX")]
Overwrite = Annotated[
    bool, _option(OUTPUT, "--overwrite", help="Replace an existing kseg output (nothing else is ever deleted).")
]
WithReport = Annotated[
    bool,
    _option(
        OUTPUT,
        "--report",
        help="Also make the report, as the command of that name does: <store name>.report in the current folder.",
    ),
]
OpenPage = Annotated[bool, _option(OUTPUT, "--open", help="Make the report and open it in the browser.")]
OpenReport = Annotated[bool, _option(OUTPUT, "--open", help="Then open it in the browser.")]

Low = Annotated[
    float, _option(EDGES, "--low", help="Gradients above it are edges where they go on to a strong one.", metavar="T")
]
High = Annotated[float, _option(EDGES, "--high", help="Gradients above it are strong.", metavar="T")]
Blur = Annotated[
    float,
    _option(EDGES, "--blur", help="Blur with a Gaussian of this standard deviation first; 0: not.", metavar="PX"),
]
Aperture = Annotated[int, _option(EDGES, "--aperture", help="Side of the Sobel operator: 3, 5 or 7.", metavar="N")]
L2 = Annotated[
    bool, _option(EDGES, "--l2", help="Gradients by the root of squares, not by the sum of absolute values.")
]
On = Annotated[
    str, _option(EDGES, "--on", help="Edges of the channel of largest gradient, or of luma.", metavar="color|gray")
]
EdgesTile = Annotated[
    int | None,
    _option(
        OUTPUT,
        "--tile",
        help="Side of the store's chunks in pixels. Default: that of the store that is there, or 1024.",
        metavar="PX",
        show_default=False,
    ),
]
OverwriteEdges = Annotated[
    bool, _option(OUTPUT, "--overwrite", help="Replace edges that are there; labels and all else stay.")
]

Repair = Annotated[
    bool, _option(OUTPUT, "--repair", help="Make anew, from their sources, the images that are damaged.")
]
Table = Annotated[
    str | None,
    _option(
        OUTPUT,
        "--table",
        help="Also write area, number of regions and largest region of every image's clusters.",
        metavar="FILE.csv|FILE.parquet",
        show_default=False,
    ),
]
OverwriteTable = Annotated[bool, _option(OUTPUT, "--overwrite", help="Replace a table that is there.")]

ExportTo = Annotated[
    str, _option(OUTPUT, "--to", help="The folder for the files; made where it is not there.", metavar="DIR")
]
What = Annotated[
    list[str],
    _option(
        OUTPUT,
        "--what",
        help="What to make of each image: segmented, labels, masks, cutout, edges, boundaries, polygons; may be given "
        "again.",
        metavar="LIST",
        default_factory=lambda: ["segmented"],
        show_default="segmented",
    ),
]
ExportImages = Annotated[
    list[str] | None,
    _option(
        OUTPUT,
        "--image",
        help="Only these images: a key or source, a name without its suffix, a folder, a suffix such as .jpg, or a "
        "glob; may be given again.",
        metavar="KEY|GLOB",
    ),
]
ExportClusters = Annotated[
    list[str] | None,
    _option(
        OUTPUT,
        "--cluster",
        help="Masks, cut-outs and polygons of these clusters only, as in 0,2; a cut-out shows them together; may be "
        "given again.",
        metavar="J,...",
        show_default=False,
    ),
]
ExportFormat = Annotated[
    str,
    _option(
        OUTPUT,
        "--format",
        help="png, tiff, or auto: GeoTIFF for georeferenced images, else PNG up to 64 megapixels and tiled TIFF above.",
        metavar="NAME",
    ),
]
LineColor = Annotated[str, _option(OUTPUT, "--line-color", help="Colour of the boundaries.", metavar="COLOUR")]
MinArea = Annotated[
    int, _option(OUTPUT, "--min-area", help="With --what polygons: leave out regions with fewer pixels.", metavar="PX")
]
OverwriteFiles = Annotated[
    bool, _option(OUTPUT, "--overwrite", help="Replace files of the same names (nothing else is ever touched).")
]
SkipExisting = Annotated[
    bool,
    _option(
        OUTPUT, "--skip-existing", help="Leave files that are there already: goes on with an export that was stopped."
    ),
]

ReportTo = Annotated[
    str | None,
    _option(
        OUTPUT,
        "--to",
        help="The folder to write. Default: <store name>.report in the current folder.",
        metavar="DIR",
        show_default=False,
    ),
]
SweepFolder = Annotated[
    str | None,
    _option(
        "Input",
        "--sweep",
        help="Show this sweep: a folder that the sweep command wrote. Default: that of --k auto, if there was one.",
        metavar="DIR",
        show_default=False,
    ),
]
Limit = Annotated[int, _option(OUTPUT, "--limit", help="Most images with pictures; all are in the table.", metavar="N")]
Thumbnail = Annotated[int, _option(OUTPUT, "--thumbnail", help="Longest side of a picture, 16 to 2048.", metavar="PX")]
OverwriteReport = Annotated[
    bool,
    _option(
        OUTPUT,
        "--overwrite",
        help="Write into a folder that holds other files too (none but files of a report are touched).",
    ),
]

Scheduler = Annotated[
    str,
    _option(
        EXECUTION,
        "--scheduler",
        help="threads, processes, sync, tcp://HOST:PORT, tls://HOST:PORT, or a scheduler FILE.json.",
        metavar="WHERE",
    ),
]
Workers = Annotated[
    int | None,
    _option(
        EXECUTION,
        "--workers",
        help="Threads or processes. Default: one a processor that this job may use (cgroups, Slurm, PBS and LSF say).",
        metavar="N",
        show_default=False,
    ),
]
Memory = Annotated[
    str | None,
    _option(
        EXECUTION,
        "--memory",
        help="Most memory of each process, as in 4GB. Default: 60 % of what this job may use, shared by the processes: "
        "the least of the machine, its cgroups, Slurm and ulimit.",
        metavar="SIZE",
        show_default=False,
    ),
]
PerformanceReport = Annotated[
    str | None,
    _option(
        EXECUTION,
        "--performance-report",
        help="Write Dask's report of the run, an HTML page: which task ran where, how long. Not for threads or sync.",
        metavar="FILE.html",
        show_default=False,
    ),
]
DryRun = Annotated[
    bool,
    _option(
        EXECUTION, "--dry-run", help="Only tell what would be read, held in memory and written, from headers alone."
    ),
]
Strict = Annotated[bool, _option(EXECUTION, "--strict", help="Stop at the first unreadable input.")]

Json = Annotated[bool, _option(GENERAL, "--json", help="Print one JSON object on stdout and nothing else.")]
LogLevel = Annotated[
    str, _option(GENERAL, "--log-level", help="debug, info, warning or error, on stderr.", metavar="LEVEL")
]
LogFormat = Annotated[
    str,
    _option(GENERAL, "--log-format", help="How stderr is written: text, or json, one object a line.", metavar="NAME"),
]
TellAfter = Annotated[
    float,
    _option(
        GENERAL,
        "--tell-after",
        help="Where stderr is no terminal: one line on a stage that takes longer than so many seconds; 0: on none.",
        metavar="SECONDS",
        min=0,
    ),
]
Config = Annotated[
    Path | None,
    _option(
        GENERAL,
        "--config",
        help="Settings from a TOML file. A flag beats its variable (--max-iter: KSEG_MAX_ITER), which beats the file.",
        metavar="FILE.toml",
        callback=_load_config,
        is_eager=True,
        show_default=False,
    ),
]
