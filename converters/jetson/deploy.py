"""From an .onnx file to compared and timed engines, on the Jetson that will run them; what docs/jetson.md does by hand.

    python3 -m ehrnet_tf.converters.jetson m.onnx --calibration pictures --out engines

1. Says what machine this is, and whether its clocks are pinned.
2. Checks what is needed, before the work that takes long.
3. Builds an engine for each precision and compares it with the .onnx file. An engine that is there already is kept if
   it was built from the same file, with the same options, by this TensorRT on this GPU.
4. Times the engines: the network alone, as papers do, and from pixels to poses.
5. Writes OUT/benchmark.csv and OUT/report.json. The report is written after every step.

Nothing is changed on the machine unless `--power-mode` asks for it. Needs Python 3.8, and TensorRT 8.5 to 10.x.
"""

from __future__ import annotations

import argparse
import contextlib
import glob
import hashlib
import importlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable, Iterator

from ehrnet_tf.benchmark import machine
from ehrnet_tf.benchmark.sensors import Sensors, read_text, total
from ehrnet_tf.errors import DataError, EhrnetError, UsageError
from ehrnet_tf.files import scratch_folder, write_json

PRECISIONS = ("float32", "float16", "int8")
TIMED = 32  # pictures that take turns when engines are timed
PAPER = {"rounds": 200, "warm_up": 100}  # the network alone
USER = {"rounds": 100, "warm_up": 20}  # from pixels to poses
MEASURED = {"forward": "network alone", "end_to_end": "pixels to poses"}
LITTLE_MEMORY = 2.0  # GiB free, below which building is likely to end for want of memory
_SYSTEM = "make the environment by the system's python3 -m venv --system-site-packages"
_REMEDIES = {  # modules that are needed, and where they come from
    "numpy": "sudo apt install python3-numpy",
    "cv2": f"JetPack brings it (sudo apt install nvidia-jetpack, or python3-opencv): {_SYSTEM}",
    "scipy": "pip install scipy",
    "yaml": "pip install pyyaml",
    "tqdm": "pip install tqdm",
    "onnxruntime": "pip install onnxruntime (engines are compared with the .onnx file in it)",
}


def main(argv: list[str] | None = None) -> int:
    """Runs the script; the exit status is 0, 1 after a failure, 2 for unusable arguments, 130 after Ctrl-C."""
    args = parser().parse_args(argv)
    with ending("jetson", f"what is finished lies in {args.out}") as status:
        status.append(deploy(args))
    return status[-1]


def parser() -> argparse.ArgumentParser:
    """The parser of the command's arguments."""
    made = argparse.ArgumentParser(
        prog="python3 -m ehrnet_tf.converters.jetson",
        description="Builds TensorRT engines of an .onnx file on this Jetson, compares them with it, and times them.",
    )
    made.add_argument("onnx", help="file that `ehrnet export --format onnx` wrote")
    made.add_argument("--out", required=True, metavar="DIR", help="folder for engines, benchmark.csv, report.json")
    text = "folder of pictures like those to come, or of COCO data; needed for int8"
    made.add_argument("--calibration", metavar="DIR", help=text)
    text = "folder to compare and to time on (default: the calibration's)"
    made.add_argument("--pictures", metavar="DIR", help=text)
    text = "(default: float16, and int8 with --calibration)"
    made.add_argument("--precisions", nargs="+", choices=PRECISIONS, metavar="P", help=f"float32 float16 int8 {text}")
    made.add_argument("--calibration-size", type=int, default=128, metavar="N", help="pictures drawn (%(default)s)")
    made.add_argument("--seed", type=int, default=0, help="of the drawing (%(default)s)")
    made.add_argument("--dla-core", type=int, metavar="N", help="use this deep learning accelerator where it can")
    text = "memory that a layer may use (%(default)s)"
    made.add_argument("--workspace-megabytes", type=int, default=1024, metavar="N", help=text)
    made.add_argument("--again", action="store_true", help="build engines anew that are there already")
    made.add_argument("--no-timing", action="store_true", help="build and compare only")
    text = "first set this power mode (sudo nvpmodel -m N) and pin the clocks (sudo jetson_clocks)"
    made.add_argument("--power-mode", type=int, metavar="N", help=text)
    return made


def deploy(args: argparse.Namespace) -> int:
    """All of it; 1 if an engine failed, else 0.

    Raises:
      EhrnetError, OSError: something is missing, or a step failed.
    """
    for line in describe_machine():
        print(line)
    precisions = args.precisions or (["float16", "int8"] if args.calibration else ["float16"])
    problems = find_problems(args, precisions)
    if problems:
        for line in problems[:-1]:
            print(f"missing: {line}", file=sys.stderr)
        raise EhrnetError(problems[-1])
    if args.power_mode is not None:
        set_power_mode(args.power_mode)
    for line in warnings():
        print(f"warning: {line}")
    report = {"onnx": str(args.onnx), "machine": machine.describe(), "engines": [], "failures": {}}
    out, path = Path(args.out), Path(args.out) / "report.json"
    for precision in dict.fromkeys(precisions):
        try:
            report["engines"].append(make_engine(args, precision))
        except EhrnetError as error:
            print(f"{precision}: {error}", file=sys.stderr)
            report["failures"][precision] = str(error)
        write_json(path, report)
    if report["engines"] and not args.no_timing:
        time_engines(report, args.pictures or args.calibration, out, path)
    print(f"report: {path}")
    return 1 if report["failures"] else 0


# ---- the machine


def describe_machine(root: str | os.PathLike = "/") -> list[str]:
    """What board and system this is, its power mode and clocks, in lines for people."""
    known, reading = machine.describe(root), Sensors(root).read()
    versions = machine.versions("tensorrt", "onnxruntime", "opencv", "numpy")
    if "tensorrt" not in versions:
        with contextlib.suppress(Exception):  # what is wrong with it is said by `find_problems`
            versions["tensorrt"] = importlib.import_module("tensorrt").__version__
    modes = ", ".join(f"{number} {name}" for number, name in power_modes(root).items())
    clocks = ", ".join(f"{name} {mhz:.0f} MHz" for name, mhz in reading.clocks.items())
    pinned = {True: "pinned", False: "not pinned", None: "unknown whether pinned"}[clocks_pinned(root)]
    watts = total(reading.power)
    rails = ", ".join(f"{rail} {value:.2f} W" for rail, value in reading.power.items())
    found = {
        "board": ", ".join(str(known[key]) for key in ("board", "cpu") if key in known),
        "system": ", ".join(str(known[key]) for key in ("jetpack", "l4t", "system") if key in known),
        "python": ", ".join([str(known["python"]), *(f"{name} {version}" for name, version in versions.items())]),
        "power mode": str(known.get("nvpmodel", "")) + (f" (there are {modes})" if modes else ""),
        "clocks": f"{clocks} ({pinned})" if clocks else "",
        "power": rails + ("" if watts is None else f"; the module {watts:.2f} W"),
        "throttled": ", ".join(reading.throttled or ()),
    }
    return [f"{name}: {text}" for name, text in found.items() if text.strip()]


def power_modes(root: str | os.PathLike = "/") -> dict[int, str]:
    """Number → name of this board's power modes, as /etc/nvpmodel.conf has them; the numbers differ by board."""
    text = read_text(os.path.join(root, "etc/nvpmodel.conf")) or ""
    return {int(n): name for n, name in re.findall(r"<\s*POWER_MODEL\s+ID=(\d+)\s+NAME=([^\s>]+)", text)}


def clocks_pinned(root: str | os.PathLike = "/") -> bool | None:
    """Whether the lowest clock allowed is the highest, of all CPUs and the GPU; None where that cannot be read."""
    limits = []
    for pattern, low, high in (
        ("sys/devices/system/cpu/cpu[0-9]*/cpufreq", "scaling_min_freq", "scaling_max_freq"),
        ("sys/devices/gpu.0/devfreq/*", "min_freq", "max_freq"),
        ("sys/class/devfreq/*", "min_freq", "max_freq"),
    ):
        for folder in glob.glob(os.path.join(glob.escape(os.fspath(root)), pattern)):
            if "cpufreq" in pattern or re.search(r"gpu|\.g[abmpv]\d+b$", os.path.basename(folder)):
                limits.append((read_text(os.path.join(folder, low)), read_text(os.path.join(folder, high))))
    known = [limit for limit in limits if None not in limit]
    return all(low == high for low, high in known) if known else None


def warnings(root: str | os.PathLike = "/") -> list[str]:
    """What will make figures worse or builds fail, a line each."""
    found = []
    if clocks_pinned(root) is False:
        found.append("clocks are not pinned, times will waver: sudo nvpmodel -m N, then sudo jetson_clocks")
    memory = re.search(r"^MemAvailable:\s*(\d+) kB", read_text(os.path.join(root, "proc/meminfo")) or "", re.MULTILINE)
    free = int(memory.group(1)) / 2**20 if memory else LITTLE_MEMORY
    if free < LITTLE_MEMORY:
        found.append(f"{free:.1f} GiB of memory free, a build may end for want of it: close programs, or add swap")
    return found


def set_power_mode(number: int, root: str | os.PathLike = "/", run: Callable = subprocess.run) -> None:
    """Sets the power mode and pins the clocks, by sudo.

    Raises:
      EhrnetError: this is no Jetson, or the mode needs a restart.
    """

    def sudo(*command: str) -> None:
        print(f"$ sudo {' '.join(command)}")
        try:  # nvpmodel asks where a mode needs a restart: no answer is no
            run(["sudo", *command], check=True, stdin=subprocess.DEVNULL)
        except (OSError, subprocess.CalledProcessError) as error:
            raise EhrnetError(f"sudo {' '.join(command)} failed ({error}); leave out --power-mode") from error

    def is_set() -> bool:
        return str(machine.describe(root).get("nvpmodel", "")).rstrip(")").endswith(f"mode {number}")

    modes = power_modes(root)
    if number not in modes:
        there = ", ".join(f"{known} {name}" for known, name in modes.items())
        raise UsageError(f"power mode {number}: {f'this board has {there}' if there else 'this is no Jetson'}")
    if not is_set():
        sudo("nvpmodel", "-m", str(number))
    if not is_set():
        raise EhrnetError(f"power mode {number} needs a restart: say sudo nvpmodel -m {number} by hand, and yes to it")
    sudo("jetson_clocks")


# ---- what is needed


def find_problems(args: argparse.Namespace, precisions: list[str]) -> list[str]:
    """What is missing or wrong, a line with its remedy each; finds all that can be found in a few seconds."""
    found = []
    for name, remedy in _REMEDIES.items():
        try:
            importlib.import_module(name)
        except Exception as error:  # a library compiled for another NumPy raises what it likes
            found.append(f"{name} cannot be imported ({' '.join(str(error).split())[:200]}): {remedy}")
    if any(not line.startswith("onnxruntime") for line in found):
        return found  # this package's own modules need them
    from ehrnet_tf.runtime.cuda import Cuda
    from ehrnet_tf.runtime.onnx_runner import OnnxRunner
    from ehrnet_tf.runtime.tensorrt_runner import import_tensorrt

    def check(function: Callable, *arguments: Any) -> None:
        try:
            function(*arguments)
        except (EhrnetError, OSError) as error:
            if str(error) not in found:
                found.append(str(error))

    def compared() -> None:
        if args.pictures is None and args.calibration is None:
            raise UsageError("no pictures: give --calibration DIR or --pictures DIR, to compare and to time engines on")
        if "int8" in precisions and args.calibration is None:
            raise UsageError("int8 needs --calibration DIR, a folder of a hundred or more pictures like those to come")

    check(import_tensorrt)
    check(Cuda)
    check(compared)
    if not any(line.startswith("onnxruntime") for line in found):
        check(OnnxRunner, args.onnx)
    for folder, split in ((args.pictures or args.calibration, "val"), (args.calibration, "train")):
        if folder is not None:
            check(next, readable_pictures(folder, split))
    check(check_disk, args.out, args.onnx, len(precisions))
    return found


def check_disk(out: str | os.PathLike, onnx: str | os.PathLike, engines: int) -> None:
    """Raises EhrnetError if ``out`` has no room for engines, each at most as large as twice the .onnx file."""
    folder = next(parent for parent in (Path(out).absolute(), *Path(out).absolute().parents) if parent.exists())
    size = os.path.getsize(onnx) if os.path.isfile(onnx) else 0
    needed, free = (2 * engines * size >> 20) + 256, shutil.disk_usage(folder).free >> 20
    if free < needed:
        raise EhrnetError(f"{out}: {free} MB free, some {needed} are needed; choose another --out, or remove files")


def readable_pictures(folder: str | os.PathLike, split: str) -> Iterator[Path]:
    """The pictures of a folder and those below it that can be read; of a COCO folder those of ``split``.

    Raises:
      DataError: there are none.
    """
    from ehrnet_tf.images import SUFFIXES, read_image

    folder, any_there = Path(folder), False
    roots = sorted(folder.glob(f"{split}*")) if (folder / "annotations").is_dir() else [folder]
    for path in sorted(p for root in roots for p in root.rglob("*") if p.suffix.lower() in SUFFIXES):
        with contextlib.suppress(DataError):
            read_image(path)
            any_there = True
            yield path
    if not any_there:
        raise DataError(f"{folder}: no readable picture in it; give a folder of .jpg or .png files")


# ---- engines


def make_engine(args: argparse.Namespace, precision: str) -> dict[str, Any]:
    """Builds an engine and compares it, or finds that it is there.

    Returns:
      "path", "precision", "built" (False: it was there), "comparison" (what `compare.compare` gave).

    Raises:
      EhrnetError: building fails, or the engine strays from the .onnx file and is not kept.
    """
    from ehrnet_tf.converters.export import export
    from ehrnet_tf.runtime.metadata import append_metadata, read_metadata

    core = None if precision == "float32" else args.dla_core
    dla = "" if core is None else f"_dla{core}"
    path = Path(args.out) / f"{Path(args.onnx).stem}_{precision}{dla}.engine"
    wanted = {"precision": precision, **built_from(args, precision, core)}
    if not args.again and path.is_file():
        known = read_metadata(path) or {}
        if known.get("built_from") == wanted:
            print(f"{path}: is there, built from the same file; --again builds it anew")
            return {"path": str(path), "precision": precision, "built": False, "comparison": known["comparison"]}
    print(f"{path}: building {precision}{', calibrating first' if precision == 'int8' else ''}; takes minutes")
    report = export(
        args.onnx,
        path,
        "tensorrt",
        precision,
        calibration=args.calibration if precision == "int8" else None,
        calibration_size=args.calibration_size,
        seed=args.seed,
        pictures=args.pictures or args.calibration,
        workspace_megabytes=args.workspace_megabytes,
        timing_cache=Path(args.out) / "timing.cache",
        dla_core=core,
    )
    comparison = {key: report[key] for key in ("pictures", "differences", "poses") if key in report}
    append_metadata(path, {**(read_metadata(path) or {}), "built_from": wanted, "comparison": comparison})
    print(f"{path}: {report['bytes'] / 2**20:.1f} MB in {report.get('seconds', 0):.0f} s; {describe_poses(comparison)}")
    return {"path": str(path), "precision": precision, "built": True, "comparison": comparison}


def built_from(args: argparse.Namespace, precision: str, dla_core: int | None) -> dict[str, Any]:
    """All that an engine depends on, for its metadata: another value, another engine."""
    from ehrnet_tf.runtime.cuda import Cuda
    from ehrnet_tf.runtime.tensorrt_runner import import_tensorrt

    pictures = None
    if precision == "int8":
        pictures = {
            "folder": str(args.calibration),
            "files": digest(Path(args.calibration)),
            "pictures": args.calibration_size,
            "seed": args.seed,
        }
    return {
        "onnx": hashlib.sha256(Path(args.onnx).read_bytes()).hexdigest(),
        "tensorrt": import_tensorrt().__version__,
        "device": Cuda().device_name,
        "workspace_megabytes": args.workspace_megabytes,
        "dla_core": dla_core,
        "calibration": pictures,
    }


def digest(folder: Path) -> str:
    """Of names, sizes and times of a folder's files: another value, other pictures."""
    files = sorted((str(file), file.stat()) for file in folder.rglob("*") if file.is_file())
    told = "\n".join(f"{name} {stat.st_size} {stat.st_mtime_ns}" for name, stat in files)
    return hashlib.sha256(told.encode()).hexdigest()


def describe_poses(comparison: dict[str, Any]) -> str:
    """How far an engine strays from its .onnx file, in a line."""
    poses = comparison["poses"]
    return (
        f"on {comparison['pictures']} pictures {poses['people']} people, {poses['lost']} of them lost, keypoints "
        f"{poses['median']:.2f} pixels away (median), {poses['worst']:.2f} at worst"
    )


# ---- times


def time_engines(report: dict[str, Any], pictures: str | os.PathLike, out: Path, path: Path) -> None:
    """Times the report's engines in both ways, and writes the report to ``path`` and OUT/benchmark.csv.

    Engines run one after the other, so that one process with CUDA at a time is in memory.

    Raises:
      EhrnetError: an engine does not run.
    """
    from ehrnet_tf.benchmark.run import benchmark, rows, text, write_csv
    from ehrnet_tf.benchmark.stages import Options

    table = []
    with scratch_folder(path) as folder:
        for number, picture in zip(range(TIMED), readable_pictures(pictures, "val")):
            shutil.copyfile(picture, folder / f"{number:02}{picture.suffix}")
        for name, counts in (("forward", PAPER), ("end_to_end", USER)):
            print(f"timing, {MEASURED[name]}, batch 1: {counts['rounds']} rounds after {counts['warm_up']}")
            options = Options(picture=str(folder), forward_only=name == "forward")
            result: dict[str, Any] = {}
            for engine in report["engines"]:
                timed = benchmark([engine["path"]], options, progress=sys.stderr.isatty(), **counts)
                result = {**timed, "files": [*result.get("files", []), *timed["files"]]}
                result["options"]["picture"] = str(pictures)
                report[name] = result
                write_json(path, report)
            print(text(result))
            table += [{"measured": MEASURED[name], **row} for row in rows(result)]
            write_csv(out / "benchmark.csv", table)
    print(f"table: {out / 'benchmark.csv'}")


@contextlib.contextmanager
def ending(program: str, left: str) -> Iterator[list[int]]:
    """Yields a list for the exit status, to which it adds that of an error; errors become one line on stderr.

    Args:
      program: what the line begins with.
      left: what is said after Ctrl-C.
    """
    status: list[int] = []
    try:
        yield status
    except EhrnetError as error:
        print(f"{program}: {error}", file=sys.stderr)
        status.append(error.exit_status)
    except OSError as error:
        print(f"{program}: {error.filename or 'file'}: {error.strerror or error}", file=sys.stderr)
        status.append(1)
    except KeyboardInterrupt:
        print(f"{program}: stopped; {left}", file=sys.stderr)
        status.append(130)


if __name__ == "__main__":
    sys.exit(main())
