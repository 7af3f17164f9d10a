"""What a job is asked to do, checked before anything heavy is loaded.

Wrong usage, an empty folder or an output that must not be touched is told here, in milliseconds.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kseg_core import storage
from kseg_core.choice import InputSelection as InputSelection  # told to be here, beside `prepare` (docs/python.md)
from kseg_core.command_lines import command_line, place
from kseg_core.config import AUTO, FitSettings, InputSettings, RunConfig
from kseg_core.edge_settings import EdgeSettings
from kseg_core.errors import StoreError, UnreadableImage, UsageError
from kseg_core.inputs.companions import mask_facts
from kseg_core.inputs.listing import InputListing, list_selected
from kseg_core.inputs.stacks import Stacking
from kseg_core.segment_settings import SegmentSettings, level_name
from kseg_core.store.manifest import (
    a_few,
    added_alone,
    differences,
    images_of,
    inputs_digest,
    names_in,
    read_attributes,
)
from kseg_core.store.markers import is_complete, looks_whole, was_complete

from .earlier import (
    bands_of_model,
    in_space_of_match,
    model_facts,
    model_identity,
    require_same_features,
    smoothing_as_model,
)

log = logging.getLogger("kseg")

OUTPUT_SUFFIX = ".kseg.zarr"
CHOSEN = "auto"  # in the settings of an output: what `--features auto` came to

#: How segments are found, but for their level, at its defaults.
SEGMENT_SETTINGS = {name: value for name, value in SegmentSettings().to_json().items() if name != "level"}


@dataclass(frozen=True, slots=True)
class Chosen:
    """What ``--features auto`` came to.

    Parameters
    ----------
    why
        Why these features were taken.
    left_out
        How many images were left out that they do not suit, and would have been taken had they been asked for.
    """

    why: str
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class Request:
    """One job.

    Parameters
    ----------
    listing
        What to read.
    config
        What to do.
    output
        Where the result goes.
    settings
        Everything that decides the result, as JSON values: equal settings and inputs mean an equal result.
    inputs_digest
        Identity of the inputs.
    finished
        The earlier result, where the same job was already done.
    was_complete
        Whether the output is a finished one, to which inputs have been added since or whose inputs have changed.
    chosen
        What ``--features auto`` came to, for this job or for the one that made the output; None where features were
        asked for, or are still to be chosen.
    """

    listing: InputListing
    config: RunConfig
    output: str
    settings: dict[str, Any]
    inputs_digest: str
    finished: dict[str, Any] | None = None
    was_complete: bool = False
    chosen: Chosen | None = None

    def choosing(self, features: str, chosen: Chosen | None) -> Request:
        """The same with features in the place of ``auto``; ``chosen`` is None where they count as asked for."""
        assert self.config.fit is not None
        why = None if chosen is None else chosen.why
        fit = replace(self.config.fit, features=features, features_why=why)  # type: ignore[arg-type]  # checked there
        config = replace(self.config, fit=fit)
        models = {name: self.settings[name] for name in ("model", "match")}
        told = {} if chosen is None else {CHOSEN: {"why": chosen.why, "left_out": chosen.left_out}}
        return replace(self, config=config, settings={**config.fingerprint(), **models, **told}, chosen=chosen)

    def without(self, keys: AbstractSet[str]) -> Request:
        """The same less some files, which are passed over."""
        if not keys:
            return self
        files = tuple(file for file in self.listing.files if file.key not in keys)
        passed_over = self.listing.passed_over + len(self.listing.files) - len(files)
        return replace(self, listing=replace(self.listing, files=files, passed_over=passed_over))

    @property
    def asked(self) -> dict[str, Any]:
        """The settings as they were asked for."""
        if self.chosen is None:
            return self.settings
        asked = {name: value for name, value in self.settings.items() if name != CHOSEN}
        return {**asked, "fit": {**asked["fit"], "features": AUTO}}

    @property
    def grows(self) -> bool:
        """Whether its output may be one of other inputs: with a given model, an image is labelled by itself."""
        return self.config.model is not None


def default_output(selection: InputSelection, suffix: str = OUTPUT_SUFFIX) -> str:
    """``<input name without suffix>.kseg.zarr`` in the current folder, or another suffix."""
    if len(selection.inputs) != 1 or selection.from_file is not None:
        raise UsageError("several inputs need an output: name one with -o")
    path = storage.absolute(selection.inputs[0].rstrip("/") or "/")
    if not storage.exists(path):
        raise UsageError(f"{selection.inputs[0]}: a pattern needs an output: name one with -o")
    name = Path(path).name
    stem = name if storage.is_dir(path) else Path(name).stem
    return f"{stem or 'images'}{suffix}"


def prepare(selection: InputSelection, config: RunConfig, output: str | None, kind: str) -> Request:
    """Check a job against what is on disk.

    Parameters
    ----------
    selection, config
        The job.
    output
        Where to; None for the default name.
    kind
        ``store`` or ``model``: what the output will be.

    Raises
    ------
    UsageError, KsegError
        If it cannot be done.
    """
    if config.match is not None:
        config = in_space_of_match(config)
    config = smoothing_as_model(config)
    settings = config.fingerprint()
    if config.fit is not None and config.fit.start:
        _require_distinct_start(config.fit)
    for name in ("model", "match"):
        if settings[name] is not None:
            settings[name], features = model_identity(settings[name])
            if name == "model" and features == "bands" and config.output.edges is not None:
                raise UsageError(f"--edges are of colours, {config.model} labels bands; leave out --edges")
            if name == "match" and config.fit is not None:
                require_same_features(features, config.fit.features)
    listing, output = inputs_and_output(selection, config.input, output, bands_of_model(config))
    digest = _digest_of(listing, config.input)
    request = Request(listing, config, output, settings, digest)
    if storage.exists(output):
        if config.output.overwrite:
            _require_replaceable(output, config, kind)
        else:
            _require_same_classes(request)
            return _held_against(_by_its_rules(request), kind)
    return request


def _require_same_classes(request: Request) -> None:
    """Names that are there are changed by the command that does that, in the images too."""
    wanted, there = request.config.classes, model_facts(request.output)
    if wanted is None or "digest" not in there or there.get("classes") == wanted.to_json():
        return
    how = command_line("classes", place(request.output), "--from", "FILE.toml")
    raise StoreError(f"{request.output} has other classes, or none; set them: {how}, and leave out --classes")


def inputs_and_output(
    selection: InputSelection, settings: InputSettings, output: str | None, bands: Sequence[str] = ()
) -> tuple[InputListing, str]:
    """What is to be read, and where a store of it is to be; what cannot be is refused.

    ``bands``: those that each scene must have whose files are put together; none: those that most have.
    """
    if output is not None and not output.strip():
        raise UsageError("-o is empty: name the output, or leave it out for the default")
    _require_usable(output)
    listing = list_selected(selection, Stacking.of(settings.stack, bands))
    require_mask(settings)
    return listing, default_output(selection) if output is None else output.rstrip("/") or "/"


def _by_its_rules(request: Request) -> Request:
    """The request, which goes on by the rules that its output was made by: all of its labels are made alike, and what
    it names stays named so.
    """
    attributes = read_attributes(request.output)
    if attributes is None:
        return request
    listing, config, settings = request.listing, request.config, request.settings
    listing, inputs = listing.as_named(names_in(request.output, attributes)), config.input
    if of_earlier_rules(attributes):
        inputs = inputs.as_before()
        settings = {**settings, "input": inputs.to_json()}
        listing, config = listing.without_companions(), replace(config, input=inputs)
    digest = _digest_of(listing, inputs)
    return replace(request, listing=listing, config=config, settings=settings, inputs_digest=digest)


def of_earlier_rules(attributes: dict[str, Any] | None) -> bool:
    """Whether an output was made by the rules of release 0.1.0 for which pixels count."""
    return attributes is not None and "validity" not in ((attributes.get("config") or {}).get("input") or {})


def _require_usable(output: str | None) -> None:
    """An address is of a place that can be written to, below a bucket."""
    if output is None:
        return
    storage.require_known(output)
    if storage.is_remote(output) and "/" not in output.removeprefix(storage.SCHEME).rstrip("/"):
        raise UsageError(
            f"{output}: a whole bucket is no output; name a place in it: {output.rstrip('/')}/OUT.kseg.zarr"
        )


def require_unchanged(request: Request, kind: str) -> None:
    """Between the look at an output and its lock, another job may have had it."""
    there = storage.exists(request.output)
    now = _held_against(_by_its_rules(request), kind) if there and not request.config.output.overwrite else request
    if (now.finished, now.was_complete, now.listing) != (request.finished, request.was_complete, request.listing):
        raise StoreError(f"{request.output}: another run has just finished there; give the same command again")


def require_mask(settings: InputSettings) -> None:
    """One mask for all images is looked at before any of them: what is wrong with it is wrong with the job."""
    if settings.mask is not None:
        from kseg_core.reading.sources import require_usable_mask  # NumPy: only where it is needed

        require_usable_mask(settings)


def _digest_of(listing: InputListing, settings: InputSettings) -> str:
    """Identity of the inputs and of all masks."""
    listing = listing if settings.validity > 1 else listing.without_companions()
    read = [(file.key, *file.facts.values()) for file in listing.files]
    return inputs_digest([*read, *_mask_files(settings.mask)])


def _mask_files(mask: str | None) -> Iterator[tuple[str | int, ...]]:
    """Name, bytes and modification time of a mask, or of every file in a folder of masks."""
    if mask is None:
        return
    within = [os.path.join(folder, name) for folder, _, names in storage.walk(mask) for name in names]
    for path in within if storage.is_dir(mask) else [mask]:
        with suppress(OSError):  # what is missing is told when it is read
            facts = mask_facts(path)
            assert facts is not None
            yield f"mask {os.path.relpath(path, mask)}", *facts.values()


def _require_distinct_start(fit: FitSettings) -> None:
    from kseg_core.clustering.features import feature_space  # NumPy: only where it is needed

    feature_space(fit.features).start_points(fit.start)


def _require_replaceable(output: str, config: RunConfig, kind: str) -> None:
    """An output may be replaced if it is a kseg store, and not the model the job works with."""
    attributes = None if storage.is_link(output) else read_attributes(output)
    if attributes is None:
        raise StoreError(f"{output} is not a kseg store; it is left alone. Choose another output with -o")
    _require_kind(output, str(attributes.get("kind")), kind)
    for used in (config.model, config.match):
        if used is not None and f"{storage.real(used)}/".startswith(f"{storage.real(output)}/"):
            raise UsageError(f"{output} is also the model to use; choose another output with -o")


def require_kseg(output: str, kind: str, *, links: bool = True) -> dict[str, Any]:
    """What a store or model that is there says of itself; anything else is left alone, and a link unless ``links``."""
    attributes = read_attributes(output) if links or not storage.is_link(output) else None
    if attributes is None:
        raise StoreError(f"{output} exists and is not a kseg store; it is left alone. Choose another output with -o")
    _require_kind(output, str(attributes.get("kind")), kind)
    return attributes


def _require_kind(output: str, found: str, kind: str) -> None:
    """A model does not take the place of a store, nor the other way."""
    if found != kind:
        raise StoreError(f"{output} is a kseg {found}, not a {kind}; choose another output with -o")


def _other_settings(earlier: dict[str, Any], request: Request) -> list[str]:
    """What differs between the settings that an output was made with and those of now; a model by its digest."""
    now, was_fit = request.settings, earlier.get("fit")
    rest = {name: value for name, value in now.items() if name not in ("fit", "model", "match", CHOSEN)}
    told = differences({name: earlier[name] for name in (*rest, "refit") if name in earlier}, rest)
    if isinstance(was_fit, dict) and isinstance(now["fit"], dict):
        told = differences(was_fit, now["fit"]) + _otherwise_chosen(earlier, request) + told
    models = {"model": request.config.model, "match": request.config.match}
    for name, path in models.items():
        was, is_now = earlier.get(name), now[name]
        if was != is_now and (was is not None or is_now is not None):
            before = _how(name, was, was_fit)
            after = _how(name, is_now, now["fit"], path)
            told.append(f"{before}, now {after}")
    return told


def _otherwise_chosen(earlier: dict[str, Any], request: Request) -> list[str]:
    """How features that were chosen for an output differ from the same ones asked for, or the other way."""
    was, now = earlier.get(CHOSEN) or {}, request.settings.get(CHOSEN) or {}
    if request.chosen is not None and earlier["fit"].get("features") != request.settings["fit"]["features"]:
        return [f"auto features are of most images: {request.chosen.why}"]
    left = was.get("left_out", 0), now.get("left_out", 0)
    if left[0] == left[1] or (was and now):
        return []
    n = max(left)
    images = "1 image" if n == 1 else f"{n} images"
    return [f"--features auto {'left' if left[0] else 'leaves'} out {images} of another kind"]


def _settled(request: Request, earlier: dict[str, Any]) -> Request:
    """The request with features in the place of ``auto``, as far as the settings of its output tell.

    What was chosen when the output was made stands. Where features were asked for then, the images' headers say whether
    they are those that would be chosen.
    """
    fit, was_fit = request.config.fit, earlier.get("fit")
    was = was_fit.get("features") if isinstance(was_fit, dict) else None
    if fit is None or fit.features != AUTO or was not in ("rgb", "bands"):
        return request
    chosen = earlier.get(CHOSEN)
    if chosen is not None:
        return request.choosing(was, Chosen(str(chosen.get("why")), int(chosen.get("left_out", 0))))
    found = _by_headers(request)
    if found is None:
        return request
    features, chosen_now = found
    return request.choosing(features, None if (features, chosen_now.left_out) == (was, 0) else chosen_now)


def _by_headers(request: Request) -> tuple[str, Chosen] | None:
    """The features that suit most images, by their headers; None where not one can be read."""
    from kseg_core.images.kinds import kind_of, most_frequent  # NumPy: only where it is needed
    from kseg_core.reading.sources import ImageSource

    kinds = []
    for file in request.listing.files:
        with suppress(UnreadableImage):
            kinds.append(kind_of(ImageSource.open(file, request.config.input).info))
    if not kinds:
        return None
    kind = most_frequent(kinds)
    return kind.features, Chosen(kind.why, sum(other.features != kind.features for other in kinds))


def _how(name: str, digest: str | None, fit: dict[str, Any] | None, path: str | None = None) -> str:
    """How an output was made, or is to be, as far as an earlier model goes."""
    if digest is not None:
        where = "" if path is None else f" ({path})"
        return f"{'labelled' if name == 'model' else 'numbered'} with model {digest[:8]}{where}"
    if name == "match":
        return "numbered by colour"
    return f"a fit of k {(fit or {}).get('k')}"


def _other_inputs(request: Request, attributes: dict[str, Any], kind: str) -> str:
    """How the inputs of now differ from those an output was made from, as far as it tells."""
    if kind == "model":
        made = ((attributes.get("result") or {}).get("images") or {}).get("total")
        return f"of {made} files, now {len(request.listing.files)}" if made else "files added, removed or changed since"
    there = images_of(request.output)
    unread = {failure["source"] for failure in attributes.get("failures") or ()}
    listed = {file.key: file for file in request.listing.files}
    new = sorted(key for key, file in listed.items() if key not in there and file.source not in unread)
    gone = sorted(there.difference(listed))
    changed: list[str] = []
    if not storage.is_remote(request.output):  # there each look would be a request
        for key in sorted(there.intersection(listed)):
            with suppress(StoreError):  # of what is damaged nothing is known
                facts = read_attributes(os.path.join(request.output, "images", key)) or {}
                file = listed[key]
                if not file.is_as(facts):
                    changed.append(key)
    named = (("added", new), ("removed", gone), ("changed", changed))
    told = [f"{len(keys)} {what}: {a_few(keys)}" for what, keys in named if keys]
    return "; ".join(told) or "masks, or files that could not be read, have changed"


def _to_change(attributes: dict[str, Any], request: Request) -> str:
    """Which commands give a run's store the layers asked for, where nothing but these differs from what it holds."""
    commands = dict(_layer_commands(attributes, request))
    names = {*commands, *(f"segment_{name}" for name in SEGMENT_SETTINGS if "segments" in commands)}
    earlier = attributes.get("config") or {}
    before = {name: value for name, value in request.settings["output"].items() if name not in names}
    same = {name: value for name, value in (earlier.get("output") or {}).items() if name in names}
    without = replace(request, settings={**request.settings, "output": before | same})
    if not commands or not is_complete(attributes) or _other_settings(earlier, without):
        return ""
    verb = "add" if all(same.get(name) is None for name in commands) else "change"
    return f"to {verb} {' and '.join(commands)} in it: {', then '.join(commands.values())}; or "


def _layer_commands(attributes: dict[str, Any], request: Request) -> Iterator[tuple[str, str]]:
    """By layer, the command that makes it as a run is asked to, where the run that made the store did otherwise."""
    was, output = (attributes.get("config") or {}).get("output") or {}, request.config.output
    noted = {name: (attributes.get(name) or {}).get("settings") for name in ("edges", "segments")}
    store = place(request.output)
    if output.edges is not None and (before := was.get("edges")) != list(output.edges):
        low, high = output.edges
        made = noted["edges"] or (None if before is None else EdgeSettings(*before).to_json())
        more = ["--overwrite"] if made not in (None, EdgeSettings(low, high).to_json()) else []
        yield "edges", command_line("edges", store, "--low", f"{low:.12g}", "--high", f"{high:.12g}", *more)
    made = noted["segments"] or (None if was.get("segments") is None else _segment_settings(was))
    asked, there = _segment_settings(request.settings["output"]), {**SEGMENT_SETTINGS, **(made or {})}
    if output.segments is not None and (was.get("segments") != output.segments or _segment_settings(was) != asked):
        other = [name for name, value in asked.items() if value != there[name]]
        more = [part for name in other for part in (f"--segment-{name}", asked[name])]
        more += ["--overwrite"] if made is not None and other else []
        yield "segments", command_line("segments", store, "--level", level_name(output.segments), *more)


def _segment_settings(output: dict[str, Any]) -> dict[str, str]:
    """How segments are found, by settings of a run's output; those that it does not name are at their defaults."""
    return {name: output.get(f"segment_{name}", usual) for name, usual in SEGMENT_SETTINGS.items()}


def _to_prune(request: Request) -> bool:
    """Whether images are to go from the output."""
    listed = {file.key for file in request.listing.files}
    return request.config.output.prune and not images_of(request.output) <= listed


def _held_against(request: Request, kind: str) -> Request:
    """The request, knowing what there is at its output."""
    output = request.output
    attributes = require_kseg(output, kind)
    if kind == "store" and (alone := added_alone(attributes)) is not None:
        raise StoreError(
            f"{output} holds {alone} alone; choose another output with -o ({alone} can be added to a run's output), "
            "or replace it with --overwrite"
        )
    request = _settled(request, attributes.get("config") or {})
    changed = _other_settings(attributes.get("config") or {}, request)
    if changed:
        ways = f"{_to_change(attributes, request)}choose another output with -o, or replace it with --overwrite"
        raise StoreError(f"{output} was made with other settings ({'; '.join(changed)}); {ways}")
    same_inputs = attributes.get("inputs_digest") == request.inputs_digest
    if not same_inputs and not request.grows:
        how = _other_inputs(request, attributes, kind)
        apply = command_line("apply", "INPUT", "--model", output, "-o", "OTHER.zarr")
        raise StoreError(
            f"{output} was made from other inputs ({how}); to label these with its clusters: {apply}, which "
            "later labels what is new alone; or choose another output with -o, or replace it with --overwrite"
        )
    done = is_complete(attributes) and same_inputs and not request.config.output.checksum and not _to_prune(request)
    if done and (kind == "model" or looks_whole(output, attributes, request.config.output)):
        return replace(request, finished=attributes["result"])
    return replace(request, was_complete=was_complete(attributes))
