"""What a sweep makes of the cluster that it is connected to."""

from __future__ import annotations

from pathlib import Path

from slrtune.cli.console import say
from slrtune.cli.disk import disk_forecast
from slrtune.cli.memory_budget import memory_budget, packed_space
from slrtune.cluster.autoscaling import wait_for_worker
from slrtune.cluster.resources import cluster_nodes, share_cluster
from slrtune.config.addresses import address_of
from slrtune.config.population import population_text
from slrtune.sweep.at_address import STATUS_FILES, copy_for_reader
from slrtune.sweep.disk_forecast import check_disk
from slrtune.sweep.plan import RecordedPlan, SweepPlan
from slrtune.sweep.warm_start import read_warm_start
from slrtune.training.construction import OutputSizes


def plan_on_cluster(
    recorded: RecordedPlan, folder: Path, sizes: OutputSizes, num_left: int
) -> SweepPlan:
    """What is run on the connected cluster.

    Args:
        recorded: what the sweep runs.
        folder: the sweep's.
        sizes: what its data ask of a model.
        num_left: trials that are still to be run.

    Raises:
        UserError: not even one trial fits the cluster, the disk or the memory budget, or the
            sweep to start from cannot be read.
    """
    space, earlier = recorded.space, recorded.warm_start
    space = packed_space(space, sizes)
    sweep, resources = space.base.sweep, space.base.resources
    # More groups than trials would only cost their start.
    limit = min(sweep.max_concurrent_trials or num_left, num_left)
    share = share_cluster(cluster_nodes(), resources, limit)
    if address_of(folder) is None:  # else the store's, and the workers' machines have other disks
        disk = disk_forecast(space, sizes, share.num_concurrent)
        if disk is not None and (warning := check_disk(disk, folder)):
            say(warning, style="yellow")
    wait_for_worker(share, say)  # an autoscaler's cluster may have none yet
    budget = memory_budget(resources, share.gpus_per_worker, sizes)
    if earlier:
        copy_for_reader(earlier, *STATUS_FILES)
    warm = read_warm_start(earlier, space, budget) if earlier else None
    return SweepPlan(space, folder, share, recorded.isolate_trials, budget, warm)


def say_how(plan: SweepPlan) -> None:
    """How many trials run at a time, with what, and what is launched at all."""
    share = plan.share
    per_trial = f"{share.num_workers} worker(s) x {share.cpus_per_worker:g} CPU"
    if share.gpus_per_worker:
        per_trial += f" + {share.gpus_per_worker:.3g} GPU"
    if plan.sweep.scheduler == "pbt":
        say(population_text(plan.space, share.num_concurrent))
    rungs = plan.sweep.rungs(plan.space.max_epochs)
    judged = f"; ASHA judges after epochs {', '.join(map(str, rungs))}" if rungs else ""
    say(f"{share.num_concurrent} trial(s) at a time, {per_trial} each{judged}")
    if plan.budget.budget_gib is not None:
        say(f"Memory budget: {plan.budget.budget_gib:.3g} GiB per worker; configurations that are "
            "predicted over it are not launched")  # fmt: skip
    if plan.warm_start is not None:
        warm = plan.warm_start
        say(f"Warm start: {len(warm.trials)} of {warm.num_finished} configurations of "
            f"{warm.folder.name} fit the search space")  # fmt: skip
