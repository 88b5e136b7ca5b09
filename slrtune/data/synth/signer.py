"""Synthetic signers: who signs, in which light, before which background."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from slrtune.data.synth.hand import FINGER_ANGLES, ORIENTATION, POSE_SIZE, THUMB_ANGLES, HandShape

# Skin tones 1 to 9 of the Monk Skin Tone Scale (Monk, 2019), from light to dark.
_SKIN_TONES = np.array(
    [[246, 237, 228], [243, 231, 219], [247, 234, 208], [234, 218, 186], [215, 189, 150],
     [160, 126, 86], [130, 92, 67], [96, 65, 52], [58, 49, 42]]
) / 255.0  # fmt: skip
_BLUSH = np.array([1.0, 0.84, 0.76])
_GOLDEN_RATIO = 0.618034


@dataclass(frozen=True)
class Signer:
    """All that stays the same for one signer over clips.

    Attributes:
        index: number of the signer.
        shape: proportions of the hand.
        hand_scale: hand length as a fraction of the picture's height.
        skin, sleeve: RGB in [0, 1].
        cuff: how far up the forearm the sleeve starts, in hand lengths from the wrist.
        speed: factor on the tempo.
        position: right and up of the picture's centre, as a fraction of its height.
        tilt: rotation of hand and arm within the picture, degrees.
        habit: (POSE_SIZE,) the signer's constant deviation from the standard poses.
        elbow: where the elbow is, in hand lengths from the picture's centre.
        light: unit vector to the light (right, up, to the viewer).
        ambient, contrast: brightness in the shadow, and how much the light adds.
        shake: amplitude of the hand-held camera as a fraction of the picture's height.
        background_seed: of the look of the background.
    """

    index: int
    shape: HandShape
    hand_scale: float
    skin: tuple[float, float, float]
    sleeve: tuple[float, float, float]
    cuff: float
    speed: float
    position: tuple[float, float]
    tilt: float
    habit: np.ndarray
    elbow: tuple[float, float, float]
    light: tuple[float, float, float]
    ambient: float
    contrast: float
    shake: float
    background_seed: int


def make_signer(seed: int, index: int) -> Signer:
    """Signer ``index`` of the world ``seed``; does not depend on how many signers there are."""
    rng = np.random.default_rng([seed, index])
    habit = np.zeros(POSE_SIZE)
    habit[FINGER_ANGLES] = rng.normal(0.0, [3.0, 4.0, 3.0, 1.0] * 4)
    habit[THUMB_ANGLES] = rng.normal(0.0, [2.0, 2.0, 2.0, 3.0, 3.0])
    habit[ORIENTATION] = rng.normal(0.0, [5.0, 3.0, 0.0])
    # the golden-ratio sequence spreads the skin tones evenly over any run of signers
    tone = 0.4 + 7.6 * ((np.random.default_rng(seed).random() + index * _GOLDEN_RATIO) % 1.0)
    azimuth, elevation = np.radians(rng.uniform(-60, 60)), np.radians(rng.uniform(15, 60))
    light = (
        float(np.sin(azimuth) * np.cos(elevation)),
        float(np.sin(elevation)),
        float(np.cos(azimuth) * np.cos(elevation)),
    )
    return Signer(
        index=index,
        shape=HandShape(
            finger_length=tuple(rng.uniform(0.92, 1.08) * rng.uniform(0.97, 1.03, 4)),
            thumb_length=float(rng.uniform(0.94, 1.06)),
            palm_width=float(rng.uniform(0.92, 1.08)),
            thickness=float(rng.uniform(0.95, 1.15)),
        ),
        hand_scale=float(rng.uniform(0.67, 0.76)),
        skin=_skin_colour(tone),
        sleeve=tuple(rng.uniform(0.08, 0.8) * np.sort(rng.uniform(0.5, 1.0, 3))),
        cuff=float(rng.uniform(0.12, 0.45)),
        speed=float(rng.uniform(0.85, 1.2)),
        position=tuple(rng.uniform(-0.03, 0.03, 2)),
        tilt=float(rng.uniform(-9.0, 9.0)),
        habit=habit,
        elbow=(float(rng.uniform(-0.55, -0.1)), -1.7, float(rng.uniform(-0.6, -0.2))),
        light=light,
        ambient=float(rng.uniform(0.42, 0.58)),
        contrast=float(rng.uniform(0.45, 0.62)),
        shake=float(rng.uniform(0.0, 0.008)),
        background_seed=int(rng.integers(2**31)),
    )


def _skin_colour(tone: float) -> tuple[float, float, float]:
    lower = min(int(tone), len(_SKIN_TONES) - 2)
    share = tone - lower
    # pure scale colours look like plaster under white light: blood makes skin redder
    red, green, blue = ((1 - share) * _SKIN_TONES[lower] + share * _SKIN_TONES[lower + 1]) * _BLUSH
    return float(red), float(green), float(blue)
