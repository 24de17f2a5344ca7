"""What an evaluation has done so far, in a file that survives it."""

from __future__ import annotations

import json
import os
import zlib
from pathlib import Path
from typing import Any


class Progress:
    """The results of pictures as they come, one JSON line each, behind a line that says what is being evaluated.

    Args:
      path: the file; a file of the same evaluation is gone on with, any other is begun anew.
      what: what makes an evaluation the same: plain values.

    Attributes:
      done: what the file held: image id → the picture's COCO results.
    """

    def __init__(self, path: str | os.PathLike, what: dict[str, Any]):
        self.path = Path(path)
        self.done: dict[Any, list[dict[str, Any]]] = {}
        header = json.dumps({"evaluation": what}, sort_keys=True).encode() + b"\n"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self.path.open("a+b")
        self._file.seek(0)
        whole = len(header) if self._file.readline() == header else 0
        while whole and (entry := _entry(line := self._file.readline())) is not None:
            self.done[entry["image_id"]] = entry["results"]
            whole += len(line)
        self._file.truncate(whole)  # what is of another evaluation, or was cut off
        if not whole:
            self._file.write(header)

    def add(self, image_id: Any, results: list[dict[str, Any]]) -> None:
        """Notes one picture's results."""
        self._file.write(json.dumps({"image_id": image_id, "results": results}).encode() + b"\n")
        self._file.flush()

    def close(self, remove: bool = False) -> None:
        """Closes the file, and removes it when it is no longer needed."""
        self._file.close()
        if remove:
            self.path.unlink(missing_ok=True)


def _entry(line: bytes) -> dict[str, Any] | None:
    """One picture's line; None for the end of the file or a line that is not whole."""
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    whole = isinstance(entry, dict) and {"image_id", "results"} <= set(entry) and line.endswith(b"\n")
    return entry if whole else None


def checksum(path: str | os.PathLike) -> int | None:
    """A checksum of a model file or folder; None if there is no such file."""
    path = Path(path)
    if not path.exists():
        return None
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    total = 0
    for file in files:
        with file.open("rb") as content:
            while block := content.read(1 << 20):
                total = zlib.crc32(block, total)
    return total
