"""Ray Jobs: run this machine's slrtune on a cluster that is reached by HTTP only."""

from __future__ import annotations

import asyncio
import logging
import re
import shlex
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import slrtune
from slrtune.config.errors import UserError
from slrtune.config.provenance import COMMIT_VARIABLE, git_commit

_ENDED = ("SUCCEEDED", "FAILED", "STOPPED")
# What Ray itself writes into a job's log before the command starts.
_RAY_LINE = re.compile(
    r"^(\d{4}-\d\d-\d\d [\d:,]+\s+INFO job_manager\.py:\d+ -- |Running entrypoint for job ).*\n",
    re.MULTILINE,
)
_TALKATIVE = (
    "ray.dashboard.modules.dashboard_sdk", "ray.dashboard.modules.job.sdk",
    "ray._private.runtime_env.packaging",
)  # fmt: skip
_SWEEP, _RUNS_DIR = "slrtune_sweep", "slrtune_runs_dir"


@dataclass(frozen=True)
class Job:
    """A job on the cluster.

    Attributes:
        job_id: Ray's submission id.
        status: PENDING, RUNNING, SUCCEEDED, FAILED or STOPPED.
        message: Ray's word on it.
        exit_code: of the command; None where it has not ended by itself.
        sweep: the sweep that it runs; empty = another command.
        runs_dir: where that sweep's folder is.
        started_ms: since 1970; 0 = not yet.
    """

    job_id: str
    status: str
    message: str = ""
    exit_code: int | None = None
    sweep: str = ""
    runs_dir: str = ""
    started_ms: int = 0

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will come of it."""
        return self.status in _ENDED


class ClusterJobs:
    """The Jobs of one cluster.

    Args:
        address: of its dashboard, ``http://host:8265``.

    Raises:
        UserError: nothing answers there, or the token is not the cluster's.
    """

    def __init__(self, address: str) -> None:
        from ray.exceptions import AuthenticationError
        from ray.job_submission import JobSubmissionClient

        for name in _TALKATIVE:
            logging.getLogger(name).setLevel(logging.WARNING)
        try:
            self._client = JobSubmissionClient(address)
        except AuthenticationError as error:
            first = str(error).strip().splitlines()[0]
            raise UserError(
                f"--address {address}: the cluster asks for another token ({first}); copy "
                "~/.ray/auth_token of its head node to this machine"
            ) from None
        except (ConnectionError, RuntimeError, OSError) as error:
            raise UserError(
                f"--address {address}: no Ray dashboard answers there ({error}); is "
                "`ray dashboard CLUSTER.yaml` (or another tunnel to port 8265 of the head) open?"
            ) from None
        self.address = address

    def submit(
        self,
        arguments: Sequence[str],
        files: Mapping[str, Path] | None = None,
        sweep: str = "",
        runs_dir: str = "",
    ) -> str:
        """Run ``slrtune arguments…`` on the head node; returns the job's id at once.

        Args:
            files: name in the job's working folder -> file of this machine.
            sweep: name of the sweep that it runs.
            runs_dir: where that sweep's folder is.
        """
        with tempfile.TemporaryDirectory(prefix="slrtune-job-") as folder:
            ship(Path(folder), files or {})
            return str(
                self._client.submit_job(
                    entrypoint=f"python -m slrtune.cli.main {shlex.join(arguments)}",
                    runtime_env={
                        "working_dir": folder,
                        "env_vars": {
                            "PYTHONUNBUFFERED": "1",
                            "RAY_AUTH_MODE": "token",
                            COMMIT_VARIABLE: git_commit() or "",
                        },
                    },
                    metadata={_SWEEP: sweep, _RUNS_DIR: runs_dir} if sweep else {},
                )
            )

    def job(self, job_id: str) -> Job:
        """How a job is doing."""
        return _job_of(self._client.get_job_info(job_id))

    def sweep(self, name: str) -> Job | None:
        """The latest job that ran this sweep; None = no job of this cluster did."""
        jobs = [_job_of(details) for details in self._client.list_jobs()]
        found = [job for job in jobs if job.sweep == name]
        return max(found, key=lambda job: job.started_ms, default=None)

    def log(self, job_id: str) -> str:
        """What a job has printed so far."""
        return _without_ray(self._client.get_job_logs(job_id))

    def follow(self, job_id: str, write: Callable[[str], None]) -> Job:
        """Hand over what a job prints until it has ended."""

        async def tail() -> None:
            async for text in self._client.tail_job_logs(job_id):
                write(_without_ray(text))

        job = self.job(job_id)
        while not job.has_ended:
            asyncio.run(tail())
            job = self.job(job_id)
        return job


def ship(folder: Path, files: Mapping[str, Path]) -> None:
    """Fill a job's working folder: this machine's slrtune, and the files that the command names."""
    package = Path(slrtune.__file__).parent
    shutil.copytree(package, folder / "slrtune", ignore=shutil.ignore_patterns("__pycache__"))
    for name, path in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, folder / name)


def _without_ray(text: str) -> str:
    return _RAY_LINE.sub("", text)


def _job_of(details: Any) -> Job:
    metadata = details.metadata or {}
    return Job(
        job_id=details.submission_id or details.job_id or "",
        status=str(getattr(details.status, "value", details.status)),
        message=details.message or "",
        exit_code=details.driver_exit_code,
        sweep=metadata.get(_SWEEP, ""),
        runs_dir=metadata.get(_RUNS_DIR, ""),
        started_ms=details.start_time or 0,
    )
