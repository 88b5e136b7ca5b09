"""Lost packets of an MPEG transport stream (ISO 13818-1, 2.4.3.3), which FFmpeg passes over."""

from __future__ import annotations

from pathlib import Path

_PACKET_BYTES = 188
_SYNC = 0x47
_CHUNK_PACKETS = 50_000


def lost_packets(path: Path, stream_id: int) -> str | None:
    """What is missing of the packets of ``stream_id``: a phrase, or None for nothing.

    Each packet is numbered from 0 to 15, over and over. Streams in other units than 188 bytes, and
    those that begin within a packet, are not judged.
    """
    number = None
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_PACKETS * _PACKET_BYTES):
            for start in range(0, len(chunk), _PACKET_BYTES):
                packet = chunk[start : start + _PACKET_BYTES]
                if packet[0] != _SYNC:
                    return None if number is None else "a packet does not begin where it should"
                if len(packet) < _PACKET_BYTES:
                    return "ends within a packet"
                if (packet[1] & 0x1F) << 8 | packet[2] != stream_id or not packet[3] & 0x10:
                    continue
                is_declared_break = packet[3] & 0x20 and packet[4] and packet[5] & 0x80
                follows = number is None or packet[3] & 0x0F in (number, (number + 1) % 16)
                if not follows and not is_declared_break:
                    return "packets are missing"
                number = packet[3] & 0x0F
    return None
