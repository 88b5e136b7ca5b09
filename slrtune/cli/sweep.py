"""`slrtune sweep` and `slrtune check`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from slrtune.cli.options import SetOption, SweepAddressOption, shipped

SpaceArgument = Annotated[
    Path | None,
    typer.Argument(
        metavar="[SEARCH_SPACE.yaml]",
        help="Ranges to search. Default: search_spaces/fingerspelling.yaml, which needs no data.",
    ),
]
ExperimentOption = Annotated[
    Path | None,
    typer.Option(
        "--experiment",
        "-e",
        help="Data, model and training settings that are varied. "
        "Default: the one that the search space names.",
    ),
]
TrialsOption = Annotated[
    int | None, typer.Option("--trials", "-n", min=1, help="Configurations to try.")
]
BudgetOption = Annotated[
    float | None,
    typer.Option(
        "--memory-budget-gib",
        min=0.01,
        help="Memory per worker; what is predicted over it is not launched. "
        "Default: all of the smallest GPU.",
    ),
]


def sweep(
    context: typer.Context,
    search_space: SpaceArgument = None,
    experiment: ExperimentOption = None,
    trials: TrialsOption = None,
    memory_budget_gib: BudgetOption = None,
    max_gpu_hours: Annotated[
        float | None,
        typer.Option(min=0.0001, help="Launch no trial that would end beyond this. Default: any."),
    ] = None,
    overrides: SetOption = None,
    name: Annotated[
        str | None, typer.Option(help="The sweep's name. Default: search space and time.")
    ] = None,
    address: SweepAddressOption = None,
    warm_start: Annotated[
        str | None,
        typer.Option(
            metavar="SWEEP",
            help="Start from what an earlier sweep found out: its name in runs_dir, or its folder.",
        ),
    ] = None,
    log_to: Annotated[
        list[str] | None,
        typer.Option(metavar="mlflow|wandb", help="Tell MLflow or Weights & Biases, too."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print an event per line as JSON, and nothing else.")
    ] = False,
    isolate_trials: Annotated[
        bool,
        typer.Option(
            "--isolate-trials",
            help="Start fresh Ray Train processes for every trial: 10-20 s more for each.",
        ),
    ] = False,
    resume: Annotated[
        str | None,
        typer.Option(
            metavar="SWEEP",
            help="Go on with a sweep that was stopped, killed or lost its machine: its name in "
            "runs_dir, or its folder. Needs no YAML file.",
        ),
    ] = None,
    extend: Annotated[
        int, typer.Option(min=0, help="With --resume: trials more than it was started with.")
    ] = 0,
) -> None:
    """Search hyperparameters: many trials, the weak ones stopped early, the best one kept.

    Prints a leaderboard at the end, and writes best.yaml (for `slrtune train`), best.pt and
    TensorBoard runs into runs/<name>/. With --address http://… the sweep runs on that cluster as a
    Ray job, with the code of this machine, and goes on when this machine is closed.
    """
    from slrtune.cli.on_cluster import is_by_http, submit_sweep
    from slrtune.cli.run_sweep import run
    from slrtune.config.errors import UserError
    from slrtune.config.overrides import read_overrides
    from slrtune.config.search_space_file import load_search_space

    if as_json and is_by_http(address):
        raise UserError(
            "--json: tells what happens on this machine, and the sweep runs on another; leave it "
            "out, and follow the sweep with `slrtune logs` or `slrtune results`"
        )
    if resume is not None:
        _resume(context, resume)
        return
    if extend:
        raise UserError("--extend: needs --resume SWEEP; --trials says how many a new sweep has")
    options = {
        "sweep.max_trials": trials,
        "sweep.max_gpu_hours": max_gpu_hours,
        "resources.memory_budget_gib": memory_budget_gib,
        "sweep.loggers": f"[{', '.join(log_to)}]" if log_to else None,
    }
    given = [f"{key}={value}" for key, value in options.items() if value is not None]
    values = read_overrides([*(overrides or []), *given])
    path = search_space or shipped("search_spaces", "fingerspelling.yaml")
    if address is not None and is_by_http(address):
        submit_sweep(context, address, path, experiment, name)
        return
    run(
        load_search_space(path, experiment, values),
        name,
        address,
        isolate_trials,
        warm_start,
        as_json,
    )


# What a sweep cannot be resumed with, because its folder says it.
_ONLY_FOR_NEW = (
    "search_space", "experiment", "trials", "memory_budget_gib", "name", "warm_start",
    "isolate_trials", "log_to",
)  # fmt: skip


def _resume(context: typer.Context, sweep: str) -> None:
    from slrtune.cli.folders import runs_folder, sweep_folder
    from slrtune.cli.on_cluster import is_by_http, submit_resume
    from slrtune.cli.run_sweep import resume
    from slrtune.config.errors import UserError
    from slrtune.config.overrides import read_overrides
    from slrtune.sweep.at_address import STATUS_FILES

    options, address = context.params, context.params["address"]
    given = [name for name in _ONLY_FOR_NEW if options[name] not in (None, False, [], ())]
    values = read_overrides(list(options["overrides"] or [])).values
    names = [f"--{name.replace('_', '-')}" for name in given]
    names += [f"--set {key}" for key in values if key != "runs_dir"]
    if names:
        raise UserError(
            f"--resume: goes on with the settings that {sweep} was started with, so "
            f"{', '.join(names)} must be left out; --extend adds trials"
        )
    if address is not None and is_by_http(address):
        submit_resume(context, address, sweep)
        return
    runs_dir = runs_folder(str(values.get("runs_dir", "runs")), "--set runs_dir")
    folder = sweep_folder("--resume", sweep, runs_dir, *STATUS_FILES)
    resume(folder, address, options["extend"], options["max_gpu_hours"], options["as_json"])


def check(
    file: Annotated[Path, typer.Argument(help="A search space or an experiment.")],
    experiment: ExperimentOption = None,
    overrides: SetOption = None,
) -> None:
    """Say every mistake in a search space or experiment file, and start nothing."""
    from slrtune.cli.console import say
    from slrtune.config.overrides import read_overrides
    from slrtune.config.population import population_text
    from slrtune.config.search_space_file import load_search_space
    from slrtune.config.validate import load_experiment
    from slrtune.config.yaml_file import read_yaml

    values = read_overrides(overrides or [])
    if "parameters" in read_yaml(file).data:
        space = load_search_space(file, experiment, values)
        say(f"{file}: no mistakes; {len(space.parameters)} parameters over {space.base.name}")
        if space.base.sweep.scheduler == "pbt":
            say(population_text(space))
    else:
        load_experiment(file, values)
        say(f"{file}: no mistakes")
