"""`slrtune cluster check` and `slrtune logs`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from slrtune.cli.options import JobAddressOption, RunsOption

app = typer.Typer(
    help="Look at a Ray cluster before a sweep runs on it. docs/clusters.md starts one.",
    no_args_is_help=True,
)


@app.callback()
def cluster() -> None:
    """Look at a Ray cluster before a sweep runs on it. docs/clusters.md starts one."""


@app.command("check")
def check(
    context: typer.Context,
    address: Annotated[
        str,
        typer.Option(
            help="`auto` or host:port from one of its nodes, or its dashboard, http://host:8265."
        ),
    ] = "auto",
    runs_dir: RunsOption = Path("runs"),
) -> None:
    """Say what the cluster has, node by node, and what is wrong; exit code 2 if anything is.

    Every node is asked for its GPUs, memory, disk and versions, for Ray's token, and whether it
    reads in runs_dir what the others wrote there.
    """
    from slrtune.cli.on_cluster import is_by_http, run_there
    from slrtune.config.errors import UserError

    if is_by_http(address):
        if not runs_dir.is_absolute():
            raise UserError(
                f"--runs-dir: must be a whole path that every node sees, but is {runs_dir}"
            )
        run_there(context, address)
        return
    from slrtune.cli.console import say, table
    from slrtune.cluster.autoscaling import nodes_to_come
    from slrtune.cluster.check import look_at_nodes, problems_of
    from slrtune.cluster.session import ray_session
    from slrtune.config.addresses import shown
    from slrtune.config.paths import absolute

    folder = absolute(runs_dir)
    with ray_session(address=address):
        nodes, problems = look_at_nodes(folder)
        coming = nodes_to_come()
    rows = [
        (
            f"{node.address}{' (head)' if node.is_head else ''}",
            f"{node.cpus:g}",
            f"{node.gpus:g}",
            f"{node.memory_gib:.0f}",
            f"{min(node.free_disk_gib.values(), default=0):.0f}",
            " ".join(f"{name} {version}" for name, version in node.versions.items()),
            ", ".join(node.gpu_names) or "–",
        )
        for node in nodes
    ]
    columns = ("node", "CPUs", "GPUs", "GiB memory", "GiB disk free", "versions", "torch sees")
    table(f"{len(nodes)} node(s)", columns, rows)
    for kind in coming:
        has = ", ".join(f"{kind.resources[key]:g} {key}" for key in ("CPU", "GPU")
                        if kind.resources.get(key))  # fmt: skip
        say(f"The autoscaler may start {kind.count} x {kind.node_type} ({has})")
    problems += problems_of(nodes, sum(kind.count for kind in coming), folder)
    if problems:
        raise UserError("\n".join(problems))
    say(f"Token on, one version of everything, {shown(folder)} seen by all: ready", style="green")


def logs(
    sweep: Annotated[str, typer.Argument(help="The sweep's name, or its folder.")],
    address: JobAddressOption = None,
    runs_dir: RunsOption = Path("runs"),
    follow: Annotated[
        bool, typer.Option(help="Go on until the sweep ends; Ctrl-C leaves the sweep alone.")
    ] = True,
) -> None:
    """Show what a sweep on a cluster prints; without --address, the library log in its folder."""
    from slrtune.cli.console import say
    from slrtune.config.errors import UserError

    if address is None:
        from slrtune.cli.folders import sweep_folder

        path = sweep_folder("SWEEP", sweep, runs_dir, "sweep.log") / "sweep.log"
        if not path.exists():
            raise UserError(f"SWEEP: there is no {path}; a sweep on a cluster needs --address")
        say(path.read_text(encoding="utf-8").rstrip())
        return
    from slrtune.cli.on_cluster import print_log

    print_log(address, sweep, follow)
