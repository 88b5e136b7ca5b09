"""The plain pattern: a Tune function that starts a new `TorchTrainer` for every trial.

It costs 10-20 s a trial on a small machine (`benchmarks/trial_overhead`); `--isolate-trials` keeps
it for those who want a fresh process for each trial, and as the baseline of that benchmark.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray.train
from ray.tune.integration.ray_train import TuneReportCallback

from slrtune.cluster.resources import TrialShare
from slrtune.cluster.session import own_folder_of_ray
from slrtune.cluster.whereabouts import whereabouts
from slrtune.config.errors import UserError
from slrtune.config.json_file import read_json, write_json
from slrtune.config.patience import StorageError
from slrtune.config.search_space import SearchSpace
from slrtune.config.validate import experiment_from_dict
from slrtune.sweep.folder import trial_folder
from slrtune.sweep.outcomes import MEMORY


def plain_trial(
    space: SearchSpace, sweep_folder: Path, share: TrialShare
) -> Callable[[dict[str, Any]], None]:
    """A Tune function that trains one trial in a worker group of its own."""

    def run_trial(config: dict[str, Any]) -> None:
        experiment = space.experiment(config["params"])
        number = config["number"]
        folder = trial_folder(sweep_folder, number)
        trainer = torch_trainer(
            {
                "experiment": experiment.model_dump(mode="json"),
                "folder": str(folder),
                "number": number,
                "num_told": config["num_told"],
                "num_threads": share.num_threads,
            },
            share,
            experiment.sweep.max_failures_per_trial,
        )
        trainer.fit()

    return run_trial


def torch_trainer(loop_config: dict[str, Any], share: TrialShare, max_failures: int) -> Any:
    """Ray Train's trainer of one trial; its reports go to Tune."""
    from ray.train.torch import TorchTrainer

    return TorchTrainer(
        _train_once,
        train_loop_config=loop_config,
        **share.train_configs(),
        run_config=ray.train.RunConfig(
            name="ray_train",
            storage_path=own_folder_of_ray(),
            callbacks=[_EpochsOnce(loop_config["num_told"])],
            # One restart is for a rank that ran out of memory, see `_train_once`.
            failure_config=ray.train.FailureConfig(max_failures=max(1, max_failures)),
        ),
    )


class _EpochsOnce(TuneReportCallback):
    """Passes on what a worker reports, but no epoch twice: one that is restarted does not know
    which of its reports have arrived. The last one that the study knows is passed on again, since
    Tune wants a result of every trial.
    """

    def __init__(self, num_told: int) -> None:
        super().__init__()
        self._last_epoch = max(num_told - 1, 0)

    def after_report(
        self, run_context: Any, metrics: list[dict[str, Any]], checkpoint: Any
    ) -> None:
        """Ray Train's hook, in its controller, which outlives the workers."""
        epoch = metrics[0].get("epoch", 0)
        if epoch > self._last_epoch or "outcome" in metrics[0]:
            self._last_epoch = max(epoch, self._last_epoch)
            super().after_report(run_context, metrics, checkpoint)


def _train_once(config: dict[str, Any]) -> None:
    import torch

    from slrtune.memory import MemoryBudgetError, TrialMemory
    from slrtune.training.out_of_memory import is_out_of_memory
    from slrtune.training.trial import train_trial

    torch.set_num_threads(config["num_threads"])
    experiment = experiment_from_dict(config["experiment"], f"trial {config['number']}")
    folder = Path(config["folder"])
    last = {
        "number": config["number"],
        "max_epochs": experiment.training.max_epochs,
        **whereabouts(),
    }

    def report(metrics: dict[str, float]) -> bool:
        last.update(metrics)
        ray.train.report(dict(last))  # a barrier: every rank calls it, rank 0's figures count
        return True  # the plain pattern stops a trial by killing it

    out_of_memory = folder / "out_of_memory.json"
    if out_of_memory.exists():
        # Written by a rank of the group before this one, which could not report without the others.
        ray.train.report({**last, **read_json(out_of_memory, "outcome", "error")})
        return
    try:
        train_trial(experiment, folder, report, TrialMemory(), num_told=config["num_told"])
    except MemoryBudgetError as error:  # every rank says so
        told = {"outcome": "oom", "error": f"MemoryBudgetError: {error}"}
        ray.train.report({**last, **told, MEMORY: error.predicted_gib})
        return
    except StorageError as error:
        told_away = {"outcome": "interrupted", "is_storage_away": True, "error": str(error)}
        ray.train.report({**last, **told_away})
        return
    except UserError as error:
        # the same mistake again would be no better: an outcome, not a failure to retry
        ray.train.report({**last, "outcome": "error", "error": f"UserError: {error}"})
        return
    except Exception as error:
        if is_out_of_memory(error):
            folder.mkdir(exist_ok=True)
            write_json(out_of_memory, {**last, **_out_of_memory(error)})
        raise
    if last["epoch"] < last["max_epochs"]:
        # its own patience ended it, not the scheduler
        ray.train.report({**last, "outcome": "completed"})


def _out_of_memory(error: Exception) -> dict[str, Any]:
    from slrtune.training.out_of_memory import peak_at_failure_gib

    told = {"outcome": "oom", "error": f"{type(error).__name__}: {str(error).splitlines()[0]}"}
    peak_gib = peak_at_failure_gib(error)
    return told if peak_gib is None else {**told, MEMORY: peak_gib}
