"""What stands in a picture file besides its pixels: the number of channels and the EXIF orientation."""

from __future__ import annotations

from collections.abc import Iterator

_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_CHANNELS = {0: 1, 4: 1, 2: 3, 3: 3, 6: 3}  # colour type → channels without alpha
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_EXIF = b"Exif\0\0"
_ORIENTATION = 0x0112


def channels_and_orientation(data: bytes) -> tuple[int, int]:
    """Of a JPEG or PNG file.

    Returns:
      The colour channels (1 grey, 3 colour, 4 CMYK), and the EXIF orientation: 1 upright, 2 to 8 turned or mirrored
      for whoever heeds it (Exif 2.3, tag 0x0112).
    """
    if data.startswith(_PNG):
        exif = next((body for kind, body in _png_chunks(data) if kind == b"eXIf"), b"")
        return _PNG_CHANNELS.get(data[25], 3), _orientation(exif)
    channels, orientation = 3, 1
    for marker, body in _jpeg_segments(data):
        if marker in _FRAMES:
            channels = body[5]
        elif marker == 0xE1 and body.startswith(_EXIF):
            orientation = _orientation(body[len(_EXIF) :])
    return channels, orientation


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Marker and body of the segments before the first scan."""
    position = 2
    while position + 4 <= len(data) and data[position] == 0xFF and data[position + 1] != 0xDA:
        if data[position + 1] == 0xFF:  # fill byte
            position += 1
            continue
        end = position + 2 + int.from_bytes(data[position + 2 : position + 4], "big")
        yield data[position + 1], data[position + 4 : end]
        position = end


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    position = len(_PNG)
    while position + 8 <= len(data):
        end = position + 8 + int.from_bytes(data[position : position + 4], "big")
        yield data[position + 4 : position + 8], data[position + 8 : end]
        position = end + 4  # checksum


def _orientation(tiff: bytes) -> int:
    """The orientation in a TIFF header with its first directory; 1 where there is none."""
    order = {b"II": "little", b"MM": "big"}.get(tiff[:2])
    if order is None:
        return 1

    def number(start: int, size: int) -> int:
        return int.from_bytes(tiff[start : start + size], order)

    directory = number(4, 4)
    for entry in range(directory + 2, directory + 2 + 12 * number(directory, 2), 12):
        if number(entry, 2) == _ORIENTATION:
            value = number(entry + 8, 2)
            return value if 1 <= value <= 8 else 1
    return 1
