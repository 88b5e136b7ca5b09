"""Walls behind the signer: plain, shaded or with a simple pattern, never as bright as the skin."""

from __future__ import annotations

import numpy as np

_LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
_MIN_CONTRAST = 0.22  # of luma between wall and skin, as shares of full brightness


def paint_background(
    skin: tuple[float, float, float], side_px: int, rng: np.random.Generator
) -> np.ndarray:
    """A wall as (side_px, side_px, 3) float32 in [0, 255] that contrasts with ``skin``."""
    skin_luma = 0.9 * float(_LUMA @ np.array(skin))
    darkest, brightest = 0.12, 0.88
    below, above = skin_luma - _MIN_CONTRAST, skin_luma + _MIN_CONTRAST
    room_below, room_above = max(0.0, below - darkest), max(0.0, brightest - above)
    spot = rng.uniform(0.0, room_below + room_above)
    luma = darkest + spot if spot < room_below else above + spot - room_below
    # the blue and grey of recording studios: skin is redder than any wall here
    hue = 1.0 + np.sort(rng.uniform(-0.20, 0.20, 3))
    colour = luma * hue / float(_LUMA @ hue)

    y, x = np.mgrid[0:side_px, 0:side_px].astype(np.float32) / np.float32(side_px)
    relief = _gradient(x, y, rng)
    pattern = rng.choice(["plain", "stripes", "tiles", "blots"])
    if pattern == "stripes":
        relief += 0.05 * np.sign(np.sin(_turned(x, y, rng) * rng.uniform(15, 50)))
    elif pattern == "tiles":
        pitch = rng.uniform(0.15, 0.35)
        joint = (np.minimum(x % pitch, y % pitch) < 0.02).astype(np.float32)
        relief -= 0.10 * joint
    elif pattern == "blots":
        for _ in range(int(rng.integers(3, 7))):
            cx, cy, radius = rng.uniform(0, 1), rng.uniform(0, 1), rng.uniform(0.08, 0.3)
            near = np.exp(-(((x - cx) ** 2 + (y - cy) ** 2) / radius**2))
            relief += rng.uniform(-0.12, 0.12) * near
    wall = colour * (1.0 + relief[..., None]) * 255.0
    return np.clip(wall, 0.0, 255.0).astype(np.float32)


def _gradient(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return rng.uniform(0.0, 0.16) * (_turned(x, y, rng) - 0.5)


def _turned(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    angle = rng.uniform(0.0, np.pi)
    return (np.cos(angle) * x + np.sin(angle) * y).astype(np.float32)
