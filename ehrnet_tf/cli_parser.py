"""The arguments of the command ``ehrnet``."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping

from ehrnet_tf import __version__

MODELS = ".keras, .tflite, .onnx, .xml (OpenVINO) or .engine (TensorRT) file, or SavedModel folder"


def build_parser(functions: Mapping[str, Callable[[argparse.Namespace], None]]) -> argparse.ArgumentParser:
    """The parser of ``ehrnet``; the arguments it parses have the command's function as ``function``.

    Args:
      functions: what does each command, by its name.
    """
    parser = argparse.ArgumentParser(
        prog="ehrnet", description="EfficientHRNet: multi-person pose estimation, trained, converted and run."
    )
    parser.add_argument("--version", action="version", version=f"ehrnet-tf {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def command(name: str, text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(function=functions[name])
        return sub

    sub = command("models", "The family: input, parameters, multiply-adds, widths, modules.")
    sub.add_argument(
        "variants", nargs="*", metavar="VARIANT", help="H0, E-4, H-2.5, B-1 ... (default: H0 ... H-4, E0 ... E-4)"
    )
    sub.add_argument("--json", metavar="FILE", help="write the figures there")

    sub = command("make-data", "Write the synthetic data set in COCO layout.")
    sub.add_argument("folder", help="new folder, or one written by this command")
    sub.add_argument("--train", type=int, default=1200, metavar="N", help="training pictures (%(default)s)")
    sub.add_argument("--val", type=int, default=100, metavar="N", help="validation pictures (%(default)s)")
    sub.add_argument("--size", type=int, default=256, metavar="PX", help="long side of a picture (%(default)s)")
    sub.add_argument("--max-people", type=int, default=6, metavar="N", help="people in a picture (%(default)s)")
    sub.add_argument("--upright", action="store_true", help="only people who stand or walk and face the viewer")
    sub.add_argument("--seed", type=int, default=0, help="the same seed gives the same pictures (%(default)s)")

    sub = command("make-shards", "Pack a data set's pictures into TFRecord shards, for `train` and `eval`.")
    sub.add_argument("folder", metavar="DIR", help="folder in COCO's layout")
    sub.add_argument("--out", required=True, metavar="SHARDS", help="folder to write to")
    text = "one or more times (default: train2017 and val2017)"
    sub.add_argument("--split", action="append", metavar="SPLIT", help=text)
    sub.add_argument("--keypoints", default="coco", metavar="SET", help="set or YAML file (%(default)s)")
    sub.add_argument("--megabytes", type=int, default=128, metavar="N", help="size of a shard, about (%(default)s)")

    sub = command("check-data", "Find a data set's faults, and show what a training makes of it.")
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

    def keypoints_option(sub: argparse.ArgumentParser) -> None:
        sub.add_argument("--keypoints", metavar="SET", help="set or YAML file, for a file that does not say its own")

    def runtime_options(sub: argparse.ArgumentParser) -> None:
        keypoints_option(sub)
        text = "CPU threads, where the runtime can be told (2)"
        sub.add_argument("--threads", type=int, metavar="N", help=text)
        text = "where to run: plain, gpu, a delegate's .so (TFLite); cuda, tensorrt (ONNX); gpu, npu, auto (OpenVINO)"
        sub.add_argument("--device", metavar="NAME", help=text)
        text = "side of the network's input, pixels, for a model of any size (default: the size that it names)"
        sub.add_argument("--input-size", type=int, metavar="PX", help=text)

    def training_command(name: str, text: str, data: str, figure: str, example: str) -> argparse.ArgumentParser:
        sub = command(name, text)
        sub.add_argument("--config", metavar="C", help="YAML file, or a name in configs/ (default: all defaults)")
        sub.add_argument("--data", required=True, metavar="DIR", help=data)
        sub.add_argument("--out", required=True, metavar="RUN", help="run folder to make")
        sub.add_argument("--resume", action="store_true", help="go on with the run in RUN")
        sub.add_argument("--json", metavar="FILE", help=f"write the best {figure} there")
        sub.add_argument("overrides", nargs="*", metavar="a.b=c", help=f"configuration values, e.g. {example}")
        return sub

    folders = "folder in COCO's layout, or of shards"
    sub = training_command("train", "Train a model.", folders, "AP", "train.batch_size=16")
    sub.add_argument("--process", metavar="I/N", help="this is process I (from 0) of N that train together (JAX)")
    sub.add_argument("--address", metavar="HOST:PORT", help="of process 0, for the others")
    text = "Train a backbone as a classifier on a folder of class folders."
    folders = "DIR/<class>/, or DIR/train/<class>/ and DIR/val/"
    training_command("pretrain", text, folders, "accuracy", "model.variant=B-2")

    sub = command("eval", "Measure COCO AP of a model file.")
    sub.add_argument("model", help=MODELS)
    sub.add_argument("--data", required=True, metavar="DIR", help="folder in COCO's layout")
    sub.add_argument("--split", default="val2017", help="%(default)s")
    sub.add_argument("--limit", type=int, metavar="N", help="only the first N pictures")
    sub.add_argument("--fast", action="store_true", help="the live decoder instead of the exact one")
    sub.add_argument("--flip", action="store_true", help="flip test: the mirrored picture as well")
    sub.add_argument("--scales", default="1", metavar="S,S", help="test scales, e.g. 0.5,1,2 (%(default)s)")
    text = "fit the picture into the model's input, or the published procedure's sizes (%(default)s)"
    sub.add_argument("--sizes", choices=["letterbox", "reference"], default="letterbox", help=text)
    runtime_options(sub)
    sub.add_argument("--batch-size", type=int, default=1, metavar="N", help="pictures at once (%(default)s)")
    filter_options(sub)
    text = "write the poses as COCO results; the same command goes on with an evaluation that was stopped"
    sub.add_argument("--results", metavar="FILE", help=text)
    sub.add_argument("--bounds", action="store_true", help="what holds AP back: AP with true grouping, true heat-maps")
    sub.add_argument("--details", action="store_true", help="figures by keypoint and by size as well")
    sub.add_argument("--worst", nargs=2, metavar=("N", "DIR"), help="draw the N worst misses into DIR")
    text = "write the AP into the file's own metadata, for `ehrnet info` and who gets the file"
    sub.add_argument("--store", action="store_true", help=text)
    sub.add_argument("--json", metavar="FILE", help="write the figures there")

    sub = command("quantize", "Fine-tune a trained model for integers, convert it to int8 TFLite and score that.")
    sub.add_argument("run", metavar="RUN", help="folder of a training run")
    sub.add_argument("--data", required=True, metavar="DIR", help="folder in COCO's layout, or of shards")
    sub.add_argument("--out", required=True, metavar="RUN2", help="folder to make")
    sub.add_argument("--resume", action="store_true", help="go on with the one in RUN2")
    sub.add_argument("--json", metavar="FILE", help="write the figures there")
    text = "configuration values, e.g. quantize.epochs=5 train.batch_size=16"
    sub.add_argument("overrides", nargs="*", metavar="a.b=c", help=text)

    sub = command("export", "Convert a model and compare the result with it on pictures.")
    sub.add_argument("model", help=".keras file; --format openvino, tensorrt: .onnx as well")
    formats = ["tflite", "onnx", "saved_model", "openvino", "tensorrt", "tf-trt", "pytorch"]
    sub.add_argument("--format", choices=formats, default="tflite", help="%(default)s")
    text = "what the file gives: the network's maps, or the people, with the decoder inside (%(default)s)"
    sub.add_argument("--graph", choices=["maps", "poses"], default="maps", help=text)
    sub.add_argument("--people", type=int, default=30, metavar="P", help="the most people, --graph poses (%(default)s)")
    precisions = ["float32", "bfloat16", "float16", "dynamic", "int16x8", "int8"]
    sub.add_argument("--precision", choices=precisions, default="float32", help="%(default)s")
    text = "folder of pictures, or of COCO data; needed for int8 and int16x8"
    sub.add_argument("--calibration", metavar="DIR", help=text)
    sub.add_argument("--calibration-size", type=int, default=128, metavar="N", help="pictures drawn (%(default)s)")
    sub.add_argument("--seed", type=int, default=0, help="of the drawing of calibration pictures (%(default)s)")
    text = "folder of pictures, or of COCO data, to compare on (default: the calibration's, else made-up people)"
    sub.add_argument("--pictures", metavar="DIR", help=text)
    keypoints_option(sub)
    sub.add_argument("--licence", metavar="TEXT", help="of the weights, for the file's metadata, e.g. CC-BY-4.0")
    text = "memory for a layer of --format tensorrt, tf-trt (1024)"
    sub.add_argument("--workspace-megabytes", type=int, metavar="N", help=text)
    text = "of --format tensorrt: a file that makes later builds on the same device faster"
    sub.add_argument("--timing-cache", metavar="FILE", help=text)
    text = "of --format tensorrt: use this deep learning accelerator of a Jetson where it can"
    sub.add_argument("--dla-core", type=int, metavar="N", help=text)
    sub.add_argument("--out", required=True, metavar="F", help="file or folder to write")
    sub.add_argument("--json", metavar="FILE", help="write the comparison there")

    sub = command("info", "What a model file is: its metadata, tensors and operators.")
    sub.add_argument("model", metavar="FILE", help=MODELS)
    sub.add_argument("--json", metavar="F", help="write all of it there")

    sub = command("benchmark", "Time model files stage by stage and end to end, each in a process of its own.")
    sub.add_argument("models", nargs="+", metavar="MODEL", help=MODELS)
    runtime_options(sub)
    text = "picture that is timed, or a folder of them (default: a made-up one of 640x480)"
    sub.add_argument("--picture", metavar="FILE", help=text)
    text = "decode the maps of N made-up people instead of the network's own: an untrained network finds nobody"
    sub.add_argument("--people", type=int, metavar="N", help=text)
    sub.add_argument("--exact", action="store_true", help="the exact decoder instead of the live one")
    sub.add_argument("--forward-only", action="store_true", help="the network alone, as papers time it")
    sub.add_argument("--rounds", type=int, default=50, metavar="N", help="timed rounds (%(default)s)")
    sub.add_argument("--warm-up", type=int, default=10, metavar="N", help="rounds before them (%(default)s)")
    sub.add_argument("--csv", metavar="FILE", help="write the table there, with the machine's description")
    sub.add_argument("--json", metavar="FILE", help="write all of it there")

    sub = command("import-pytorch", "Convert a checkpoint of the original network to Keras.")
    sub.add_argument("checkpoint", help=".pth (needs PyTorch), .npz or .safetensors; the network or its backbone alone")
    sub.add_argument("--model", metavar="VARIANT", help="H0 ... H-4; B0 ... B-4: a classifier (default: what it holds)")
    sub.add_argument("--out", required=True, metavar="F", help=".keras file to write")
    sub.add_argument("--keypoints", default="coco", metavar="SET", help="set or YAML file (%(default)s)")
    sub.add_argument("--input-size", type=int, metavar="PX", help="side of the input (default: the variant's own)")
    sub.add_argument("--tags-on-both-stages", action="store_true", help="keep the tags of a 34-channel second head")

    def drawing_options(sub: argparse.ArgumentParser) -> None:
        sub.add_argument("--boxes", action="store_true", help="draw people's boxes as well")
        sub.add_argument("--no-skeletons", action="store_true", help="draw no limbs and joints")
        text = "cover the heads of the people that are found, those of low score too"
        sub.add_argument("--anonymise", choices=["blur", "pixelate"], help=text)

    sub = command("predict", "Find people in pictures, videos, and what a camera sees.")
    sub.add_argument("model", help=MODELS)
    text = "pictures and folders of them, videos, a camera's number, rtsp://..., a GStreamer pipeline (with ' ! ')"
    sub.add_argument("inputs", nargs="+", metavar="INPUT", help=text)
    sub.add_argument("--out", metavar="DIR", help="write drawings there: pictures, and .mp4 of videos")
    text = "write the poses there: .json, .jsonl (a line a picture) or .csv (a row a person)"
    sub.add_argument("--json", metavar="F", help=text)
    sub.add_argument("--coco", metavar="F", help="write the poses there in COCO's results format, .json")
    sub.add_argument("--show", action="store_true", help="show the drawings in a window; q ends")
    sub.add_argument("--min-score", type=float, default=0.2, help="leave out people scored lower (%(default)s)")
    sub.add_argument("--exact", action="store_true", help="the exact decoder instead of the live one")
    sub.add_argument("--frames", type=int, metavar="N", help="of each video or camera, the first N")
    sub.add_argument("--no-track", action="store_true", help="of videos: no ids that stay with a person")
    sub.add_argument("--no-smooth", action="store_true", help="of videos: keypoints as found, not smoothed over time")
    sub.add_argument("--no-sound", action="store_true", help="of videos: without the original's sound")
    drawing_options(sub)
    filter_options(sub)
    runtime_options(sub)

    sub = command("draw", "Draw poses that were written to a file, without the model.")
    sub.add_argument("poses", metavar="POSES", help="what `ehrnet predict --json` wrote: .json, .jsonl or .csv")
    sub.add_argument("--out", required=True, metavar="DIR", help="folder for the drawings")
    text = "the video, picture, or folder of pictures (default: those that the file names)"
    sub.add_argument("--source", metavar="INPUT", help=text)
    sub.add_argument("--min-score", type=float, default=0.0, help="leave out people scored lower (%(default)s)")
    drawing_options(sub)
    sub.add_argument("--keypoints", metavar="SET", help="YAML file of one's own set, for its limbs and colours")

    sub = command("report", "Write a run's figures, curves and pictures as one HTML file.")
    sub.add_argument("run", metavar="RUN", help="folder of train, quantize or pretrain, or a model file")
    sub.add_argument("--data", metavar="DIR", help="folder in COCO's layout, or of shards, to score on (default: none)")
    sub.add_argument(
        "--split", metavar="SPLIT", help="of the data (default: what the run was validated on, else val2017)"
    )
    sub.add_argument("--limit", type=int, metavar="N", help="only the first N pictures")
    text = "further model files to score and time; may be given several times"
    sub.add_argument("--model", action="extend", nargs="+", default=[], metavar="FILE", help=text)
    sub.add_argument("--out", metavar="FILE", help="the page (default: RUN/report.html)")
    sub.add_argument("--threads", type=int, metavar="N", help="CPU threads (default: 2, where the runtime can be told)")
    sub.add_argument("--rounds", type=int, default=30, metavar="N", help="of timing; 0: none (%(default)s)")
    text = "how many best and how many worst pictures to show; 0: none (%(default)s)"
    sub.add_argument("--pictures", type=int, default=6, metavar="N", help=text)
    sub.add_argument("--json", metavar="FILE", help="write the figures there")

    sub = command("demo", "Synthetic data, training, int8 conversion, figures and pictures, in one go.")
    sub.add_argument("--out", default="demo_output", metavar="DIR", help="%(default)s")
    sub.add_argument("overrides", nargs="*", metavar="a.b=c", help="configuration values over configs/demo.yaml")
    return parser
