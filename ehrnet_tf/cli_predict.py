"""The commands ``ehrnet predict`` and ``ehrnet draw``."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ehrnet_tf.errors import EhrnetError, UsageError

_ENDINGS = ("SIGINT", "SIGTERM", "SIGHUP")  # Ctrl-C, kill and a service's stop, a terminal that closes


def predict(args: argparse.Namespace) -> None:
    from ehrnet_tf.files import check_writable
    from ehrnet_tf.predict import Outputs, Summary, sort_inputs
    from ehrnet_tf.predict import predict as run
    from ehrnet_tf.runtime.estimator import PoseEstimator
    from ehrnet_tf.runtime.protocol import Protocol
    from ehrnet_tf.video.screen import check_screen

    sort_inputs(args.inputs)  # an error before the model is opened
    if args.show:
        check_screen()
    for path in filter(None, (args.json, args.coco)):
        check_writable(path)
    if args.out:
        _check_folder(args.out)
    estimator = PoseEstimator(
        args.model,
        threads=args.threads,
        keypoints=args.keypoints,
        input_size=args.input_size,
        device=args.device,
        min_score=args.min_score,
        protocol=Protocol("exact" if args.exact else "live"),
        filters=chosen_filters(args),
    )
    drawing, cover = chosen_drawing(args), chosen_cover(args)
    outputs = Outputs(args.out, args.json, args.coco, args.show, drawing, cover, not args.no_sound)
    summary = Summary()

    def warn(line: str) -> None:
        print(line, file=sys.stderr)

    with _ended_once(args.is_process):
        try:
            run(
                estimator,
                args.inputs,
                outputs,
                summary,
                not args.no_track,
                not args.no_smooth,
                args.frames,
                warn,
                say=None if any((args.out, args.json, args.coco, args.show)) else print,
            )
        finally:
            for note in summary.notes:
                warn(f"note: {note}")
            if summary.pictures:
                print(summary.describe(args.out))
    if summary.problems:
        raise EhrnetError("; ".join(summary.problems))


@contextlib.contextmanager
def _ended_once(is_process: bool = False) -> Iterator[None]:
    """The first of `_ENDINGS` in the block raises KeyboardInterrupt, so that files get finished; others are ignored.

    Args:
      is_process: whether the process soon ends after that; others are then ignored until it has.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [getattr(signal, name) for name in _ENDINGS if hasattr(signal, name)]
    before = {number: signal.getsignal(number) or signal.SIG_DFL for number in numbers}
    caught = [number for number in numbers if before[number] is not signal.SIG_IGN]  # as nohup wants it

    def stop(number: int, frame: Any) -> None:
        for each in caught:
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt

    try:
        for number in caught:
            signal.signal(number, stop)
        yield
    finally:
        for number in caught:
            if not is_process or signal.getsignal(number) is stop:
                signal.signal(number, before[number])


def _check_folder(folder: str) -> None:
    """Raises what writing into the folder would, before the work; a folder that there is not yet is not made."""
    from ehrnet_tf.files import scratch_folder

    if os.path.exists(folder) and not os.path.isdir(folder):
        raise UsageError(f"--out {folder}: is no folder; give one for the drawings")
    nearest = next(filter(os.path.exists, (Path(folder), *Path(folder).absolute().parents)))
    try:
        with scratch_folder(nearest / "drawings"):
            pass
    except OSError as error:
        raise OSError(error.errno, error.strerror, folder) from error


def draw(args: argparse.Namespace) -> None:
    from ehrnet_tf.redraw import redraw

    drawing, cover = chosen_drawing(args), chosen_cover(args)

    def covered(image, poses):
        return drawing(image if cover is None else cover(image, poses), poses.above(args.min_score))

    count = redraw(args.poses, args.out, args.source, covered, args.keypoints)
    print(f"{count} pictures drawn in {args.out}")


def chosen_drawing(args: argparse.Namespace):
    """What draws poses as the options say: (image, `Poses`) to an image."""

    def draw(image, poses):
        return image if args.no_skeletons else poses.draw(image, boxes=args.boxes)

    return draw


def chosen_cover(args: argparse.Namespace):
    """What covers heads as the options say, or None."""
    if not args.anonymise:
        return None
    from ehrnet_tf.anonymise import anonymise

    return lambda image, poses: anonymise(image, poses.keypoints, poses.keypoint_set, args.anonymise)


def chosen_filters(args: argparse.Namespace):
    """What the options leave out of the poses."""
    from ehrnet_tf.filters import Filters

    return Filters(args.limb_length, args.min_joints, args.duplicate_oks)
