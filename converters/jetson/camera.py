"""Poses of a live camera, on screen or headless: ``python3 -m ehrnet_tf.converters.jetson.camera MODEL SOURCE``.

OpenCV takes the pictures by GStreamer, which decodes them in hardware on a Jetson. The newest picture wins: those that
come while the network is busy are dropped. A line a second says the rate and what each stage takes. Needs Python 3.8.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Callable, TextIO

from ehrnet_tf.converters.jetson.deploy import ending
from ehrnet_tf.errors import EhrnetError, UsageError

CODECS = ("mjpeg", "raw", "h264", "h265")
STAGES = ("wait", "prepare", "network", "decode", "draw")
_SINK = "videoconvert ! video/x-raw,format=BGR ! appsink drop=true max-buffers=1"
_REMEDIES = {  # by how an element's name begins
    "nv": "JetPack brings it (sudo apt install nvidia-l4t-gstreamer); elsewhere give --software",
    "libcamera": "sudo apt install gstreamer1.0-libcamera",
    "": "install the plugins that have it: gstreamer1.0-plugins-base, -good, -bad, gstreamer1.0-libav",
}
_NO_GSTREAMER = (
    "this OpenCV ({version}) is built without GStreamer, as pip's are: remove it (pip uninstall opencv-python-headless "
    "opencv-python) and use the system's (JetPack's, or sudo apt install python3-opencv) in an environment made by "
    "python3 -m venv --system-site-packages"
)


def csi(sensor: int, size: tuple[int, int], fps: int) -> str:
    """Pipeline of a Jetson's CSI camera.

    Args:
      sensor: number of the camera.
      size: (width, height), one of the camera's modes.
      fps: pictures a second.
    """
    caps = _caps("video/x-raw(memory:NVMM)", size, fps)
    return f"nvarguscamerasrc sensor-id={sensor} ! {caps} ! nvvidconv ! video/x-raw,format=BGRx ! {_SINK} sync=false"


def usb_mjpeg(device: str, size: tuple[int, int], fps: int, hardware: bool) -> str:
    """Pipeline of a USB camera that sends JPEGs, as most do above 640x480; `csi` has the arguments."""
    decoder = "nvv4l2decoder mjpeg=1 ! nvvidconv ! video/x-raw,format=BGRx" if hardware else "jpegdec"
    return f"v4l2src device={_quoted(device)} ! {_caps('image/jpeg', size, fps)} ! {decoder} ! {_SINK} sync=false"


def usb_raw(device: str, size: tuple[int, int], fps: int) -> str:
    """Pipeline of a USB camera that sends pixels."""
    return f"v4l2src device={_quoted(device)} ! {_caps('video/x-raw', size, fps)} ! {_SINK} sync=false"


def libcamera(size: tuple[int, int], fps: int) -> str:
    """Pipeline of a Raspberry Pi's CSI camera; needs the package gstreamer1.0-libcamera."""
    caps = _caps("video/x-raw", size, fps)
    return f"libcamerasrc ! {caps},format=NV12,interlace-mode=progressive ! {_SINK} sync=false"


def video_file(path: str, codec: str, hardware: bool) -> str:
    """Pipeline of an .mp4 or .mov file, played at its own speed; without hardware any file that GStreamer knows."""
    source = f"filesrc location={_quoted(path)}"
    if not hardware:
        return f"{source} ! decodebin ! {_SINK} sync=true"
    return f"{source} ! qtdemux ! {_hardware(codec)} ! {_SINK} sync=true"


def rtsp(url: str, codec: str, hardware: bool) -> str:
    """Pipeline of a network camera."""
    source = f"rtspsrc location={_quoted(url)} latency=100"
    if not hardware:
        return f"{source} ! decodebin ! {_SINK} sync=false"
    return f"{source} ! rtp{codec}depay ! {_hardware(codec)} ! {_SINK} sync=false"


def pipeline(source: str, size: tuple[int, int], fps: int, codec: str | None, hardware: bool) -> str:
    """The pipeline of a source.

    Args:
      source: "csi", "csi:1", "libcamera", a device (/dev/video0), an rtsp:// address, a file, or a pipeline of one's
        own (with " ! " in it), whose end is added unless it has an appsink.
      size: (width, height) of a camera's pictures.
      fps: of a camera.
      codec: one of `CODECS`; None: mjpeg from a device, else h264.
      hardware: decode in a Jetson's hardware.

    Raises:
      UsageError: no such source, or a codec that it cannot have.
    """
    if " ! " in source:
        return source if "appsink" in source else f"{source} ! {_SINK}"
    if re.fullmatch(r"csi(:\d+)?", source):
        return csi(int(source[4:] or 0), size, fps)
    if source == "libcamera":
        return libcamera(size, fps)
    device = source.startswith("/dev/")
    codec = codec or ("mjpeg" if device else "h264")
    if codec not in (CODECS[:2] if device else CODECS[2:]):
        raise UsageError(f"--codec {codec}: {source} can have {' or '.join(CODECS[:2] if device else CODECS[2:])}")
    if source.startswith(("rtsp://", "rtsps://")):
        return rtsp(source, codec, hardware)
    if not os.path.exists(source):
        raise UsageError(
            f"{source}: no such device or file; give csi, csi:1, libcamera, /dev/video0, rtsp://... or a file"
        )
    if not device:
        return video_file(source, codec, hardware)
    return usb_raw(source, size, fps) if codec == "raw" else usb_mjpeg(source, size, fps, hardware)


def _caps(kind: str, size: tuple[int, int], fps: int) -> str:
    return f"{kind},width={size[0]},height={size[1]},framerate={fps}/1"


def _hardware(codec: str) -> str:
    return f"{codec}parse ! nvv4l2decoder ! nvvidconv ! video/x-raw,format=BGRx"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def has_gstreamer(build_information: str) -> bool:
    """Whether an OpenCV has GStreamer, by what ``cv2.getBuildInformation()`` says."""
    return re.search(r"^\s*GStreamer:\s*YES", build_information, re.MULTILINE) is not None


def check_elements(wanted: str) -> None:
    """Looks for a pipeline's elements, where there is gst-inspect-1.0: OpenCV waits for ever for one that is missing.

    Raises:
      EhrnetError: GStreamer has not got one of them.
    """
    names = [part.split()[0] for part in wanted.split(" ! ")]
    if shutil.which("gst-inspect-1.0"):
        for name in dict.fromkeys(name for name in names if name.isidentifier()):  # video/x-raw is none
            if subprocess.run(["gst-inspect-1.0", "--exists", name], stdout=subprocess.DEVNULL).returncode:
                remedy = next(remedy for start, remedy in _REMEDIES.items() if name.startswith(start))
                raise EhrnetError(f"GStreamer has no element '{name}': {remedy}")


def open_capture(wanted: str) -> Any:
    """An OpenCV capture of a pipeline.

    Raises:
      EhrnetError: this OpenCV has no GStreamer, an element is missing, or the pipeline does not start.
    """
    import cv2

    if not has_gstreamer(cv2.getBuildInformation()):
        raise EhrnetError(_NO_GSTREAMER.format(version=cv2.__version__))
    check_elements(wanted)
    capture = cv2.VideoCapture(wanted, cv2.CAP_GSTREAMER)
    if not capture.isOpened():
        raise EhrnetError(
            f"GStreamer cannot start it; see why: gst-launch-1.0 {wanted.split(' ! appsink')[0]} ! fakesink (in a "
            "shell, put parts with brackets in quotes); size and rate must be the camera's: v4l2-ctl --list-formats-ext"
        )
    return capture


def run(
    capture: Any,
    estimator: Any,
    frames: int | None = None,
    show: Callable[[Any], bool] | None = None,
    lines: TextIO | None = None,
    say: Callable[[str], None] = print,
    clock: Callable[[], float] = time.perf_counter,
) -> int:
    """Finds people in a capture's pictures until it ends.

    Args:
      capture: what ``cv2.VideoCapture`` is.
      estimator: a `PoseEstimator`.
      frames: stop after so many; None: never.
      show: is given each drawing (RGB); gives whether to go on.
      lines: is written a JSON object a picture: "frame", "time" (seconds since the start), and `Poses.to_dict`.
      say: is given a line a second.
      clock: seconds.

    Returns:
      How many pictures there were.
    """
    import cv2

    began = since = clock()
    count, people, going = 0, 0, True
    spent: list[list[float]] = []
    while going and count != frames:
        moments = [clock()]
        there, frame = capture.read()
        if not there:
            break
        moments.append(clock())
        image = cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
        prepared = estimator.prepare(image)
        moments.append(clock())
        (output,) = estimator.run([prepared])
        moments.append(clock())
        poses = estimator.decode(output, prepared).above(estimator.min_score)
        moments.append(clock())
        if lines is not None:
            entry = {"frame": count, "time": round(moments[1] - began, 4), **poses.to_dict()}
            lines.write(json.dumps(entry) + "\n")
        if show is not None:
            going = show(poses.draw(image))
        moments.append(clock())
        count, people = count + 1, len(poses)
        spent.append([after - before for before, after in zip(moments, moments[1:])])
        if moments[-1] - since >= 1:
            say(summary(spent, moments[-1] - since, people))
            since, spent = moments[-1], []
    if spent:
        say(summary(spent, max(clock() - since, 1e-9), people))
    return count


def summary(spent: list[list[float]], seconds: float, people: int) -> str:
    """ "29.9 fps; ms: wait 12.1, prepare 0.9, network 19.8, decode 0.6, draw 0.0; 2 people", means over the pictures.

    Args:
      spent: seconds of each of `STAGES`, a row a picture; draw: the JSON line and the drawing.
      seconds: in which they came.
      people: in the last of them.
    """
    means = [1e3 * sum(column) / len(spent) for column in zip(*spent)]
    stages = ", ".join(f"{stage} {mean:.1f}" for stage, mean in zip(STAGES, means))
    return f"{len(spent) / seconds:.1f} fps; ms: {stages}; {people} people"


def parser() -> argparse.ArgumentParser:
    """The parser of the command's arguments."""
    made = argparse.ArgumentParser(
        prog="python3 -m ehrnet_tf.converters.jetson.camera", description="Finds people in a live camera's pictures."
    )
    made.add_argument("model", help=".engine, .tflite, .onnx: whatever PoseEstimator opens")
    text = "csi, csi:1, libcamera, /dev/video0, rtsp://..., a video file, or a GStreamer pipeline (with ' ! ')"
    made.add_argument("source", help=text)
    made.add_argument("--size", default="1280x720", metavar="WxH", help="of the camera's pictures (%(default)s)")
    made.add_argument("--fps", type=int, default=30, help="of the camera (%(default)s)")
    made.add_argument("--codec", choices=CODECS, help="default: mjpeg from a device, else h264")
    text = "decode on the CPU (default: where this is no Jetson)"
    made.add_argument("--software", action="store_true", help=text)
    made.add_argument("--threads", type=int, metavar="N", help="CPU threads, where the runtime can be told (2)")
    text = "leave out people scored lower (%(default)s)"
    made.add_argument("--min-score", type=float, default=0.2, help=text)
    made.add_argument("--frames", type=int, metavar="N", help="stop after N pictures")
    made.add_argument("--json", metavar="FILE", help="write a JSON line a picture there")
    made.add_argument("--show", action="store_true", help="show the drawings in a window; q ends")
    made.add_argument("--pipeline", action="store_true", help="print the GStreamer pipeline and stop")
    return made


def main(argv: list[str] | None = None) -> int:
    """Runs the command; the exit status is 0, 1 after a failure, 2 for unusable arguments, 130 after Ctrl-C."""
    args = parser().parse_args(argv)
    with ending("camera", f"the lines are in {args.json}" if args.json else "nothing was written") as status:
        size = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", args.size)
        if not size or args.fps < 1:
            raise UsageError(
                f"--size {args.size} --fps {args.fps}: give a size like 1280x720, and a rate of at least 1"
            )
        hardware = os.path.exists("/etc/nv_tegra_release") and not args.software
        wanted = pipeline(args.source, (int(size[1]), int(size[2])), args.fps, args.codec, hardware)
        print(wanted)
        if not args.pipeline:
            watch(args, wanted)
        status.append(0)
    return status[-1]


def watch(args: argparse.Namespace, wanted: str) -> None:
    """Opens the model and the pipeline, and runs.

    Raises:
      EhrnetError: one of them cannot be opened, or no picture comes.
    """
    from ehrnet_tf.runtime.estimator import PoseEstimator
    from ehrnet_tf.video.screen import Screen, check_screen

    if args.show:
        check_screen()  # before an engine is loaded
    estimator = PoseEstimator(args.model, threads=args.threads, min_score=args.min_score)
    print(estimator.runner.describe())
    with contextlib.ExitStack() as stack:
        show = stack.enter_context(Screen()).show if args.show else None
        capture = open_capture(wanted)
        stack.callback(capture.release)
        lines = None
        if args.json:
            Path(args.json).parent.mkdir(parents=True, exist_ok=True)
            lines = stack.enter_context(open(args.json, "w", buffering=1, encoding="utf-8"))
        count = run(capture, estimator, args.frames, show, lines)
    if not count:
        raise EhrnetError("no picture came: is the camera free (one program at a time), and are size and rate its own?")
    print(f"{count} pictures")


if __name__ == "__main__":
    sys.exit(main())
