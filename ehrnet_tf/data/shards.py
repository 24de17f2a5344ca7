"""Where a split's pictures lie: in a folder, or in TFRecord shards with an index, as `make_shards` writes them.

A shard is an ordinary TFRecord file of `tf.train.Example`; the index knows where in it each picture's bytes begin, so
that samples are read in any order, a training gives the same results as from the folder, and hundreds of thousands of
small files become a few large ones. No tensorflow here.

    ROOT/annotations/person_keypoints_SPLIT.json    as before
    ROOT/SPLIT-00000-of-00012.tfrecord, ...
    ROOT/SPLIT.index.json                           {"shards": {file: bytes}, "pictures": {file_name: [shard number,
                                                    offset, length, width, height]}}
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from ehrnet_tf.data.pictures import PictureError, picture_size
from ehrnet_tf.errors import DataError


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a picture's bytes are: in a file, from ``offset`` on, ``length`` of them (None: all)."""

    file: str
    offset: int = 0
    length: int | None = None

    def read(self) -> bytes:
        """The bytes.

        Raises:
          DataError: the file cannot be read, or is shorter than it was.
        """
        try:
            with open(self.file, "rb", buffering=0) as file:
                if self.length is None:
                    return file.readall()
                file.seek(self.offset)
                data = file.read(self.length)
        except OSError as error:
            raise DataError(f"{self.file}: cannot be read ({error.strerror}); restore the file") from error
        if len(data) < self.length:
            raise DataError(f"{self.file}: is cut short; copy it again or make the shards anew")
        return data


class FolderPictures:
    """The pictures in ``ROOT/SPLIT/``."""

    def __init__(self, root: Path, split: str):
        self.home = root / split

    def find(self, name: str) -> tuple[str, Place, tuple[int, int]]:
        """What messages call a picture, its place, and its (width, height) in pixels.

        Raises:
          PictureError: no such picture, or a damaged one.
        """
        path = self.home / name
        return str(path), Place(str(path)), picture_size(path)


class ShardPictures:
    """The pictures in a split's shards.

    Raises:
      DataError: the index is damaged, or a shard is missing or has another length.
    """

    def __init__(self, root: Path, split: str):
        path = index_path(root, split)
        self.home = path
        try:
            index = json.loads(path.read_text(encoding="utf-8"))
            files, self._pictures = index["shards"], index["pictures"]
            self._files = [str(root / name) for name in files]
            sizes = list(files.values())
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{path}: is not an index of shards ({error!r:.80}); make the shards anew") from error
        for file, size in zip(self._files, sizes, strict=True):
            if not Path(file).is_file() or Path(file).stat().st_size != size:
                raise DataError(f"{file}: is missing or not {size} bytes long, as {path.name} says; copy it again")

    def find(self, name: str) -> tuple[str, Place, tuple[int, int]]:
        """As `FolderPictures.find`; raises DataError for a damaged entry."""
        if name not in self._pictures:
            raise PictureError("is not in the shards")
        try:
            shard, offset, length, width, height = map(int, self._pictures[name])
            file = self._files[shard]
        except (ValueError, TypeError, IndexError):
            raise DataError(f"{self.home}: the entry of {name} is damaged; make the shards anew") from None
        return f"{file}/{name}", Place(file, offset, length), (width, height)


def index_path(root: Path, split: str) -> Path:
    """The index file of a split's shards."""
    return root / f"{split}.index.json"


def open_pictures(root: Path, split: str) -> FolderPictures | ShardPictures:
    """The pictures of a split: its shards' if there are some, else its folder's.

    Raises:
      DataError: there is neither, or the shards are damaged.
    """
    if index_path(root, split).is_file():
        return ShardPictures(root, split)
    if not (root / split).is_dir():
        raise DataError(f"{root / split}: no such folder; put the pictures of the split '{split}' there")
    return FolderPictures(root, split)
