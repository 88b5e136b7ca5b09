"""An articulated right hand: 21 joints in MediaPipe's layout, posed by joint angles.

Hand frame: origin at the wrist, x towards the thumb side, y towards the fingers, z out of the palm.
Unoriented, the hand points up and shows its palm to the viewer, so the hand frame is also the
camera frame: x right, y up, z to the viewer. The unit of length is the length of a standard hand
(wrist to middle fingertip).

Legend: T frames, J = 21 joints.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

NUM_JOINTS = 21
WRIST = 0
THUMB_CMC, THUMB_MCP, THUMB_IP, THUMB_TIP = 1, 2, 3, 4
#: First joint (the knuckle, MCP) of index, middle, ring and little finger; PIP, DIP, TIP follow.
FINGER_MCPS = (5, 9, 13, 17)
FINGER_TIPS = (4, 8, 12, 16, 20)

#: The numbers of a pose, in degrees but for the last two (hand lengths). See ``letters.HandPose``.
POSE_SIZE = 26
FINGER_ANGLES = slice(0, 16)  # 4 fingers x (MCP flexion, PIP flexion, DIP flexion, spread)
THUMB_ANGLES = slice(16, 21)  # radial abduction, palmar abduction, turn, MCP and IP flexion
ORIENTATION = slice(21, 24)  # yaw, pitch, roll
OFFSET = slice(24, 26)  # where the hand is, right and up

# Bone lengths as fractions of the hand length, after Buchholz, Armstrong and Goldstein,
# "Anthropometric data for describing the kinematics of the human hand", Ergonomics 35(3), 1992.
_FINGER_BONES = np.array(
    [[0.245, 0.143, 0.085], [0.266, 0.170, 0.092], [0.244, 0.165, 0.090], [0.204, 0.117, 0.080]]
)
_THUMB_BONES = np.array([0.235, 0.180, 0.120])
_KNUCKLES = np.array(
    [[0.135, 0.455, 0.0], [0.042, 0.450, -0.008], [-0.050, 0.422, -0.006], [-0.135, 0.378, 0.008]]
)
_THUMB_BASE = np.array([0.085, 0.085, 0.035])
_FINGER_RADII = np.array(
    [[0.056, 0.051, 0.047, 0.041], [0.057, 0.052, 0.048, 0.041],
     [0.055, 0.050, 0.046, 0.040], [0.050, 0.044, 0.041, 0.035]]
)  # fmt: skip
_THUMB_RADII = np.array([0.088, 0.066, 0.058, 0.046])
_WRIST_RADIUS = 0.12


@dataclass(frozen=True)
class HandShape:
    """Proportions of one hand relative to the standard hand: factors around 1.

    Attributes:
        finger_length: of index, middle, ring and little finger.
        thumb_length: of the thumb.
        palm_width: of the palm, across the knuckles.
        thickness: of fingers, thumb and wrist.
    """

    finger_length: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)
    thumb_length: float = 1.0
    palm_width: float = 1.0
    thickness: float = 1.0

    def radii(self) -> np.ndarray:
        """Radius of the hand around each joint, (J,), in hand lengths."""
        radii = np.concatenate(([_WRIST_RADIUS], _THUMB_RADII, _FINGER_RADII.ravel()))
        return radii * self.thickness


@dataclass(frozen=True)
class PosedHand:
    """A hand over time in the camera frame.

    Attributes:
        joints: (T, J, 3), hand lengths, relative to the wrist.
        dorsal: (T, J, 3), unit vectors out of the back of the bone that ends at each joint
            (at the wrist: of the palm). A finger shows its nail where ``dorsal`` faces the viewer.
        rotation: (T, 3, 3), from the hand frame to the camera frame.
    """

    joints: np.ndarray
    dorsal: np.ndarray
    rotation: np.ndarray


def rotation_matrices(yaw: np.ndarray, pitch: np.ndarray, roll: np.ndarray) -> np.ndarray:
    """``Rz(roll) Ry(yaw) Rx(pitch)``, angles (T,) in degrees, as (T, 3, 3).

    Positive pitch tips the fingers towards the viewer, positive yaw turns the palm to the viewer's
    right, positive roll turns the picture of the hand counter-clockwise.
    """
    (sy, sp, sr), (cy, cp, cr) = (
        [f(np.radians(a)) for a in (yaw, pitch, roll)] for f in (np.sin, np.cos)
    )
    rows = [
        [cr * cy, cr * sy * sp - sr * cp, cr * sy * cp + sr * sp],
        [sr * cy, sr * sy * sp + cr * cp, sr * sy * cp - cr * sp],
        [-sy, cy * sp, cy * cp],
    ]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def pose_hand(poses: np.ndarray, shape: HandShape) -> PosedHand:
    """Forward kinematics of poses (T, POSE_SIZE) for a hand of the given proportions."""
    num_frames = len(poses)
    joints = np.zeros((num_frames, NUM_JOINTS, 3))
    dorsal = np.zeros((num_frames, NUM_JOINTS, 3))
    dorsal[:, WRIST] = (0.0, 0.0, -1.0)

    widen = np.array([shape.palm_width, 1.0, 1.0])
    fingers = poses[:, FINGER_ANGLES].reshape(num_frames, 4, 4)
    for finger, mcp in enumerate(FINGER_MCPS):
        joints[:, mcp] = _KNUCKLES[finger] * widen
        dorsal[:, mcp] = dorsal[:, WRIST]
        spread = np.radians(fingers[:, finger, 3])
        straight = np.stack([np.sin(spread), np.cos(spread), np.zeros(num_frames)], axis=-1)
        lengths = _FINGER_BONES[finger] * shape.finger_length[finger]
        _bend_chain(joints, dorsal, mcp, straight, _unit_z(num_frames), fingers[:, finger], lengths)

    radial, palmar, turn = np.radians(poses[:, THUMB_ANGLES][:, :3]).T
    straight = np.stack(
        [np.cos(palmar) * np.sin(radial), np.cos(palmar) * np.cos(radial), np.sin(palmar)], axis=-1
    )
    across = np.stack([-np.cos(radial), np.sin(radial), np.zeros(num_frames)], axis=-1)
    inward = np.cross(straight, across)
    bend = np.cos(turn)[:, None] * across + np.sin(turn)[:, None] * inward
    joints[:, THUMB_CMC] = _THUMB_BASE * widen
    dorsal[:, THUMB_CMC] = dorsal[:, WRIST]
    # the metacarpal is aimed by the two abductions, so its own flexion is zero
    flexions = np.concatenate([np.zeros((num_frames, 1)), poses[:, THUMB_ANGLES][:, 3:]], axis=1)
    _bend_chain(
        joints, dorsal, THUMB_CMC, straight, bend, flexions, _THUMB_BONES * shape.thumb_length
    )

    rotation = rotation_matrices(*poses[:, ORIENTATION].T)
    to_camera = np.swapaxes(rotation, -1, -2)
    return PosedHand(joints @ to_camera, dorsal @ to_camera, rotation)


def _unit_z(num_frames: int) -> np.ndarray:
    return np.tile(np.array([0.0, 0.0, 1.0]), (num_frames, 1))


def _bend_chain(
    joints: np.ndarray,
    dorsal: np.ndarray,
    base: int,
    straight: np.ndarray,
    bend: np.ndarray,
    flexions: np.ndarray,
    lengths: np.ndarray,
) -> None:
    """Lay three bones from joint ``base`` on, each flexed from ``straight`` further to ``bend``."""
    total = np.zeros(len(joints))
    for bone in range(3):
        total = total + np.radians(flexions[:, bone])
        along, aside = np.cos(total)[:, None], np.sin(total)[:, None]
        joint = base + bone + 1
        joints[:, joint] = joints[:, joint - 1] + lengths[bone] * (along * straight + aside * bend)
        dorsal[:, joint] = aside * straight - along * bend
