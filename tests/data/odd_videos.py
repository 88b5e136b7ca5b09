"""Tiny videos of every kind, and damage done to them: what a fuzz test feeds the decoder."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

from tests.data.videos import picture, write_audio

Pixels = np.ndarray
NUM_FRAMES = 20
_CLOSED = "keyint=6:min-keyint=6:scenecut=0:bframes=2"


def encode_kind(
    path: Path,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    *,
    width: int = 64,
    height: int = 48,
    ticks: list[int] | None = None,
    num_frames: int = NUM_FRAMES,
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
) -> Path:
    """A video whose frame ``i`` has its bright column at ``i``; ``ticks`` are in 1/25 s."""
    with av.open(str(path), "w", options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=25, options=options or {})
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        for index in range(num_frames):
            frame = av.VideoFrame.from_ndarray(picture(index, width, height), format="rgb24")
            if ticks is not None:
                frame.pts, frame.time_base = ticks[index], Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


ODD_KINDS: dict[str, tuple[str, dict[str, object]]] = {
    "h264": ("mp4", {"options": {"x264-params": _CLOSED}}),
    "h264 open groups": ("mp4", {"options": {"x264-params": _CLOSED + ":open-gop=1"}}),
    "h264 in matroska": ("mkv", {"options": {"x264-params": _CLOSED}}),
    "h264 in avi": ("avi", {"options": {"x264-params": _CLOSED}}),
    "h264 in mpeg-ts": ("ts", {"options": {"x264-params": _CLOSED}}),
    "h264 in flv": ("flv", {"options": {"x264-params": _CLOSED}}),
    "fragmented mp4": (
        "mp4",
        {"container_options": {"movflags": "frag_keyframe+empty_moov"}, "options": {"g": "6"}},
    ),
    "variable frame rate": ("mp4", {"ticks": [i * i // 3 + i for i in range(NUM_FRAMES)]}),
    "10 bit": ("mp4", {"pix_fmt": "yuv420p10le"}),
    "4:4:4, odd size": ("mp4", {"pix_fmt": "yuv444p", "width": 65, "height": 49}),
    "4:2:0, odd size": ("mkv", {"codec": "ffv1", "width": 65, "height": 49}),
    "full range": ("mp4", {"pix_fmt": "yuvj420p"}),
    "bt709": ("mp4", {"options": {"colorspace": "bt709", "color_primaries": "bt709"}}),
    "16 px wide": ("mp4", {"width": 16, "height": 16}),
    "24 px wide": ("mp4", {"width": 24, "height": 16}),
    "48 px wide": ("mp4", {"width": 48, "height": 32}),
    "72 px wide": ("mp4", {"width": 72, "height": 32}),
    "one frame": ("mp4", {"num_frames": 1}),
    "h265": ("mp4", {"codec": "libx265", "options": {"x265-params": "log-level=none:keyint=6"}}),
    "h265 10 bit": (
        "mp4",
        {
            "codec": "libx265",
            "pix_fmt": "yuv420p10le",
            "options": {"x265-params": "log-level=none"},
        },
    ),
    "mpeg4": ("mp4", {"codec": "mpeg4", "options": {"bf": "2", "g": "6"}}),
    "mpeg4 in avi": ("avi", {"codec": "mpeg4", "options": {"bf": "2", "g": "6"}}),
    "mpeg2": ("mpg", {"codec": "mpeg2video", "options": {"bf": "2", "g": "6"}}),
    "vp8 with hidden frames": (
        "webm",
        {"codec": "libvpx", "options": {"auto-alt-ref": "1", "lag-in-frames": "8", "b": "300k"}},
    ),
    "vp9": ("webm", {"codec": "libvpx-vp9", "options": {"g": "6", "crf": "30", "cpu-used": "8"}}),
    "vp9 with alpha": (
        "webm",
        {"codec": "libvpx-vp9", "pix_fmt": "yuva420p", "options": {"crf": "30", "cpu-used": "8"}},
    ),
    "av1": ("mp4", {"codec": "libsvtav1", "width": 64, "height": 64, "options": {"preset": "12"}}),
    "animation with alpha": ("mov", {"codec": "qtrle", "pix_fmt": "argb"}),
    "png with alpha": ("mov", {"codec": "png", "pix_fmt": "rgba"}),
    "prores with alpha": ("mov", {"codec": "prores_ks", "pix_fmt": "yuva444p10le"}),
    "motion jpeg": ("avi", {"codec": "mjpeg", "pix_fmt": "yuvj420p"}),
    "wmv": ("wmv", {"codec": "wmv2", "options": {"g": "6"}}),
    "gif": ("gif", {"codec": "gif", "pix_fmt": "rgb8"}),
}


def write_kind(path: Path, kind: str) -> Path:
    """One of ODD_KINDS; the suffix of ``path`` is replaced by the kind's own."""
    suffix, arguments = ODD_KINDS[kind]
    return encode_kind(path.with_suffix(f".{suffix}"), **arguments)  # type: ignore[arg-type]


def plain_frames(path: Path) -> Pixels:
    """All frames by the simplest use of PyAV, from beginning to end: the reference."""
    with av.open(str(path)) as container:
        return np.stack([f.to_ndarray(format="rgb24") for f in container.decode(video=0)])


def set_display_matrix(path: Path, a: int, b: int, c: int, d: int) -> None:
    """Rewrite the matrix in an MP4's track header, as a phone does; unit 1 << 16."""
    content = bytearray(path.read_bytes())
    matrix = content.index(b"tkhd") + 44
    content[matrix : matrix + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(content)


def drop_packets(source: Path, out: Path, dropped: set[int]) -> Path:
    """A copy of ``source`` without some of its packets: a whole file that lost frames."""
    with av.open(str(source)) as video, av.open(str(out), "w") as copy:
        stream = copy.add_stream_from_template(video.streams.video[0])
        packets = [packet for packet in video.demux(video=0) if packet.size]
        for index, packet in enumerate(packets):
            if index not in dropped:
                packet.stream = stream
                copy.mux(packet)
    return out


def packet_places(path: Path) -> list[tuple[int, int]]:
    """(position, size) of each packet in the file."""
    with av.open(str(path)) as container:
        return [(p.pos, p.size) for p in container.demux(video=0) if p.size and p.pos is not None]


_DAMAGED_KINDS = (
    *("h264", "h264 in matroska", "h264 in avi", "h264 in mpeg-ts", "h264 in flv"),
    *("fragmented mp4", "h265", "mpeg4", "mpeg2", "vp9"),
)


def damaged_files(folder: Path, seed: int) -> Iterator[tuple[str, Path, Path | None]]:
    """What was done, the file, and the sound video that it was made of, if it was one.

    Bits are flipped in whole files and in their headers, where sizes, counts and offsets are.
    """
    rng = np.random.default_rng(seed)
    sources = [write_kind(folder / kind.replace(" ", "-"), kind) for kind in _DAMAGED_KINDS]
    for source in sources:
        content, stem = source.read_bytes(), source.stem
        spoilt: dict[str, bytes] = {}
        for tenth in range(1, 10):
            spoilt[f"cut at {tenth}0 %"] = content[: len(content) * tenth // 10]
        for turn in range(5):
            spoilt[f"bit {turn} flipped"] = _flip(content, int(rng.integers(len(content))), rng)
            spoilt[f"header bit {turn} flipped"] = _flip(content, int(rng.integers(400)), rng)
        for turn in range(3):
            start = int(rng.integers(len(content) - 200))
            spoilt[f"hole {turn}"] = content[:start] + bytes(200) + content[start + 200 :]
            spoilt[f"gap {turn}"] = content[:start] + content[start + 188 :]
            noise = rng.integers(0, 256, 64, np.uint8).tobytes()
            spoilt[f"noise {turn}"] = content[:start] + noise + content[start + 64 :]
        spoilt["huge sizes"] = _huge_sizes(content)
        spoilt["twice in a row"] = content + content
        spoilt["beginning torn off"] = content[100:]
        for damage, bytes_ in spoilt.items():
            file = folder / f"{stem}-{damage.replace(' ', '-').replace('%', '')}{source.suffix}"
            file.write_bytes(bytes_)
            yield f"{stem}: {damage}", file, source
        for other in (".mp4", ".avi", ".ts"):  # the name lies, the content is sound
            file = folder / f"{stem}-named{other}"
            file.write_bytes(content)
            yield f"{stem}: named {other}", file, source
    for name, write in NO_VIDEOS.items():
        file = folder / f"{name.replace(' ', '-')}.mp4"
        write(file)
        yield name, file, None


def _flip(content: bytes, place: int, rng: np.random.Generator) -> bytes:
    spoilt = bytearray(content)
    spoilt[min(place, len(content) - 1)] ^= 1 << int(rng.integers(8))
    return bytes(spoilt)


_SIZES = {b"stsz": 8, b"stts": 8, b"stsc": 8, b"avc1": 24, b"strf": 8, b"mdat": -4, b"avih": 36}
"""Names of parts of MP4 and AVI, and how far behind them a number stands."""


def _huge_sizes(content: bytes) -> bytes:
    """Sizes and counts of the header's parts, and the picture's, set to the largest there is."""
    spoilt = bytearray(content)
    for part, offset in _SIZES.items():
        place = content.find(part)
        if place >= 4:
            spoilt[place + offset : place + offset + 4] = b"\x7f\xff\xff\xff"
    return bytes(spoilt[: len(content)])


def _still(suffix: str) -> Callable[[Path], object]:
    def write(path: Path) -> None:
        image = path.with_suffix(suffix)
        Image.fromarray(picture(3)).save(image)
        image.rename(path)

    return write


def _with_cover(path: Path) -> None:
    """Audio with a cover picture: FFmpeg calls that a video stream."""
    with av.open(str(path), "w", format="mp4") as container:
        audio = container.add_stream("aac", rate=16000)
        cover = container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 48, 32, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        frame = av.AudioFrame.from_ndarray(
            np.zeros((1, 1024), np.float32), format="fltp", layout="mono"
        )
        frame.sample_rate = 16000
        container.mux(audio.encode(frame))
        container.mux(audio.encode())
        container.mux(cover.encode(av.VideoFrame.from_ndarray(picture(0), format="rgb24")))
        container.mux(cover.encode())


NO_VIDEOS: dict[str, Callable[[Path], object]] = {
    "zero bytes": lambda path: path.touch(),
    "one byte": lambda path: path.write_bytes(b"\0"),
    "text": lambda path: path.write_text("this is not a video\n" * 50),
    "web page": lambda path: path.write_text("<!DOCTYPE html><html><body>404</body></html>"),
    "playlist": lambda path: path.write_text(
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nother.ts\n#EXT-X-ENDLIST\n"
    ),
    "ffconcat": lambda path: path.write_text("ffconcat version 1.0\nfile other.mp4\n"),
    "subtitles": lambda path: path.write_text("1\n00:00:00,000 --> 00:00:01,000\nhello\n"),
    "noise": lambda path: path.write_bytes(np.random.default_rng(0).bytes(5000)),
    "zeros": lambda path: path.write_bytes(bytes(5000)),
    "png": _still(".png"),
    "jpeg": _still(".jpg"),
    "webp": _still(".webp"),
    "bmp": _still(".bmp"),
    "audio only": write_audio,
    "audio with a cover": _with_cover,
    "zip": lambda path: path.write_bytes(b"PK\x03\x04" + bytes(300)),
    "mp4 header alone": lambda path: path.write_bytes(b"\0\0\0\x18ftypisom\0\0\2\0isomiso2"),
}
