"""The command ``ehrnet``. Exit status: 0 success, 1 failure, 2 unusable arguments.

Every command is a function of the parsed arguments; heavy packages are imported inside it, so that `--help` is quick.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import sys
from pathlib import Path

from ehrnet_tf import __version__
from ehrnet_tf.errors import EhrnetError, MissingExtraError, UsageError

# Packages of the extra `train`; a missing one is reported with the extra's name.
TRAIN_PACKAGES = {"tensorflow", "keras", "pycocotools", "matplotlib", "tensorboard"}


def models(args: argparse.Namespace) -> None:
    from ehrnet_tf.files import write_json
    from ehrnet_tf.models.statistics import FAMILY, describe

    print(f"{'variant':8} {'input':>5} {'parameters':>12} {'GMACs':>8}  {'published':14} {'branch widths':20} modules")
    family = []
    for variant in args.variants or FAMILY:
        size = describe(variant)
        family.append(size)
        published = size.get("published")
        published = f"{published['parameters'] / 1e6:g} M, {published['macs'] / 1e9:g} G" if published else "-"
        widths, modules = (" ".join(map(str, size[key])) for key in ("branch_widths", "modules"))
        print(
            f"{size['variant']:8} {size['input_size']:5} {size['parameters']:12,} {size['macs'] / 1e9:8.3f}  "
            f"{published:14} {widths:20} {modules}",
            flush=True,
        )
    print("Counted from the graph: one picture, no flip, 17 keypoints (B: 1000 classes). Published figures come from a")
    print(
        "counter that takes MBConv blocks' parameters twice, and the transposed convolution's multiply-adds four times."
    )
    if args.json:
        write_json(args.json, family)


def make_data(args: argparse.Namespace) -> None:
    from ehrnet_tf.data.synthetic import make_dataset

    make_dataset(
        args.folder,
        train=args.train,
        val=args.val,
        size=args.size,
        seed=args.seed,
        max_people=args.max_people,
        upright=args.upright,
        progress=True,
        workers=os.cpu_count() or 1,
    )
    print(f"{args.folder}: {args.train} training and {args.val} validation pictures")


def make_shards(args: argparse.Namespace) -> None:
    from ehrnet_tf.data.make_shards import make_shards as run

    for split in args.split or ["train2017", "val2017"]:
        counts = run(args.folder, split, args.out, args.keypoints, args.megabytes, progress=True)
        print(f"{split}: {counts['pictures']} pictures in {counts['shards']} shards, {counts['skipped']} skipped")


def check_data(args: argparse.Namespace) -> None:
    from ehrnet_tf.config import load_config
    from ehrnet_tf.data import check
    from ehrnet_tf.data.sheet import check_suffix, draw_sheet
    from ehrnet_tf.files import write_json

    named = args.config[:1] if args.config and "=" not in args.config[0] else []
    chosen = [f"model.keypoints={args.keypoints}"] if args.keypoints else []
    config = load_config(*(named or [None]), [*args.config[len(named) :], *chosen])
    if args.sheet:
        check_suffix(args.sheet)
    splits = args.split or check.find_splits(args.folder)
    report = check.check_data(
        args.folder, splits, config.model.keypoints, args.limit, config.data.max_people, progress=True
    )
    print(check.report_text(report))
    if args.json:
        write_json(args.json, report)
    if args.sheet:
        split = config.data.train_split if config.data.train_split in splits else splits[0]
        print(f"\nsamples of {split}: {draw_sheet(args.sheet, args.folder, split, config)}")


def train(args: argparse.Namespace) -> None:
    from ehrnet_tf.config import load_config
    from ehrnet_tf.files import write_json

    config = load_config(resumed_config(args), args.overrides)
    from ehrnet_tf.training.devices import Processes
    from ehrnet_tf.training.train import train as run

    result = run(config, args.data, args.out, args.resume, Processes.parse(args.process, args.address))
    if args.json:
        write_json(args.json, result)


def pretrain(args: argparse.Namespace) -> None:
    from ehrnet_tf.config import PretrainConfig, load_config
    from ehrnet_tf.files import write_json

    config = load_config(resumed_config(args), args.overrides, PretrainConfig)
    from ehrnet_tf.training.pretrain import pretrain as run

    result = run(config, args.data, args.out, resume=args.resume)
    print(f"best accuracy {result['best_accuracy']:.3f}: {Path(result['run']) / 'best.keras'}")
    if args.json:
        write_json(args.json, result)


def resumed_config(args: argparse.Namespace) -> str | Path | None:
    """The configuration that is asked for, or that of the run to go on with."""
    own = Path(args.out) / "config.yaml"
    return own if args.config is None and args.resume and own.is_file() else args.config


def evaluate(args: argparse.Namespace) -> None:
    from ehrnet_tf.evaluation import evaluate as run
    from ehrnet_tf.evaluation.table import figure_table
    from ehrnet_tf.files import write_json
    from ehrnet_tf.runtime.protocol import Protocol
    from ehrnet_tf.runtime.runners import open_runner

    runner = open_runner(args.model, threads=args.threads)
    decoder = "live" if args.fast or runner.graph == "poses" else "exact"
    figures = run(
        runner,
        args.data,
        args.split,
        limit=args.limit,
        batch_size=args.batch_size,
        results_path=args.results,
        protocol=Protocol(decoder, args.flip, numbers(args.scales, "--scales"), args.sizes),
        filters=chosen_filters(args),
        details=args.details,
        worst=(count(args.worst[0], "--worst"), args.worst[1]) if args.worst else None,
    )
    print(figure_table(figures))
    if args.worst:
        overview = Path(args.worst[1]) / "overview.jpg"
        print(f"worst misses: {overview if overview.is_file() else 'none'}")
    if args.json:
        write_json(args.json, figures)


def numbers(text: str, option: str) -> tuple[float, ...]:
    """Numbers between commas."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise UsageError(f"{option} {text}: give numbers between commas, e.g. 0.5,1,2") from error


def count(text: str, option: str) -> int:
    """A whole number that counts something."""
    if not text.isdecimal() or not int(text):
        raise UsageError(f"{option} {text}: give a whole number of at least 1")
    return int(text)


def chosen_filters(args: argparse.Namespace):
    """What the options leave out of the poses."""
    from ehrnet_tf.filters import Filters

    return Filters(args.limb_length, args.min_joints, args.duplicate_oks)


def export(args: argparse.Namespace) -> None:
    from ehrnet_tf.converters.calibration import calibration_pictures
    from ehrnet_tf.converters.tflite import export_tflite
    from ehrnet_tf.files import write_json
    from ehrnet_tf.runtime.estimator import PoseEstimator
    from ehrnet_tf.runtime.runners import open_runner

    if Path(args.model).suffix != ".keras":
        raise UsageError(f"{args.model}: only .keras models are converted")
    if args.format == "pytorch":
        if args.precision != "float32" or args.calibration:
            raise UsageError("--format pytorch writes float32 weights: leave out --precision and --calibration")
        from ehrnet_tf.converters.to_pytorch import export_pytorch
        from ehrnet_tf.models.weights import open_keras

        entries = export_pytorch(open_keras(args.model), args.out)
        print(f"{args.out}: {entries} entries, read back equal")
        if args.json:
            write_json(args.json, {"path": args.out, "entries": entries})
        return
    if args.format in ("saved_model", "onnx"):
        if args.precision != "float32" or args.calibration:
            raise UsageError(f"--format {args.format} computes in float32: leave out --precision and --calibration")
        if args.format == "onnx":
            from ehrnet_tf.converters.onnx import export_onnx as convert
        else:
            from ehrnet_tf.converters.saved_model import export_saved_model as convert

        source = open_runner(args.model)
        report = convert(source.model, args.out, args.graph, args.people, {**source.metadata, "source": args.model})
        print(f"{args.out}: {args.graph}, {report['bytes'] / 2**20:.2f} MB, compared with the model")
        if args.json:
            write_json(args.json, report)
        return
    if args.precision == "int8" and not args.calibration:
        raise UsageError("--precision int8 needs --calibration DIR, a folder of pictures like those to come")
    source = PoseEstimator(args.model)
    pictures, metadata = None, dict(source.runner.metadata)
    if args.calibration:
        pictures = calibration_pictures(args.calibration, source.input_size, args.calibration_size, args.seed)
        metadata["calibration"] = {"folder": args.calibration, "seed": args.seed}
    metadata["source"] = args.model
    report = export_tflite(
        source.runner.model, args.out, args.precision, pictures, metadata=metadata, graph=args.graph, people=args.people
    )
    print(f"{args.out}: {args.precision}, {report['bytes'] / 2**20:.2f} MB, {sum(report['ops'].values())} operators")
    print(f"difference from {args.model} on {report['pictures']} pictures:")
    for name, difference in report["differences"].items():
        print(f"  {name:11} worst {difference['max']:.4f}, mean {difference['mean']:.5f}")
    if poses := report.get("poses"):
        print(
            f"  poses       {poses['people']} people, {poses['lost']} of them lost; keypoints away: median "
            f"{poses['median']:.2f}, worst {poses['worst']:.2f} pixels"
        )
    if args.json:
        write_json(args.json, report)


def import_pytorch(args: argparse.Namespace) -> None:
    from ehrnet_tf.converters.from_pytorch import import_checkpoint

    variant, loaded = import_checkpoint(
        args.checkpoint, args.out, args.model, args.keypoints, args.input_size, args.tags_on_both_stages
    )
    print(f"{args.out}: {variant}, {loaded}")


def predict(args: argparse.Namespace) -> None:
    import cv2
    from tqdm import tqdm

    from ehrnet_tf.files import atomic_path, write_json
    from ehrnet_tf.images import find_pictures, output_paths, read_image
    from ehrnet_tf.runtime.estimator import PoseEstimator
    from ehrnet_tf.runtime.protocol import Protocol

    paths = find_pictures(args.inputs)
    protocol = Protocol("exact" if args.exact else "live")
    estimator = PoseEstimator(
        args.model, threads=args.threads, min_score=args.min_score, protocol=protocol, filters=chosen_filters(args)
    )
    drawings = output_paths(paths, args.out) if args.out else [None] * len(paths)
    found, failed = [], 0
    for path, drawing in zip(tqdm(paths, unit="picture", disable=len(paths) < 3), drawings, strict=True):
        try:
            image = read_image(path)
        except EhrnetError as error:
            failed += 1
            print(f"skipped: {error}", file=sys.stderr)
            continue
        poses = estimator(image)
        found.append({"file": str(path), **poses.to_dict()})
        if drawing:
            with atomic_path(drawing) as temporary:
                if not cv2.imwrite(str(temporary), cv2.cvtColor(poses.draw(image), cv2.COLOR_RGB2BGR)):
                    raise EhrnetError(f"{drawing}: cannot be written")
        if not args.json and not args.out:
            print(f"{path}: {len(poses)} people")
    if args.json:
        write_json(args.json, found)
    people = sum(len(entry["people"]) for entry in found)
    where = f"; drawings in {args.out}" if args.out else ""
    print(f"{people} people in {len(found)} pictures{where}")
    if failed:
        raise EhrnetError(f"{failed} of {len(paths)} inputs could not be read")


def demo(args: argparse.Namespace) -> None:
    from ehrnet_tf.demo import run

    run(args.out, args.overrides)


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ehrnet", description="EfficientHRNet: multi-person pose estimation, trained, converted and run."
    )
    parser.add_argument("--version", action="version", version=f"ehrnet-tf {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def command(function, name: str, text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(function=function)
        return sub

    sub = command(models, "models", "The family: input, parameters, multiply-adds, widths, modules.")
    sub.add_argument(
        "variants", nargs="*", metavar="VARIANT", help="H0, E-4, H-2.5, B-1 ... (default: H0 ... H-4, E0 ... E-4)"
    )
    sub.add_argument("--json", metavar="FILE", help="write the figures there")

    sub = command(make_data, "make-data", "Write the synthetic data set in COCO layout.")
    sub.add_argument("folder", help="new folder, or one written by this command")
    sub.add_argument("--train", type=int, default=1200, metavar="N", help="training pictures (%(default)s)")
    sub.add_argument("--val", type=int, default=100, metavar="N", help="validation pictures (%(default)s)")
    sub.add_argument("--size", type=int, default=256, metavar="PX", help="long side of a picture (%(default)s)")
    sub.add_argument("--max-people", type=int, default=6, metavar="N", help="people in a picture (%(default)s)")
    sub.add_argument("--upright", action="store_true", help="only people who stand or walk and face the viewer")
    sub.add_argument("--seed", type=int, default=0, help="the same seed gives the same pictures (%(default)s)")

    sub = command(
        make_shards, "make-shards", "Pack a data set's pictures into TFRecord shards, for `train` and `eval`."
    )
    sub.add_argument("folder", metavar="DIR", help="folder in COCO's layout")
    sub.add_argument("--out", required=True, metavar="SHARDS", help="folder to write to")
    text = "one or more times (default: train2017 and val2017)"
    sub.add_argument("--split", action="append", metavar="SPLIT", help=text)
    sub.add_argument("--keypoints", default="coco", metavar="SET", help="set or YAML file (%(default)s)")
    sub.add_argument("--megabytes", type=int, default=128, metavar="N", help="size of a shard, about (%(default)s)")

    sub = command(check_data, "check-data", "Find a data set's faults, and show what a training makes of it.")
    sub.add_argument("folder", metavar="DIR", help="folder in COCO's layout; nothing in it is changed")
    sub.add_argument(
        "--split", action="append", metavar="SPLIT", help="one or more times (default: all that are there)"
    )
    sub.add_argument("--keypoints", metavar="SET", help="set or YAML file (default: the configuration's)")
    sub.add_argument("--limit", type=int, metavar="N", help="only the first N pictures of each split")
    text = "the training that is meant: YAML file, or a name in configs/, and values over it (default: all defaults)"
    sub.add_argument("--config", nargs="+", default=[], metavar=("C", "a.b=c"), help=text)
    sub.add_argument("--sheet", metavar="FILE", help="draw augmented samples with their targets: .jpg or .png")
    sub.add_argument("--json", metavar="FILE", help="write counts and findings, with all cases, there")

    def filter_options(sub: argparse.ArgumentParser) -> None:
        sub.add_argument("--min-joints", type=int, default=0, metavar="N", help="leave out people with fewer joints")
        text = "of two people more alike than this (0..1), leave out the one with the lower score"
        sub.add_argument("--duplicate-oks", type=float, metavar="OKS", help=text)
        text = "leave out the end of limbs longer than X times the person's median"
        sub.add_argument("--limb-length", type=float, metavar="X", help=text)

    def training_command(
        function, name: str, text: str, data: str, figure: str, example: str
    ) -> argparse.ArgumentParser:
        sub = command(function, name, text)
        sub.add_argument("--config", metavar="C", help="YAML file, or a name in configs/ (default: all defaults)")
        sub.add_argument("--data", required=True, metavar="DIR", help=data)
        sub.add_argument("--out", required=True, metavar="RUN", help="run folder to make")
        sub.add_argument("--resume", action="store_true", help="go on with the run in RUN")
        sub.add_argument("--json", metavar="FILE", help=f"write the best {figure} there")
        sub.add_argument("overrides", nargs="*", metavar="a.b=c", help=f"configuration values, e.g. {example}")
        return sub

    folders = "folder in COCO's layout, or of shards"
    sub = training_command(train, "train", "Train a model.", folders, "AP", "train.batch_size=16")
    sub.add_argument("--process", metavar="I/N", help="this is process I (from 0) of N that train together (JAX)")
    sub.add_argument("--address", metavar="HOST:PORT", help="of process 0, for the others")
    text = "Train a backbone as a classifier on a folder of class folders."
    folders = "DIR/<class>/, or DIR/train/<class>/ and DIR/val/"
    training_command(pretrain, "pretrain", text, folders, "accuracy", "model.variant=B-2")

    sub = command(evaluate, "eval", "Measure COCO AP of a model file.")
    sub.add_argument("model", help=".keras, .tflite, .onnx or SavedModel folder")
    sub.add_argument("--data", required=True, metavar="DIR", help="folder in COCO's layout")
    sub.add_argument("--split", default="val2017", help="%(default)s")
    sub.add_argument("--limit", type=int, metavar="N", help="only the first N pictures")
    sub.add_argument("--fast", action="store_true", help="the live decoder instead of the exact one")
    sub.add_argument("--flip", action="store_true", help="flip test: the mirrored picture as well")
    sub.add_argument("--scales", default="1", metavar="S,S", help="test scales, e.g. 0.5,1,2 (%(default)s)")
    text = "fit the picture into the model's input, or the published procedure's sizes (%(default)s)"
    sub.add_argument("--sizes", choices=["letterbox", "reference"], default="letterbox", help=text)
    sub.add_argument("--threads", type=int, default=2, help="of the TFLite interpreter (%(default)s)")
    sub.add_argument("--batch-size", type=int, default=1, metavar="N", help="pictures at once (%(default)s)")
    filter_options(sub)
    text = "write the poses as COCO results; the same command goes on with an evaluation that was stopped"
    sub.add_argument("--results", metavar="FILE", help=text)
    sub.add_argument("--details", action="store_true", help="figures by keypoint and by size as well")
    sub.add_argument("--worst", nargs=2, metavar=("N", "DIR"), help="draw the N worst misses into DIR")
    sub.add_argument("--json", metavar="FILE", help="write the figures there")

    sub = command(export, "export", "Convert a model and compare the result with it.")
    sub.add_argument("model", help=".keras file")
    sub.add_argument(
        "--format", choices=["tflite", "onnx", "saved_model", "pytorch"], default="tflite", help="%(default)s"
    )
    text = "what the file gives: the network's maps, or the people, with the decoder inside (%(default)s)"
    sub.add_argument("--graph", choices=["maps", "poses"], default="maps", help=text)
    sub.add_argument("--people", type=int, default=30, metavar="P", help="the most people, --graph poses (%(default)s)")
    sub.add_argument("--precision", choices=["float32", "float16", "int8"], default="float32", help="%(default)s")
    sub.add_argument("--calibration", metavar="DIR", help="folder of pictures, or of COCO data; needed for int8")
    sub.add_argument("--calibration-size", type=int, default=128, metavar="N", help="pictures drawn (%(default)s)")
    sub.add_argument("--seed", type=int, default=0, help="of the drawing of calibration pictures (%(default)s)")
    sub.add_argument("--out", required=True, metavar="F", help="file to write")
    sub.add_argument("--json", metavar="FILE", help="write the comparison there")

    sub = command(import_pytorch, "import-pytorch", "Convert a checkpoint of the original network to Keras.")
    sub.add_argument("checkpoint", help=".pth (needs PyTorch), .npz or .safetensors; the network or its backbone alone")
    sub.add_argument("--model", metavar="VARIANT", help="H0 ... H-4; B0 ... B-4: a classifier (default: what it holds)")
    sub.add_argument("--out", required=True, metavar="F", help=".keras file to write")
    sub.add_argument("--keypoints", default="coco", metavar="SET", help="set or YAML file (%(default)s)")
    sub.add_argument("--input-size", type=int, metavar="PX", help="side of the input (default: the variant's own)")
    sub.add_argument("--tags-on-both-stages", action="store_true", help="keep the tags of a 34-channel second head")

    sub = command(predict, "predict", "Find people in pictures.")
    sub.add_argument("model", help=".keras, .tflite, .onnx or SavedModel folder")
    sub.add_argument("inputs", nargs="+", metavar="INPUT", help="pictures and folders of pictures")
    sub.add_argument("--out", metavar="DIR", help="write drawings there")
    sub.add_argument("--json", metavar="F", help="write the poses there")
    sub.add_argument("--min-score", type=float, default=0.2, help="leave out people scored lower (%(default)s)")
    sub.add_argument("--exact", action="store_true", help="the exact decoder instead of the live one")
    filter_options(sub)
    sub.add_argument("--threads", type=int, default=2, help="of the TFLite interpreter (%(default)s)")

    sub = command(demo, "demo", "Synthetic data, training, int8 conversion, figures and pictures, in one go.")
    sub.add_argument("--out", default="demo_output", metavar="DIR", help="%(default)s")
    sub.add_argument("overrides", nargs="*", metavar="a.b=c", help="configuration values over configs/demo.yaml")
    return parser


def load_tensorflow_quietly() -> None:
    """TensorFlow writes lines to stderr while it loads, whatever its log level; a missing one is reported later."""
    sys.stderr.flush()
    stderr, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        with contextlib.suppress(ImportError):
            import tensorflow  # noqa: F401
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(nowhere)


def main(argv: list[str] | None = None) -> int:
    """Runs one command; errors meant for the user end in one line on stderr."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    for talkative in ("absl", "tensorflow", "tf2onnx"):
        logging.getLogger(talkative).setLevel(logging.ERROR)
    args = build_parser().parse_args(argv)
    needs_tensorflow = args.function in (models, train, pretrain, export, import_pytorch, demo)
    if needs_tensorflow or getattr(args, "sheet", None) or str(getattr(args, "model", "")).endswith(".keras"):
        load_tensorflow_quietly()
    try:
        args.function(args)
    except EhrnetError as error:
        print(f"ehrnet: {error}", file=sys.stderr)
        return error.exit_status
    except ModuleNotFoundError as error:
        if error.name not in TRAIN_PACKAGES:
            raise
        print(f"ehrnet: {MissingExtraError(error.name, 'train')}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"ehrnet: {error.filename or 'file'}: {error.strerror or error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("ehrnet: stopped", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
