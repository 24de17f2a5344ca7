"""What a model file knows of itself: a JSON object in the zip member ``ehrnet.json``.

A .keras file is a zip archive and gets one more member; behind a .tflite flatbuffer and a TensorRT engine a zip archive
is appended, which TFLite ignores and `runtime.tensorrt_runner` cuts off. In a SavedModel folder it is a file of that
name, in an .onnx file an entry of the metadata, in an OpenVINO .xml an entry of the runtime information. All formats
load as before, and all are read here without their runtimes.

Keys that every pose model's file has: ``variant`` (None if unknown), ``keypoints`` (`KeypointSet.to_dict`), ``input``
(height and width in pixels, None where free; nominal, the (height, width) to use then; dtype, color, letterbox),
``strides`` (pixels a cell, by output), ``graph`` ("maps"; "poses": the decoder is inside), ``decoder``
(`DecoderSettings` as a dict), ``precision``, ``versions``. Any other key is free: calibration, quantization, source,
licence, accuracy (of this very file, as measured), source_accuracy (of the model that it was made of). A classifier's
file: see `classifier_metadata`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.metadata
import json
import mmap
import os
import re
import shutil
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO
from xml.etree import ElementTree

from ehrnet_tf import keypoints as keypoint_sets
from ehrnet_tf.decoding import DecoderSettings
from ehrnet_tf.errors import ModelFileError, UsageError
from ehrnet_tf.files import atomic_path
from ehrnet_tf.keypoints import KeypointSet
from ehrnet_tf.models import scaling

if TYPE_CHECKING:
    import keras

    from ehrnet_tf.config import Config

MEMBER = "ehrnet.json"
OPENVINO_ENTRY = "ehrnet"  # of an .xml's <rt_info>
STRIDES = {"heatmaps_4": 4, "tags": 4, "heatmaps_2": 2}
_PACKAGES = ("ehrnet-tf", "keras", "tensorflow", "tf_keras", "tensorflow-model-optimization")


def read_metadata(path: str | os.PathLike) -> dict[str, Any] | None:
    """The metadata of a model file or SavedModel folder; None if it holds none.

    Raises:
      ModelFileError: no such file, or its metadata is damaged.
    """
    path = Path(path)
    if not path.exists():
        raise ModelFileError(f"{path}: no such model file")
    try:
        content = _READERS.get(path.suffix.lower(), _read_member)(path)
        if content is None:
            return None
        metadata = json.loads(content)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise ModelFileError(
            f"{path}: its metadata ({MEMBER}) is damaged ({error}); copy or export it again"
        ) from error
    if not isinstance(metadata, dict):
        raise ModelFileError(f"{path}: its metadata ({MEMBER}) is not a JSON object; export the file again")
    return metadata


def _read_onnx(path: Path) -> bytes | None:
    """The entry of an ONNX file's ``metadata_props`` (field 14 of a ModelProto; key: 1, value: 2), by its wire format.

    Other fields, the network among them, are skipped unread. None where the bytes are no protocol buffer: that is for
    the runtime to say.
    """
    with contextlib.suppress(IndexError, ValueError), path.open("rb") as file, _mapped(file) as content:
        for number, start, end in _fields(content, 0, len(content)):
            if number == 14:
                entry = {n: content[a:b] for n, a, b in _fields(content, start, end)}
                if entry.get(1) == MEMBER.encode():
                    return entry.get(2, b"")
    return None


def _mapped(file: BinaryIO) -> mmap.mmap:
    return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _fields(content: Any, position: int, end: int) -> Iterator[tuple[int, int, int]]:
    """(number, start, end) of the fields of a protocol buffer that have a length."""
    while position < end:
        tag, position = _varint(content, position)
        number, kind = tag >> 3, tag & 7
        if kind == 2:
            length, position = _varint(content, position)
            if position + length > end:
                raise ValueError("a field is longer than its message")
            yield number, position, position + length
            position += length
        elif kind == 0:
            _, position = _varint(content, position)
        elif kind in (1, 5):
            position += 8 if kind == 1 else 4
        else:
            raise ValueError(f"no wire type {kind}")


def _varint(content: Any, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 64, 7):
        byte = content[position]
        value |= (byte & 127) << shift
        position += 1
        if byte < 128:
            return value, position
    raise ValueError("a number of more than 64 bits")


def _read_openvino(path: Path) -> bytes | None:
    """The entry of the model's runtime information, whose ``value`` is the text."""
    with contextlib.suppress(ElementTree.ParseError):  # no XML, or not all of it: that is for the runtime to say
        for _, element in ElementTree.iterparse(str(path)):
            if element.tag == OPENVINO_ENTRY:
                return element.get("value", "").encode()
            if element.tag == "layer":
                element.clear()
    return None


def _read_member(path: Path) -> bytes | None:
    if path.is_dir():
        return (path / MEMBER).read_bytes() if (path / MEMBER).is_file() else None
    if not zipfile.is_zipfile(path):
        return _refuse_cut(path)
    with zipfile.ZipFile(path) as archive:
        return archive.read(MEMBER) if MEMBER in archive.namelist() else None


def _refuse_cut(path: Path) -> None:
    """Raises ValueError if there is the beginning of our archive at a file's end, but not its directory."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _LARGEST))
        if _BEGINNING.search(file.read()):
            raise ValueError("the file is cut off")


_LARGEST = 1 << 20  # bytes of metadata
_BEGINNING = re.compile(rb"PK\x03\x04.{26}" + re.escape(MEMBER.encode()), re.DOTALL)  # a zip's local header
_READERS = {".onnx": _read_onnx, ".xml": _read_openvino}


def append_metadata(path: str | os.PathLike, metadata: dict[str, Any]) -> None:
    """Adds ``metadata`` to a .keras or .tflite file or an engine, in place of earlier metadata; all of it or nothing.

    Raises:
      ModelFileError: no such file.
    """
    path = Path(path)
    earlier = read_metadata(path)
    with atomic_path(path) as temporary:
        if earlier is None:
            shutil.copyfile(path, temporary)
        else:
            _copy_without_metadata(path, temporary)
        with zipfile.ZipFile(temporary, "a") as archive:
            archive.writestr(MEMBER, json.dumps(metadata, indent=1))


def store_accuracy(
    path: str | os.PathLike,
    figures: dict[str, Any],
    data: str | os.PathLike,
    split: str,
    known: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Writes what `evaluate` measured into a .keras or .tflite file's metadata, as "accuracy", and gives that.

    Args:
      path: the file.
      figures: what `evaluate` gave for it.
      data: the folder it was scored on.
      split: of this folder.
      known: metadata for a file that holds none.

    Raises:
      ModelFileError: no such file, or its metadata is damaged.
    """
    accuracy = {
        "AP": figures["AP"],
        "AP50": figures["AP50"],
        "data": str(data),
        "split": split,
        "pictures": figures["images"],
        "protocol": figures["protocol"],
    }
    append_metadata(path, {**(read_metadata(path) or known or {}), "accuracy": accuracy})
    return accuracy


def _copy_without_metadata(source: Path, target: Path) -> None:
    """Copies what lies before the archive (a flatbuffer or nothing), then every other member."""
    with zipfile.ZipFile(source) as archive:
        members = archive.infolist()
        with source.open("rb") as file:
            target.write_bytes(file.read(min(m.header_offset for m in members)))
        with zipfile.ZipFile(target, "a") as copy:
            for member in members:
                if member.filename != MEMBER:
                    copy.writestr(member, archive.read(member))


def model_metadata(
    model: keras.Model,
    config: Config | None = None,
    keypoints: str | os.PathLike | KeypointSet | None = None,
    precision: str = "float32",
    **extra: Any,
) -> dict[str, Any]:
    """The metadata of an `EfficientHRNet`.

    Args:
      model: the Keras model; sizes are read off its input and outputs.
      config: what it was built and trained with: its keypoint set and decoder settings are taken over; None: the
        defaults.
      keypoints: the keypoint set that the channels stand for; None: the configuration's, else "coco" if there are 17.
      precision: of weights and arithmetic: see `converters.tflite.PRECISIONS`.
      **extra: free keys to add.

    Raises:
      UsageError: the model is no `EfficientHRNet`, or the keypoint set does not fit its channels.
    """
    outputs = model.output
    if not isinstance(outputs, dict) or not set(STRIDES) <= set(outputs):
        raise UsageError(f"model '{model.name}': has not the outputs {', '.join(STRIDES)}; build it by EfficientHRNet")
    if keypoints is None and config is not None:
        keypoints = config.model.keypoints
    points = choose_keypoints(keypoints, None, outputs["tags"].shape[-1], f"model '{model.name}'")
    height, width = model.input_shape[1:3]
    variant = scaling.variant_name(model.name)
    return {
        "variant": variant,
        "keypoints": points.to_dict(),
        "input": {
            "height": height,
            "width": width,
            "nominal": _nominal_size(height, width, variant),
            "dtype": "uint8",
            "color": "RGB",
            "letterbox": "uniform scale, centred, bilinear, border 0",
        },
        "strides": dict(STRIDES),
        "graph": "maps",
        "decoder": dataclasses.asdict(config.decode if config else DecoderSettings()),
        "precision": precision,
        "versions": package_versions(),
        **extra,
    }


def classifier_metadata(model: keras.Model, classes: Sequence[str] | None = None, **extra: Any) -> dict[str, Any]:
    """The metadata of a `CompactEfficientNet`: "task", "variant", "classes" (names by output), "input", "versions".

    Args:
      model: the Keras model.
      classes: names of its outputs in order, or None.
      **extra: free keys to add.
    """
    height, width = model.input_shape[1:3]
    return {
        "task": "classification",
        "variant": scaling.variant_name(model.name),
        "classes": None if classes is None else list(classes),
        "input": {"height": height, "width": width, "dtype": "uint8", "color": "RGB"},
        "versions": package_versions(),
        **extra,
    }


def _nominal_size(height: int | None, width: int | None, variant: str | None) -> list[int] | None:
    if height and width:
        return [height, width]
    if variant is None:
        return None
    side = scaling.scale(variant).input_size
    return [height or side, width or side]


def choose_keypoints(
    given: str | os.PathLike | KeypointSet | None, metadata: dict[str, Any] | None, channels: int, source: str
) -> KeypointSet:
    """The keypoint set of a model: the one given, else the metadata's, else "coco" if there are 17 channels.

    Args:
      given: a set, its name or YAML file, or None.
      metadata: the model's metadata, or None.
      channels: K of the model's outputs.
      source: what error messages call the model.

    Raises:
      UsageError: none of the three, or the set has not K keypoints.
    """
    if given is not None:
        points = keypoint_sets.load(given)
    elif metadata and metadata.get("keypoints"):
        points = KeypointSet.from_dict(metadata["keypoints"], f"{source}: keypoints in {MEMBER}")
    elif channels == 17:
        points = keypoint_sets.load("coco")
    else:
        raise UsageError(
            f"{source}: has {channels} keypoint channels but does not say which; give keypoints= (--keypoints)"
        )
    if len(points) != channels:
        raise UsageError(f"{source}: has {channels} keypoint channels, the set '{points.name}' {len(points)} keypoints")
    return points


def decoder_settings(metadata: dict[str, Any], source: str) -> DecoderSettings:
    """The decoder's settings that a model's metadata name; the defaults where they name none.

    Args:
      metadata: the model's.
      source: what error messages call the model.

    Raises:
      ModelFileError: they cannot be used.
    """
    try:
        return DecoderSettings(**metadata.get("decoder", {}))
    except (TypeError, UsageError) as error:
        raise ModelFileError(
            f"{source}: its metadata hold decoder settings that cannot be used ({error}); give settings="
        ) from error


def package_versions() -> dict[str, str]:
    """The installed versions of the packages that a model file depends on."""
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def save_keras(model: keras.Model, path: str | os.PathLike, metadata: dict[str, Any] | None = None) -> None:
    """Writes a .keras file with its metadata, all of it or nothing; `keras.saving.load_model` reads it.

    Optimizer and losses are left out: they treble the file, and a reader would need this package's classes.

    Args:
      model: an `EfficientHRNet` or `CompactEfficientNet`.
      path: where to, ending in .keras.
      metadata: default: `model_metadata(model)`.

    Raises:
      UsageError: ``path`` has another suffix, or the model needs ``metadata`` that say its keypoints.
    """
    path = Path(path)
    if path.suffix != ".keras":
        raise UsageError(f"{path}: the name of a Keras model file must end in .keras")
    import keras

    metadata = model_metadata(model) if metadata is None else metadata
    with atomic_path(path) as temporary:
        keras.Model(model.inputs, model.output, name=model.name).save(temporary)
        append_metadata(temporary, metadata)
