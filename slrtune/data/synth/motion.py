"""From a text to a pose per frame: rest, letter by letter, rest."""

from __future__ import annotations

import numpy as np

from slrtune.data.synth.hand import OFFSET, ORIENTATION, POSE_SIZE
from slrtune.data.synth.letters import LETTERS, REST
from slrtune.data.synth.signer import Signer

_REST_S = 0.22
_SINGLE_LETTER_S = 1.10
SPELLED_LETTER_S = 0.30
_PAUSE_S = 0.40
_MOVING_LETTER_S = 0.90
_TRANSITION_S = 0.32
_SLIDE = 0.16  # the second of a double letter is signed further out, in hand lengths

# What J and Z trace while they are held, as (right, up, yaw, pitch, roll) relative to the pose.
# The signer draws them as he sees them, so the viewer sees them mirrored.
_PATHS = {
    "J": [
        (0.00, 0.14, 0, 0, 0), (0.00, 0.0, 0, 0, 0), (0.0, -0.16, 20, 0, -10),
        (0.10, -0.24, 60, 0, -40), (0.22, -0.16, 95, 0, -70),
    ],
    "Z": [
        (0.18, 0.12, 0, 18, 0), (-0.18, 0.12, 0, 18, 0),
        (0.18, -0.20, 0, 18, 0), (-0.18, -0.20, 0, 18, 0),
    ],
}  # fmt: skip


def pose_track(
    text: str,
    signer: Signer,
    fps: float,
    rng: np.random.Generator,
    letter_s: float = SPELLED_LETTER_S,
) -> np.ndarray:
    """Poses of ``text`` as (T, POSE_SIZE); at a space the hand rests for a moment.

    The targets form a step function that is smoothed with the bell-shaped speed profile of a
    minimum-jerk movement (Flash and Hogan, J. Neurosci. 5(7), 1985); superposed movements of this
    kind describe how a hand changes its target on the way (Flash and Henis, 1991). Targets closer
    together than one transition therefore blend into each other: coarticulation.
    """
    tempo = signer.speed * rng.uniform(0.92, 1.08)
    targets = [np.tile(REST.to_vector(), (_frames(_REST_S / tempo, fps), 1))]
    slide = 0.0
    for position, letter in enumerate(text):
        if letter == " ":
            targets.append(np.tile(REST.to_vector(), (_frames(_PAUSE_S / tempo, fps), 1)))
            continue
        is_double = position > 0 and letter == text[position - 1]
        slide = slide + _SLIDE if is_double else 0.0
        hold_s = _SINGLE_LETTER_S if len(text) == 1 else letter_s
        if letter in _PATHS:
            hold_s = max(hold_s, _MOVING_LETTER_S)
        target = _letter_targets(letter, _frames(hold_s / tempo, fps))
        target[:, OFFSET] += (-slide, 0.0)
        targets.append(target)
    targets.append(targets[0])
    track = _smooth(np.concatenate(targets), _frames(_TRANSITION_S / tempo, fps))
    return track + signer.habit + _jitter(len(track), fps, rng)


def smooth_noise(num_frames: int, size: int, fps: float, rng: np.random.Generator) -> np.ndarray:
    """Slow unit-variance noise (T, size), about two changes a second."""
    knots = rng.normal(size=(int(num_frames / fps * 2) + 4, size))
    width = max(3, round(0.5 * fps))
    dense = _smooth(np.repeat(knots, width, axis=0), 2 * width)[width : width + num_frames]
    return dense * 1.4  # smoothing takes away about half of the variance


def _frames(duration_s: float, fps: float) -> int:
    return max(1, round(duration_s * fps))


def _letter_targets(letter: str, num_frames: int) -> np.ndarray:
    target = np.tile(LETTERS[letter].to_vector(), (num_frames, 1))
    if letter in _PATHS:
        path = np.array(_PATHS[letter], dtype=np.float64)
        strokes = np.linspace(0, len(path) - 1, num_frames)
        stops = np.arange(len(path))
        traced = np.stack([np.interp(strokes, stops, column) for column in path.T], axis=-1)
        target[:, OFFSET] += traced[:, :2]
        target[:, ORIENTATION] += traced[:, 2:]
    return target


def _smooth(track: np.ndarray, width: int) -> np.ndarray:
    """Filter (T, size) along time with the speed profile 30 s^2 (1 - s)^2 of ``width`` frames."""
    phase = (np.arange(width) + 0.5) / width
    kernel = phase**2 * (1.0 - phase) ** 2
    kernel /= kernel.sum()
    padded = np.pad(track, ((width // 2, width - 1 - width // 2), (0, 0)), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, width, axis=0)
    return windows @ kernel


def _jitter(num_frames: int, fps: float, rng: np.random.Generator) -> np.ndarray:
    """How far one clip is from the other clips of the signer, and how the held hand trembles."""
    scale = np.full(POSE_SIZE, 1.6)
    scale[ORIENTATION] = (2.0, 1.6, 1.6)
    scale[OFFSET] = 0.015
    tremble = smooth_noise(num_frames, POSE_SIZE, fps, rng)
    return scale * (rng.normal(size=POSE_SIZE) + 0.5 * tremble)
