"""Which files a job is about: folders, files, patterns and lists become one sorted list of images.

Only names and one ``stat`` a file are looked at here; whether a file is an image, the reader decides by
its content. The module needs nothing but the standard library, so that a misspelt INPUT is reported
before anything heavy is loaded. Patterns are read as `patterns` says.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from stat import S_ISDIR, S_ISREG
from typing import Any

from kseg_core import storage
from kseg_core.band_files import stacked_files
from kseg_core.choice import InputSelection
from kseg_core.errors import KsegError, UnreadableImage, UsageError, system_reason
from kseg_core.inputs.companions import companions_of, is_of_mrxs, mask_facts, named_by_vrt, possible, state_of
from kseg_core.inputs.keys import StoreNames, earlier_key, image_keys, path_bytes, printable_source
from kseg_core.inputs.lists import like, read_list, require_plausible, why_missing
from kseg_core.inputs.passed_over import figures_in, is_exported, is_plainly_no_image
from kseg_core.inputs.patterns import Filter, compiled, descend_regex, has_magic, joined, pattern_regex, slashed, tidy
from kseg_core.inputs.stacks import Single, Stack, Stacked, Stacking, stacked
from kseg_core.inputs.zarr_images import MARKERS, is_hierarchy, is_kseg_store, metadata_status, zarr_images
from kseg_core.storage import zipped

log = logging.getLogger("kseg")

_NO_METADATA = "its Zarr metadata cannot be read"
_MISSING = "no such file or folder"
_STORE_REFUSED = "a kseg store is an output, not an input"


NAMES = "names"  # the attribute of a store with folders that images are in, and keys with a hash
FACTS = ("size", "modified", "beside")
"""What a store says of a file, by which it is seen that it has changed."""


@dataclass(frozen=True, slots=True)
class InputFile:
    """One file, one Zarr directory, or a stack of files, to be read as an image.

    Of a directory, size and time are its metadata's; of a stack they are those of all files, and of the youngest.
    """

    path: str  # what to open: an absolute path, or one that stands for those of a stack (`band_files`)
    source: str  # as the user knows it, as valid UTF-8
    key: str  # the name of the image in the store
    size: int  # in bytes
    modified_ns: int  # the time of the last change, since 1970
    below: str = ""  # the path below the input, with slashes, from which the key comes
    beside: str = ""  # the state of the files that belong to it, as `state_of` tells it

    @property
    def facts(self) -> dict[str, Any]:
        """What a store says of it, by the names in `FACTS`."""
        return {"size": self.size, "modified": self.modified_ns, **({"beside": self.beside} if self.beside else {})}

    def facts_with(self, mask: str | None) -> dict[str, Any]:
        """What a store says of it and of the mask by which its pixels count, where it has one."""
        return {**self.facts, "mask": mask_facts(mask)}

    def is_as(self, facts: Mapping[str, Any]) -> bool:
        """Whether it is as a store says of it."""
        own = self.facts
        return all(facts.get(name) == own.get(name) for name in FACTS)


@dataclass(frozen=True, slots=True)
class InputListing:
    """What the inputs of a job came to.

    Attributes
    ----------
    files
        Sorted by key, whatever the order of arguments and directories.
    passed_over
        How many entries found in folders or by a pattern are plainly not images, or overviews and masks of one, or
        stores of this program.
    failures
        What could not be looked at, such as a folder without permission or a broken link; sorted by source.
    read_through
        Virtual rasters that name files of the folders searched, which are then no inputs of their own, and how many.
    unmatched
        Patterns of `include` and `exclude` that matched nothing that was looked at, as ``--include *.jpg``.
    ours
        How many pictures found in folders this program made: exports, and the figures of reports and sweeps.
    remarks
        What was left out as files were put together into stacks, a line each.
    names
        Those of the store that keys are given for; None: of one begun by release 0.1.0.
    """

    files: tuple[InputFile, ...]
    passed_over: int
    failures: tuple[UnreadableImage, ...]
    read_through: tuple[tuple[str, int], ...] = ()
    unmatched: tuple[str, ...] = ()
    ours: int = 0
    remarks: tuple[str, ...] = ()
    names: StoreNames | None = field(default_factory=StoreNames)

    def without_companions(self) -> InputListing:
        """The same of files alone: release 0.1.0 read nothing that lies beside them."""
        return replace(self, files=tuple(replace(file, beside="") for file in self.files))

    def as_named(self, names: StoreNames | None) -> InputListing:
        """The same with the keys that its files have in a store of these names; None: in one begun by release 0.1.0."""
        paths = [file.below for file in self.files]
        found = {path: earlier_key(path) for path in paths} if names is None else image_keys(paths, names)
        files = (replace(file, key=found[file.below]) for file in self.files)
        return replace(self, files=tuple(sorted(files, key=lambda file: file.key)), names=names)

    @property
    def noted_names(self) -> dict[str, Any]:
        """What a store says of names when its files come to it, before they do; nothing of one that has no such."""
        return {} if self.names is None else {NAMES: self.names.with_keys(file.key for file in self.files)}


def list_selected(selection: InputSelection, stacking: Stacking | None = None) -> InputListing:
    """The files that a job's inputs are; ``stacking``: how single bands among them are put together.

    Raises
    ------
    UsageError
        If an input does not exist.
    KsegError
        If there is not one file to read.
    """
    listing = list_inputs(
        selection.inputs,
        include=selection.include,
        exclude=selection.exclude,
        from_file=selection.from_file,
        null=selection.null,
        stacking=stacking,
    )
    named = ", ".join(selection.inputs) or f"the list {selection.from_file}"
    if not listing.files:
        more = f" ({listing.passed_over} other files passed over)" if listing.passed_over else ""
        if listing.ours:
            made = f"{listing.ours} pictures there were exported by this program"
            more += f"; {made}: a pattern such as '*.png' takes them"
        more += "".join(f"; {remark}" for remark in listing.remarks)
        first = f"; {listing.failures[0]}" if listing.failures else ""
        passing = " that pass --include and --exclude" if selection.include or selection.exclude else ""
        nothing = f" ({', '.join(listing.unmatched)}: matches nothing there)" if listing.unmatched else ""
        raise KsegError(f"no images in {named}{passing}{nothing}{more}{first}")
    for pattern in listing.unmatched:
        log.warning("%s matches nothing in %s", pattern, named)
    return listing


def list_inputs(
    inputs: Sequence[str],
    *,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    from_file: str | None = None,
    null: bool = False,
    stacking: Stacking | None = None,
) -> InputListing:
    """List the files that the inputs of a job stand for.

    Parameters
    ----------
    inputs
        Files, folders (searched with all their sub-folders) and patterns. A Zarr array or group is one file, whatever
        is in it; a folder of photographs with a stray file called zarr.json is a folder. kseg stores found in a folder
        are left out. A name that exists is that file or folder, even where it could be read as a pattern.
    include, exclude
        Patterns: a file is taken if one of `include` matches, or there is none, and none of `exclude` does.
    from_file
        A file with further inputs, one path a line; ``-`` is standard input. UTF-16 and UTF-32 are decoded, all else
        is taken byte by byte. Its lines are files and folders, never patterns.
    null
        They are separated by NUL, as ``find -print0`` writes them.
    stacking
        How files of single bands are put together; None: each file is an image.

    Returns
    -------
    InputListing
        Every file once, however many inputs lead to it. Hidden entries of folders are left out. What is
        wrong with a line of `from_file` is a failure of that line; the others stand.

    Raises
    ------
    UsageError
        If an input does not exist, matches nothing or is a kseg store, if a pattern is empty, if
        `from_file` cannot be read or is plainly no list of names, or if two files would share a key.

    Notes
    -----
    A key comes from the path below a lone folder, below the leading folder of a lone pattern, or from
    the name of a lone file. Several inputs, and those of a list, count from the paths as they were given.
    """
    if not inputs and from_file is None:
        raise UsageError("no input given: name an image, a folder or a pattern such as 'photos/**/*.jpg'")
    search = _Search(Filter(tuple(include)), Filter(tuple(exclude)))
    alone = len(inputs) == 1 and from_file is None
    # All are looked at before the first is walked: a misspelt one must not wait for a large folder.
    starts = list(_look_at_all(search, inputs, from_file, alone, null=null))
    for start in starts:
        _collect(search, start)
    return search.listing(stacking)


# Looking at what was given


@dataclass(frozen=True, slots=True)
class _Start:
    """One input, looked at but not yet walked."""

    path: str  # absolute
    source: str  # as given, tidied; "" is the current folder
    below: str  # what the keys of its files begin with
    status: os.stat_result
    wanted: re.Pattern[str] | None = None  # of a pattern: which paths below it match
    descend: re.Pattern[str] | None = None  # of a pattern: which folders may lead to a match
    given: str = ""  # of a pattern: as it was typed

    def source_of(self, below: str) -> str:
        return joined(self.source, below) or "."


class _Refused(Exception):
    """An input that cannot be used: its own fault (usage) or that of its file."""

    def __init__(self, given: str, reason: str, *, usage: bool) -> None:
        super().__init__(given, reason)
        self.source = printable_source(tidy(given) or given or "''")
        self.reason = reason
        self.usage = usage


def _look_at_all(
    search: _Search, inputs: Sequence[str], from_file: str | None, alone: bool, *, null: bool
) -> Iterator[_Start]:
    for given in inputs:
        try:
            yield _look_at(slashed(given), alone, patterns=True)
        except _Refused as refused:
            if refused.usage:
                near = like(given) if refused.reason == _MISSING else ""
                raise UsageError(f"{refused.reason}: {refused.source}{near}") from None
            search.fail(refused.source, refused.reason)
    if from_file is None:
        return
    names = read_list(from_file, null=null)
    starts, missing, folders = [], [], []
    for given in names:
        try:
            starts.append(start := _look_at(slashed(given), alone, patterns=False))
        except _Refused as refused:
            # A list is often hours older than the run: one file that is gone must not stop the others.
            search.fail(refused.source, why_missing(given) if refused.reason == _MISSING else refused.reason)
            missing.append(given)
        else:
            folders += [given] if S_ISDIR(start.status.st_mode) else []
    require_plausible(names, missing, folders, from_file)
    yield from starts


def _look_at(given: str, alone: bool, *, patterns: bool) -> _Start:
    try:
        inside_zip = zipped.split(given)
        status = storage.stat(given if inside_zip is None else inside_zip[0])
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        if given and storage.is_link(given):
            raise _Refused(given, "broken link", usage=False) from None
        if patterns and has_magic(given):
            return _look_at_pattern(given, alone)
        missing = _reason(error) if storage.is_remote(given) else _MISSING  # perhaps there is no such bucket
        raise _Refused(given, missing, usage=True) from None
    except OSError as error:
        raise _Refused(given, _reason(error), usage=False) from None
    source = tidy(given)
    path = storage.below(os.getcwd(), source)  # a worker may have another current folder
    if S_ISDIR(status.st_mode):
        metadata = metadata_status(given)
        if metadata is None or not is_hierarchy(given):
            return _Start(path, source, "" if alone else source.lstrip("/"), status)
        if is_kseg_store(given):
            raise _Refused(given, _STORE_REFUSED, usage=True)
        path = path.rstrip("/")  # of the current folder
        source, status = source or os.path.basename(path), metadata
    if not S_ISREG(status.st_mode):
        raise _Refused(given, "neither a file nor a folder", usage=True)
    return _Start(path, source, source.rpartition("/")[2] if alone else source.lstrip("/"), status)


def _look_at_pattern(given: str, alone: bool) -> _Start:
    parts = given.split("/")
    fixed = 0
    # A folder that has the very name "run[1]" is that folder.
    while fixed < len(parts) and (not has_magic(parts[fixed]) or storage.exists("/".join(parts[: fixed + 1]))):
        fixed += 1
    if fixed == len(parts):
        raise _Refused(given, _MISSING, usage=True)
    folder = "/".join(parts[:fixed]) or ("/" if fixed else "")
    try:
        start = _look_at(folder or ".", alone, patterns=False)
    except _Refused as refused:
        if refused.usage and refused.reason != _STORE_REFUSED:
            raise _Refused(given, "no file matches", usage=True) from None
        raise
    if not S_ISDIR(start.status.st_mode):
        raise _Refused(given, "no file matches", usage=True)
    wanted = "/".join(parts[fixed:])
    matching, leading = pattern_regex(wanted, anchored=True), descend_regex(wanted)
    return replace(start, wanted=compiled(matching), descend=compiled(leading), given=given)


def file_status(path: str) -> os.stat_result | None:
    """Size and age of a file or of a Zarr directory's metadata, as `InputFile` has them; None where it is not there.

    Of what is in a zip file they are the file's; of a stack as `InputFile` has them, None where one file is missing.
    """
    if files := stacked_files(path):
        statuses = [file_status(file) for file in files]
        return _of_all([status for status in statuses if status is not None]) if None not in statuses else None
    if (parts := zipped.split(path)) is not None:
        path = parts[0]
    try:
        status = storage.stat(path)
    except (OSError, ValueError):
        return None
    return metadata_status(path) if S_ISDIR(status.st_mode) else status


def _of_all(statuses: Sequence[os.stat_result]) -> os.stat_result:
    """The status of a stack: the bytes of all its files, and the age of the youngest."""
    youngest = max(statuses, key=lambda status: status.st_mtime_ns)
    size = sum(status.st_size for status in statuses)
    times = {name: getattr(youngest, name) for name in ("st_atime", "st_mtime", "st_ctime", "st_mtime_ns")}
    return os.stat_result((*youngest[:6], size, *youngest[7:10]), times)


# Collecting files


@dataclass(frozen=True, slots=True)
class _Candidate:
    path: str
    source: str
    below: str  # the path its key is made of
    linked: bool  # reached through a link
    status: os.stat_result
    folder: _Folder | None = None  # in which it was found; None: the user named it

    def inside(self, place: str, status: os.stat_result) -> _Candidate:
        """An image in it."""
        path, source, below = (f"{each}/{place}" for each in (self.path, self.source, self.below))
        return _Candidate(path, source, below, self.linked, status)

    def file(self, key: str) -> InputFile:
        """It as an input."""
        state = state_of(companions_of(self.path, None if self.folder is None else self.folder.companions))
        path, source, below, size, modified_ns = self.single()
        return InputFile(path, printable_source(source), key, size, modified_ns, below, state)

    def single(self) -> Single:
        """It as what may be a band of a scene."""
        return Single(self.path, self.source, self.below, self.status.st_size, self.status.st_mtime_ns)

    def rank(self) -> tuple[bool, bytes, bytes]:
        """Of several names of one file the smallest is kept: its own rather than that of a link."""
        return self.linked, path_bytes(self.below), path_bytes(self.source)


@dataclass(slots=True)
class _Search:
    """The files found so far, by real path, so that each counts once."""

    include: Filter
    exclude: Filter
    files: dict[str, _Candidate] = field(default_factory=dict)
    passed_over: set[str] = field(default_factory=set)
    ours: set[str] = field(default_factory=set)
    failures: dict[str, str] = field(default_factory=dict)
    real_folders: dict[str, str] = field(default_factory=dict)

    def keeps(self, below: str, source: str = "") -> bool:
        included = not self.include or self.include.matches(below, source)
        return included and not self.exclude.matches(below, source)

    def fail(self, source: str, reason: str) -> None:
        self.failures.setdefault(printable_source(source), reason)

    def add(self, real: str, candidate: _Candidate) -> None:
        known = self.files.get(real)
        if known is None or candidate.rank() < known.rank():
            self.files[real] = candidate

    def real_file(self, path: str) -> tuple[str, bool]:
        """The real path of a file, and whether `path` is a link; each folder is resolved once."""
        if storage.is_link(path):
            return os.path.realpath(path), True
        folder, name = os.path.split(path)
        if (real := self.real_folders.get(folder)) is None:
            real = self.real_folders[folder] = storage.real(folder)
        return os.path.join(real, name), False

    def leave_parts(self) -> tuple[tuple[str, int], ...]:
        """Leave out what a virtual raster among the files names, and was found in a folder; says how many by which."""
        counts = []
        for vrt in sorted(real for real in self.files if real.lower().endswith(".vrt")):
            if vrt not in self.files or storage.is_remote(vrt):
                continue
            try:
                named = {os.path.realpath(name) for name in named_by_vrt(vrt)}
            except (OSError, ValueError):
                continue  # the reader will say what is wrong with it
            parts = {part for part in named - {vrt} if part in self.files and self.files[part].folder is not None}
            for part in parts:
                del self.files[part]
            if parts:
                counts.append((printable_source(self.files[vrt].source), len(parts)))
        return tuple(counts)

    def listing(self, stacking: Stacking | None) -> InputListing:
        read_through = self.leave_parts() if stacking is None else ()
        made = Stacked() if stacking is None else stacked(map(_Candidate.single, self.files.values()), stacking)
        by_path: dict[str, _Candidate | Stack] = {}
        for each in self.files.values() if stacking is None else made.stacks:
            other = by_path.setdefault(each.below, each)
            if other is not each:
                first, second = sorted(printable_source(one.source) for one in (other, each))
                raise UsageError(
                    f"two inputs would have one name in the store: {first} and {second}; "
                    "give them by paths below one common folder"
                )
        keys = sorted(image_keys(by_path).items(), key=lambda each: each[1])
        unread = (UnreadableImage(*failure) for failure in self.failures.items())
        failures = sorted((*unread, *made.failures), key=lambda error: (error.source, error.reason))
        unmatched = [f"--include {pattern}" for pattern in self.include.unmatched]
        unmatched += [f"--exclude {pattern}" for pattern in self.exclude.unmatched]
        return InputListing(
            tuple(_as_input(by_path[path], key) for path, key in keys),
            len(self.passed_over) + made.passed_over,
            tuple(failures),
            read_through,
            tuple(unmatched),
            len(self.ours),
            tuple(made.remarks),
        )


def _as_input(found: _Candidate | Stack, key: str) -> InputFile:
    """A file or a scene as an input."""
    if isinstance(found, _Candidate):
        return found.file(key)
    path, source, below, size, modified_ns = found
    state = state_of(companions_of(path))
    return InputFile(path, printable_source(source), key, size, modified_ns, below, state)


def _collect(search: _Search, start: _Start) -> None:
    if S_ISDIR(start.status.st_mode):
        failures = len(search.failures)
        matched = _walk(search, start)
        if start.wanted is not None and not matched and len(search.failures) == failures:
            raise UsageError(f"no file matches: {printable_source(start.given)}")
    elif search.keeps(os.path.basename(start.path), start.source):
        real, linked = search.real_file(start.path)
        _add(search, real, _Candidate(start.path, start.source, start.below, linked, start.status))


def _add(search: _Search, real: str, candidate: _Candidate) -> None:
    """Add a file, or each image in a Zarr hierarchy."""
    if zipped.split(candidate.path) is None and not storage.is_dir(candidate.path):
        search.add(real, candidate)
        return
    try:
        images = zarr_images(candidate.path)
    except OSError as error:
        search.fail(candidate.source, _reason(error))
        return
    for inside in images.inside:
        if not inside:
            search.add(real, candidate)
        elif (status := file_status(f"{candidate.path}/{inside}")) is None:
            search.fail(f"{candidate.source}/{inside}", _NO_METADATA)
        else:
            search.add(f"{real}/{inside}", candidate.inside(inside, status))
    for inside, reason in images.failures:
        search.fail(joined(candidate.source, inside), reason)


# Walking folders


@dataclass(frozen=True, slots=True)
class _Folder:
    path: str
    real: str
    below: str  # the path below the start: "" or "a/b/"
    linked: bool
    parent: _Folder | None
    figures: frozenset[str] = frozenset()  # names in it of what this program drew
    companions: frozenset[str] = frozenset()  # names in it of what belongs to something

    def is_below(self, real: str) -> bool:
        """Whether the folder or one on the way to it is `real`: to enter that again would never end."""
        folder: _Folder | None = self
        while folder is not None and folder.real != real:
            folder = folder.parent
        return folder is not None

    def real_path(self, entry: storage.Entry) -> tuple[str, bool]:
        """The real path of what is in it, and whether a link led there."""
        if entry.is_symlink():
            return os.path.realpath(entry.path), True
        return os.path.join(self.real, entry.name), self.linked


def _walk(search: _Search, start: _Start) -> int:
    """Collect the files below a folder; returns how many matched its pattern, filtered out or not."""
    matched = 0
    stack = [_Folder(start.path, storage.real(start.path), "", False, None)]
    while stack:
        folder = stack.pop()
        try:
            with storage.scan(folder.path) as scan:
                entries = list(scan)
        except OSError as error:
            search.fail(start.source_of(folder.below.rstrip("/")), _reason(error))
            continue
        if any(entry.name in MARKERS for entry in entries) and is_hierarchy(folder.path):
            matched += _visit_zarr(search, start, folder)
            continue
        names = {entry.name for entry in entries}
        folder = replace(folder, figures=figures_in(folder.path, names), companions=possible(names))
        slides = {entry.name.lower() for entry in entries if entry.name.lower().endswith(".mrxs")}
        for entry in entries:
            if entry.name.startswith("."):
                continue
            try:
                if entry.is_dir():
                    if slides and is_of_mrxs(entry.path, slides):
                        continue
                    stack.extend(_sub_folder(search, start, folder, entry))
                elif start.wanted is None or start.wanted.fullmatch(folder.below + entry.name):
                    matched += 1
                    _visit(search, start, folder, entry)
            except OSError as error:
                is_broken = isinstance(error, FileNotFoundError) and entry.is_symlink()
                reason = "broken link" if is_broken else _reason(error)
                search.fail(start.source_of(folder.below + entry.name), reason)
    return matched


def _sub_folder(search: _Search, start: _Start, parent: _Folder, entry: storage.Entry) -> Iterator[_Folder]:
    below = f"{parent.below}{entry.name}/"
    if start.descend is not None and not start.descend.fullmatch(below.rstrip("/")):
        return
    if search.exclude.matches(below, start.source_of(below)):
        return
    real, linked = parent.real_path(entry)
    if not parent.is_below(real):
        yield _Folder(entry.path, real, below, linked, parent)


def _visit(search: _Search, start: _Start, folder: _Folder, entry: storage.Entry) -> None:
    below = folder.below + entry.name
    source = start.source_of(below)
    if not search.keeps(below, source):
        return
    (real, linked), is_zipped = folder.real_path(entry), zipped.is_zipped_name(entry.name)
    if is_plainly_no_image(entry.name) and not is_zipped:
        search.passed_over.add(real)
    elif start.wanted is None and (entry.name in folder.figures or is_exported(entry.path)):
        search.ours.add(real)
    elif not S_ISREG((status := entry.stat()).st_mode):  # to open a pipe would wait for its other end
        search.passed_over.add(real)
    else:
        candidate = _Candidate(entry.path, source, joined(start.below, below), linked, status, folder)
        if is_zipped:
            _add(search, real, candidate)
        else:
            search.add(real, candidate)


def _visit_zarr(search: _Search, start: _Start, folder: _Folder) -> bool:
    """Take a Zarr directory as one image, unless it is a store of ours; returns whether it matched the pattern."""
    below = folder.below.rstrip("/")
    if start.wanted is not None and not start.wanted.fullmatch(below):
        return False
    if not search.keeps(below, start.source_of(below)):
        return True
    if is_kseg_store(folder.path):
        search.passed_over.add(folder.real)
    elif (status := metadata_status(folder.path)) is None:
        search.fail(start.source_of(below), _NO_METADATA)
    else:
        source, key_path = start.source_of(below), joined(start.below, below)
        _add(search, folder.real, _Candidate(folder.path, source, key_path, folder.linked, status))
    return True


def _reason(error: OSError | ValueError) -> str:
    return system_reason(error) if isinstance(error, OSError) else str(error)
