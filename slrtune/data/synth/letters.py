"""The handshapes of the American manual alphabet as joint angles, and the paths of J and Z."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

#: MCP, PIP and DIP flexion and spread towards the thumb, in degrees.
Finger = tuple[float, float, float, float]

_STRAIGHT: Finger = (2, 4, 2, 0)
_FIST: Finger = (82, 100, 62, 0)


@dataclass(frozen=True)
class HandPose:
    """One handshape with its orientation.

    Attributes:
        index, middle, ring, little: flexion of MCP, PIP and DIP, and spread, in degrees.
        thumb: radial abduction (away from the index finger within the palm plane), palmar
            abduction (out of the palm plane), turn of the flexion plane from "across the palm" (0)
            to "into the palm" (90 and more), MCP flexion, IP flexion, in degrees.
        orientation: yaw, pitch, roll in degrees (see ``hand.rotation_matrices``).
        offset: right and up, in hand lengths, so that the hand stays in the middle of the picture.
    """

    index: Finger = _FIST
    middle: Finger = _FIST
    ring: Finger = _FIST
    little: Finger = _FIST
    thumb: tuple[float, float, float, float, float] = (20, 20, 0, 10, 10)
    orientation: tuple[float, float, float] = (0, 0, 0)
    offset: tuple[float, float] = (0, 0)

    def to_vector(self) -> np.ndarray:
        """The pose as (POSE_SIZE,), in the order that ``hand`` names."""
        fingers = (*self.index, *self.middle, *self.ring, *self.little)
        return np.array((*fingers, *self.thumb, *self.orientation, *self.offset), dtype=np.float64)


def _spread(finger: Finger, degrees: float) -> Finger:
    return (*finger[:3], degrees)


_THUMB_OVER_FIST = (22, 42, 30, 40, 50)
_THUMB_OVER_RING = (25, 41, 20, 51, 41)
# Fists would leave the upper half of the picture empty.
_RAISED = (0.0, 0.14)
_K_SHAPE = HandPose(index=(2, 4, 2, 6), middle=(48, 4, 2, -6), thumb=(16, 34, 20, 6, 8))
_G_SHAPE = HandPose(index=(10, 4, 2, 0), thumb=(24, 6, 0, -4, 0))

#: The relaxed hand from which a clip starts and to which it returns.
REST = HandPose(
    index=(22, 30, 16, 2),
    middle=(28, 34, 18, 0),
    ring=(32, 36, 20, -1),
    little=(34, 36, 20, -3),
    thumb=(28, 22, 20, 12, 14),
    orientation=(-24, 28, -6),
    offset=(-0.06, -0.30),
)

LETTERS: Mapping[str, HandPose] = MappingProxyType(
    {
        "A": HandPose(thumb=(29, 4, 0, 18, 8), offset=_RAISED),
        "B": HandPose(
            index=_STRAIGHT, middle=_STRAIGHT, ring=_STRAIGHT, little=_STRAIGHT,
            thumb=(24, 26, 10, 48, 42),
        ),
        "C": HandPose(
            index=(30, 46, 30, 0), middle=(32, 46, 30, 0),
            ring=(34, 46, 30, 0), little=(36, 46, 30, 0),
            thumb=(26, 44, 50, 28, 22), orientation=(58, 0, 0), offset=(-0.12, 0.08),
        ),
        "D": HandPose(
            index=_STRAIGHT, middle=(56, 66, 34, 0), ring=(62, 66, 34, 0), little=(68, 66, 34, 0),
            thumb=(37, 39, 21, 41, 58), orientation=(34, 0, 0),
        ),
        "E": HandPose(
            index=(16, 112, 52, 0), middle=(16, 112, 52, 0),
            ring=(16, 112, 52, 0), little=(16, 112, 52, 0),
            thumb=(22, 34, 10, 52, 50), offset=_RAISED,
        ),
        "F": HandPose(
            index=(54, 62, 30, 0), middle=(4, 4, 2, 2), ring=(2, 4, 2, -10), little=(0, 4, 2, -22),
            thumb=(38, 19, 45, 39, 53),
        ),
        "G": replace(_G_SHAPE, orientation=(178, 0, -84), offset=(-0.08, 0.06)),
        "H": HandPose(
            index=(6, 4, 2, 0), middle=(6, 4, 2, 0), thumb=_THUMB_OVER_FIST,
            orientation=(165, 0, -84), offset=(-0.08, 0.06),
        ),
        "I": HandPose(little=(2, 4, 2, -6), thumb=_THUMB_OVER_FIST),
        "J": HandPose(little=(2, 4, 2, -6), thumb=_THUMB_OVER_FIST, offset=(-0.04, 0.06)),
        "K": replace(_K_SHAPE, orientation=(-35, 0, 0)),
        "L": HandPose(index=_STRAIGHT, thumb=(52, 0, 0, -14, -10), offset=(-0.06, 0)),
        "M": HandPose(
            index=(66, 84, 50, 0), middle=(66, 84, 50, 0), ring=(66, 84, 50, 0),
            thumb=(8, 38, 0, 56, 40), offset=_RAISED,
        ),
        "N": HandPose(
            index=(66, 84, 50, 0), middle=(66, 84, 50, 0),
            thumb=(14, 38, 0, 46, 30), offset=_RAISED,
        ),
        "O": HandPose(
            index=(46, 56, 34, 0), middle=(48, 56, 34, 0),
            ring=(50, 56, 34, 0), little=(54, 56, 34, 0),
            thumb=(23, 26, 39, 29, 30), orientation=(56, 0, 0), offset=(-0.06, 0.10),
        ),
        "P": replace(_K_SHAPE, orientation=(120, 0, -120), offset=(-0.06, 0.12)),
        "Q": replace(_G_SHAPE, orientation=(185, 0, -164), offset=(0.0, 0.10)),
        "R": HandPose(
            index=(10, 4, 2, -11), middle=(2, 8, 4, 15), thumb=_THUMB_OVER_RING,
        ),
        "S": HandPose(thumb=_THUMB_OVER_FIST, offset=_RAISED),
        "T": HandPose(
            index=(66, 84, 50, 4), thumb=(18, 38, 10, 22, 10), offset=_RAISED,
        ),
        "U": HandPose(
            index=_spread(_STRAIGHT, -2), middle=_spread(_STRAIGHT, 1), thumb=_THUMB_OVER_RING
        ),
        "V": HandPose(
            index=_spread(_STRAIGHT, 14), middle=_spread(_STRAIGHT, -12), thumb=_THUMB_OVER_RING
        ),
        "W": HandPose(
            index=_spread(_STRAIGHT, 16), middle=_STRAIGHT, ring=_spread(_STRAIGHT, -16),
            little=(62, 84, 40, 8), thumb=(14, 40, 10, 52, 44),
        ),
        "X": HandPose(
            index=(14, 84, 52, 0), thumb=_THUMB_OVER_FIST, orientation=(40, 0, 0), offset=(0, 0.08),
        ),
        "Y": HandPose(little=(2, 4, 2, -26), thumb=(52, 4, 0, -14, -10)),
        "Z": HandPose(index=_STRAIGHT, thumb=_THUMB_OVER_FIST, offset=(0.0, -0.06)),
    }
)  # fmt: skip
