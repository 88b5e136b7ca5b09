"""What a model made of the validation clips, for people: confusions, and a few clips to look at.

Shapes: B clips of a batch, T frames, C channels, H W pixels, G glosses.
"""

from __future__ import annotations

import heapq
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from slrtune.data.loader import ClipBatch
from slrtune.training import distributed

_logger = logging.getLogger(__name__)

EXHIBIT_FILE = "validation.npz"
_NUM_CLIPS, _NUM_FRAMES, _MAX_SIZE_PX = 8, 4, 96
# With more glosses a matrix costs more than it shows.
_MAX_GLOSSES = 500
_SPREAD = 2_654_435_761  # Knuth's multiplicative hash: neighbours in the manifest fall apart


@dataclass(frozen=True)
class ExhibitedClip:
    """A clip with what it means and what the model said of it.

    Attributes:
        frames: uint8 (T', H', W', 3), few and small.
        probability: of what was said, as the model sees it.
    """

    frames: np.ndarray
    meant: str
    said: str
    probability: float


class ClipExhibit:
    """Collects during a validation, and is written where that was the best so far.

    The clips are the same in all trials on the same data, so that trials can be compared by them;
    with several workers they are of rank 0's share.

    Args:
        file: the npz to write.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._clips: list[tuple[int, int, ExhibitedClip]] = []  # a heap: the largest key first

    def begin(self) -> None:
        """A new validation."""
        self._clips = []

    def show(
        self,
        batch: ClipBatch,
        meant: Sequence[str],
        said: Sequence[str],
        probabilities: Sequence[float],
    ) -> None:
        """Clips of the validation split with what was said of each."""
        if batch.frames.dtype != torch.uint8:
            return  # cached features: nothing to look at
        for place, clip_id in enumerate(batch.clip_ids.tolist()):
            key = -(clip_id * _SPREAD % 2**32)
            if len(self._clips) >= _NUM_CLIPS and key <= self._clips[0][0]:
                continue
            frames = _few_and_small(batch.frames[place])
            clip = ExhibitedClip(frames, meant[place], said[place], probabilities[place])
            push = heapq.heappush if len(self._clips) < _NUM_CLIPS else heapq.heappushpop
            push(self._clips, (key, clip_id, clip))

    def save(self) -> None:
        """Write the file, on one rank. A disk that is full is no reason to end a trial."""
        try:
            self._write()
        except OSError as error:
            _logger.warning("%s was not written: %s", self._file, error)

    def _write(self) -> None:
        partial = self._file.with_name(f"{self._file.stem}.partial.npz")
        np.savez_compressed(partial, allow_pickle=False, **self._content())
        partial.replace(self._file)  # a reader never sees half a file

    def _content(self) -> dict[str, np.ndarray]:
        clips = [clip for _, _, clip in sorted(self._clips, key=lambda entry: entry[1])]
        return {
            "frames": np.array([clip.frames for clip in clips], dtype=np.uint8),
            "meant": np.array([clip.meant for clip in clips], dtype=np.str_),
            "said": np.array([clip.said for clip in clips], dtype=np.str_),
            "probabilities": np.array([clip.probability for clip in clips], dtype=np.float64),
        }


class GlossExhibit(ClipExhibit):
    """Of recognition: the confusions of all ranks' clips as well.

    Args:
        file: the npz to write.
        glosses: names of the labels.
    """

    def __init__(self, file: Path, glosses: Sequence[str], device: torch.device) -> None:
        super().__init__(file)
        self._glosses, self._device = list(glosses), device
        self.begin()

    def begin(self) -> None:
        super().begin()
        size = len(self._glosses) if len(self._glosses) <= _MAX_GLOSSES else 0
        self._counts = torch.zeros(size, size, dtype=torch.int64, device=self._device)

    def add(self, batch: ClipBatch, logits: Tensor) -> None:
        """A batch of the validation split with its logits (B, G)."""
        predicted = logits.argmax(dim=1)
        if len(self._counts):
            ones = torch.ones_like(predicted)
            self._counts.index_put_((batch.labels, predicted), ones, accumulate=True)
        self.show(
            batch,
            [self._glosses[label] for label in batch.labels.tolist()],
            [self._glosses[label] for label in predicted.tolist()],
            logits.float().softmax(dim=1).amax(dim=1).tolist(),
        )

    def end(self) -> None:
        """All clips were added: join the confusions of all ranks."""
        self._counts = distributed.sum_over_ranks(self._counts)

    def _content(self) -> dict[str, np.ndarray]:
        return {
            **super()._content(),
            "counts": self._counts.cpu().numpy(),
            "glosses": np.array(self._glosses, dtype=np.str_),
        }


def _few_and_small(frames: Tensor) -> np.ndarray:
    """uint8 (T, C, H, W) to (T', H', W', 3), by leaving out frames, rows and columns."""
    num_frames, _, height, width = frames.shape
    places = torch.linspace(0, num_frames - 1, min(num_frames, _NUM_FRAMES)).round().long()
    stride = -(-max(height, width) // _MAX_SIZE_PX)
    chosen = frames[places.to(frames.device)][:, :3, ::stride, ::stride]
    return chosen.permute(0, 2, 3, 1).contiguous().cpu().numpy()
