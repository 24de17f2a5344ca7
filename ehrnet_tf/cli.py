"""The command ``ehrnet``. Exit status: 0 success, 1 failure, 2 unusable arguments.

Every command is a function of the parsed arguments; heavy packages are imported inside it, so that `--help` is quick.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import logging
import os
import sys
import threading
from pathlib import Path

from ehrnet_tf.cli_parser import build_parser
from ehrnet_tf.cli_predict import chosen_filters, draw, predict
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
        if args.limit:
            config = dataclasses.replace(config, data=dataclasses.replace(config.data, limit=args.limit))
        split = config.data.train_split if config.data.train_split in splits else splits[0]
        print(f"\nsamples of {split}: {draw_sheet(args.sheet, args.folder, split, config)}")


def train(args: argparse.Namespace) -> None:
    from ehrnet_tf.config import load_config
    from ehrnet_tf.files import write_json

    config = load_config(resumed_config(args), args.overrides)
    from ehrnet_tf.training.devices import Processes
    from ehrnet_tf.training.train import train as run

    processes = Processes.parse(args.process, args.address)
    result = run(config, args.data, args.out, args.resume, processes)
    if args.json and processes.first:
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
    from ehrnet_tf.runtime.metadata import store_accuracy
    from ehrnet_tf.runtime.protocol import Protocol
    from ehrnet_tf.runtime.runners import open_runner

    if args.store and Path(args.model).suffix not in (".keras", ".tflite"):
        raise UsageError(f"{args.model}: --store writes into .keras and .tflite files only")
    runner = open_runner(args.model, args.threads, args.keypoints, args.device)
    decoder = "live" if args.fast or runner.graph == "poses" else "exact"
    figures = run(
        runner,
        args.data,
        args.split,
        limit=args.limit,
        batch_size=args.batch_size,
        results_path=args.results,
        input_size=args.input_size,
        protocol=Protocol(decoder, args.flip, numbers(args.scales, "--scales"), args.sizes),
        filters=chosen_filters(args),
        details=args.details,
        bounds=args.bounds,
        worst=(count(args.worst[0], "--worst"), args.worst[1]) if args.worst else None,
    )
    print(figure_table(figures))
    if args.worst:
        overview = Path(args.worst[1]) / "overview.jpg"
        print(f"worst misses: {overview if overview.is_file() else 'none'}")
    if args.store:
        store_accuracy(args.model, figures, args.data, args.split, runner.metadata)
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


def quantize(args: argparse.Namespace) -> None:
    from ehrnet_tf.files import write_json
    from ehrnet_tf.quantization.finetune import quantize_run

    result = quantize_run(args.run, args.data, args.out, args.overrides, args.resume)
    report, float_ap = result["report"], result["float"]["AP"]
    print(f"{'':28} {'AP':>6} {'change':>7} {'AP50':>6}")
    for kind, text in (
        ("float", "as trained"),
        ("calibrated", "rounded, before fine-tuning"),
        ("int8", f"int8 file, epoch {result['best_epoch']}"),
    ):
        figures = result[kind]
        print(f"{text:28} {figures['AP']:6.3f} {figures['AP'] - float_ap:+7.3f} {figures['AP50']:6.3f}")
    operators, floats = sum(report["ops"].values()), sum(report["float_ops"].values())
    print(f"{report['path']}: {report['bytes'] / 2**20:.2f} MB, {operators} operators, {floats} of them in float")
    if result["kept_float"]:
        print(f"kept in float: {', '.join(result['kept_float'])}")
    if args.json:
        write_json(args.json, result)


def export(args: argparse.Namespace) -> None:
    from ehrnet_tf.converters.export import export as run
    from ehrnet_tf.files import check_writable, write_json

    if args.json:
        check_writable(args.json)
    report = run(
        args.model,
        args.out,
        args.format,
        args.precision,
        args.graph,
        args.people,
        args.calibration,
        args.calibration_size,
        args.seed,
        args.pictures,
        args.keypoints,
        args.licence,
        workspace_megabytes=args.workspace_megabytes,
        timing_cache=args.timing_cache,
        dla_core=args.dla_core,
    )
    if args.format == "pytorch":
        print(f"{args.out}: {report['entries']} entries, read back equal")
    else:
        operators = f", {sum(report['ops'].values())} operators" if "ops" in report else ""
        print(f"{args.out}: {report['graph']}, {args.precision}, {report['bytes'] / 2**20:.2f} MB{operators}")
        print(f"difference from {args.model} on {report['pictures']} pictures:")
        for name, difference in report.get("differences", {}).items():
            print(f"  {name:11} worst {difference['max']:.4f}, mean {difference['mean']:.5f}")
        poses = report["poses"]
        print(
            f"  poses       {poses['people']} people, {poses['lost']} of them lost; keypoints away: median "
            f"{poses['median']:.2f}, worst {poses['worst']:.2f} pixels"
            + ("" if poses["people"] else " (the model finds nobody there, so poses are not compared: give --pictures)")
        )
    if args.json:
        write_json(args.json, report)


def info(args: argparse.Namespace) -> None:
    from ehrnet_tf.files import write_json
    from ehrnet_tf.runtime.info import describe, text

    description = describe(args.model)
    print(text(description))
    if args.json:
        write_json(args.json, description)


def benchmark(args: argparse.Namespace) -> None:
    from ehrnet_tf.benchmark.run import benchmark as run
    from ehrnet_tf.benchmark.run import rows, text, write_csv
    from ehrnet_tf.benchmark.stages import Options
    from ehrnet_tf.files import check_writable, write_json

    options = Options(
        args.threads,
        args.device,
        args.keypoints,
        args.input_size,
        args.picture,
        args.people,
        args.exact,
        args.forward_only,
    )
    for path in filter(None, (args.csv, args.json)):
        check_writable(path)
    result = run(args.models, options, args.rounds, args.warm_up, progress=True)
    print(text(result))
    if args.csv:
        write_csv(args.csv, rows(result))
    if args.json:
        write_json(args.json, result)


def import_pytorch(args: argparse.Namespace) -> None:
    from ehrnet_tf.converters.from_pytorch import import_checkpoint

    variant, loaded = import_checkpoint(
        args.checkpoint, args.out, args.model, args.keypoints, args.input_size, args.tags_on_both_stages
    )
    print(f"{args.out}: {variant}, {loaded}")


def report(args: argparse.Namespace) -> None:
    from ehrnet_tf.evaluation.coco_ap import FIGURES
    from ehrnet_tf.files import check_writable, write_json
    from ehrnet_tf.report.gather import Options
    from ehrnet_tf.report.write import write_report

    options = Options(
        data=Path(args.data) if args.data else None,
        split=args.split,
        limit=args.limit,
        models=tuple(map(Path, args.model)),
        threads=args.threads,
        rounds=args.rounds,
        pictures=args.pictures,
    )
    if args.json:
        check_writable(args.json)
    result = write_report(args.run, args.out, options)
    for figures in result["accuracy"]:
        print(f"{figures['file']}: " + "  ".join(f"{name} {figures[name]:.3f}" for name in FIGURES[:3]))
    for note in result["notes"]:
        print(f"note: {note}")
    print(f"{result['report']}: {result['bytes'] / 2**20:.2f} MB")
    if args.json:
        write_json(args.json, result)


def demo(args: argparse.Namespace) -> None:
    from ehrnet_tf.demo import run

    run(args.out, args.overrides)


COMMANDS = {
    "models": models,
    "make-data": make_data,
    "make-shards": make_shards,
    "check-data": check_data,
    "train": train,
    "pretrain": pretrain,
    "eval": evaluate,
    "quantize": quantize,
    "export": export,
    "info": info,
    "benchmark": benchmark,
    "import-pytorch": import_pytorch,
    "predict": predict,
    "draw": draw,
    "report": report,
    "demo": demo,
}


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The parsed arguments; configuration values may stand before, between and after options."""
    parser = build_parser(COMMANDS)
    args, rest = parser.parse_known_args(argv)
    if rest and (not hasattr(args, "overrides") or any(text.startswith("-") for text in rest)):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:
        args.overrides = [*args.overrides, *rest]
    args.is_process = argv is None
    return args


def needs_tensorflow(args: argparse.Namespace) -> bool:
    """Whether a command will load TensorFlow."""
    if args.function in (models, make_shards, train, pretrain, quantize, import_pytorch, report, demo):
        return True
    model = str(getattr(args, "model", ""))
    return bool(getattr(args, "sheet", None)) or model.endswith(".keras") or os.path.isdir(model)


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
    """Runs one command; errors meant for the user end in one line on stderr.

    Args:
      argv: the arguments; None: the process's own, which this then ends itself if a source that hangs was left alone:
        a thread inside OpenCV would make the interpreter's end an abort.

    Returns:
      The exit status.
    """
    status = run(argv)
    if argv is None and any(thread.name in ("reader", "opener") for thread in threading.enumerate()):
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError):
                stream.flush()
        os._exit(status)
    return status


def run(argv: list[str] | None) -> int:
    """What `main` does, up to the process's end."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    for talkative in ("absl", "tensorflow", "tf2onnx"):
        logging.getLogger(talkative).setLevel(logging.ERROR)
    args = parse(argv)
    try:
        if needs_tensorflow(args):
            load_tensorflow_quietly()
        args.function(args)
    except EhrnetError as error:
        print(f"ehrnet: {error}", file=sys.stderr)
        return error.exit_status
    except ModuleNotFoundError as error:
        if error.name not in TRAIN_PACKAGES:
            raise
        print(f"ehrnet: {MissingExtraError(error.name, 'train')}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # who read the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
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
