"""How much memory and how many processors this process may use, and who says so: the machine, a cgroup, a batch system.

Linux tells the limits of a group of processes in files of the group and of every group it is in; the smallest on the
way to the root counts. What of that way is seen inside a container depends on how it was started: its own group may be
mounted as the root, or named by a path that begins above the mount. Sources: `proc_pid_mountinfo(5)`, `cgroups(7)`,
the kernel's ``Documentation/admin-guide/cgroup-v2.rst``, and `sbatch(1)` of Slurm for its variables.

Everything is read below ``root`` and from ``variables``, so that a made-up tree is as good as a real machine.
"""

from __future__ import annotations

import os
import posixpath
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from .sizes import format_bytes

MEMORY_SHARE = 0.6  # of what there is: the rest is for other programs, or of the same job
MEGABYTE = 1 << 20  # of Slurm's variables
UNLIMITED = 1 << 60  # cgroups of version 1 say "none" by a number near 2^63


_Reader = Callable[[Path, bool], Iterator[int]]  # of one group: its folder, and whether it is of version 2


@dataclass(frozen=True, slots=True)
class Limit:
    """How much there is of something, and who says so.

    Parameters
    ----------
    amount
        Bytes, or processors.
    source
        Who says so, as part of a sentence: "the cgroup /jobs/7".
    """

    amount: int
    source: str


def share_of_memory(processes: int = 1, **made_up: Any) -> Limit:
    """Bytes that each of some processes on this machine may take unless told otherwise, and what they are a share of.

    ``made_up`` is as of `memory_limit`.
    """
    whole = memory_limit(processes, **made_up)
    shared = f", shared by {processes} processes" if processes > 1 else ""
    return Limit(
        max(1, int(whole.amount * MEMORY_SHARE) // processes),
        f"{MEMORY_SHARE:.0%} of the {format_bytes(whole.amount)} of {whole.source}{shared}".replace("%", " %"),
    )


def memory_limit(
    processes: int = 1,
    *,
    root: str = "/",
    variables: Mapping[str, str] = os.environ,
    machine: int | None = None,
    ulimits: Sequence[Limit] | None = None,
) -> Limit:
    """What all processes of a job on this machine may take together, in bytes.

    Parameters
    ----------
    processes
        How many there will be: a limit of each counts so many times.
    root, variables
        Where ``proc`` and ``sys`` are; the environment.
    machine, ulimits
        Bytes of memory, and what each process may take; None: as this machine has it, as this process was started.
    """
    found = [Limit(machine or int(psutil.virtual_memory().total), "this machine")]
    found += _of_groups(Path(root), "memory", _group_memory)
    found += _of_slurm_memory(variables)
    found += [Limit(each.amount * processes, each.source) for each in (_ulimits() if ulimits is None else ulimits)]
    return min(found, key=lambda limit: limit.amount)


def processor_limit(*, root: str = "/", variables: Mapping[str, str] = os.environ, machine: int | None = None) -> Limit:
    """How many processors a job on this machine may keep busy; parameters as of `memory_limit`."""
    found = [Limit(machine or os.cpu_count() or 1, "this machine")]
    if machine is None and hasattr(os, "sched_getaffinity"):
        found.append(Limit(len(os.sched_getaffinity(0)), "those this process is bound to"))
    found += _of_groups(Path(root), "cpu", _group_quota)
    found += _of_groups(Path(root), "cpuset", _group_set)
    found += _of_batch_processors(variables)
    return min(found, key=lambda limit: limit.amount)


# ------------------------------------------------------------------------------------------------ control groups


def _of_groups(root: Path, controller: str, read: _Reader) -> Iterator[Limit]:
    """The limits of this process's groups and of those they are in."""
    for mount, group, unified in _groups(root, controller):
        top = root / mount.lstrip("/")
        parts = [part for part in group.split("/") if part]
        for n in range(len(parts), -1, -1):
            name = "/" + "/".join(parts[:n])
            for amount in read(top.joinpath(*parts[:n]), unified):
                if 0 < amount < UNLIMITED:
                    yield Limit(amount, f"the cgroup {name}")


def _groups(root: Path, controller: str) -> Iterator[tuple[str, str, bool]]:
    """Of each hierarchy that has a controller: where it is mounted, the path of this process's group below that, and
    whether it is of version 2.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8", errors="replace").splitlines()
        mounts = list(_mounts((root / "proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")))
    except OSError:
        return  # another system than Linux
    for line in lines:
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        unified = number == "0" and not controllers
        if not unified and controller not in controllers.split(","):
            continue
        for kind, options, within, mount in mounts:
            if (kind == "cgroup2") if unified else (kind == "cgroup" and controller in options.split(",")):
                yield mount, _below(root, mount, within, path), unified
                break


def _mounts(text: str) -> Iterator[tuple[str, str, str, str]]:
    """Of each mounted hierarchy its type and options, which part of it is mounted, and where."""
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        left, right = before.split(" "), after.split(" ")
        if len(left) >= 5 and len(right) >= 3 and right[0] in ("cgroup", "cgroup2"):
            yield right[0], right[2], _unescaped(left[3]), _unescaped(left[4])


def _unescaped(text: str) -> str:
    """A path of mountinfo, which writes blanks as octal numbers."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def _below(root: Path, mount: str, within: str, path: str) -> str:
    """The path of a group below its mount; the mount itself where a container sees no more of the way.

    What is mounted may begin below the root that the path is told from: then that part of the path goes.
    """
    path, within = posixpath.normpath(path), posixpath.normpath(within)
    if within != "/" and (path == within or path.startswith(f"{within}/")):
        path = path[len(within) :] or "/"
    parts = [part for part in path.split("/") if part not in ("", "..")]
    top = root / mount.lstrip("/")
    for skipped in range(len(parts) + 1):  # a container's own mount may begin anywhere on the way
        if top.joinpath(*parts[skipped:]).is_dir():
            return "/" + "/".join(parts[skipped:])
    return "/"


def _numbers(*files: Path) -> Iterator[int]:
    """The number in each of some files; nothing of one where there is none, as in ``max``."""
    for file in files:
        with suppress(OSError, ValueError, IndexError):
            yield int(file.read_text(encoding="ascii").split()[0])


def _group_memory(folder: Path, unified: bool) -> Iterator[int]:
    if unified:
        yield from _numbers(folder / "memory.max", folder / "memory.high")  # above the latter all is slowed down
        return
    yield from _numbers(folder / "memory.limit_in_bytes")
    with suppress(OSError, ValueError):  # knows the groups above a container's root too
        for line in (folder / "memory.stat").read_text(encoding="ascii").splitlines():
            name, _, number = line.partition(" ")
            if name == "hierarchical_memory_limit":
                yield int(number)


def _group_quota(folder: Path, unified: bool) -> Iterator[int]:
    """Processors whose time a group may have; a part of one counts as one."""
    with suppress(OSError, ValueError, IndexError):
        if unified:
            quota, period = (folder / "cpu.max").read_text(encoding="ascii").split()[:2]
        else:
            quota, period = (
                (folder / f"cpu.cfs_{name}_us").read_text(encoding="ascii").strip() for name in ("quota", "period")
            )
        if quota != "max" and int(quota) > 0 and int(period) > 0:
            yield -(-int(quota) // int(period))


def _group_set(folder: Path, unified: bool) -> Iterator[int]:
    names = ("cpuset.cpus.effective", "cpuset.cpus") if unified else ("cpuset.effective_cpus", "cpuset.cpus")
    for name in names:
        with suppress(OSError, ValueError):
            if text := (folder / name).read_text(encoding="ascii").strip():
                ends = (part.partition("-") for part in text.split(","))
                yield sum(int(last or first) - int(first) + 1 for first, _, last in ends)
                return


# ------------------------------------------------------------------------------------------------ batch systems


def _positive(variables: Mapping[str, str], *names: str) -> tuple[int, str] | None:
    """The first of some variables that is a number above 0; of ``4(x2)``, as Slurm writes of several nodes, the 4."""
    for name in names:
        match = re.match(r"\s*(\d+)", variables.get(name, ""))
        if match and int(match[1]):
            return int(match[1]), name
    return None


def _of_slurm_memory(variables: Mapping[str, str]) -> Iterator[Limit]:
    """What Slurm gives to a job on this node. 0 stands for all of it."""
    if node := _positive(variables, "SLURM_MEM_PER_NODE"):
        yield Limit(node[0] * MEGABYTE, node[1])
    processors = ("SLURM_CPUS_ON_NODE", "SLURM_CPUS_PER_TASK", "SLURM_JOB_CPUS_PER_NODE")
    for name, counts in (("SLURM_MEM_PER_CPU", processors), ("SLURM_MEM_PER_GPU", ("SLURM_GPUS_ON_NODE",))):
        if each := _positive(variables, name):
            if many := _positive(variables, *counts):
                yield Limit(each[0] * MEGABYTE * many[0], f"{name} x {many[1]}")
            elif counts is processors:  # of one at least
                yield Limit(each[0] * MEGABYTE, name)


def _of_batch_processors(variables: Mapping[str, str]) -> Iterator[Limit]:
    """What batch systems give to a job on this machine: Slurm, PBS and Torque, LSF."""
    if slurm := _positive(variables, "SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE"):
        yield Limit(*slurm)
    if "PBS_JOBID" in variables and (pbs := _positive(variables, "NCPUS", "PBS_NUM_PPN")):
        yield Limit(*pbs)
    hosts = variables.get("LSB_MCPU_HOSTS", "").split()  # name and number, by turns
    if len(hosts) >= 2 and len(hosts) % 2 == 0 and hosts[1].isdigit():
        yield Limit(int(hosts[1]), "LSB_MCPU_HOSTS")


# ------------------------------------------------------------------------------------------------ this process


def _ulimits() -> Iterator[Limit]:
    """What ``ulimit`` lets each process map, less what is mapped and not in use: libraries, stacks, arenas."""
    if sys.platform == "win32":
        return
    import resource

    memory = psutil.Process().memory_info()
    for name, kind, mapped in (
        ("-v", "RLIMIT_AS", memory.vms),
        ("-d", "RLIMIT_DATA", getattr(memory, "data", memory.vms)),
    ):
        if hasattr(resource, kind):
            soft, _ = resource.getrlimit(getattr(resource, kind))
            if soft != resource.RLIM_INFINITY and 0 <= soft < UNLIMITED:
                yield Limit(max(1, soft - max(0, mapped - memory.rss)), f"ulimit {name}")
