"""What a sweep runs, and its record in the sweep's folder, from which it can be resumed."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from slrtune.cluster.resources import TrialShare
from slrtune.config.addresses import folder_of, shown
from slrtune.config.errors import UserError
from slrtune.config.json_file import read_json, write_json
from slrtune.config.provenance import provenance
from slrtune.config.search_space import Parameter, SearchSpace
from slrtune.config.sweep import SweepConfig
from slrtune.config.validate import experiment_from_dict
from slrtune.sweep.constraints import MemoryBudget
from slrtune.sweep.folder import PLAN_FILE
from slrtune.sweep.warm_start import WarmStart

_STARTS = "starts"


@dataclass(frozen=True)
class SweepPlan:
    """What a sweep runs.

    Attributes:
        space: the search space with its base experiment.
        folder: the sweep's folder; exists.
        share: what a trial may use, and how many run at a time.
        isolate_trials: start a new Ray Train group for every trial (the plain pattern).
        budget: which configurations are launched.
        warm_start: trials of an earlier sweep that the sampler starts from.
    """

    space: SearchSpace
    folder: Path
    share: TrialShare
    isolate_trials: bool = False
    budget: MemoryBudget = field(default_factory=MemoryBudget)
    warm_start: WarmStart | None = None

    @property
    def sweep(self) -> SweepConfig:
        """The sweep's settings."""
        return self.space.base.sweep


def write_plan(plan: SweepPlan) -> None:
    """Record what the sweep runs: base configuration, space, share; commit and versions of each
    start."""
    path = plan.folder / PLAN_FILE
    starts = read_json(path).get(_STARTS, []) if path.exists() else []
    now = provenance()
    this = {"at": f"{datetime.datetime.now().astimezone():%Y-%m-%d %H:%M:%S%z}", **now}
    record = {
        "search_space": plan.space.name,
        "experiment": plan.space.base.model_dump(mode="json"),
        "parameters": [parameter.__dict__ for parameter in plan.space.parameters],
        "points": list(plan.space.points),
        "share": plan.share.__dict__,
        "isolate_trials": plan.isolate_trials,
        "budget_gib": plan.budget.budget_gib,
        "warm_start": None if plan.warm_start is None else shown(plan.warm_start.folder),
        "versions": now["versions"],
        _STARTS: [*starts, this],
    }
    write_json(path, record)


@dataclass(frozen=True)
class RecordedPlan:
    """What does not depend on the cluster of a sweep's plan, as it was recorded.

    Attributes:
        space: the search space with its base experiment.
        isolate_trials: see `SweepPlan`.
        warm_start: folder of the sweep that it started from.
    """

    space: SearchSpace
    isolate_trials: bool
    warm_start: Path | None

    def with_sweep(self, sweep: SweepConfig) -> RecordedPlan:
        """The same with other settings of the search, such as more trials."""
        base = self.space.base.model_copy(update={"sweep": sweep})
        return replace(self, space=replace(self.space, base=base))


def read_plan(folder: Path) -> RecordedPlan:
    """What a sweep runs, from its folder alone: its YAML files may have changed, or be gone.

    Raises:
        UserError: the record is damaged.
    """
    path = folder / PLAN_FILE
    record = read_json(path, "search_space", "experiment", "parameters", "points", "isolate_trials")
    try:
        parameters = tuple(map(_parameter, record["parameters"]))
    except (TypeError, KeyError, ValueError) as error:
        raise UserError(
            f"{path}: must hold the parameters that are searched, but {error!r}; restore it"
        ) from None
    base = experiment_from_dict(record["experiment"], str(path))
    space = SearchSpace(record["search_space"], base, parameters, tuple(record["points"]))
    warm_start = record.get("warm_start")
    return RecordedPlan(space, bool(record["isolate_trials"]), warm_start and folder_of(warm_start))


def _parameter(raw: Mapping[str, Any]) -> Parameter:
    choices = None if raw["choices"] is None else tuple(raw["choices"])
    when = tuple((key, tuple(values)) for key, values in raw["when"])
    return Parameter(**{**raw, "choices": choices, "when": when})
