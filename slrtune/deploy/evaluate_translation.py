"""A translator judged on a split of its data, by every way of decoding."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch

from slrtune.config.errors import UserError
from slrtune.data.coverage import Coverage
from slrtune.data.loader import build_test_loader
from slrtune.data.manifest import ClipRecord
from slrtune.data.prepared import PreparedData
from slrtune.data.splits import has_needed
from slrtune.data.views import Views
from slrtune.deploy.evaluate import default_batch_size, device_name
from slrtune.deploy.trained_model import TrainedModel
from slrtune.deploy.translator import Translator, Written, with_method
from slrtune.text.metrics import signature, text_metrics
from slrtune.training.batches import TimedIterator
from slrtune.training.evaluation import InferenceCost
from slrtune.training.peak_memory import PeakMemory
from slrtune.training.seeding import deterministic_kernels


class SignerErrors(NamedTuple):
    """WER on the clips of one signer; None where the data do not say who signs."""

    signer: str | None
    num_clips: int
    wer: float


@dataclass(frozen=True)
class TranslationEvaluation:
    """What was written of every clip of a split.

    Attributes:
        trained: the checkpoint.
        split: its name.
        records: the clips.
        references: their sentences, normalized as the model writes.
        written: by method: a text per clip.
        write_s: by method: seconds for all clips.
        encode_s: seconds of the encoder for all clips.
        coverage: of this split alone.
        cost: time and memory of everything.
        num_parameters: of the model.
        precision, device, batch_size: how it was computed.
    """

    trained: TrainedModel
    split: str
    records: Sequence[ClipRecord]
    references: Sequence[str]
    written: Mapping[str, Sequence[Written]]
    write_s: Mapping[str, float]
    encode_s: float
    coverage: Coverage
    cost: InferenceCost
    num_parameters: int
    precision: str
    device: str
    batch_size: int

    @cached_property
    def metrics(self) -> dict[str, dict[str, float]]:
        """By method: ``bleu1`` to ``bleu4``, ``bleu``, ``chrf``, ``wer``, ``rouge_l``."""
        return {
            method: text_metrics([each.text for each in texts], self.references)
            for method, texts in self.written.items()
        }

    @property
    def signature(self) -> str:
        """What the figures mean."""
        return signature(self.references)

    @property
    def best_method(self) -> str:
        """The one with the fewest wrong words; the first of equals."""
        return min(self.metrics, key=lambda method: self.metrics[method]["wer"])

    def per_signer(self, method: str) -> list[SignerErrors]:
        """Every signer, the worst first."""
        places: dict[str | None, list[int]] = defaultdict(list)
        for place, record in enumerate(self.records):
            places[record.signer].append(place)
        rows = []
        for signer, own in places.items():
            said = [self.written[method][place].text for place in own]
            meant = [self.references[place] for place in own]
            rows.append(SignerErrors(signer, len(own), text_metrics(said, meant)["wer"]))
        return sorted(rows, key=lambda row: (-row.wer, row.signer or ""))


def evaluate_translation(
    trained: TrainedModel,
    prepared: PreparedData,
    split: str,
    methods: Sequence[str],
    *,
    batch_size: int | None = None,
    device: torch.device,
    on_clips: Callable[[int, int], None] = lambda done, total: None,
) -> TranslationEvaluation:
    """Translate every usable clip of ``split`` that has a sentence.

    Args:
        methods: ways of decoding; each clip goes through the encoder once.
        batch_size: clips at once; None = as many as a micro-batch of the training had.
        on_clips: told (done, total).

    Raises:
        UserError: no translator, or the GPU's memory does not suffice.
    """
    translator = Translator(trained, device)
    batch_size = batch_size or default_batch_size(trained)
    records = [
        record
        for record in prepared.records
        if record.split == split and has_needed(record, "sentence")
    ]
    decoding = {m: with_method(trained.experiment.decoding, m) for m in methods}
    written: dict[str, list[Written]] = {method: [] for method in methods}
    spent_s = dict.fromkeys(("encode", *methods), 0.0)
    memory, started_s = PeakMemory(translator.model, device), time.perf_counter()
    loader = build_test_loader(
        prepared, split, Views(), batch_size, pin_memory=device.type == "cuda"
    )
    batches, num_done = TimedIterator(loader), 0
    try:
        with deterministic_kernels(is_strict=False):
            for batch in batches:
                with memory.measuring(), _timed(spent_s, "encode", device):
                    clips = translator.encode(batch.frames[:, 0])
                memory.end_step()
                for method in methods:
                    with _timed(spent_s, method, device):
                        written[method] += translator.write(clips, decoding[method])
                num_done += len(batch)
                on_clips(num_done, len(records))
    except torch.OutOfMemoryError:
        raise UserError(
            f"--batch-size: {batch_size} clips at once must fit the GPU's memory, but do not; "
            f"lower it{' or take --device cpu' if batch_size == 1 else ''}"
        ) from None
    wall_s = time.perf_counter() - started_s
    return TranslationEvaluation(
        trained=trained,
        split=split,
        records=records,
        references=[translator.tokenizer.normalize(record.sentence or "") for record in records],
        written=written,
        write_s={method: spent_s[method] for method in methods},
        encode_s=spent_s["encode"],
        coverage=Coverage.of([record for record in prepared.records if record.split == split]),
        cost=InferenceCost(wall_s, batches.wait_s / wall_s, memory.peak_gib),
        num_parameters=sum(parameter.numel() for parameter in translator.model.parameters()),
        precision=translator.precision.name,
        device=device_name(device),
        batch_size=batch_size,
    )


@contextmanager
def _timed(spent_s: dict[str, float], name: str, device: torch.device) -> Iterator[None]:
    """Adds the seconds of its body to ``spent_s[name]``, the GPU's work included."""
    started_s = time.perf_counter()
    yield
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    spent_s[name] += time.perf_counter() - started_s
