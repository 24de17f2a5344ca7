"""Which layers hurt: what rounding each of them alone does to the maps."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from ehrnet_tf.files import write_text
from ehrnet_tf.quantization.clone import variables_by_name
from ehrnet_tf.quantization.ranges import PREFIX, calibrate
from ehrnet_tf.quantization.rounding import quantize
from ehrnet_tf.runtime.runners import OUTPUTS

_HEAT = 0.1  # the decoder's threshold: where tags count


def layer_errors(
    cloned: tf_keras.Model, pictures: Sequence[np.ndarray], compared: int = 4, tag_threshold: float = 1.0
) -> list[dict[str, Any]]:
    """The error of the maps if one layer alone, its kernel and its output, is rounded to 8 bits.

    Args:
      cloned: see `clone.clone`.
      pictures: (H, W, 3) uint8 network inputs, for the ranges.
      compared: so many of them are compared.
      tag_threshold: the decoder's.

    Returns:
      a row a layer, the worst first: "layer"; "heatmaps_4", "heatmaps_2": root mean square error over that of the map;
      "tags": root mean square error where the heat exceeds 0.1, in units of the threshold; "error", their sum.
    """
    switched = quantize(cloned, switched=True)
    calibrate(cloned, switched, pictures)

    @tf.function(autograph=False)
    def run(image):
        outputs = switched(image, training=False)
        return {name: outputs[name] for name in OUTPUTS}

    images = [tf.constant(picture[None], tf.float32) for picture in pictures[:compared]]
    expected = [{name: values.numpy() for name, values in run(image).items()} for image in images]
    rows = []
    for layer in switched.layers:
        switches = [v for name, v in variables_by_name(layer).items() if name.endswith("_switch")]
        if not switches:
            continue
        for switch in switches:
            switch.assign(1.0)
        found = [{name: values.numpy() for name, values in run(image).items()} for image in images]
        for switch in switches:
            switch.assign(0.0)
        row = _errors(expected, found, tag_threshold)
        rows.append({"layer": layer.name.removeprefix(PREFIX), **row, "error": sum(row.values())})
    return sorted(rows, key=lambda row: -row["error"])


def _errors(expected: list[dict], found: list[dict], tag_threshold: float) -> dict[str, float]:
    errors = {}
    for name in OUTPUTS:
        truth, given = (np.concatenate([maps[name] for maps in part]) for part in (expected, found))
        square = np.square(given - truth)
        if name == "tags":
            hot = np.concatenate([maps["heatmaps_4"] for maps in expected]) > _HEAT
            errors[name] = float(np.sqrt(square[hot].mean())) / tag_threshold if hot.any() else 0.0
        else:
            errors[name] = float(np.sqrt(square.mean() / max(np.square(truth).mean(), 1e-12)))
    return errors


def write_layers(path: str | os.PathLike, rows: list[dict[str, Any]]) -> None:
    """Writes the rows of `layer_errors` as a CSV file, all of them or nothing."""
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0].keys(), lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: f"{v:.6f}" if isinstance(v, float) else v for key, v in row.items()} for row in rows)
    write_text(path, text.getvalue())
