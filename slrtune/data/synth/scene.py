"""The picture: hand, forearm and sleeve before a background, shaded and antialiased."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from slrtune.data.synth import hand as h
from slrtune.data.synth.hand import HandShape, PosedHand, pose_hand
from slrtune.data.synth.raster import SUPERSAMPLING, DepthBuffer, box_blur, downsample
from slrtune.data.synth.signer import Signer

_CAMERA_DISTANCE = 6.0  # hand lengths: weak perspective
_ANCHOR = np.array([0.0, 0.36, 0.0])  # the point of the palm that stays where the hand is put
_CENTRE = np.array([0.0, -0.13, 0.0])
_RIM = 0.25  # how much darker a surface gets as it turns away from the viewer
_OCCLUSION = 4.0  # strength of ambient occlusion
_PALM_TINT = np.array([1.06, 0.98, 0.95])
_NAIL_TINT = np.array([1.10, 1.02, 1.02])
_BACK_OF_HAND = 0.93

# Points beyond the 21 joints, numbered on; two points for each of the five nails come last.
_ULNAR_BASE, _RADIAL_BASE, _WEB_THUMB, _WEB_INDEX, _CUFF, _ELBOW, _NAILS = range(
    h.NUM_JOINTS, h.NUM_JOINTS + 7
)
_NUM_POINTS = _NAILS + 10
_SKIN, _SLEEVE, _NAIL = range(3)


@dataclass(frozen=True)
class _Cone:
    """A round cone between two points, radii in hand lengths.

    ``side`` is the joint whose dorsal vector tells whether palm or back of the skin is seen.
    """

    start: int
    end: int
    start_radius: float
    end_radius: float
    material: int = _SKIN
    side: int = h.WRIST


def _hand_cones(shape: HandShape) -> list[_Cone]:
    radii, thick = shape.radii(), shape.thickness
    chains = [range(base, base + 4) for base in (h.THUMB_CMC, *h.FINGER_MCPS)]
    cones = [
        _Cone(a, a + 1, radii[a], radii[a + 1], side=a + 1) for chain in chains for a in chain[:-1]
    ]
    cones += [_Cone(h.WRIST, mcp, 0.075 * thick, radii[mcp] * 1.06) for mcp in h.FINGER_MCPS]
    index, _, _, little = h.FINGER_MCPS
    cones += [
        _Cone(_ULNAR_BASE, little, 0.078 * thick, radii[little] * 1.1),
        _Cone(_RADIAL_BASE, index, 0.068 * thick, radii[index] * 1.05),
        _Cone(_ULNAR_BASE, _RADIAL_BASE, 0.080 * thick, 0.080 * thick),
        _Cone(_RADIAL_BASE, h.THUMB_MCP, 0.07 * thick, radii[h.THUMB_MCP]),
        _Cone(_WEB_THUMB, _WEB_INDEX, 0.036 * thick, 0.036 * thick),
        _Cone(h.WRIST, _CUFF, 0.110 * thick, 0.128 * thick),
        _Cone(_CUFF, _ELBOW, 0.165 * thick, 0.230 * thick, _SLEEVE),
    ]
    for nail, tip in enumerate(h.FINGER_TIPS):
        width = 0.70 * radii[tip]
        start = _NAILS + 2 * nail
        cones.append(_Cone(start, start + 1, width, width, _NAIL))
    return cones


def _plates() -> list[tuple[int, int, int, float]]:
    """Triangles of the palm with their half thickness in hand lengths."""
    edge = (_RADIAL_BASE, *h.FINGER_MCPS)
    fan = [(_ULNAR_BASE, a, b, 0.066) for a, b in pairwise(edge)]
    return [
        *fan,
        (_RADIAL_BASE, _WEB_THUMB, _WEB_INDEX, 0.036),
        (h.THUMB_CMC, _WEB_THUMB, _RADIAL_BASE, 0.05),
    ]


def _scene_points(posed: PosedHand, offset: np.ndarray, signer: Signer) -> np.ndarray:
    """All points of hand and arm, (T, _NUM_POINTS, 3), hand lengths from the picture's centre."""
    joints, num_frames = posed.joints, len(posed.joints)
    points = np.zeros((num_frames, _NUM_POINTS, 3))
    points[:, : h.NUM_JOINTS] = joints
    bases = np.array([[-0.070, 0.055, 0.0], [0.062, 0.055, 0.012]])
    points[:, [_ULNAR_BASE, _RADIAL_BASE]] = bases @ np.swapaxes(posed.rotation, -1, -2)
    cmc, mcp = joints[:, h.THUMB_CMC], joints[:, h.THUMB_MCP]
    points[:, _WEB_THUMB] = cmc + 0.85 * (mcp - cmc)
    radial_base = points[:, _RADIAL_BASE]
    points[:, _WEB_INDEX] = radial_base + 0.72 * (joints[:, h.FINGER_MCPS[0]] - radial_base)
    for nail, tip in enumerate(h.FINGER_TIPS):
        bone = joints[:, tip] - joints[:, tip - 1]
        # sunk into the finger so that only a patch of the nail's own surface comes out
        bed = joints[:, tip] + 0.36 * signer.shape.radii()[tip] * posed.dorsal[:, tip]
        points[:, _NAILS + 2 * nail] = bed - 0.28 * bone
        points[:, _NAILS + 2 * nail + 1] = bed + 0.08 * bone
    wrist = _CENTRE - posed.rotation @ _ANCHOR
    wrist[:, :2] += offset
    points += wrist[:, None]
    # the elbow swings out where the wrist comes up, or the wrist would have to bend too far
    elbow = np.array(signer.elbow) - np.maximum(0.0, wrist[:, 1:2] + 0.15) * (2.4, -1.0, 0.0)
    forearm = elbow - wrist
    forearm /= np.linalg.norm(forearm, axis=-1, keepdims=True)
    points[:, _CUFF] = wrist + signer.cuff * forearm
    points[:, _ELBOW] = elbow
    return points @ h.rotation_matrices(*np.array([[0.0], [0.0], [signer.tilt]]))[0].T


def render_frames(
    poses: np.ndarray, signer: Signer, background: np.ndarray, camera: np.ndarray, size_px: int
) -> np.ndarray:
    """Paint poses (T, POSE_SIZE) of ``signer``.

    Args:
        background: (H, W, 3) float32 in [0, 255], at least ``size_px`` with a margin for the shake.
        camera: (T, 2), by how many pixels the camera moves the picture to the right and down.
    Returns:
        (T, size_px, size_px, 3) uint8.
    """
    posed = pose_hand(poses, signer.shape)
    points = _scene_points(posed, poses[:, h.OFFSET], signer)
    scale = signer.hand_scale * size_px * SUPERSAMPLING
    near = 1.0 / (1.0 - points[..., 2:] / _CAMERA_DISTANCE)
    middle_px = size_px * (np.array([0.5, 0.5]) + np.array(signer.position) * (1.0, -1.0))
    points = points * near * np.array([scale, -scale, scale])
    points[..., :2] += (middle_px + camera)[:, None] * SUPERSAMPLING

    cones = _hand_cones(signer.shape)
    plates = _plates()
    radii = np.array([(cone.start_radius, cone.end_radius) for cone in cones]) * scale
    ends = [[cone.start for cone in cones], [cone.end for cone in cones]]
    start_radii = radii[:, 0] * near[:, ends[0], 0]
    end_radii = radii[:, 1] * near[:, ends[1], 0]
    palettes = _palettes(cones, len(plates), posed, signer)
    right, up, front = signer.light
    light = (
        signer.ambient - _RIM,
        signer.contrast * right,
        -signer.contrast * up,
        signer.contrast * front + _RIM,
    )

    buffer = DepthBuffer(size_px * SUPERSAMPLING)
    frames = np.empty((len(poses), size_px, size_px, 3), np.uint8)
    for t in range(len(poses)):
        buffer.clear()
        frame_points = [tuple(point) for point in points[t].tolist()]
        for i, (a, b, ra, rb) in enumerate(
            zip(*ends, start_radii[t].tolist(), end_radii[t].tolist(), strict=True)
        ):
            buffer.draw_round_cone(frame_points[a], frame_points[b], ra, rb, light, i + 1)
        for i, (*corners, thickness) in enumerate(plates, start=len(cones) + 1):
            buffer.draw_plate(points[t, corners], thickness * scale, light, i)
        frames[t] = _compose(buffer, palettes[t], background, camera[t], scale / SUPERSAMPLING)
    return frames


def _palettes(cones: list[_Cone], num_plates: int, posed: PosedHand, signer: Signer) -> np.ndarray:
    """Colours (T, 3, 1 + cones + plates) in [0, 255]; number 0 is the background."""
    skin = np.array(signer.skin)
    colours = np.zeros((len(posed.joints), 1 + len(cones) + num_plates, 3), np.float32)
    sides = [cone.side for cone in cones] + [h.WRIST] * num_plates
    palm = np.clip(0.5 - posed.dorsal[:, sides, 2:], 0.0, 1.0)
    # palms have less pigment than the back of the hand: the darker the skin, the more it shows
    palm_skin = (skin + 0.22 * (0.9 - skin) * np.clip(1.0 - skin.mean(), 0, 1)) * _PALM_TINT
    colours[:, 1:] = palm * palm_skin + (1.0 - palm) * skin * _BACK_OF_HAND
    for i, cone in enumerate(cones, start=1):
        if cone.material == _SLEEVE:
            colours[:, i] = signer.sleeve
        elif cone.material == _NAIL:
            colours[:, i] = (skin + 0.25 * (0.95 - skin)) * _NAIL_TINT
    return np.swapaxes(colours, 1, 2) * np.float32(255.0)


def _compose(
    buffer: DepthBuffer,
    palette: np.ndarray,
    background: np.ndarray,
    camera: np.ndarray,
    scale: float,
) -> np.ndarray:
    size_px = buffer.size_px // SUPERSAMPLING
    margin = (len(background) - size_px) // 2
    right, down = np.round(camera).astype(int)
    frame = background[margin - down :, margin - right :][:size_px, :size_px].astype(np.uint8)

    box = buffer.touched()
    shape_id, shade = buffer.shape_id[box], buffer.shade[box]
    covered = shape_id > 0
    opacity = downsample(covered.astype(np.float32))
    colour = downsample(palette[:, shape_id] * shade)

    # ambient occlusion as unsharp masking of the depth buffer (Luft, Colditz and Deussen,
    # SIGGRAPH 2006): what lies behind its surroundings gets darker, so crossing fingers part
    depth = downsample(np.where(covered, buffer.depth[box], np.float32(-0.25 * scale)))
    depth *= np.float32(1.0 / scale)
    hidden = np.zeros_like(depth)
    for radius in (0.016, 0.05):
        behind = box_blur(depth, max(1, round(radius * scale))) - depth
        hidden += np.clip(behind, 0.0, 0.09)
    colour *= np.maximum(1.0 - _OCCLUSION * hidden, 0.25)

    part = frame[tuple(slice(s.start // SUPERSAMPLING, s.stop // SUPERSAMPLING) for s in box)]
    part[:] = np.clip(part * (1.0 - opacity)[..., None] + colour.transpose(1, 2, 0), 0.0, 255.0)
    return frame
