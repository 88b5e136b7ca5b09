"""A long video or a camera, read in windows by CTC and written as it goes.

A window is as long as a training clip and overlaps the next by half. Where CTC keeps the axis of
time, the readings of two windows are joined within that half, at a moment that both take for a
pause, so that a sign at the edge of one is read in the middle of the other.
Shapes: T frames, Q tokens of a window, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from slrtune.config.errors import UserError
from slrtune.config.model import DenseViTConfig
from slrtune.deploy.translator import Translator
from slrtune.text.decoding.ctc import ctc_greedy
from slrtune.text.decoding.hypothesis import signed_log_probs
from slrtune.text.ids import PAD


@dataclass(frozen=True)
class StreamedText:
    """What was read between two moments.

    Attributes:
        start_s, end_s: of the stretch that is now read for good.
        text: what is new; empty where nothing was signed.
        confidence: 0..1, the mean probability of the stretch's moments.
    """

    start_s: float
    end_s: float
    text: str
    confidence: float


class StreamTranslator:
    """Reads frames at a constant rate.

    Args:
        translator: trained with CTC.
        window_s: seconds of a window; those of a training clip, so that signing looks as fast.

    Raises:
        UserError: its CTC layer was not trained.
    """

    def __init__(self, translator: Translator, window_s: float) -> None:
        experiment = translator.trained.experiment
        if not experiment.training.ctc_weight:
            raise UserError(
                "--stream: needs a model that was trained with CTC, but training.ctc_weight was 0"
            )
        section = experiment.model.section
        assert isinstance(section, DenseViTConfig)  # the one translator
        self._translator, self._num_frames = translator, experiment.data.num_frames
        self.interval_s = window_s / self._num_frames
        stride = 1 if section.num_queries else section.temporal_stride
        self._keeps_time = section.num_queries is None and self._num_frames >= 4 * stride
        self._frames_per_token = stride
        hop = max(self._num_frames // 2 // stride, 1) * stride
        self._joined: _Joined | None = None
        self._hop = hop if self._keeps_time else self._num_frames

    def translate(self, frames: Iterable[Tensor]) -> Iterator[StreamedText]:
        """Text as soon as it is read for good.

        Args:
            frames: uint8 (C, S, S), every ``interval_s``.
        """
        joined = _Joined(self, self._translator)
        self._joined = joined
        held: list[Tensor] = []
        num_read = start = 0
        for frame in frames:
            held.append(frame)
            num_read += 1
            if len(held) == self._num_frames:
                yield from joined.add(self._log_probs(held), start)
                held, start = held[self._hop :], start + self._hop
        # what is left was not yet in the middle of a window
        is_new = num_read < self._num_frames or len(held) > self._num_frames - self._hop
        if held and is_new:
            yield from joined.add(self._log_probs(held), start)
        yield from joined.end()

    def _log_probs(self, frames: Sequence[Tensor]) -> Tensor:
        """(Q, V) of the frames of a window; the last may be shorter."""
        memory = self._translator.encode(torch.stack(list(frames))[None])
        return signed_log_probs(memory.ctc_logits)[0].cpu()

    @property
    def text(self) -> str:
        """All that was read so far."""
        return "" if self._joined is None else self._joined.text

    @property
    def window_frames(self) -> int:
        """Frames of a window."""
        return self._num_frames

    @property
    def keeps_time(self) -> bool:
        """Whether windows overlap and are joined; else each is a text of its own."""
        return self._keeps_time

    def seconds(self, token: int) -> float:
        """When a token of the joined axis begins."""
        return token * self._frames_per_token * self.interval_s

    def token_of(self, frame: int) -> int:
        """The token of the joined axis that a frame is in."""
        return frame // self._frames_per_token


class _Joined:
    """Readings of windows on one axis of time, and the text so far."""

    def __init__(self, stream: StreamTranslator, translator: Translator) -> None:
        self._stream, self._translator = stream, translator
        self._pending: Tensor | None = None  # (Q, V), from token `_start` on
        self._start = 0
        self._last, self._ids, self.text = PAD, list[int](), ""

    def add(self, log_probs: Tensor, first_frame: int) -> Iterator[StreamedText]:
        """The reading of a window that begins with a frame; gives what it settles."""
        if not self._stream.keeps_time:
            yield from self._alone(log_probs, first_frame)
            return
        start = self._stream.token_of(first_frame)
        if self._pending is not None:
            overlap = self._start + len(self._pending) - start
            seam = _seam(self._pending[-overlap:], log_probs[:overlap])
            kept = len(self._pending) - overlap + seam
            yield from self._settle(self._pending[:kept])
            start, log_probs = start + seam, log_probs[seam:]
        self._pending, self._start = log_probs, start

    def end(self) -> Iterator[StreamedText]:
        """What no further window will change."""
        if self._pending is not None:
            yield from self._settle(self._pending)

    def _settle(self, log_probs: Tensor) -> Iterator[StreamedText]:
        if not len(log_probs):
            return
        best, path = log_probs.max(dim=1)
        for token in path.tolist():
            if token not in (PAD, self._last):
                self._ids.append(token)
            self._last = token
        text = self._translator.tokenizer.decode(self._ids)
        new, self.text = text[len(self.text) :], text
        start_s = self._stream.seconds(self._start)
        self._start += len(log_probs)
        confidence = math.exp(float(best.mean()))
        yield StreamedText(start_s, self._stream.seconds(self._start), new, confidence)

    def _alone(self, log_probs: Tensor, first_frame: int) -> Iterator[StreamedText]:
        (found,) = ctc_greedy(log_probs[None], torch.tensor([len(log_probs)]))
        interval_s, window = self._stream.interval_s, self._stream.window_frames
        text = self._translator.tokenizer.decode(found.ids)
        start_s = first_frame * interval_s
        end_s = (first_frame + window) * interval_s
        self.text = f"{self.text} {text}".strip()
        yield StreamedText(start_s, end_s, text, found.confidence)


def _seam(ending: Tensor, beginning: Tensor) -> int:
    """Where to leave one reading (N, V) of a stretch for the other: a pause in both, near the
    middle."""
    length = min(len(ending), len(beginning))
    pause = ending[:length, PAD] + beginning[:length, PAD]
    place = torch.arange(length, dtype=pause.dtype)
    from_middle = (place - (length - 1) / 2).abs() / max(length, 1)
    return int((pause - from_middle).argmax())
