"""Packs a split's pictures into TFRecord shards (see `data.shards`)."""

from __future__ import annotations

import os
from pathlib import Path

from tqdm import tqdm

from ehrnet_tf.data.coco import Record, read_records
from ehrnet_tf.data.shards import index_path
from ehrnet_tf.errors import UsageError
from ehrnet_tf.files import atomic_path, write_json, write_text
from ehrnet_tf.keypoints import KeypointSet

_HEADER, _FOOTER = 12, 4  # bytes round a TFRecord's data: its length, two checksums


def make_shards(
    root: str | os.PathLike,
    split: str,
    out: str | os.PathLike,
    keypoints: str | os.PathLike | KeypointSet = "coco",
    megabytes: int = 128,
    progress: bool = False,
) -> dict[str, int]:
    """Writes the shards, the index and the annotation file of a split; the index last, so that it stands for a whole.

    Every record is a `tf.train.Example` of ``image/encoded`` (the file, unchanged), ``image/filename``, ``image/id``,
    ``image/height``, ``image/width``, ``keypoints`` (x, y, v of all people, picture pixels) and ``mask`` (a PNG, 0
    where no loss may be taken; empty if there is none), for readers other than this package.

    Args:
      root: folder in COCO's layout.
      split: see `read_records`; what it skips is left out.
      keypoints: the keypoint set.
      out: the folder to write to; may hold other splits.
      megabytes: about how large a shard becomes.
      progress: whether to show a progress bar (on stderr).

    Returns:
      {"pictures", "skipped", "shards"}.

    Raises:
      DataError: the data cannot be used.
      UsageError: ``out`` has shards of this split already, or is ``root``; ``megabytes`` below 1.
    """
    root, out = Path(root), Path(out)
    if megabytes < 1:
        raise UsageError(f"--megabytes {megabytes}: must be at least 1")
    if out.resolve() == root.resolve():
        raise UsageError(f"{out}: is the data's own folder; choose another one for the shards")
    if index_path(out, split).exists():
        raise UsageError(f"{index_path(out, split)}: exists already; choose a new folder, or remove it")
    if index_path(root, split).exists():
        raise UsageError(f"{root}: holds shards of {split} already; give the folder of the pictures")
    records = read_records(root, split, keypoints)
    groups = _groups(records, megabytes * 2**20)
    names = [f"{split}-{number:05d}-of-{len(groups):05d}.tfrecord" for number in range(len(groups))]
    pictures: dict[str, list[int]] = {}
    with tqdm(total=len(records), desc=f"shards of {split}", unit="picture", disable=not progress) as bar:
        for number, (name, group) in enumerate(zip(names, groups, strict=True)):
            with atomic_path(out / name) as temporary:
                for record, offset, length in _write(temporary, group):
                    pictures[record.file_name] = [number, offset, length, record.width, record.height]
                    bar.update()
    annotations = records.annotation_file
    write_text(out / "annotations" / annotations.name, annotations.read_text(encoding="utf-8"))
    shards = {name: (out / name).stat().st_size for name in names}
    write_json(index_path(out, split), {"shards": shards, "pictures": pictures}, indent=None)
    return {"pictures": len(records), "skipped": len(records.skipped), "shards": len(names)}


def _groups(records, size: int) -> list[list[Record]]:
    """The records of each shard, in order."""
    groups: list[list[Record]] = [[]]
    filled = 0
    for record in records:
        if filled >= size:
            groups.append([])
            filled = 0
        groups[-1].append(record)
        filled += Path(record.path).stat().st_size
    return groups


def _write(path: Path, records: list[Record]):
    """Writes a shard; yields every record, and where its picture's bytes begin and how many they are."""
    import tensorflow as tf

    def feature(*values):
        if isinstance(values[0], bytes):
            return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))
        return tf.train.Feature(int64_list=tf.train.Int64List(value=values))

    begin = 0
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            picture = record.read()
            features = {
                "image/encoded": feature(picture),
                "image/filename": feature(record.file_name.encode()),
                "image/id": feature(str(record.image_id).encode()),
                "image/height": feature(record.height),
                "image/width": feature(record.width),
                "keypoints": tf.train.Feature(float_list=tf.train.FloatList(value=record.keypoints.ravel())),
                "mask": feature(record.mask),
            }
            data = tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()
            writer.write(data)
            yield record, begin + _HEADER + data.index(picture), len(picture)
            begin += _HEADER + len(data) + _FOOTER
