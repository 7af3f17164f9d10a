"""Where the work runs. Light on purpose (standard library only), as `kseg_core.config` is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .options import option, require
from .sizes import parse_bytes


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
        require(
            known,
            "--scheduler is threads, processes, sync, an address like tcp://host:8786, or a scheduler file (.json); "
            f"got {self.scheduler!r}",
        )
        require(self.workers is None or self.workers >= 1, f"--workers is at least 1; got {self.workers}")
        require(
            self.workers is None or not self.is_cluster,
            "--workers is for threads and processes; an existing cluster has the workers it has",
        )
        require(
            self.workers in (None, 1) or self.scheduler != "sync",
            "--scheduler sync has one worker; leave out --workers, or use threads",
        )
        require(self.memory is None or self.memory >= 1, f"--memory is at least a byte; got {self.memory}")
        require(
            self.performance_report is None or self.scheduler not in ("threads", "sync"),
            "--performance-report is made by a Dask cluster: add --scheduler processes, or the address of one",
        )
        require(
            not self.scheduler.endswith(".json") or Path(self.scheduler).is_file(),
            f"no such scheduler file: {self.scheduler}",
        )

    @property
    def is_cluster(self) -> bool:
        """Whether the scheduler is one that someone else started."""
        return "://" in self.scheduler or self.scheduler.endswith(".json")
