"""What a training step spends its time on: a trace of a few steps and a table of operators."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

import torch
from torch.profiler import ProfilerActivity, profile, schedule

TRACE_FILE, TABLE_FILE = "trace.json.gz", "operators.txt"
_NUM_WAIT, _NUM_WARMUP, _NUM_ACTIVE = 1, 1, 3
_NUM_ROWS = 20


class StepProfiler:
    """Records the third to fifth optimizer step from its start on; a context manager.

    Validation and saving are recorded where they fall between these steps. Writes
    ``folder/trace.json.gz`` (for https://ui.perfetto.dev or chrome://tracing) and
    ``folder/operators.txt`` once the steps are done, or what there is of them at its end.
    """

    def __init__(self, folder: Path, device: torch.device) -> None:
        self._folder = folder
        self._on_gpu = device.type == "cuda"
        activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * self._on_gpu
        self._profile = profile(
            activities=activities,
            schedule=schedule(wait=_NUM_WAIT, warmup=_NUM_WARMUP, active=_NUM_ACTIVE, repeat=1),
            on_trace_ready=self._write,
            profile_memory=True,
        )

    def __enter__(self) -> StepProfiler:
        for name in (TRACE_FILE, TABLE_FILE):
            (self._folder / name).unlink(missing_ok=True)  # of an earlier start of this run
        self._profile.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._profile.__exit__(kind, error, trace)

    def step(self) -> None:
        """Mark the end of an optimizer step."""
        self._profile.step()

    def _write(self, profiled: profile) -> None:
        self._folder.mkdir(exist_ok=True)
        profiled.export_chrome_trace(str(self._folder / TRACE_FILE))
        order = "self_device_time_total" if self._on_gpu else "self_cpu_time_total"
        table = profiled.key_averages().table(
            sort_by=order, row_limit=_NUM_ROWS, max_name_column_width=50
        )
        (self._folder / TABLE_FILE).write_text(table + "\n", encoding="utf-8")
