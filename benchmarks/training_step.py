"""What a training step costs: seconds until the first step is done, then pictures a second.

Random pictures and targets, made once, so that the input pipeline takes no part (`input_pipeline.py` measures that).
Every line is a process of its own: tracing is measured from nothing.

    python benchmarks/training_step.py --variant H-4 --size 384 --batch 8
    KERAS_BACKEND=jax python benchmarks/training_step.py --variant H-4 H-2 H0 --batch 32 --precision mixed_bfloat16
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import time
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--variant", nargs="+", default=["H-4"])
    parser.add_argument("--size", type=int, help="side of the input, pixels; default: the variant's own")
    parser.add_argument("--batch", type=int, nargs="+", default=[8])
    parser.add_argument("--precision", nargs="+", default=["float32"])
    parser.add_argument("--optimizer", nargs="+", default=["adam"])
    parser.add_argument("--steps", type=int, default=10, help="timed steps, after the first two")
    parser.add_argument("--plain", action="store_true", help="without this package's CPU settings (see training.run)")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    arguments = parser.parse_args()
    figures = []
    print(
        "variant  size batch precision        optimizer  first step, s  pictures/s (slowest to fastest step)",
        flush=True,
    )
    for variant in arguments.variant:
        for batch in arguments.batch:
            for precision in arguments.precision:
                for optimizer in arguments.optimizer:
                    overrides = [
                        f"model.variant={variant}",
                        f"model.input_size={arguments.size or 'null'}",
                        f"train.batch_size={batch}",
                        f"train.precision={precision}",
                        f"train.optimizer={optimizer}",
                    ]
                    with multiprocessing.get_context("spawn").Pool(1) as pool:
                        line = pool.apply(measure, (overrides, arguments.steps, arguments.plain))
                    line = {"variant": variant, "batch": batch, "precision": precision, "optimizer": optimizer, **line}
                    figures.append(line)
                    print(
                        f"{variant:8} {line['size']:4} {batch:5} {precision:16} {optimizer:9} "
                        f"{line['first_step_s']:13.1f}  "
                        f"{line['pictures_per_second']:10.1f} ({line['slowest']:.1f} to {line['fastest']:.1f})",
                        flush=True,
                    )
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n")


def measure(overrides: list[str], steps: int, plain: bool) -> dict:
    """Trains that many steps of a configuration; seconds and pictures a second."""
    import keras
    import numpy as np

    from ehrnet_tf.config import load_config
    from ehrnet_tf.data.pipeline import input_size
    from ehrnet_tf.training import run
    from ehrnet_tf.training.fused import fuse_batch_norm
    from ehrnet_tf.training.optimizers import make_optimizer
    from ehrnet_tf.training.train import compile_model, trained_model

    config = load_config(None, overrides)
    if not plain:
        run.tune()
    batch = random_batch(input_size(config), config.train.batch_size, config.data.max_people)
    model = trained_model(config)
    if run.tensorflow_on_cpu() and not plain:
        fuse_batch_norm(model)
    begin = time.perf_counter()
    compile_model(model, config, make_optimizer(config.train, 1000, model))
    seconds = []
    for _ in range(steps + 2):
        logs = model.train_on_batch(*batch, return_dict=True)
        assert np.isfinite(float(logs["loss"]))
        seconds.append(time.perf_counter() - begin)
        begin = time.perf_counter()
    keras.backend.clear_session()
    rates = [config.train.batch_size / s for s in seconds[2:]]
    return {
        "size": input_size(config),
        "first_step_s": seconds[0],
        "pictures_per_second": statistics.median(rates),
        "slowest": min(rates),
        "fastest": max(rates),
    }


def random_batch(size: int, batch: int, people: int) -> tuple:
    """(images, targets, weights) as the input pipeline gives them, with two people a picture."""
    import numpy as np

    rng = np.random.default_rng(0)
    maps = {stride: rng.random((batch, size // stride, size // stride, 17), np.float32) ** 8 for stride in (4, 2)}
    joints = np.zeros((batch, people, 17, 2), np.int32)
    joints[:, :2, :, 0] = rng.integers(0, (size // 4) ** 2, (batch, 2, 17)) * 17 + np.arange(17)
    joints[:, :2, :, 1] = 1
    images = rng.integers(0, 256, (batch, size, size, 3), np.uint8)
    targets = {"heatmaps_4": maps[4], "heatmaps_2": maps[2], "tags": joints}
    weights = {f"heatmaps_{s}": np.ones((batch, size // s, size // s), np.float32) for s in (4, 2)}
    return images, targets, {**weights, "tags": np.ones(batch, np.float32)}


if __name__ == "__main__":
    main()
