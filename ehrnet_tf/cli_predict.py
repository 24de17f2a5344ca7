"""The commands ``ehrnet predict`` and ``ehrnet draw``."""

from __future__ import annotations

import argparse
import sys

from ehrnet_tf.errors import EhrnetError


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
