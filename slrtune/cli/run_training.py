"""One training run from the user's side: the same worker group as a sweep's, used once."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from slrtune.cli.console import say
from slrtune.cli.folders import run_folder
from slrtune.cli.prepare import prepare
from slrtune.cluster.autoscaling import wait_for_worker
from slrtune.cluster.resources import cluster_nodes, share_cluster
from slrtune.cluster.room import telling_who_waits
from slrtune.cluster.session import library_logs_to, ray_session
from slrtune.cluster.task import Task
from slrtune.cluster.worker_groups import WorkerGroups, check_folder_is_shared
from slrtune.config.addresses import address_of, shown
from slrtune.config.claim import claimed
from slrtune.config.differences import changed_settings
from slrtune.config.errors import UserError
from slrtune.config.experiment import Experiment
from slrtune.config.json_file import read_json, write_json
from slrtune.config.objective import metric_label, metric_text
from slrtune.data.coverage import SplitCoverage
from slrtune.report.words import duration, number, percent
from slrtune.sweep.at_address import InStep, copy_for_reader, has_checkpoints
from slrtune.sweep.folder import (
    PLAN_FILE,
    RECORD_FILE,
    RUN_LOCK_FILE,
    SUMMARY_FILE,
    TENSORBOARD_FOLDER,
)
from slrtune.sweep.tensorboard import RunWriter
from slrtune.training.lesson import needs_of
from slrtune.training.profiling import TABLE_FILE, TRACE_FILE

_SECTIONS = ("data", "model", "training", "text", "decoding")  # what the best weights depend on


def run(
    experiment: Experiment, name: str | None, address: str | None, use_profiler: bool = False
) -> None:
    """Train, or resume, or say that the run is finished."""
    folder = run_folder(experiment.runs_dir, name or experiment.name)
    copy_for_reader(folder)
    if (folder / PLAN_FILE).exists():
        raise UserError(f"--name: {shown(folder)} holds a sweep; give this run another name")
    patience_s = experiment.resources.storage_patience_s
    with _claimed(folder), InStep(folder, patience_s).held(_refusal(folder), say):
        _refuse_other_settings(folder, experiment)
        if (folder / SUMMARY_FILE).exists():
            say(f"Run {folder.name} is finished; --name starts another")
            _print_summary(folder)
            return
        say(f"Run {folder.name} in {shown(folder)}")
        coverage = prepare(experiment.data, needs_of(experiment)).coverage
        write_json(folder / RECORD_FILE, experiment.model_dump(mode="json"))
        with ray_session(address=address), library_logs_to(folder / "train.log"):
            check_folder_is_shared(folder)
            try:
                summary = _train(experiment, folder, use_profiler)
            except KeyboardInterrupt:
                say("Interrupted; the same command goes on from the last epoch", style="yellow")
                raise
        data = experiment.data
        summary["coverage"] = {
            split: asdict(coverage.splits[split]) for split in (data.train_split, data.val_split)
        }
        write_json(folder / SUMMARY_FILE, summary)
        _print_summary(folder)
        if use_profiler:
            _print_profile(folder)


def _train(experiment: Experiment, folder: Path, use_profiler: bool) -> dict[str, Any]:
    share = share_cluster(cluster_nodes(), experiment.resources, limit=1)
    wait_for_worker(share, say)  # an autoscaler's cluster may have none yet
    task = Task(
        folder.name,
        experiment.model_dump(mode="json"),
        str(folder),
        experiment.sweep.max_failures_per_trial,
        use_profiler,
    )
    writer = RunWriter(folder / TENSORBOARD_FOLDER)
    max_epochs = experiment.training.max_epochs
    with (
        telling_who_waits(share, say),
        WorkerGroups(share) as groups,
    ):
        for event in groups.submit(task).events():
            payload = event.payload
            if event.kind == "started" and payload["num_restarts"]:
                say(f"A new worker goes on from the last checkpoint: {payload['restart_reason']}",
                    style="yellow")  # fmt: skip
            elif event.kind == "epoch":
                say(_epoch_line(payload, experiment.objective.task, max_epochs))
                _say_what_is_lost(payload)
                writer.scalars(payload)
            elif event.kind == "failed":
                (folder / "error.txt").write_text(payload["traceback"])
                more = f" (see {folder / 'error.txt'})" if payload["traceback"] else ""
                raise UserError(f"{folder.name}: {payload['message']}{more}")
    writer.close()
    return event.payload


_SHOWN: dict[str, tuple[str, ...]] = {
    "recognition": ("val_top1", "val_top1_per_class", "val_top5"),
    "translation": ("val_bleu", "val_chrf", "val_wer", "val_rouge"),
}


def _epoch_line(metrics: dict[str, Any], task: str, max_epochs: int) -> str:
    epoch = int(metrics["epoch"])
    left_s = metrics["total_s"] / epoch * (max_epochs - epoch)
    return (
        f"epoch {epoch:>3}/{max_epochs}  train loss {metrics['train_loss']:.3f}  "
        f"val loss {metrics['val_loss']:.3f}  {_figures(metrics, task)}  "
        f"{metrics['clips_per_s']:.0f} clips/s  "
        f"data wait {percent(metrics['data_wait_share'])}  "
        f"peak {number(metrics['peak_memory_gib'])} GiB  {duration(left_s)} left"
    )


def _figures(metrics: dict[str, Any], task: str) -> str:
    return "  ".join(
        f"{metric_label(name)} {metric_text(name, metrics.get(name))}" for name in _SHOWN[task]
    )


def _say_what_is_lost(metrics: dict[str, Any]) -> None:
    """Texts that CTC cannot spell or the decoder may not write, at the first epoch."""
    if metrics["epoch"] == 1 and metrics.get("num_ctc_lost"):
        say(
            f"  {metrics['num_ctc_lost']:.0f} training clips have a longer text than CTC can spell "
            "over the tokens of the video, and learn from the decoder's loss alone: set "
            "model.dense_vit.num_queries to null, lower temporal_stride or raise data.num_frames",
            style="yellow",
        )
    if metrics["epoch"] == 1 and metrics.get("num_cut_texts"):
        say(
            f"  {metrics['num_cut_texts']:.0f} training sentences are longer than "
            "model.dense_vit.max_text_length and were cut: raise it",
            style="yellow",
        )


def _print_summary(folder: Path) -> None:
    summary = read_json(folder / SUMMARY_FILE, "best", "last_epoch", "best_checkpoint", "coverage")
    best = summary["best"]
    task = "translation" if "val_bleu" in best else "recognition"
    say(
        f"Best epoch {int(best['epoch'])} of {summary['last_epoch']}: validation "
        f"{_figures(best, task)}",
        style="bold green",
    )
    parts = {name: SplitCoverage(**part) for name, part in summary["coverage"].items()}
    named = ", ".join(
        f"{name} {percent(part.share)} ({part.usable} of {part.listed} listed clips)"
        for name, part in parts.items()
    )
    say(f"  coverage    {named}")
    say(f"  checkpoint  {shown(Path(summary['best_checkpoint']))}")
    say(f"  curves      tensorboard --logdir {folder / TENSORBOARD_FOLDER}")


def _print_profile(folder: Path) -> None:
    table, trace = folder / TABLE_FILE, folder / TRACE_FILE
    if not table.exists():
        say("--profile: training ended before its third step; nothing was recorded")
        return
    say(table.read_text(encoding="utf-8"))
    say(f"  trace       {trace} (open it at https://ui.perfetto.dev)")


@contextmanager
def _claimed(folder: Path) -> Iterator[None]:
    """This process alone trains in ``folder``."""
    with contextlib.suppress(OSError):  # the lock says what is wrong
        folder.mkdir(exist_ok=True, parents=address_of(folder) is not None)
    with claimed(folder / RUN_LOCK_FILE, _refusal(folder)):
        yield


def _refusal(folder: Path) -> str:
    rule = "another slrtune ({owner}) trains in this folder right now; wait for it, or"
    return f"{shown(folder)}: {rule} give this run another --name"


def _refuse_other_settings(folder: Path, experiment: Experiment) -> None:
    """A run goes on only as it began; one that never trained an epoch has not begun."""
    has_begun = has_checkpoints(folder) or (folder / SUMMARY_FILE).exists()
    if not has_begun or not (folder / RECORD_FILE).exists():
        return
    before = read_json(folder / RECORD_FILE, "data", "model", "training")
    changed = changed_settings(before, experiment, _SECTIONS)
    if changed:
        shown = [f"{key}: {old} -> {new}" for key, (old, new) in list(changed.items())[:5]]
        raise UserError(
            f"{folder}: holds a run with other settings ({', '.join(shown)}); "
            "give this one another --name, or remove the folder"
        )
