"""A cheap look at a picture file: is it a whole JPEG or PNG, and how large. Reads the headers and the tail only."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

_PNG = b"\x89PNG\r\n\x1a\n"
_TAIL = 4096  # bytes; cameras append a little after the end marker
# SOF0..SOF15 without DHT (C4), JPG (C8) and DAC (CC), ITU-T T.81 table B.1: the segments that hold the size.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


class PictureError(Exception):
    """Why a file cannot be used as a picture."""


def picture_size(path: Path) -> tuple[int, int]:
    """Width and height in pixels of a JPEG or PNG file whose structure reaches from its start to its end marker.

    Raises:
      PictureError: no such file, unreadable, neither JPEG nor PNG, or cut short.
    """
    try:
        with path.open("rb") as file:
            head = file.read(24)
            if head.startswith(_PNG):
                size, end = (int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")), b"IEND"
            elif head.startswith(b"\xff\xd8\xff"):
                size, end = _jpeg_size(file), b"\xff\xd9"
            else:
                raise PictureError("is neither a JPEG nor a PNG picture" if head else "is an empty file")
            file.seek(max(0, file.seek(0, 2) - _TAIL))
            if end not in file.read() or 0 in size:
                raise PictureError("is cut short or damaged")
            return size
    except FileNotFoundError:
        raise PictureError("no such file") from None
    except OSError as error:
        raise PictureError(f"cannot be read ({error.strerror})") from None


def _jpeg_size(file: BinaryIO) -> tuple[int, int]:
    file.seek(2)
    while True:
        marker = file.read(2)
        while len(marker) == 2 and marker == b"\xff\xff":  # fill bytes
            marker = b"\xff" + file.read(1)
        length = int.from_bytes(file.read(2), "big")
        if len(marker) < 2 or marker[0] != 0xFF or length < 2:
            raise PictureError("is cut short or damaged")
        if marker[1] in _FRAMES:
            body = file.read(5)
            return int.from_bytes(body[3:5], "big"), int.from_bytes(body[1:3], "big")
        file.seek(length - 2, 1)
