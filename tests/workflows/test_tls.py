"""A cluster that speaks TLS only: the same bits for who has a certificate, nothing for anybody else."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.command_lines import environment_of_programs

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="makes certificates with openssl")


TLS = "DASK_DISTRIBUTED__COMM__TLS"


def make_certificates(folder: Path) -> None:
    """An authority of our own, and a certificate of it for 127.0.0.1, as docs/cluster.md tells."""

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    new = ["req", "-newkey", "rsa:2048", "-nodes", "-sha256"]
    openssl(*new, "-x509", "-days", "2", "-subj", "/CN=our authority", "-keyout", "ca-key.pem", "-out", "ca.pem")
    openssl(*new, "-subj", "/CN=our cluster", "-keyout", "key.pem", "-out", "request.pem")
    (folder / "names.txt").write_text("subjectAltName=IP:127.0.0.1\n")
    signed = ["-days", "2", "-sha256", "-CA", "ca.pem", "-CAkey", "ca-key.pem", "-CAcreateserial"]
    openssl("x509", "-req", "-in", "request.pem", *signed, "-extfile", "names.txt", "-out", "cert.pem")


@dataclass(frozen=True, slots=True)
class TlsCluster:
    """Where it is, and the environment of who may use it."""

    address: str
    environment: dict[str, str]


@pytest.fixture(scope="module")
def tls_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsCluster]:
    folder = tmp_path_factory.mktemp("tls")
    make_certificates(folder)
    tls = {"DASK_DISTRIBUTED__COMM__TLS__CA_FILE": "ca.pem"}
    for role in ("SCHEDULER", "WORKER", "CLIENT"):
        tls |= {f"DASK_DISTRIBUTED__COMM__TLS__{role}__{kind}": f"{kind.lower()}.pem" for kind in ("CERT", "KEY")}
    tls = {name: str(folder / file) for name, file in tls.items()}
    environment = {**environment_of_programs(), **tls, "DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION": "true"}
    dask = [sys.executable, "-m", "dask"]
    local = ["--host", "127.0.0.1", "--dashboard-address", "127.0.0.1:0", "--protocol", "tls"]
    log = (folder / "log.txt").open("wb")
    options: dict[str, Any] = {"env": environment, "cwd": folder, "stdout": log, "stderr": log}
    file = folder / "scheduler.json"
    with contextlib.ExitStack() as ending:
        ending.callback(log.close)

        def start(*arguments: str) -> None:
            process = subprocess.Popen([*dask, *arguments], **options)
            ending.callback(process.wait)
            ending.callback(process.terminate)

        start("scheduler", *local, "--port", "0", "--scheduler-file", str(file))
        for _ in range(300):
            if file.exists() and file.read_bytes().endswith(b"}"):
                break
            time.sleep(0.1)
        start("worker", *local, "--scheduler-file", str(file), "--nthreads", "2", "--no-nanny")
        yield TlsCluster(json.loads(file.read_bytes())["address"], environment)


Program = Callable[..., subprocess.CompletedProcess[str]]


def test_a_run_over_tls_gives_the_same_bits(
    tls_cluster: TlsCluster, small_folder: Path, tmp_path: Path, program: Program, job: Any, contents: Any
) -> None:
    assert tls_cluster.address.startswith("tls://127.0.0.1:")
    job(small_folder, tmp_path / "here.zarr", k=3)
    line = ["run", small_folder, "--k", "3", "--attempts", "3", "-o", tmp_path / "there.zarr"]
    done = program(*line, "--scheduler", tls_cluster.address, env=tls_cluster.environment)
    assert (done.returncode, done.stderr) == (0, "")
    here, there = (contents(tmp_path / name) for name in ("here.zarr", "there.zarr"))
    assert {name: digest for name, digest in here.items() if not name.endswith(":attributes")} == {
        name: digest for name, digest in there.items() if not name.endswith(":attributes")
    }


def test_who_has_no_certificate_is_told_which_variables_name_one(
    tls_cluster: TlsCluster, small_folder: Path, tmp_path: Path, kseg: Any
) -> None:
    done = kseg("run", small_folder, "--k", "3", "-o", tmp_path / "x.zarr", "--scheduler", tls_cluster.address)
    assert (done.code, done.out, done.err.count("\n")) == (1, "", 1)
    assert "no certificates are configured here; set DASK_DISTRIBUTED__COMM__TLS__CA_FILE, " in done.err
    assert not (tmp_path / "x.zarr").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("protocol", "variables", "reason"),
    [
        ("tls", {f"{TLS}__CA_FILE": "no.pem", f"{TLS}__CLIENT__CERT": "no.pem"}, "the certificates cannot be used"),
        ("tcp", {"DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION": "true"}, "encryption required"),
        ("tcp", {}, "no Dask scheduler answers at"),
    ],
)
def test_who_has_no_certificate_is_told_so_in_a_line(
    protocol: str,
    variables: dict[str, str],
    reason: str,
    tls_cluster: TlsCluster,
    small_folder: Path,
    tmp_path: Path,
    program: Program,
) -> None:
    address = tls_cluster.address.replace("tls://", f"{protocol}://")
    line = ["run", small_folder, "--k", "3", "-o", tmp_path / "x.zarr", "--scheduler", address]
    done = program(*line, env={**environment_of_programs(), **variables})
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert reason in done.stderr
    assert not (tmp_path / "x.zarr").exists()


@pytest.mark.slow
def test_our_own_processes_speak_tls_too_where_encryption_is_required(
    tls_cluster: TlsCluster, small_folder: Path, tmp_path: Path, program: Program
) -> None:
    line = ["run", small_folder, "--k", "3", "--scheduler", "processes", "--workers", "1", "-o", tmp_path / "x.zarr"]
    done = program(*line, env=tls_cluster.environment)
    assert (done.returncode, done.stderr) == (0, "")
