"""A small software rasteriser: sphere-swept bones and palm plates in a depth buffer, in numpy.

Coordinates are pixels of the supersampled buffer: x right, y down, z to the viewer. Each shape
touches only its own bounding box, which keeps a hand of about 40 shapes at a few milliseconds.
"""

from __future__ import annotations

from functools import reduce

import numpy as np

#: Pixels of the buffer per pixel of the picture, in each direction.
SUPERSAMPLING = 2
_FAR = np.float32(-1e6)


class DepthBuffer:
    """Depth, brightness and shape number per pixel of a square picture.

    Args:
        size_px: side of the buffer (already supersampled).
    """

    def __init__(self, size_px: int) -> None:
        self.size_px = size_px
        self.depth = np.empty((size_px, size_px), np.float32)
        self.shade = np.empty((size_px, size_px), np.float32)
        self.shape_id = np.empty((size_px, size_px), np.uint8)
        self._centres = np.arange(size_px, dtype=np.float32) + np.float32(0.5)
        self._touched = (0, size_px, 0, size_px)
        self.clear()

    def clear(self) -> None:
        """Forget all shapes; ``shape_id`` 0 is the background."""
        box = self.touched()
        self.depth[box] = _FAR
        self.shade[box] = 0.0
        self.shape_id[box] = 0
        self._touched = (self.size_px, 0, self.size_px, 0)

    def touched(self) -> tuple[slice, slice]:
        """Rows and columns around all shapes drawn since ``clear``, in whole picture pixels."""
        k = SUPERSAMPLING
        top, bottom, left, right = self._touched
        return slice(top // k * k, -(-bottom // k) * k), slice(left // k * k, -(-right // k) * k)

    def draw_round_cone(
        self,
        start: tuple[float, float, float],
        end: tuple[float, float, float],
        start_radius: float,
        end_radius: float,
        light: tuple[float, float, float, float],
        shape_id: int,
    ) -> None:
        """Draw a sphere swept from ``start`` to ``end`` while its radius changes linearly.

        The visible surface point of each pixel lies on the swept sphere at position ``along`` in
        [0, 1]; ``along`` solves the quadratic of the tangent cone (after Inigo Quilez' exact
        ray-round-cone intersection, specialised to rays along z), and clamping it gives the caps.

        Args:
            light: (ambient, x, y, z); the brightness is ``ambient + normal . (x, y, z)``.
        """
        ax, ay, az = start
        bx, by, bz = end[0] - ax, end[1] - ay, end[2] - az
        box = self._clip_box(
            min(ax - start_radius, end[0] - end_radius),
            max(ax + start_radius, end[0] + end_radius),
            min(ay - start_radius, end[1] - end_radius),
            max(ay + start_radius, end[1] + end_radius),
        )
        if box is None:
            return
        rows, columns = box
        dx = self._centres[columns] - np.float32(ax)
        dy = (self._centres[rows] - np.float32(ay))[:, None]

        taper = start_radius - end_radius
        slant = bx * bx + by * by + bz * bz - taper * taper
        facing = slant - bz * bz
        along: np.ndarray | float
        if facing <= 1e-3 * abs(slant) + 1e-9:
            if (bx, by, bz) != (0.0, 0.0, 0.0):
                # the bone points at the viewer: only its two end spheres show
                self.draw_round_cone(start, start, start_radius, start_radius, light, shape_id)
                self.draw_round_cone(end, end, end_radius, end_radius, light, shape_id)
                return
            along = 0.0
        else:
            across = (bx * dx - taper * start_radius) + by * dy
            along = across * (1.0 / facing)
            if abs(bz) > 1e-6:
                gap = (dx * dx - start_radius**2) + dy * dy
                root = across * across * (1.0 / slant) - gap * (facing / slant)
                along += np.sqrt(np.maximum(root, 0.0)) * (bz / facing)
            along = np.minimum(np.maximum(along, 0.0), 1.0)

        radius = start_radius - taper * along
        nx = dx - bx * along
        ny = dy - by * along
        height = radius * radius - nx * nx - ny * ny
        inside = height > 0.0
        height = np.sqrt(np.maximum(height, 0.0))
        depth = height + (az + bz * along)
        inside &= depth > self.depth[rows, columns]
        ambient, lx, ly, lz = light
        shade = (nx * lx + ny * ly + height * lz) / radius + ambient
        self._write(rows, columns, inside, depth, shade, shape_id)

    def draw_plate(
        self,
        corners: np.ndarray,
        thickness: float,
        light: tuple[float, float, float, float],
        shape_id: int,
    ) -> None:
        """Draw the face towards the viewer of a triangle thickened by ``thickness`` on each side.

        Args:
            corners: (3, 3). Seen from the edge nothing is drawn: bones form the edges.
        """
        a, b, c = corners.tolist()
        ux, uy, uz = b[0] - a[0], b[1] - a[1], b[2] - a[2]
        vx, vy, vz = c[0] - a[0], c[1] - a[1], c[2] - a[2]
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        length = (nx * nx + ny * ny + nz * nz) ** 0.5
        if abs(nz) < 0.05 * length or length == 0.0:
            return
        area = nz  # twice the signed area in the picture
        sign = 1.0 if nz > 0 else -1.0
        nx, ny, nz = (component * sign / length for component in (nx, ny, nz))
        ax, ay, az = a[0] + nx * thickness, a[1] + ny * thickness, a[2] + nz * thickness
        box = self._clip_box(
            ax + min(0.0, ux, vx),
            ax + max(0.0, ux, vx),
            ay + min(0.0, uy, vy),
            ay + max(0.0, uy, vy),
        )
        if box is None:
            return
        rows, columns = box
        dx = self._centres[columns] - np.float32(ax)
        dy = (self._centres[rows] - np.float32(ay))[:, None]
        along_u = (vy / area) * dx - (vx / area) * dy
        along_v = (ux / area) * dy - (uy / area) * dx
        depth = az + uz * along_u + vz * along_v
        inside = (along_u >= 0.0) & (along_v >= 0.0) & (along_u + along_v <= 1.0)
        inside &= depth > self.depth[rows, columns]
        ambient, lx, ly, lz = light
        shade = np.broadcast_to(np.float32(ambient + nx * lx + ny * ly + nz * lz), depth.shape)
        self._write(rows, columns, inside, depth, shade, shape_id)

    def _clip_box(
        self, left: float, right: float, top: float, bottom: float
    ) -> tuple[slice, slice] | None:
        x0, x1 = max(0, int(left)), min(self.size_px, int(right) + 1)
        y0, y1 = max(0, int(top)), min(self.size_px, int(bottom) + 1)
        if x0 >= x1 or y0 >= y1:
            return None
        was = self._touched
        self._touched = (min(was[0], y0), max(was[1], y1), min(was[2], x0), max(was[3], x1))
        return slice(y0, y1), slice(x0, x1)

    def _write(
        self,
        rows: slice,
        columns: slice,
        inside: np.ndarray,
        depth: np.ndarray,
        shade: np.ndarray,
        shape_id: int,
    ) -> None:
        np.copyto(self.depth[rows, columns], depth, where=inside)
        np.copyto(self.shade[rows, columns], shade, where=inside)
        self.shape_id[rows, columns][inside] = shape_id


def downsample(buffer: np.ndarray) -> np.ndarray:
    """Mean over ``SUPERSAMPLING`` x ``SUPERSAMPLING`` blocks of (..., H, W)."""
    # added up by hand: reshape and mean over short axes is several times slower
    k = SUPERSAMPLING
    rows = reduce(np.add, [buffer[..., row::k, :] for row in range(k)])
    total = reduce(np.add, [rows[..., column::k] for column in range(k)])
    return np.asarray(total * np.float32(1.0 / (k * k)))


def box_blur(image: np.ndarray, radius_px: int) -> np.ndarray:
    """Mean over a square of ``2 radius_px + 1`` pixels, edges repeated; (H, W) to (H, W)."""
    width = 2 * radius_px + 1
    for axis in (0, 1):
        padding = [(0, 0), (0, 0)]
        padding[axis] = (radius_px + 1, radius_px)
        sums = np.cumsum(np.pad(image, padding, mode="edge"), axis=axis)
        upper, lower = (sums[width:], sums[:-width]) if axis == 0 else (
            sums[:, width:], sums[:, :-width]
        )  # fmt: skip
        image = (upper - lower) / np.float32(width)
    return image
