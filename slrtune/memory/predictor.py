"""Many predictions: what was traced once is not traced again."""

from __future__ import annotations

from slrtune.config.experiment import Experiment
from slrtune.memory.answers import Answers
from slrtune.memory.calibration import Calibration
from slrtune.memory.devices import DeviceType, device_type
from slrtune.memory.micro_batch import (
    budget_of,
    clips_per_worker,
    largest_micro_batch,
    with_micro_batch,
)
from slrtune.memory.prediction import MemoryPrediction, allocated_gib, parts_of
from slrtune.memory.series import NotAlikeError, Series, StepBytes, Traced
from slrtune.memory.structure import Structure, as_structured
from slrtune.memory.tracing import FakeTrial
from slrtune.training.construction import OutputSizes

_UNCHUNKED_ANCHORS = (2, 16)
_DEPTH_ANCHORS = (3, 4)
_MAX_CHUNKS_TRACED = 8  # more are more of the same


def predict(
    experiment: Experiment, device: str = "cuda", *, sizes: OutputSizes, num_workers: int = 1
) -> MemoryPrediction:
    """Peak memory of an experiment, in training and inference, without a GPU.

    See :class:`MemoryPredictor`, which is faster for more than one.
    """
    return MemoryPredictor(device, sizes, num_workers).predict(experiment)


class MemoryPredictor:
    """Predicts peak memory from the real training step, traced with tensors that hold no data.

    A trace takes a second or two. Experiments that differ in batch or depth only share a few
    traces, and those that differ in learning rates, seeds and the like share all. Answers are kept
    on disk in ``<data.cache_dir>/memory`` for the same version of the code.

    Chunks of frames that do not fill up are predicted as if they did, where there are more than
    eight: a little too much.

    Args:
        device: ``cpu``, ``cuda`` or a GPU type such as ``H100``, ``RTX 4090``, ``T4``.
        sizes: what the data ask of the model.
        num_workers: data-parallel workers of a trial.

    Raises:
        UserError: no such device is known.
    """

    def __init__(self, device: str | DeviceType, sizes: OutputSizes, num_workers: int = 1) -> None:
        self.device = device if isinstance(device, DeviceType) else device_type(device)
        self._sizes, self.num_workers = sizes, num_workers
        self._answers = Answers(self.device, sizes, num_workers)
        self._series: dict[str, Series | None] = {}
        self._depths_seen: dict[str, set[int]] = {}
        self._traced_once: set[str] = set()
        self._longest_query: dict[str, int] = {}
        self.num_traces = 0

    def predict(self, experiment: Experiment) -> MemoryPrediction:
        """Training and inference of one worker, with all parts.

        With ``micro_batch_size: auto`` of the largest micro-batch that fits
        ``resources.memory_budget_gib`` (``auto``: the device), or of one clip where none does.
        """
        experiment = self._resolved(experiment)
        inference = self._inference(experiment)
        return MemoryPrediction(
            self.device.name,
            clips_per_worker(experiment, self.num_workers),
            self._parts(experiment, self._training(experiment)),
            self._parts(experiment, inference),
        )

    def train_peak_gib(self, experiment: Experiment) -> float:
        """``predict(experiment).train_peak_gib``, without tracing inference."""
        experiment = self._resolved(experiment)
        return sum(self._parts(experiment, self._training(experiment)).values())

    def train_allocated_gib(self, experiment: Experiment) -> float:
        """``predict(experiment).train_allocated_gib``, without tracing inference."""
        experiment = self._resolved(experiment)
        return allocated_gib(self._parts(experiment, self._training(experiment)))

    def uncalibrated_gib(self, experiment: Experiment) -> float:
        """``predict(experiment).train_allocated_gib`` as if no trial had ever finished."""
        step = self._training(self._resolved(experiment))
        return (step.peak + self.device.blas_workspace_bytes) / 2**30

    def _resolved(self, experiment: Experiment) -> Experiment:
        if experiment.training.micro_batch_size != "auto":
            return experiment
        budget_gib = budget_of(experiment, self.device)
        size = largest_micro_batch(experiment, budget_gib, self.train_peak_gib, self.num_workers)
        return with_micro_batch(experiment, size or 1)

    def _parts(self, experiment: Experiment, step: StepBytes) -> dict[str, float]:
        scale = Calibration(experiment.data.cache_dir, self.device.name).scale()
        return parts_of(step, self.device, scale)

    def _training(self, experiment: Experiment) -> StepBytes:
        size = clips_per_worker(experiment, self.num_workers)
        structure = self._canonical(Structure.of(experiment), size)
        is_accumulating = experiment.training.batch_size > size * self.num_workers
        name = structure.name("train", is_accumulating)
        self._depths_seen.setdefault(structure.key, set()).add(structure.depth)

        def compute() -> StepBytes:
            series = self._series_for(experiment, structure, size, is_accumulating)
            if series is not None:
                return series.at(size, structure.depth)
            traced = as_structured(experiment, structure)
            return self._trace(traced, structure, (size,), is_accumulating)[0].worst()

        cache_dir = experiment.data.cache_dir
        step = self._answers.get(f"{name} {structure.depth} {size}", cache_dir, compute)
        # the trace may have shown that chunks of attention change nothing
        name = self._canonical(structure, size).name("train", is_accumulating)
        self._answers.learn(f"{name} {structure.depth} {size}", step)
        return step

    def _inference(self, experiment: Experiment) -> StepBytes:
        structure = self._canonical(Structure.of(experiment), 1)

        def compute() -> StepBytes:
            self.num_traces += 1
            trial = self._fake_trial(as_structured(experiment, structure))
            timeline, weights = trial.trace_inference(1), trial.parameter_bytes
            return Traced(weights, weights, timeline).worst()

        name = structure.name("inference", structure.depth)
        return self._answers.get(name, experiment.data.cache_dir, compute)

    def _canonical(self, structure: Structure, micro_batch_size: int) -> Structure:
        """The simplest structure with the same operators."""
        if structure.num_chunks(micro_batch_size) == 1:
            structure = structure.without_frame_chunks()
        chunk = structure.attention_chunk_size
        if chunk is not None and chunk > self._longest_query.get(structure.key, chunk):
            structure = structure.without_attention_chunks()
        return structure

    def _series_for(
        self, experiment: Experiment, structure: Structure, size: int, is_accumulating: bool
    ) -> Series | None:
        """The series that holds the answer, or None: trace it itself."""
        num_chunks = structure.num_chunks(size)
        anchors = _anchors(structure)
        is_full = structure.frame_chunk_size is None or (
            size * structure.num_frames % structure.frame_chunk_size == 0
        )
        if anchors is None or (num_chunks <= _MAX_CHUNKS_TRACED and not is_full):
            return None
        name = structure.name("train", is_accumulating)
        has_other_depths = len(self._depths_seen[structure.key]) > 1
        depths: tuple[int, ...] = (structure.depth,)
        if has_other_depths and structure.depth >= _DEPTH_ANCHORS[0]:
            depths = _DEPTH_ANCHORS
        key = f"{name} {depths}"
        is_known = key in self._series
        is_first = name not in self._traced_once
        if not is_known and is_first and num_chunks <= _MAX_CHUNKS_TRACED:
            return None  # the only one so far: a series takes more traces
        if not is_known:
            self._series[key] = self._make_series(
                experiment, structure, anchors, depths, is_accumulating
            )
        return self._series[key]

    def _make_series(
        self,
        experiment: Experiment,
        structure: Structure,
        anchors: tuple[int, int],
        depths: tuple[int, ...],
        is_accumulating: bool,
    ) -> Series | None:
        try:
            return Series(
                anchors,
                depths,
                [
                    self._trace(
                        as_structured(experiment, structure, depth),
                        structure,
                        anchors,
                        is_accumulating,
                    )
                    for depth in depths
                ],
            )
        except NotAlikeError:
            return None

    def _trace(
        self,
        experiment: Experiment,
        structure: Structure,
        micro_batches: tuple[int, ...],
        is_accumulating: bool,
    ) -> list[Traced]:
        trial = self._fake_trial(experiment)
        self.num_traces += len(micro_batches)
        traced = [
            Traced(
                trial.parameter_bytes,
                trial.persistent_bytes,
                trial.trace_step(size, is_accumulating=is_accumulating),
            )
            for size in micro_batches
        ]
        longest, chunk = trial.longest_query, structure.attention_chunk_size
        if longest and (chunk is None or longest < chunk):
            self._longest_query[structure.key] = longest
        for equal in (structure, self._canonical(structure, micro_batches[0])):
            self._traced_once.add(equal.name("train", is_accumulating))
        return traced

    def _fake_trial(self, experiment: Experiment) -> FakeTrial:
        return FakeTrial(experiment, self.device, self._sizes, self.num_workers)


def _anchors(structure: Structure) -> tuple[int, int] | None:
    """Two micro-batches of which all others of the structure follow; None where there are none."""
    frames, chunk = structure.num_frames, structure.frame_chunk_size
    if chunk is None:
        return _UNCHUNKED_ANCHORS
    if chunk % frames == 0:
        return 3 * chunk // frames, 4 * chunk // frames
    return (2, 3) if frames % chunk == 0 else None
