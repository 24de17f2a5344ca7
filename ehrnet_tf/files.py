"""Writing files so that nobody ever sees half of one."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TEMPORARY = ".unfinished-"  # begins the name of a file that is being written


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[Path]:
    """Yields a temporary name beside ``path`` (same suffix); renames it to ``path`` if the block succeeds.

    If the block raises, the temporary file is removed and an existing ``path`` stays as it was. Missing parent
    folders are made.

    Raises:
      OSError: the folder cannot be written to; the error names ``path``.
    """
    path = Path(path)
    with _named(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f"{TEMPORARY}{path.stem}-", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        with _named(path, within=temporary):
            yield temporary
            umask = os.umask(0)
            os.umask(umask)
            temporary.chmod(0o666 & ~umask)
            replace(temporary, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()


@contextlib.contextmanager
def atomic_folder(path: str | os.PathLike) -> Iterator[Path]:
    """Yields a new folder that becomes ``path`` if the block succeeds, and is removed if it raises.

    Raises:
      OSError: ``path`` exists already, or its parent cannot be written to; the error names ``path``.
    """
    path = Path(path)
    with _named(path):
        if path.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
    with scratch_folder(path) as scratch:
        folder = scratch / path.name
        with _named(path, within=scratch):
            folder.mkdir()
            yield folder
            os.replace(folder, path)


@contextlib.contextmanager
def scratch_folder(path: str | os.PathLike) -> Iterator[Path]:
    """Yields a folder beside ``path`` for what is to become it, and removes the folder afterwards.

    Raises:
      OSError: the parent of ``path`` cannot be written to; the error names ``path``.
    """
    path = Path(path)
    with _named(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = tempfile.TemporaryDirectory(prefix=f"{TEMPORARY}{path.name}-", dir=path.parent)
    with folder as name:
        yield Path(name)


def check_writable(path: str | os.PathLike) -> None:
    """Raises the OSError that `atomic_path` would: for work that takes long before it writes."""
    path = Path(path)
    with _named(path):
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    with scratch_folder(path):
        pass


def replace(temporary: Path, path: Path) -> None:
    """Gives a finished file its name."""
    with temporary.open("rb") as file:
        os.fsync(file.fileno())  # lest a power cut leaves the new name without the contents
    with _named(path):
        os.replace(temporary, path)


_WRITING = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS)  # errors that may come without a name


@contextlib.contextmanager
def _named(path: Path, within: Path | None = None) -> Iterator[None]:
    """OSErrors name ``path``: all of them, or, of a block in which other files are read too, those of writing.

    Args:
      path: what errors shall name.
      within: what is written in the block; errors that name something else are left alone.
    """
    try:
        yield
    except OSError as error:
        named = str(error.filename or "")
        if within is not None and not (named.startswith(str(within)) or (not named and error.errno in _WRITING)):
            raise
        raise type(error)(error.errno, error.strerror, str(path)) from error


def write_text(path: str | os.PathLike, text: str) -> None:
    """Writes ``text`` to ``path`` (UTF-8), all of it or nothing."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | os.PathLike, value: Any, indent: int | None = 1) -> None:
    """Writes ``value`` as JSON to ``path``, all of it or nothing."""
    write_text(path, json.dumps(value, indent=indent) + "\n")
