"""A trained run made an all-integer .tflite file: calibrated, fine-tuned with rounding, converted, scored.

OUT/config.yaml    every value of the configuration
OUT/run.json       command, versions, machine, seed, data
OUT/log.csv        one line an epoch; OUT/curves.png the same as a picture
OUT/train.log      what was said
OUT/layers.csv     if asked for: what rounding each layer alone does to the maps
OUT/last.npz       the newest state, while there is something to go on with
OUT/int8.tflite    the best epoch's integers, with their measured AP
OUT/float.keras    the same weights before rounding, for other formats
"""

from __future__ import annotations

import dataclasses
import logging
import math
import os
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from ehrnet_tf.config import Config, load_config, save_config
from ehrnet_tf.converters.serving import source_runner
from ehrnet_tf.converters.tflite import convert_function, write_tflite
from ehrnet_tf.converters.upsampling import upsampling_operators
from ehrnet_tf.data.coco import Records, load_records
from ehrnet_tf.data.pipeline import coco_dataset
from ehrnet_tf.errors import DataError, EhrnetError, UsageError
from ehrnet_tf.evaluation import evaluate
from ehrnet_tf.files import atomic_path
from ehrnet_tf.images import decode_image
from ehrnet_tf.models.weights import open_keras
from ehrnet_tf.quantization.clone import check_clone, clone, copy_weights_back, import_tf_keras
from ehrnet_tf.runtime.letterbox import letterbox
from ehrnet_tf.runtime.metadata import decoder_settings, model_metadata, read_metadata, save_keras, store_accuracy
from ehrnet_tf.runtime.protocol import Protocol
from ehrnet_tf.runtime.runners import OUTPUTS, KerasRunner
from ehrnet_tf.training import checkpoint, logs, run
from ehrnet_tf.training.losses import pose_losses, pull_loss, push_loss

logger = logging.getLogger("ehrnet_tf.training")

STATE = "last.npz"
FILE = "int8.tflite"
_SAID = ("AP", "AP50", "AP_true_groups", "AP_true_heatmaps")
_SAY_EVERY = 300.0  # seconds between two lines, and two states within an epoch
_COUNTING = ("batch_size", "seed", "deterministic")  # of the section train


def quantize_run(
    source: str | os.PathLike,
    data: str | os.PathLike,
    out: str | os.PathLike,
    overrides: Sequence[str] = (),
    resume: bool = False,
) -> dict[str, Any]:
    """Makes an all-integer .tflite file of a training run's best model, and writes the folder described above.

    Args:
      source: the run folder of `training.train`.
      data: as it was trained on: a folder in COCO's layout, or of shards.
      out: the folder to write; must be new or empty unless ``resume``.
      overrides: ``section.key=value`` over the run's configuration, e.g. "quantize.epochs=5".
      resume: go on from ``out/last.npz``, with the configuration that ``out`` has.

    Returns:
      "float", "calibrated", "int8": {"AP", "AP50"} of the trained model, of its ranges before fine-tuning (simulated),
      and of the file; "best_epoch" (0: before fine-tuning), "kept_float" (layers), "run", and "report": see
      `converters.tflite.write_tflite`.

    Raises:
      UsageError: ``out`` holds files already, nothing to resume, a folder that holds no trained run or one that is
        quantised already, another model section than the run's.
      DataError: the data cannot be used, or have other keypoints than the model.
      MissingExtraError: tfmot or tf_keras is not installed.
      EhrnetError: a layer that cannot be quantised; an operator that stays float; the loss became NaN; stopped by a
        signal: ``last.npz`` holds the state.
    """
    source, data, out = Path(source), Path(data), Path(out)
    config = _config(source, out, overrides, resume)
    import_tf_keras()
    import ehrnet_tf.quantization.rounding  # noqa: F401, a missing tfmot is told before anything is written

    state = _stored_state(source, out, config) if resume else None
    if not resume:
        run.check_new(out)
    run.tune()
    records = load_records(data, config.data.train_split, config, training=True)
    validation = load_records(data, config.data.val_split, config, training=False)
    if config.quantize.epochs and len(records) < config.train.batch_size:
        raise UsageError(
            f"{data}: {len(records)} usable training pictures are fewer than train.batch_size "
            f"{config.train.batch_size}; lower it"
        )
    run.be_deterministic(config.train.seed, config.train.deterministic)
    model = open_keras(source / "best.keras")
    metadata = read_metadata(source / "best.keras") or model_metadata(model, config)
    metadata["decoder"] = dataclasses.asdict(config.decode)
    cloned = clone(model)
    size = tuple(cloned.input_shape[1:3])
    pictures = calibration_samples(records, size, config.quantize.calibration, config.train.seed)
    difference = check_clone(model, cloned, np.stack(pictures[:2]))
    logger.info("the clone in tf_keras gives the model's maps, to %.1g of their range", difference)
    steps = config.quantize.steps_per_epoch or max(1, len(records) // config.train.batch_size)
    if state and int(state["steps"]) != steps:
        raise UsageError(
            f"{data}: an epoch has {steps} steps, {int(state['steps'])} when the run began; give the same data"
        )
    out.mkdir(parents=True, exist_ok=True)
    run.clean_leftovers(out)
    save_config(out / "config.yaml", config)
    with run.log_file(out / "train.log", records.skipped | validation.skipped):
        described = {"root": str(data.resolve()), "pictures": len(records), "skipped": records.skipped}
        run.describe(out / "run.json", config.train.seed, steps, described)
        plan = _Quantization(source, data, out, config, records, validation, model, metadata, cloned, pictures, steps)
        with run.ending_well(["quantize", str(source)], data, out) as signals:
            return plan.run(state, signals)


def _config(source: Path, out: Path, overrides: Sequence[str], resume: bool) -> Config:
    if source.suffix == ".tflite" or ((source / FILE).is_file() and not (source / "best.keras").is_file()):
        raise UsageError(f"{source}: is quantised already; give the training run that it was made of")
    for name in ("config.yaml", "best.keras"):
        if not (source / name).is_file():
            raise UsageError(f"{source}: holds no {name}; give the folder of a training run (`ehrnet train --out`)")
    begun = out if resume and (out / "config.yaml").is_file() else source
    config, trained = load_config(begun / "config.yaml", overrides), load_config(source / "config.yaml")
    if config.model != trained.model:
        raise UsageError(f"{source}: the model is trained; its section of the configuration must not change")
    for field in dataclasses.fields(config.train):
        if getattr(config.train, field.name) != getattr(trained.train, field.name) and field.name not in _COUNTING:
            raise UsageError(
                f"train.{field.name}: does not count here (of that section {', '.join(_COUNTING)} do); see `quantize.`"
            )
    return config


def _stored_state(source: Path, out: Path, config: Config) -> dict[str, Any] | None:
    if (out / "best.keras").is_file() or (out / checkpoint.NAME).is_file():
        raise UsageError(f"{out}: is a training run; give the folder that `ehrnet quantize` made")
    if (out / FILE).is_file():
        raise UsageError(f"{out / FILE}: all is done; nothing to resume")
    if not (out / "config.yaml").is_file():
        raise UsageError(f"{out}: nothing to resume (no config.yaml); start without --resume")
    if load_config(out / "config.yaml") != config:
        raise UsageError(f"{out}: the configuration differs from the one in its config.yaml; it must not change")
    if not (out / STATE).is_file():
        return None
    try:
        with np.load(out / STATE) as archive:
            state = dict(archive)
            state["step"], state["kept_float"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise UsageError(f"{out / STATE}: is not a state to go on from ({error}); start a new run") from error
    if str(state["source"]) != str(source.resolve()):
        raise UsageError(f"{out}: was begun from {state['source']}; give that one")
    return state


@dataclasses.dataclass
class _Quantization:
    """What `quantize_run` has found out, for its work."""

    source: Path
    data: Path
    out: Path
    config: Config
    records: Records
    validation: Records
    model: keras.Model
    metadata: dict[str, Any]
    cloned: Any
    pictures: list[np.ndarray]  # to calibrate with
    steps: int  # an epoch

    def run(self, state: dict | None, signals: checkpoint.Signals) -> dict[str, Any]:
        from ehrnet_tf.quantization.rounding import quantize
        from ehrnet_tf.quantization.simulation import SimulatedRunner

        kept = state["kept_float"].tolist() if state else self._choose_float()
        if signals.received:
            raise EhrnetError(f"stopped by {signals.received.name} before there was anything to save; start again")
        self.quantized = quantize(self.cloned, kept)
        self.simulated = SimulatedRunner(self.quantized, self.metadata)
        self._compile()
        if state is None:
            state = self._begin(kept)
        if signals.received:
            raise checkpoint.Stopped
        state = self._fine_tune(state, signals)
        self.quantized.set_weights(_list(state, "best"))
        report = self._export(kept, int(state["best_epoch"]))
        (self.out / STATE).unlink(missing_ok=True)
        figures = {
            kind: {name: float(state[f"{kind}_{name}"]) for name in ("AP", "AP50")} for kind in ("float", "calibrated")
        }
        return {
            **figures,
            "int8": {name: report["accuracy"][name] for name in ("AP", "AP50")},
            "best_epoch": int(state["best_epoch"]),
            "kept_float": list(kept),
            "run": str(self.out),
            "report": report,
        }

    def _choose_float(self) -> list[str]:
        options = self.config.quantize
        if not options.keep_float and not options.report_layers:
            return []
        from ehrnet_tf.quantization.layers import layer_errors, write_layers

        logger.info("measuring what rounding each layer alone does ...")
        threshold = decoder_settings(self.metadata, self.model.name).tag_threshold
        rows = layer_errors(self.cloned, self.pictures, tag_threshold=threshold)
        write_layers(self.out / "layers.csv", rows)
        return [row["layer"] for row in rows[: options.keep_float]]

    def _compile(self) -> None:
        tf_keras = import_tf_keras()

        class Loss(tf_keras.losses.Loss):
            """A loss of Keras 3 in tf_keras."""

            def __init__(self, loss):
                super().__init__(name=loss.name)
                self.loss = loss

            def call(self, y_true, y_pred):
                return self.loss.call(y_true, y_pred)

        options = self.config.quantize
        rate = tf_keras.optimizers.schedules.CosineDecay(options.learning_rate, max(1, options.epochs * self.steps))
        losses = pose_losses(self.config.loss, self.config.model.tags_on_both_stages)
        mean = tf_keras.metrics.MeanMetricWrapper
        self.quantized.compile(
            tf_keras.optimizers.Adam(rate),
            loss={name: Loss(loss) for name, loss in losses.items()},
            metrics={"tags": [mean(pull_loss, "pull"), mean(push_loss, "push")]},
            jit_compile=False,
        )
        self.quantized.optimizer.build(self.quantized.trainable_variables)

    def _begin(self, kept: list[str]) -> dict[str, Any]:
        """The state before the first step."""
        from ehrnet_tf.quantization.ranges import calibrate

        logger.info("ranges from %d pictures", len(self.pictures))
        calibrate(self.cloned, self.quantized, self.pictures)
        protocol = Protocol("live" if self.config.quantize.graph == "poses" else "exact")  # the file's
        trained = self._evaluate(KerasRunner(self.model, metadata=self.metadata), protocol=protocol)
        calibrated = self._evaluate(self.simulated, protocol=protocol)
        logger.info("AP of the trained model %.3f, with rounding as calibrated %.3f", trained["AP"], calibrated["AP"])
        weights = self.quantized.get_weights()
        state: dict[str, Any] = {"step": 0, "best_epoch": 0, "kept_float": np.array(kept, str)}
        state |= {"source": str(self.source.resolve()), "steps": self.steps}
        for kind, found in (("float", trained), ("calibrated", calibrated), ("best", calibrated)):
            state |= {f"{kind}_{name}": found[name] for name in ("AP", "AP50")}
        state |= _named("best", weights) | self._variables()
        self._save(state)
        return state

    def _variables(self) -> dict[str, np.ndarray]:
        optimizer = [variable.numpy() for variable in self.quantized.optimizer.variables]
        return _named("weights", self.quantized.get_weights()) | _named("optimizer", optimizer)

    def _save(self, state: dict[str, Any]) -> None:
        with atomic_path(self.out / STATE) as temporary, open(temporary, "wb") as file:
            np.savez(file, **state)

    def _evaluate(self, model: Any, **options: Any) -> dict[str, Any]:
        return evaluate(
            model,
            self.data,
            self.config.data.val_split,
            progress=False,
            records=self.validation,
            **options,
        )

    def _fine_tune(self, state: dict[str, Any], signals: checkpoint.Signals) -> dict[str, Any]:
        """Trains from a state to the end, and gives the last state."""
        begin, end = int(state["step"]), self.config.quantize.epochs * self.steps
        if begin >= end:
            return state
        self.quantized.set_weights(_list(state, "weights"))
        variables = self.quantized.optimizer.variables
        for variable, value in zip(variables, _list(state, "optimizer"), strict=True):
            variable.assign(value)
        batches = coco_dataset(
            self.data, self.config.data.train_split, self.config, records=self.records, first_step=begin
        )
        logger.info("building the training graph ...")
        with tqdm(total=end, initial=begin, unit="step", disable=None) as bar:
            self._said, self._epoch_began = time.monotonic(), time.perf_counter()
            for step, batch in zip(range(begin, end), _read(batches), strict=False):
                figures = self.quantized.train_on_batch(*batch, reset_metrics=step % self.steps == 0, return_dict=True)
                bar.update()
                state["step"] = step + 1
                if not math.isfinite(figures["loss"]):
                    raise EhrnetError(
                        f"step {step + 1}: the loss is {figures['loss']}; start again with a lower "
                        "quantize.learning_rate"
                    )
                if (step + 1) % self.steps == 0 or signals.received:
                    state |= self._variables()
                    if (step + 1) % self.steps == 0:
                        self._end_epoch(step // self.steps, figures, state)
                    self._save(state)
                    if signals.received and step + 1 < end:
                        raise checkpoint.Stopped
                elif time.monotonic() > self._said + _SAY_EVERY:
                    self._said = time.monotonic()
                    logger.info("step %d of %d: loss %.4g", step + 1, end, figures["loss"])
                    self._save(state | self._variables())
        return state

    def _end_epoch(self, epoch: int, figures: dict[str, float], state: dict[str, Any]) -> None:
        """Validates, keeps the best weights in ``state``, and writes the log."""
        validated = self._evaluate(self.simulated, bounds=True)
        if validated["AP"] > state["best_AP"]:
            state |= {"best_AP": validated["AP"], "best_epoch": epoch + 1}
            state |= _named("best", self.quantized.get_weights())
        row = {"epoch": epoch, "learning_rate": float(self.quantized.optimizer.learning_rate)}
        row |= {name.removeprefix("quant_").removeprefix("head_"): float(value) for name, value in figures.items()}
        row |= {name: validated[name] for name in _SAID}
        row["seconds"] = round(time.perf_counter() - self._epoch_began, 2)
        self._epoch_began = time.perf_counter()
        path = self.out / "log.csv"
        rows = [earlier for earlier in logs.read_log(path) if earlier["epoch"] < epoch] + [row]
        logs.write_log(path, rows)
        logs.draw_curves(rows, self.out / "curves.png", logs.POSE_CURVES)
        logger.info("epoch %d of %d: %s", epoch + 1, self.config.quantize.epochs, logs.epoch_line(row))

    def _export(self, kept: list[str], epoch: int) -> dict[str, Any]:
        """Converts the quantised clone, scores the file, and writes file and float model with what was measured."""
        copy_weights_back(self.quantized, self.model)
        options = self.config.quantize
        metadata = {
            **self.metadata,
            "source": str(self.source),
            "calibration": {
                "data": str(self.data),
                "split": self.config.data.train_split,
                "pictures": len(self.pictures),
                "seed": self.config.train.seed,
            },
            "quantization": {
                "fine-tuned": f"{epoch} of {options.epochs} epochs, {self.steps} steps each",
                "kept_float": kept,
            },
        }
        logger.info("converting to integers ...")
        flatbuffer = convert(self.quantized)
        source = source_runner(self.model, options.graph, metadata=metadata)
        size = tuple(self.cloned.input_shape[1:3])
        with atomic_path(self.out / FILE) as temporary:
            report = write_tflite(
                flatbuffer,
                temporary,
                source,
                "int8",
                size,
                self.pictures,
                graph=options.graph,
                kept_float=bool(kept),
                name=self.out / FILE,
            )
            figures = self._evaluate(temporary)
            report["accuracy"] = store_accuracy(temporary, figures, self.data, self.config.data.val_split)
            report["path"], report["ms"] = str(self.out / FILE), figures["ms"]
            kept = {key: value for key, value in self.metadata.items() if key != "accuracy"}
            save_keras(self.model, self.out / "float.keras", {**kept, "source": str(self.source)})
        return report


def convert(quantized: Any) -> bytes:
    """A quantised clone as a .tflite flatbuffer that takes uint8 pixels; float operators are not looked for."""
    from ehrnet_tf.quantization.rounding import KernelQuantizer

    def maps(image):
        outputs = quantized(tf.quantization.fake_quant_with_min_max_args(image, 0.0, 255.0), training=False)
        return {name: outputs[name] for name in OUTPUTS}

    def configure(converter):
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.inference_input_type = tf.uint8

    image = tf.TensorSpec((1, *quantized.input_shape[1:]), tf.float32, "image")
    KernelQuantizer.converting = True
    try:
        with upsampling_operators(quantized.layers, whole=True):
            return convert_function(maps, [image], quantized.variables, configure)
    finally:
        KernelQuantizer.converting = False


def calibration_samples(records: Records, size: tuple[int, int], count: int, seed: int) -> list[np.ndarray]:
    """Draws pictures from a split and prepares them as the runtime does.

    Args:
      records: the split.
      size: (height, width) of the network input.
      count: how many; fewer if there are fewer.
      seed: of the drawing.

    Raises:
      DataError: none can be read.
    """
    pictures: list[np.ndarray] = []
    reason = "there is none"
    for index in np.random.default_rng(seed).permutation(len(records)):
        try:
            pictures.append(letterbox(decode_image(records[index].read(), records[index].path), size)[0])
        except (DataError, OSError) as error:
            reason = str(error)
        if len(pictures) == count:
            break
    if not pictures:
        raise DataError(f"{records.annotation_file}: no picture to calibrate with ({reason})")
    return pictures


def _read(batches: Any):
    """The batches; what the pipeline found out in place of TensorFlow's error."""
    try:
        yield from batches
    except Exception as error:
        if batches.samples.error is not None:
            raise batches.samples.error from error
        raise


def _named(kind: str, values: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    return {f"{kind}/{number}": value for number, value in enumerate(values)}


def _list(state: dict[str, Any], kind: str) -> list[np.ndarray]:
    count = sum(key.startswith(f"{kind}/") for key in state)
    return [state[f"{kind}/{number}"] for number in range(count)]
