"""Limits of memory and processors, from made-up trees of /proc and /sys as kernels and containers show."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from kseg_core.limits import Limit, memory_limit, processor_limit, share_of_memory

GB = 10**9
MACHINE = 64 * GB
V2 = "30 23 0:26 {root} {mount} rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = "35 31 0:32 {root} {mount} rw,relatime shared:9 - cgroup cgroup rw,{controller}\n"

Tree = Callable[..., str]


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """Makes /proc/self/cgroup, /proc/self/mountinfo and the files of groups; returns the root they are below."""

    def make(cgroup: str, mountinfo: str, **files: str) -> str:
        within = {"proc/self/cgroup": cgroup, "proc/self/mountinfo": mountinfo, **files}
        for name, text in within.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        return str(tmp_path)

    return make


def memory_of(root: str, **variables: str) -> Limit:
    return memory_limit(root=root, variables=variables, machine=MACHINE, ulimits=())


def processors_of(root: str, **variables: str) -> Limit:
    return processor_limit(root=root, variables=variables, machine=64)


def test_the_smallest_limit_on_the_way_to_the_root_counts(tree: Tree) -> None:
    at = "sys/fs/cgroup"
    root = tree(
        "0::/batch/job 7/step\n",
        V2.format(root="/", mount="/sys/fs/cgroup"),
        **{
            f"{at}/batch/memory.max": f"{8 * GB}\n",
            f"{at}/batch/job 7/memory.max": f"{5 * GB}\n",
            f"{at}/batch/job 7/memory.high": "max\n",
            f"{at}/batch/job 7/step/memory.max": "max\n",
            f"{at}/batch/cpu.max": "250000 100000\n",
            f"{at}/batch/job 7/cpu.max": "max 100000\n",
            f"{at}/batch/job 7/step/cpuset.cpus.effective": "0-3,8,10-11\n",
        },
    )
    assert memory_of(root) == Limit(5 * GB, "the cgroup /batch/job 7")
    assert processors_of(root) == Limit(3, "the cgroup /batch")  # two and a half keep three busy
    (Path(root) / at / "batch/job 7/memory.high").write_text(f"{3 * GB}\n")
    assert memory_of(root).amount == 3 * GB


@pytest.mark.parametrize(
    ("group", "mounted", "folder"),
    [
        ("/", "/", "/"),  # a cgroup namespace: the container's own group is the root
        ("/docker/0a1b", "/docker/0a1b", "/"),  # none: its group is mounted, and told by the whole path
        ("/docker/0a1b/worker", "/docker/0a1b", "/worker"),
        ("/kubepods/pod1/0a1b", "/", "/"),  # told from the host's root, of which nothing is seen
        ("/kubepods/pod1/0a1b/worker", "/", "/worker"),
        ("/../../batch", "/", "/"),  # moved out of its namespace's root
    ],
)
@pytest.mark.parametrize("version", [1, 2])
def test_a_container_finds_its_group_however_it_is_told(
    group: str, mounted: str, folder: str, version: int, tree: Tree
) -> None:
    if version == 2:
        mount, name, unlimited = "/sys/fs/cgroup", "memory.max", "max"
        lines = f"0::{group}\n", V2.format(root=mounted, mount=mount)
    else:
        mount, name, unlimited = "/sys/fs/cgroup/memory", "memory.limit_in_bytes", "9223372036854771712"
        lines = f"4:memory:{group}\n0::/\n", V1.format(root=mounted, mount=mount, controller="memory")
    root = tree(*lines, **{f"{mount}{folder}/{name}".lstrip("/").replace("//", "/"): f"{2 * GB}\n"})
    assert memory_of(root) == Limit(2 * GB, f"the cgroup {folder}")
    tree(*lines, **{f"{mount}{folder}/{name}".lstrip("/").replace("//", "/"): f"{unlimited}\n"})
    assert memory_of(root) == Limit(MACHINE, "this machine")


def test_version_1_knows_the_limits_above_what_a_container_sees(tree: Tree) -> None:
    mount = "sys/fs/cgroup/memory"
    root = tree(
        "9:cpu,cpuacct:/a\n4:memory:/a\n0::/\n",
        V1.format(root="/", mount="/sys/fs/cgroup/cpu,cpuacct", controller="cpu,cpuacct")
        + V1.format(root="/", mount="/sys/fs/cgroup/memory", controller="memory"),
        **{
            f"{mount}/a/memory.limit_in_bytes": "9223372036854771712\n",
            f"{mount}/a/memory.stat": f"cache 4096\nhierarchical_memory_limit {6 * GB}\n",
            "sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us": "-1\n",
            "sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us": "100000\n",
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "400000\n",
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
        },
    )
    assert memory_of(root).amount == 6 * GB
    assert processors_of(root).amount == 4


@pytest.mark.parametrize(
    ("variables", "amount", "source"),
    [
        ({"SLURM_MEM_PER_NODE": "4096"}, 4096 << 20, "SLURM_MEM_PER_NODE"),
        ({"SLURM_MEM_PER_NODE": "0"}, MACHINE, "this machine"),  # all that the node has
        (
            {"SLURM_MEM_PER_CPU": "1000", "SLURM_CPUS_ON_NODE": "6"},
            6000 << 20,
            "SLURM_MEM_PER_CPU x SLURM_CPUS_ON_NODE",
        ),
        (
            {"SLURM_MEM_PER_CPU": "1000", "SLURM_JOB_CPUS_PER_NODE": "8(x2),4"},
            8000 << 20,
            "SLURM_MEM_PER_CPU x SLURM_JOB_CPUS_PER_NODE",
        ),
        ({"SLURM_MEM_PER_CPU": "1000"}, 1000 << 20, "SLURM_MEM_PER_CPU"),
        ({"SLURM_MEM_PER_NODE": "much"}, MACHINE, "this machine"),
    ],
)  # fmt: skip
def test_what_slurm_gives_a_job(variables: dict[str, str], amount: int, source: str, tmp_path: Path) -> None:
    assert memory_limit(root=str(tmp_path), variables=variables, machine=MACHINE, ulimits=()) == Limit(amount, source)


@pytest.mark.parametrize(
    ("variables", "amount"),
    [
        ({"SLURM_CPUS_PER_TASK": "6", "SLURM_CPUS_ON_NODE": "12"}, 6),
        ({"SLURM_CPUS_ON_NODE": "12"}, 12),
        ({"PBS_JOBID": "1.host", "NCPUS": "5"}, 5),
        ({"NCPUS": "5"}, 64),  # not of a job
        ({"PBS_JOBID": "1.host", "PBS_NUM_PPN": "3"}, 3),
        ({"LSB_MCPU_HOSTS": "hosta 7 hostb 2"}, 7),
        ({}, 64),
    ],
)
def test_processors_that_batch_systems_give_a_job(variables: dict[str, str], amount: int, tmp_path: Path) -> None:
    assert processor_limit(root=str(tmp_path), variables=variables, machine=64).amount == amount


def test_a_limit_of_each_process_counts_for_all_of_them_and_a_share_says_what_it_is_of(tmp_path: Path) -> None:
    def share(processes: int) -> Limit:
        return share_of_memory(
            processes, root=str(tmp_path), variables={}, machine=10 * GB, ulimits=[Limit(4 * GB, "ulimit -v")]
        )

    assert share(1) == Limit(int(2.4 * GB), "60 % of the 4 GB of ulimit -v")
    assert share(2) == Limit(int(2.4 * GB), "60 % of the 8 GB of ulimit -v, shared by 2 processes")
    assert share(4) == Limit(int(1.5 * GB), "60 % of the 10 GB of this machine, shared by 4 processes")


@pytest.mark.skipif(sys.platform != "linux", reason="ulimit -v holds on Linux")
@pytest.mark.parametrize("kind", ["RLIMIT_AS", "RLIMIT_DATA"])
def test_the_ulimits_of_this_process_are_seen(kind: str) -> None:
    source = (
        f"import resource; resource.setrlimit(resource.{kind}, (3 * 10**9, resource.RLIM_INFINITY))\n"
        "from kseg_core.limits import memory_limit\n"
        "found = memory_limit(root='/nowhere', variables={}, machine=10**12)\n"
        "print(found.amount, found.source)"
    )
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    amount, _, name = done.stdout.strip().partition(" ")
    assert 2 * GB < int(amount) <= 3 * GB  # less what is mapped and not in use
    assert name == {"RLIMIT_AS": "ulimit -v", "RLIMIT_DATA": "ulimit -d"}[kind]


def test_this_machine_has_memory_and_processors() -> None:
    assert memory_limit().amount > 1 << 26
    assert processor_limit().amount >= 1
