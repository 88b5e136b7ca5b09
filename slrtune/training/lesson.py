"""What a trial learns from its data: the one place that knows which task goes with which model."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from slrtune.config.experiment import Experiment
from slrtune.data.prepared import PreparedData
from slrtune.data.splits import Needs, has_needed
from slrtune.text.ids import UNK
from slrtune.text.tokenizer import TextTokenizer
from slrtune.training.construction import OutputSizes
from slrtune.training.corpus import Corpus
from slrtune.training.exhibit import EXHIBIT_FILE, ClipExhibit, GlossExhibit
from slrtune.training.tasks import Recognition, Task, Translation, Writing


@dataclass(frozen=True)
class Lesson:
    """All that a trial takes from its data beside the clips.

    Attributes:
        sizes: what the model must have outputs for.
        glosses: names of the model's labels, in their order.
        tokenizer: of a translator.
        task: the task of a trial in a folder, on a device.
        constants: what to report beside every epoch.
        clip_s: median seconds of the training clips of a translator; None where nothing tells.
    """

    sizes: OutputSizes
    glosses: tuple[str, ...]
    tokenizer: TextTokenizer | None
    task: Callable[[Path, torch.device], Task]
    constants: Mapping[str, float] = field(default_factory=dict)
    clip_s: float | None = None


def needs_of(experiment: Experiment) -> Needs:
    """What a clip must have to be learnt from."""
    return "sentence" if experiment.model.task == "translation" else "gloss"


def sizes_of(experiment: Experiment, prepared: PreparedData) -> OutputSizes:
    """What the data ask of the experiment's model."""
    return lesson_of(experiment, prepared).sizes


def lesson_of(experiment: Experiment, prepared: PreparedData) -> Lesson:
    """What the experiment's model learns from the data.

    Raises:
        UserError: as `Corpus.of`.
    """
    training = experiment.training
    if experiment.model.task == "recognition":
        glosses = prepared.glosses

        def recognition(folder: Path, device: torch.device) -> Task:
            return Recognition(training, GlossExhibit(folder / EXHIBIT_FILE, glosses, device))

        return Lesson(OutputSizes(len(glosses)), glosses, None, recognition)
    corpus = Corpus.of(experiment, prepared)
    regions = experiment.model.dense_vit.region_attention

    def translation(folder: Path, device: torch.device) -> Task:
        writing = Writing(
            corpus.tokenizer,
            corpus.texts,
            experiment.decoding,
            ClipExhibit(folder / EXHIBIT_FILE),
        )
        return Translation(training, corpus.token_ids, corpus.gloss_ids, writing, device, regions)

    constants = {"num_cut_texts": float(corpus.num_cut)} if corpus.num_cut else {}
    clip_s = _median_clip_s(prepared, experiment.data.train_split)
    return Lesson(corpus.sizes, corpus.glosses, corpus.tokenizer, translation, constants, clip_s)


def _median_clip_s(prepared: PreparedData, split: str) -> float | None:
    """Of the clips of a split; None where their files tell no frame rate."""
    lengths_s = []
    for record in prepared.records:
        if record.split == split and has_needed(record, "sentence") and record.fps:
            start, end = record.frame_window(record.fps)
            num_frames = (end or record.num_frames or 0) - (start or 0)
            lengths_s.append(num_frames / record.fps)
    return statistics.median(lengths_s) if lengths_s else None


def task_without_data(experiment: Experiment, sizes: OutputSizes) -> Task:
    """The same task for clips that say anything, as long as the longest of the data: for memory
    and time, which do not depend on what is said."""
    if experiment.model.task == "recognition":
        return Recognition(experiment.training)
    text = [UNK] * (sizes.text_length - 1)
    line = [1] * sizes.gloss_length
    regions = experiment.model.dense_vit.region_attention
    return Translation(
        experiment.training,
        defaultdict(lambda: text),
        defaultdict(lambda: line),
        regions=regions,
    )
