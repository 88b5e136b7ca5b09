"""MLflow and Weights & Biases, by Ray's own callbacks, told what is true.

As Tune calls them, these callbacks take the configuration's nesting for parameters, Tune's
iterations for epochs, and a trial that ran out of memory for a success. Here they get a trial's own
parameters, epochs and outcome, from a thread of their own: a slow server does not hold up a sweep,
and an error there is no error of the sweep.
"""

from __future__ import annotations

import importlib.util
import logging
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from slrtune.config.errors import UserError
from slrtune.config.sweep import LoggerName
from slrtune.sweep.board import SweepBoard, TrialRow
from slrtune.sweep.outcomes import own_figures

_logger = logging.getLogger(__name__)

_FAILED = ("oom", "error", "infeasible", "interrupted")
# As long as a server that answers slowly gets to take what is left at the end.
_PATIENCE_S = 120.0


@dataclass(frozen=True)
class _Trial:
    """What Ray's callbacks want to know of a trial."""

    trial_id: str
    name: str
    experiment_dir_name: str
    local_path: str
    config: dict[str, Any] = field(compare=False)

    def __str__(self) -> str:
        return self.name


class ExperimentLogger:
    """Passes a sweep on to one of Ray's logging callbacks. A context manager.

    Args:
        name: of the logger.
        folder: the sweep's.

    Raises:
        UserError: its package is not installed, or it cannot be set up.
    """

    def __init__(self, name: LoggerName, folder: Path) -> None:
        if importlib.util.find_spec(name) is None:
            raise UserError(
                f"sweep.loggers: {name} must be installed, but is not; "
                f"pip install {name}, or leave it out"
            )
        self._name, self._folder = name, folder
        self._last_epoch: dict[int, int] = {}
        self._open: dict[int, TrialRow] = {}
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)
        try:
            self._callback = (_mlflow if name == "mlflow" else _wandb)(folder)
            self._callback.setup()
        except Exception as error:  # of the package, of its server: anything
            raise UserError(
                f"sweep.loggers: {name} cannot be set up: {error}; set it up, or leave it out"
            ) from None

    def __enter__(self) -> ExperimentLogger:
        return self

    def __exit__(self, *_: object) -> None:
        """Trials that are still open were interrupted; wait for what is on its way."""
        for row in list(self._open.values()):
            self.on_end(replace(row, state="interrupted"))
        last = self._worker.submit(self._guarded, lambda: self._callback.on_experiment_end([]))
        try:
            last.result(_PATIENCE_S)
        except TimeoutError:
            _logger.warning("%s did not take all within %g s", self._name, _PATIENCE_S)
        self._worker.shutdown(wait=False, cancel_futures=True)

    def on_start(self, row: TrialRow) -> None:
        """A run of its own, with the trial's parameters."""
        trial = self._trial(row)
        self._last_epoch[row.number] = row.epoch
        self._open[row.number] = row
        self._do(lambda: self._callback.log_trial_start(trial))

    def on_epoch(self, row: TrialRow) -> None:
        """Figures by epoch."""
        if row.epoch <= self._last_epoch.get(row.number, 0):
            return  # a trial's end repeats its last epoch
        self._last_epoch[row.number] = epoch = row.epoch
        # The step of both services.
        figures = {**own_figures(row.metrics), "training_iteration": epoch}
        trial = self._trial(row)
        self._do(lambda: self._callback.log_trial_result(epoch, trial, figures))

    def on_end(self, row: TrialRow) -> None:
        """How it ended, as a parameter of the run: these services know success and failure only."""
        self._open.pop(row.number, None)
        trial, told = self._trial(row), _told(row)
        failed = row.state in _FAILED

        def end() -> None:
            self._tell(trial, row.epoch, told)
            self._callback.log_trial_end(trial, failed=failed)

        self._do(end)

    def on_infeasible(self, row: TrialRow) -> None:
        """A run without epochs."""
        self.on_start(row)
        self.on_end(row)

    def on_tick(self, board: SweepBoard) -> None:
        """Nothing."""

    def on_interrupt(self) -> None:
        """Nothing: the trials' ends are told as they come."""

    def _tell(self, trial: _Trial, epoch: int, told: dict[str, Any]) -> None:
        if self._name == "mlflow":
            run = self._callback._trial_runs[trial]
            self._callback.mlflow_util.log_params(run_id=run, params_to_log=told)
        else:
            result = {"config": told, "training_iteration": epoch}
            self._callback.log_trial_result(epoch, trial, result)

    def _do(self, what: Callable[[], None]) -> None:
        self._worker.submit(self._guarded, what)

    def _guarded(self, what: Callable[[], None]) -> None:
        try:
            what()
        except Exception:
            _logger.exception("%s was not told", self._name)

    def _trial(self, row: TrialRow) -> _Trial:
        name = f"trial_{row.number:03d}"
        sweep = self._folder.name
        params = {key: _plain(value) for key, value in row.params.items()}
        return _Trial(f"{sweep}-{name}", name, sweep, str(self._folder), params)


def _mlflow(folder: Path) -> Any:
    """The server of ``MLFLOW_TRACKING_URI``, else a file beside the sweeps; a sweep is an
    experiment."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # it would tell of every run
    from ray.air.integrations.mlflow import MLflowLoggerCallback

    place = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{folder.parent / 'mlflow.db'}"
    return MLflowLoggerCallback(place, experiment_name=folder.name)


def _wandb(folder: Path) -> Any:
    """The project of ``WANDB_PROJECT``; a sweep is a group. A trial that goes on keeps its run."""
    from ray.air.integrations.wandb import WandbLoggerCallback

    project = os.environ.get("WANDB_PROJECT") or "slrtune"
    return WandbLoggerCallback(
        project, folder.name, upload_timeout=int(_PATIENCE_S), resume="allow"
    )


def _told(row: TrialRow) -> dict[str, Any]:
    error = row.metrics.get("error")
    return {"outcome": row.state, **({} if error is None else {"error": error})}


def _plain(value: Any) -> Any:
    return value if isinstance(value, str | int | float | bool) else str(value)
