"""The whole chain on made-up people: data, training, int8 conversion, AP of both files, drawings."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

from ehrnet_tf.errors import UsageError

TRAIN_PICTURES = 2000
VAL_PICTURES = 100
MAX_PEOPLE = 2  # with people who face the viewer: what minutes of training on two cores can learn
SEED = 0
DRAWN = 12


def run(out: str | os.PathLike, overrides: Sequence[str] = ()) -> dict:
    """Runs every link of the chain and prints a table.

    Args:
      out: a folder that does not exist or is empty.
      overrides: ``section.key=value`` over `configs/demo.yaml`.

    Returns:
      Row name → {"AP", "ms", "megabytes"}.

    Raises:
      UsageError: ``out`` holds files already.
    """
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out}: exists already; remove it or choose another --out")
    begin = time.perf_counter()

    def say(step: str) -> None:
        print(f"\n[{time.perf_counter() - begin:4.0f} s] {step}", flush=True)

    say(f"1/6 drawing {TRAIN_PICTURES} + {VAL_PICTURES} pictures of made-up people")
    from ehrnet_tf.data.synthetic import make_dataset

    data = out / "data"
    make_dataset(
        data,
        train=TRAIN_PICTURES,
        val=VAL_PICTURES,
        seed=SEED,
        max_people=MAX_PEOPLE,
        upright=True,
        progress=True,
        workers=os.cpu_count() or 1,
    )

    say("2/6 loading TensorFlow, training (configs/demo.yaml)")
    from ehrnet_tf.config import load_config
    from ehrnet_tf.converters.pictures import calibration_pictures
    from ehrnet_tf.converters.tflite import export_tflite
    from ehrnet_tf.evaluation import evaluate
    from ehrnet_tf.runtime.estimator import PoseEstimator
    from ehrnet_tf.training.train import train

    train(load_config("demo", overrides), data, out / "run")
    best = out / "run" / "best.keras"

    say("3/6 AP of the Keras model on the held-out pictures")
    keras_model = PoseEstimator(best)
    rows = {"Keras float32": (best, evaluate(keras_model.runner, data))}

    say("4/6 conversion to int8 TFLite")
    int8 = out / "int8.tflite"
    metadata = {**keras_model.runner.metadata, "calibration": {"folder": str(data), "seed": SEED}}
    pictures = calibration_pictures(data, keras_model.input_size, 64, SEED)
    report = export_tflite(keras_model.runner.model, int8, "int8", pictures, metadata=metadata)
    for name, difference in report["differences"].items():
        print(f"  {name:11} differs by {difference['mean']:.4f} on average, {difference['max']:.3f} at worst")

    say("5/6 AP of the int8 file")
    rows["TFLite int8"] = (int8, evaluate(int8, data))

    say("6/6 drawing poses on held-out pictures")
    sheet = draw(PoseEstimator(int8), data, out / "pictures")

    say("done\n")
    print(f"{'':15} {'AP':>6} {'AP50':>6} {'ms a picture':>13} {'MB':>6}")
    table = {}
    for name, (path, figures) in rows.items():
        ms = sum(figures["ms"][stage] for stage in ("resize", "network", "decode"))
        megabytes = path.stat().st_size / 2**20
        table[name] = {"AP": figures["AP"], "ms": ms, "megabytes": megabytes}
        print(f"{name:15} {figures['AP']:6.3f} {figures['AP50']:6.3f} {ms:13.1f} {megabytes:6.1f}")
    print(
        f"\nAP: COCO keypoint AP on {VAL_PICTURES} synthetic held-out pictures; {rows['TFLite int8'][1]['protocol']}."
    )
    print("ms a picture: resize, network and decoder, batch 1.")
    print(f"pictures: {out / 'pictures'} (overview {sheet}); training curves: {out / 'run' / 'curves.png'}")
    print(f"try your own: ehrnet predict {int8} photo.jpg --out {out / 'mine'}")
    return table


def draw(estimator, data: Path, folder: Path) -> Path:
    """Draws the poses found in the first held-out pictures, and an overview of them all; gives the overview's path."""
    import cv2
    import numpy as np

    from ehrnet_tf.images import read_image
    from ehrnet_tf.runtime.letterbox import letterbox

    folder.mkdir(parents=True, exist_ok=True)
    tiles = []
    for path in sorted((data / "val2017").iterdir())[:DRAWN]:
        image = read_image(path)
        drawing = estimator(image).draw(image)
        cv2.imwrite(str(folder / f"{path.stem}.png"), cv2.cvtColor(drawing, cv2.COLOR_RGB2BGR))
        tiles.append(letterbox(drawing, (256, 256))[0])
    rows = [np.concatenate(tiles[i : i + 4], axis=1) for i in range(0, len(tiles), 4)]
    sheet = folder / "overview.png"
    cv2.imwrite(str(sheet), cv2.cvtColor(np.concatenate(rows), cv2.COLOR_RGB2BGR))
    return sheet
