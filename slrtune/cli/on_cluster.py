"""`--address http://…`: the same command, but on the cluster, through Ray Jobs."""

from __future__ import annotations

import datetime
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from slrtune.config.addresses import shown
from slrtune.config.errors import UserError

if TYPE_CHECKING:
    from slrtune.cluster.jobs import ClusterJobs
    from slrtune.config.overrides import Overrides

_FOLDER = "job"


def is_by_http(address: str | None) -> bool:
    """Whether the cluster is reached through its dashboard, rather than joined."""
    return address is not None and address.startswith(("http://", "https://"))


def run_there(context: typer.Context, address: str, sweep: str | None = None) -> None:
    """Run this very command on the cluster, print what it prints, and end with its exit code.

    Args:
        context: the command as it was called.
        address: ``http://host:8265``.
        sweep: the sweep that it is about: its runs_dir is known from the job that runs it.
    """
    from slrtune.cluster.jobs import ClusterJobs

    jobs = ClusterJobs(address)
    changes: dict[str, str | None] = {"address": None}
    run_by = jobs.sweep(sweep) if sweep else None
    if run_by is not None and run_by.runs_dir and context.params.get("runs_dir") == Path("runs"):
        changes["runs_dir"] = run_by.runs_dir
    job = jobs.follow(jobs.submit(arguments_of(context, changes)), _write)
    if job.exit_code != 0:
        if job.exit_code is None:
            raise UserError(f"--address {address}: the command was {job.status}: {job.message}")
        sys.exit(job.exit_code)


def submit_sweep(
    context: typer.Context, address: str, space: Path, experiment: Path | None, name: str | None
) -> None:
    """Hand a sweep to the cluster; it goes on when this machine is closed.

    Raises:
        UserError: mistakes in the files, paths that mean nothing on another machine, no cluster.
    """
    from slrtune.cli.console import say
    from slrtune.cluster.jobs import ClusterJobs
    from slrtune.config.overrides import read_overrides
    from slrtune.config.search_space_file import experiment_path

    overrides = read_overrides(list(context.params.get("overrides") or []))
    experiment = experiment or experiment_path(space)
    runs_dir = _checked_runs_dir(space, experiment, overrides)
    jobs = ClusterJobs(address)
    name = name or f"{space.stem}-{datetime.datetime.now():%Y%m%d-%H%M%S}"
    _refuse_twice(jobs, name)
    files = {f"{_FOLDER}/{space.name}": space, f"{_FOLDER}/base/{experiment.name}": experiment}
    changes = {
        "address": "auto",
        "name": name,
        "search_space": f"{_FOLDER}/{space.name}",
        "experiment": f"{_FOLDER}/base/{experiment.name}",
    }
    job_id = jobs.submit(arguments_of(context, changes), files, name, shown(runs_dir))
    say(f"Sweep {name} is job {job_id} on {address}, in {shown(runs_dir / name)} there; it goes on "
        "when this machine is closed")  # fmt: skip
    for command, what in (
        ("logs", "what it prints, as it comes"),
        ("status", "how far it is"),
        ("results", "its leaderboard"),
    ):
        say(f"  slrtune {command} {name} --address {address}   {what}")


def submit_resume(context: typer.Context, address: str, sweep: str) -> None:
    """Hand a sweep that has ended early to the cluster again; its folder is there.

    Raises:
        UserError: the sweep runs, or nobody knows where its folder is.
    """
    from slrtune.cli.console import say
    from slrtune.cli.folders import runs_folder
    from slrtune.cluster.jobs import ClusterJobs

    jobs, path = ClusterJobs(address), runs_folder(sweep, "--resume")
    _refuse_twice(jobs, path.name)
    run_by = jobs.sweep(path.name)
    if run_by is not None and not path.is_absolute():
        path = runs_folder(run_by.runs_dir) / path.name
    elif not path.is_absolute():
        raise UserError(
            f"--resume: no job on {address} ran the sweep {sweep}, so its folder is not known; "
            f"give the whole path there, such as /shared/runs/{sweep}"
        )
    changes: dict[str, str | None] = {"address": "auto", "resume": shown(path), "overrides": None}
    arguments = arguments_of(context, changes)
    job_id = jobs.submit(arguments, sweep=path.name, runs_dir=shown(path.parent))
    say(f"Sweep {path.name} goes on as job {job_id} on {address}, in {shown(path)} there")
    say(f"  slrtune logs {path.name} --address {address}   what it prints, as it comes")


def arguments_of(context: typer.Context, changes: Mapping[str, str | None]) -> list[str]:
    """The command line that ``context`` was made from, with some parameters changed.

    Args:
        changes: name of a parameter -> its value; None leaves it out.
    """
    command, options, positional = context.info_name or "", [], []
    for parameter in context.command.params:
        name = parameter.name or ""
        source = context.get_parameter_source(name)
        is_given = source is not None and source.name == "COMMANDLINE"
        value = changes.get(name, context.params.get(name) if is_given else None)
        if value is None or value is False:
            continue
        values = value if isinstance(value, list | tuple) else [value]
        if parameter.param_type_name == "argument":
            positional += [str(one) for one in values]
        elif value is True:
            options.append(parameter.opts[0])
        else:
            texts = [shown(one) if isinstance(one, Path) else str(one) for one in values]
            options += [word for text in texts for word in (parameter.opts[0], text)]
    parents = [] if context.parent is None else _parents(context.parent)
    return [*parents, command, *positional, *options]


def _parents(context: Any) -> list[str]:
    """``["cluster"]`` for `slrtune cluster check`; the program itself has no word."""
    if context.parent is None:
        return []
    return [*_parents(context.parent), context.info_name or ""]


def _checked_runs_dir(space: Path, experiment: Path, overrides: Overrides) -> Path:
    """Where the sweep's folder will be, on the cluster."""
    from slrtune.config.search_space_file import load_search_space

    base = load_search_space(space, experiment, overrides, is_for_elsewhere=True).base
    data = base.data
    paths = [
        ("runs_dir", base.runs_dir),
        ("data.root", data.root),
        ("data.keypoints", data.keypoints),
    ]
    paths += [("data.annotations", path) for path in data.annotations]
    if data.pack is not None and "://" not in data.pack:
        paths.append(("data.pack", Path(data.pack)))
    for key, path in paths:
        if path is not None and not path.is_absolute() and not str(path).startswith("~"):
            raise UserError(
                f"{key}: must be a whole path that every node of the cluster sees, but is {path}; "
                f"add --set {key}=/… (only the code and the two YAML files travel to the cluster)"
            )
    return base.runs_dir


def _refuse_twice(jobs: ClusterJobs, name: str) -> None:
    running = jobs.sweep(name)
    if running is not None and not running.has_ended:
        raise UserError(
            f"--name: the sweep {name} runs already as job {running.job_id}; choose another name, "
            f"or follow it with `slrtune logs {name} --address {jobs.address}`"
        )


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def print_log(address: str, sweep: str, follow: bool) -> None:
    """Print what a sweep's job prints, and end with its exit code if it ends.

    Raises:
        UserError: no job of the cluster runs that sweep.
    """
    from slrtune.cluster.jobs import ClusterJobs

    jobs = ClusterJobs(address)
    job = jobs.sweep(sweep)
    if job is None:
        raise UserError(f"SWEEP: no job on {address} ran the sweep {sweep}; check the name")
    if job.has_ended or not follow:
        _write(jobs.log(job.job_id))
    else:
        job = jobs.follow(job.job_id, _write)
    if job.has_ended and job.exit_code != 0:
        if job.exit_code is None:
            raise UserError(f"SWEEP: the job was {job.status}: {job.message}")
        sys.exit(job.exit_code)
