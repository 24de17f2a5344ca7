"""What ``ehrnet draw`` does: poses of a file drawn on the pictures they were found in, without the model."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ehrnet_tf.errors import DataError, UsageError
from ehrnet_tf.images import find_pictures, output_paths, read_image
from ehrnet_tf.keypoints import KeypointSet
from ehrnet_tf.pose_files import Entry, read_poses
from ehrnet_tf.poses import Poses
from ehrnet_tf.predict import write_picture
from ehrnet_tf.video.overlap import Ahead
from ehrnet_tf.video.sources import is_video, open_source
from ehrnet_tf.video.writer import VideoWriter

Drawing = Callable[[np.ndarray, Poses], np.ndarray]


def redraw(
    poses_path: str | os.PathLike,
    out: str | os.PathLike,
    source: str | None = None,
    draw: Drawing = lambda image, poses: poses.draw(image),
    keypoints: str | os.PathLike | KeypointSet | None = None,
) -> int:
    """Draws the poses of a file.

    Args:
      poses_path: what `PoseWriter` wrote; see `read_poses`.
      out: folder for the drawings.
      source: the video, the picture or the folder of pictures; None: those that the file names.
      draw: draws the poses of a picture on it.
      keypoints: see `read_poses`.

    Returns:
      How many pictures or frames were drawn.

    Raises:
      DataError, UsageError: the poses or the pictures cannot be read, or do not belong together.
      OSError: a drawing cannot be written.
    """
    count = 0
    known = {Path(path).name: path for path in find_pictures([source])} if source and not is_video(source) else None
    entries = read_poses(poses_path, keypoints)
    for file, group in itertools.groupby(entries, key=lambda entry: entry.file):
        chosen = source if known is None and source else file
        if known is not None and file is not None and not is_video(file):
            chosen = known.get(Path(file).name)
            if chosen is None:
                raise DataError(f"{source}: has no picture {Path(file).name}, which {poses_path} names")
        if chosen is None:
            raise UsageError(f"{poses_path}: names no pictures, they came from a camera; give --source VIDEO")
        if is_video(str(chosen)):
            count += _redraw_video(str(chosen), Path(out), group, draw)
        else:
            for entry in group:
                (target,) = output_paths([Path(chosen)], str(out))
                write_picture(target, draw(_fitting(read_image(chosen), entry), entry.poses))
                count += 1
    return count


def _redraw_video(path: str, out: Path, entries: Iterator[Entry], draw: Drawing) -> int:
    """A video with its poses; a frame that the file does not have is taken over as it is."""
    count = 0
    with contextlib.ExitStack() as stack:
        source = stack.enter_context(open_source(path))
        target = out / f"{Path(path).stem}.mp4"
        if target.exists() and target.samefile(path):
            raise UsageError(f"--out {out}: would write over {path}; give another folder")
        writer = stack.enter_context(VideoWriter(target, source.fps or 25.0, path))
        ahead = Ahead(source)
        stack.callback(ahead.stop)
        entry = next(entries, None)
        for frame in tqdm(ahead, total=source.count, unit="frame"):
            image = frame.image
            if entry is not None and entry.frame == frame.index:
                image = draw(_fitting(image, entry), entry.poses)
                entry = next(entries, None)
            writer.write(image, frame.seconds)
            count += 1
    if entry is not None:
        raise DataError(f"{path}: has {count} frames, and there are poses of frame {entry.frame}: another video?")
    return count


def _fitting(image: np.ndarray, entry: Entry) -> np.ndarray:
    """The picture, if it has the size in which the poses were found."""
    if image.shape[:2] != entry.poses.image_size:
        (height, width), (other, side) = image.shape[:2], entry.poses.image_size
        name = entry.file or f"frame {entry.frame}"
        raise DataError(f"{name}: is {width}x{height}, its poses were found in {side}x{other}; give the original")
    return image
