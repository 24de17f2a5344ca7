"""Pictures from files and arrays, always RGB uint8."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np

from ehrnet_tf.errors import DataError, UsageError

SUFFIXES = {
    ".jpg",
    ".jpeg",
    ".png",
    ".bmp",
    ".webp",
    ".tif",
    ".tiff",
}  # of the files that count as pictures in a folder
_ORIENTED = cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH  # EXIF orientation applied, bit depth kept, alpha dropped
_JPEG, _PNG = b"\xff\xd8", b"\x89PNG\r\n\x1a\n"
_TIFF = (b"II*\0", b"MM\0*")
_REMEDY = "replace or remove the file"


def read_image(path: str | os.PathLike) -> np.ndarray:
    """Reads a picture: JPEG (also CMYK), PNG, BMP, WebP, TIFF and whatever else OpenCV decodes.

    The EXIF orientation is applied, transparency is blended over white, 16-bit and floating-point values are scaled to
    8 bits as in ``to_rgb_uint8``.

    Args:
      path: the file.

    Returns:
      (H, W, 3) uint8, RGB.

    Raises:
      DataError: the file is missing, a folder, empty, cut off (JPEG, PNG), or not a picture.
    """
    path = Path(path)
    if path.is_dir():
        raise DataError(f"{path}: is a folder; give a picture file")
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file; check the path") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check the path and its permissions") from error
    return decode_image(data, str(path))


def decode_image(data: bytes, source: str = "picture") -> np.ndarray:
    """Decodes a picture file that is already in memory, as ``read_image`` does.

    Args:
      data: the whole file.
      source: what error messages call it, normally the path.

    Returns:
      (H, W, 3) uint8, RGB.

    Raises:
      DataError: as ``read_image``.
    """
    if not data:
        raise DataError(f"{source}: is empty; {_REMEDY}")
    if (data.startswith(_JPEG) and not _jpeg_is_complete(data)) or (data.startswith(_PNG) and b"IEND" not in data):
        raise DataError(f"{source}: is cut off before the end of the picture; {_REMEDY}")
    picture = _decode(data, _ORIENTED)
    if not data.startswith(_JPEG):
        picture = _with_alpha(_decode(data, cv2.IMREAD_UNCHANGED), picture)
        if picture is not None and data.startswith(_TIFF):
            picture = _straight_alpha(picture)
    if picture is None:
        raise DataError(f"{source}: is not a picture that OpenCV can decode; convert it to JPEG or PNG, or remove it")
    if picture.ndim == 3 and picture.shape[2] >= 3:
        picture = picture[:, :, [2, 1, 0, 3][: picture.shape[2]]]
    return to_rgb_uint8(picture, source)


def find_pictures(inputs: list[str]) -> list[Path]:
    """The files named by ``inputs``; a folder stands for the pictures in it, in name order."""
    paths: list[Path] = []
    for entry in map(Path, inputs):
        if entry.is_dir():
            inside = sorted(p for p in entry.iterdir() if p.suffix.lower() in SUFFIXES)
            if not inside:
                raise UsageError(f"{entry}: no pictures in this folder ({', '.join(sorted(SUFFIXES))})")
            paths += inside
        elif entry.is_file():
            paths.append(entry)
        else:
            raise UsageError(f"{entry}: no such file or folder")
    return paths


def output_paths(paths: list[Path], folder: str) -> list[Path]:
    """Where the drawing of each picture goes: its own name as JPEG or PNG, numbered where two have the same."""
    outputs: dict[Path, None] = {}  # an ordered set
    for path in paths:
        suffix = path.suffix.lower() if path.suffix.lower() in (".jpg", ".jpeg") else ".png"
        output, number = Path(folder) / f"{path.stem}{suffix}", 1
        while output in outputs:
            number += 1
            output = Path(folder) / f"{path.stem}-{number}{suffix}"
        outputs[output] = None
    return list(outputs)


def to_rgb_uint8(array: np.ndarray, source: str = "picture") -> np.ndarray:
    """Makes an RGB picture of an array of pixels.

    Args:
      array: (H, W) or (H, W, C): grey (C = 1), grey and alpha (2), RGB (3) or RGB and alpha (4). uint8: as it is;
        uint16: 0..65535, divided by 257; bool: black and white; other integers: 0..255; float: 0..1 if no value is
        above 1, otherwise 0..255, clipped. Alpha is taken as not premultiplied, and blended over white.
      source: what error messages call the array.

    Returns:
      (H, W, 3) uint8, RGB, contiguous; shares memory with an ``array`` that is that already.

    Raises:
      DataError: another shape or dtype, no pixels, integers outside 0..255, or values that are not finite.
    """
    array = np.asarray(array)
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or array.shape[2] not in (1, 2, 3, 4) or 0 in array.shape:
        raise DataError(f"{source}: an array of shape {array.shape} is no picture; give (H, W) or (H, W, 1 to 4)")
    pixels = _to_uint8(array, source)
    channels = pixels.shape[2]
    colour = pixels[:, :, :3] if channels >= 3 else np.repeat(pixels[:, :, :1], 3, axis=2)
    if channels in (2, 4):
        alpha = pixels[:, :, -1:].astype(np.float32) / 255
        colour = np.rint(colour * alpha + 255 * (1 - alpha)).astype(np.uint8)
    return np.ascontiguousarray(colour)


def _to_uint8(array: np.ndarray, source: str) -> np.ndarray:
    """The same pixels with 8 bits each; the rules stand in ``to_rgb_uint8``."""
    if array.dtype == np.uint8:
        return array
    if array.dtype == bool:
        return array.astype(np.uint8) * 255
    if array.dtype == np.uint16:
        return ((array.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if np.issubdtype(array.dtype, np.integer):
        if array.min() < 0 or array.max() > 255:
            raise DataError(f"{source}: {array.dtype} values from {array.min()} to {array.max()}; scale them to 0..255")
        return array.astype(np.uint8)
    if not np.issubdtype(array.dtype, np.floating):
        raise DataError(f"{source}: pixels of type {array.dtype}; give uint8")
    if not np.isfinite(array).all():
        raise DataError(f"{source}: holds NaN or infinity; give finite values in 0..1 or 0..255")
    scale = 255 if array.max() <= 1 else 1
    return np.rint(np.clip(array.astype(np.float32) * scale, 0, 255)).astype(np.uint8)


def _decode(data: bytes, flags: int) -> np.ndarray | None:
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        return None


def _with_alpha(unchanged: np.ndarray | None, oriented: np.ndarray | None) -> np.ndarray | None:
    """The oriented picture, with the alpha channel of the unchanged one if that has one.

    OpenCV applies the EXIF orientation only where it drops alpha, so the turn is the one that makes both pictures
    alike. A TIFF is turned by its decoder, and a floating-point one can only be had unchanged.
    """
    if unchanged is None or oriented is None:
        return unchanged if oriented is None else oriented
    if unchanged.ndim == 2 or unchanged.shape[2] != 4:
        return oriented
    for turns in range(4):
        for step in (1, -1):
            turned = np.rot90(unchanged, turns)[:, ::step]
            if np.array_equal(turned[:, :, :3], oriented):
                return turned
    return unchanged


def _straight_alpha(picture: np.ndarray) -> np.ndarray:
    """Divides the colours of an 8-bit TIFF by their alpha, with which OpenCV's decoder has multiplied them."""
    if picture.dtype != np.uint8 or picture.ndim == 2 or picture.shape[2] != 4:
        return picture
    alpha = np.maximum(picture[:, :, 3:], 1).astype(np.float32)
    colour = np.minimum(np.rint(picture[:, :, :3] * (255 / alpha)), 255).astype(np.uint8)
    return np.concatenate((colour, picture[:, :, 3:]), axis=2)


def _jpeg_is_complete(data: bytes) -> bool:
    """Whether an end-of-image marker follows the first scan; OpenCV 4 fills up a JPEG that is cut off with grey.

    Segments before the scan are skipped by their length, since a thumbnail there has a marker of its own.
    """
    position = 2
    while position + 4 <= len(data):
        marker = data[position + 1]
        if data[position] != 0xFF:
            return True  # stray bytes between segments: the decoder's business
        if marker == 0xDA:
            return b"\xff\xd9" in data[position:]
        position += 1 if marker == 0xFF else 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return False
