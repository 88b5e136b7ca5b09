"""Translation: a sentence per clip, spelled by CTC and written by the decoder.

Shapes: B clips of a batch, Q tokens of the video, V vocabulary, L longest text and its end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from slrtune.config import objective
from slrtune.config.decoding import DecodingConfig
from slrtune.config.training import TrainingConfig
from slrtune.data.loader import ClipBatch
from slrtune.models.translation import TranslatorOutput
from slrtune.text.decoding import Hypothesis, decode
from slrtune.text.metrics import text_metrics
from slrtune.text.tokenizer import TextTokenizer
from slrtune.training import distributed
from slrtune.training.contrastive import contrastive_losses, second_view
from slrtune.training.exhibit import ClipExhibit
from slrtune.training.tasks.extras import ExtraFigures, extra_losses
from slrtune.training.tasks.task import Judge, Task
from slrtune.training.text_losses import (
    TextTargets,
    ctc_losses,
    memory_lengths,
    no_loss,
    num_lost,
    writing_losses,
)

Ids = Mapping[int, list[int]]


@dataclass(frozen=True)
class Writing:
    """What judging written text needs.

    Attributes:
        tokenizer: ids to text.
        references: sentences by clip id, normalized as the tokenizer does.
        decoding: how text is read off the model.
        exhibit: is shown each validation, and saved with the best; None = nothing to look at.
    """

    tokenizer: TextTokenizer
    references: Mapping[int, str]
    decoding: DecodingConfig
    exhibit: ClipExhibit | None = None


class Translation(Task):
    """CTC on the tokens of the video and label-smoothed cross-entropy of the decoder.

    A clip's loss is the weighted sum of both, each per token of its text, so that long texts weigh
    no more than short ones, and of what else is learnt (`extras`). CTC cannot spell a text that is
    longer than the video has tokens: such clips have no CTC loss, and are counted.
    """

    kind: ClassVar[objective.Task] = "translation"
    headline = ("val_bleu", "val_chrf", "val_wer", "val_rouge", "val_loss")

    def __init__(
        self,
        config: TrainingConfig,
        texts: Ids,
        glosses: Ids,
        writing: Writing | None = None,
        device: torch.device | str = "cpu",
        regions: Sequence[tuple[int, int]] = (),
    ) -> None:
        """
        Args:
            config: the recipe.
            texts: token ids by clip id.
            glosses: gloss ids by clip id, from 1 on; an empty list where there are none.
            writing: for validation; None = never validated.
            device: of the trial.
            regions: landmarks [first, last) of each region that the model looks at.
        """
        self.regions = regions
        self._config, self._texts, self._glosses = config, texts, glosses
        self._writing, self._device = writing, device
        self._num_lost = 0

    def targets(self, batch: ClipBatch, epoch: int) -> TextTargets:
        """What the clips say, and whether they are learnt to be told apart first."""
        is_contrastive = epoch < self._config.contrastive_epochs
        return self.said(batch)._replace(is_contrastive=is_contrastive)

    def said(self, batch: ClipBatch) -> TextTargets:
        """What the clips say."""
        clip_ids = batch.clip_ids.tolist()
        texts = [self._texts[clip_id] for clip_id in clip_ids]
        glosses = [self._glosses[clip_id] for clip_id in clip_ids]
        return TextTargets(texts, glosses)

    def inputs(self, frames: Tensor, targets: TextTargets) -> tuple[Tensor | None, ...]:
        """Frames, no mask (all clips have as many), and what the decoder reads."""
        tokens = targets.decoder_input.to(frames.device, non_blocking=True)
        if targets.is_contrastive:
            return torch.cat([frames, second_view(frames)]), None, torch.cat([tokens, tokens])
        return frames, None, tokens

    def loss_sum(self, outputs: TranslatorOutput, batch: ClipBatch, targets: TextTargets) -> Tensor:
        """Of outputs in whatever precision; counts the clips that CTC cannot spell."""
        if targets.is_contrastive:
            loss = contrastive_losses(outputs.extras["embedding"]).sum()
            return loss + no_loss(outputs)
        self._num_lost += num_lost(outputs, targets)
        loss = self._loss_sum(outputs, batch, targets, self._config.label_smoothing)
        return loss + no_loss(outputs) if outputs.extras else loss

    def _loss_sum(
        self, outputs: TranslatorOutput, batch: ClipBatch, targets: TextTargets, smoothing: float
    ) -> Tensor:
        config, memory = self._config, outputs.memory
        lengths = memory_lengths(outputs)
        ctc = ctc_losses(memory.ctc_logits, lengths, targets.texts)
        written = writing_losses(outputs.token_logits, targets, smoothing)
        extras = extra_losses(
            config, outputs.extras, targets.glosses, batch.keypoints, self.regions
        )
        loss = (config.ctc_weight * ctc + config.ce_weight * written + extras).sum()
        if memory.gloss_ctc_logits is not None:
            glosses = ctc_losses(memory.gloss_ctc_logits, lengths, targets.glosses)
            loss = loss + config.gloss_ctc_weight * glosses.sum()
        return loss

    def judge(self, device: torch.device) -> Judge:
        """BLEU, chrF, WER and ROUGE-L of what the model writes, and its loss."""
        assert self._writing is not None  # whoever validates has given it
        return _TextJudge(self, self._writing, device)

    def counts(self) -> dict[str, float]:
        """Clips without a CTC loss."""
        lost = torch.tensor(float(self._num_lost), device=self._device)
        self._num_lost = 0
        return {"num_ctc_lost": float(distributed.sum_over_ranks(lost))}

    def exhibit(self) -> None:
        """Some clips with what was written of them."""
        if self._writing is not None and self._writing.exhibit is not None:
            self._writing.exhibit.save()


class _TextJudge(Judge):
    def __init__(self, task: Translation, writing: Writing, device: torch.device) -> None:
        self._task, self._writing = task, writing
        self._sums = torch.zeros(3, dtype=torch.float64, device=device)  # loss, clips, lost
        self._extras = ExtraFigures(device, task.regions)
        self._written: dict[int, str] = {}
        if writing.exhibit is not None:
            writing.exhibit.begin()

    def look(
        self, network: nn.Module, frames: Tensor, batch: ClipBatch
    ) -> tuple[TranslatorOutput, TextTargets, list[Hypothesis]]:
        targets = self._task.said(batch)
        outputs = network(*self._task.inputs(frames, targets))
        decoder: Any = network
        return outputs, targets, decode(decoder, outputs.memory, self._writing.decoding)

    def count(
        self,
        outputs: tuple[TranslatorOutput, TextTargets, list[Hypothesis]],
        batch: ClipBatch,
    ) -> None:
        output, targets, hypotheses = outputs
        self._sums[0] += self._task._loss_sum(output, batch, targets, smoothing=0.0).double()
        self._extras.count(output.extras, targets.glosses, batch.keypoints)
        self._sums[1] += len(batch)
        self._sums[2] += num_lost(output, targets)
        texts = [self._writing.tokenizer.decode(hypothesis.ids) for hypothesis in hypotheses]
        clip_ids = batch.clip_ids.tolist()
        self._written.update(zip(clip_ids, texts, strict=True))
        if self._writing.exhibit is not None:
            meant = [self._writing.references[clip_id] for clip_id in clip_ids]
            sure = [hypothesis.confidence for hypothesis in hypotheses]
            self._writing.exhibit.show(batch, meant, texts, sure)

    def compute(self) -> dict[str, float]:
        loss, num_clips, lost = distributed.sum_over_ranks(self._sums).tolist()
        written = {
            clip_id: text for part in distributed.gathered(self._written)
            for clip_id, text in part.items()
        }  # fmt: skip
        clip_ids = sorted(written)
        metrics = text_metrics(
            [written[clip_id] for clip_id in clip_ids],
            [self._writing.references[clip_id] for clip_id in clip_ids],
        )
        return {
            "val_loss": loss / num_clips,
            "val_num_ctc_lost": lost,
            **self._extras.compute(),
            **{f"val_{_REPORTED.get(name, name)}": value for name, value in metrics.items()},
        }


_REPORTED = {"rouge_l": "rouge"}
