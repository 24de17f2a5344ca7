"""Every picture file of a split, decoded: what is missing, damaged, of another size, turned or without colour."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
from tqdm import tqdm

from ehrnet_tf.data.checks.annotations import Split
from ehrnet_tf.data.checks.findings import Case, Findings
from ehrnet_tf.data.checks.headers import channels_and_orientation
from ehrnet_tf.data.pictures import PictureError, picture_size

THUMBNAIL = 16  # pixels a side
_CHUNK = 64  # pictures decoded between two looks at what the decoders complain about
_GREY = cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION


@dataclasses.dataclass(frozen=True, eq=False)
class Picture:
    """What is kept of a decoded file.

    Attributes:
      name: "SPLIT/FILE".
      size: width and height of the pixels as stored, before any EXIF turn.
      channels, orientation: see `channels_and_orientation`.
      digest: of the file's bytes.
      thumbnail: (THUMBNAIL, THUMBNAIL) uint8, grey, the whole picture squeezed.
      complaint: what the decoder wrote about damage it went over; empty if nothing.
    """

    name: str
    size: tuple[int, int]
    channels: int
    orientation: int
    digest: bytes
    thumbnail: np.ndarray
    complaint: str = ""


def check_files(split: Split, findings: Findings, progress: bool = False) -> list[Picture]:
    """Decodes every picture of a split in threads, notes what is wrong, and returns those that could be decoded."""
    images = list(split.images.values())
    pictures: list[Picture] = []
    faults: dict[str, list[Case]] = {"missing": [], "broken": [], "size": []}
    with (
        ThreadPoolExecutor(os.cpu_count()) as pool,
        tqdm(total=len(images), desc=split.name, unit="picture", disable=not progress) as bar,
    ):
        for start in range(0, len(images), _CHUNK):
            chunk = images[start : start + _CHUNK]
            for image, result in zip(chunk, _decode_all(pool, split, chunk), strict=True):
                name = split.picture(image)
                if not isinstance(result, Picture):
                    faults["missing" if result == _MISSING else "broken"].append(Case(name, detail=result))
                    continue
                pictures.append(result)
                said = (image["width"], image["height"])
                if result.size != said:
                    detail = "is {}x{} pixels, the json says {}x{}".format(*result.size, *said)
                    faults["size"].append(Case(name, detail=detail))
            bar.update(len(chunk))
    _note(findings, faults, pictures)
    return pictures


_MISSING = "no such file"


def _note(findings: Findings, faults: dict[str, list[Case]], pictures: list[Picture]) -> None:
    remedy = "put the files there or remove the entries"
    findings.note("error", "missing", "pictures missing (left out)", remedy, faults["missing"])
    text = "pictures that cannot be decoded (left out)"
    findings.note("error", "broken", text, "copy or convert them again", faults["broken"])
    text = "pictures of another size than the json says (left out)"
    findings.note("error", "size", text, "put the right files there or correct the json", faults["size"])
    turned = [Case(p.name, detail=f"orientation {p.orientation}") for p in pictures if p.orientation != 1]
    text = "pictures turned by EXIF: training takes the pixels as stored, evaluation and predict turn them"
    findings.note("error", "exif", text, "save them upright without the tag, labels to match", turned)
    damaged = [Case(p.name, detail=p.complaint) for p in pictures if p.complaint]
    text = "pictures with damaged pixels (used as they are)"
    findings.note("warning", "damaged", text, "look at them, copy them again", damaged)
    kinds = {1: "grey", 4: "CMYK"}
    odd = [Case(p.name, detail=kinds.get(p.channels, f"{p.channels} channels")) for p in pictures if p.channels != 3]
    findings.note("note", "colour", "pictures in grey or CMYK (converted)", "none needed", odd)


def _decode_all(pool: ThreadPoolExecutor, split: Split, images: Sequence[dict]) -> list[Picture | str]:
    """The decoded pictures, or in words why not.

    OpenCV tells of damaged JPEG data only on the process's stderr, where nobody knows which thread is meant; when
    something was written there, the chunk's pictures are decoded again one by one.
    """
    jobs = [(split.picture(image), split.folder / image["file_name"]) for image in images]
    with _stderr_in_file() as written:
        results = list(pool.map(lambda job: _decode(*job), jobs))
        if not written.tell():
            return results
    return [_decode_alone(*job) for job in jobs]


def _decode_alone(name: str, path: Path) -> Picture | str:
    with _stderr_in_file() as written:
        result = _decode(name, path)
        written.seek(0)
        lines = written.read().decode(errors="replace").split("\n")
    return dataclasses.replace(result, complaint=lines[0]) if isinstance(result, Picture) else result


def _decode(name: str, path: Path) -> Picture | str:
    try:
        size = picture_size(path)
        data = path.read_bytes()
    except PictureError as error:
        return str(error)
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), _GREY)
    except cv2.error:
        pixels = None
    if pixels is None or pixels.shape[::-1] != size:
        return "cannot be decoded"
    digest = hashlib.blake2b(data, digest_size=16).digest()
    return Picture(name, size, *channels_and_orientation(data), digest, thumbnail(pixels))


def thumbnail(pixels: np.ndarray) -> np.ndarray:
    """A grey picture (H, W) uint8 squeezed to (THUMBNAIL, THUMBNAIL), averaged over areas."""
    return cv2.resize(pixels, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA)


@contextlib.contextmanager
def _stderr_in_file() -> Iterator[BinaryIO]:
    """What is written to stderr, by C libraries too, goes into the file that is given."""
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield file
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
