"""Configuration: frozen dataclasses, filled from strict YAML and ``a.b=c`` overrides.

A YAML file holds the sections of `Config` and names only what differs from the defaults. An unknown key, a wrong type
or a value out of range is an error that names the key, the file and the nearest valid key.
"""

from __future__ import annotations

import dataclasses
import difflib
import os
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from ehrnet_tf.configs import FOLDER
from ehrnet_tf.decoding import DecoderSettings
from ehrnet_tf.errors import UsageError

OPTIMIZERS = ("adam", "adamw", "sgd", "muon")
PRECISIONS = ("float32", "mixed_float16", "mixed_bfloat16")


def _check(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """Arguments of `ehrnet_tf.EfficientHRNet`."""

    variant: str = "H-4"  # H0 ... H-4, E0 ... E-4, or any "H<phi>" or "E<phi>"
    input_size: int | None = None  # pixels, a multiple of 32; None: the variant's own
    keypoints: str = "coco"  # a name in configs/keypoints or the path of a YAML file
    activation: str | None = None  # of the backbone: swish, relu, relu6; None: the family's, as for the next three
    squeeze_excite: bool | None = None
    width_divisor: int | None = None  # round every branch width to a multiple of this
    upsampling: str | None = None  # in the head: transposed, resize
    tags_on_both_stages: bool = False
    drop_connect: float = 0.2
    weights: str | None = None  # a .keras or .weights.h5 file to start from
    backbone_weights: str | None = None  # a .keras file, as `ehrnet pretrain` writes, whose backbone to start from


@dataclasses.dataclass(frozen=True)
class AugmentConfig:
    """Random geometry of training pictures (reference: HigherHRNet)."""

    enabled: bool = True  # false: training pictures are letterboxed, as in evaluation
    rotation: float = 30.0  # degrees, +-
    scale: tuple[float, float] = (0.75, 1.5)  # the window's side over the picture's short side
    translate: float = 0.2  # +-, of the window's side (the published 40 of 200)
    flip: float = 0.5  # probability of mirroring

    def __post_init__(self):
        _check(0 <= self.rotation <= 180, "rotation must lie in 0..180 degrees")
        _check(0 < self.scale[0] <= self.scale[1], "scale must be two positive numbers, the smaller first")
        _check(self.translate >= 0, "translate must not be negative")
        _check(0 <= self.flip <= 1, "flip must lie in 0..1")


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """Which pictures, and the targets made of them."""

    train_split: str = "train2017"
    val_split: str = "val2017"
    limit: int | None = None  # use only the first so many training pictures
    val_limit: int | None = None
    sigma: float = 2.0  # of the Gaussian targets, in cells, at both resolutions
    subpixel: bool = False  # Gaussians at the keypoints themselves; false: at their cells' centres (the reference)
    max_people: int = 30  # people of a picture that the tag loss takes in
    tag_radius: int = 0  # the tag loss reads the (2 r + 1)² cells round a keypoint, not its own alone

    def __post_init__(self):
        _check(self.sigma > 0, "sigma must be positive")
        for name in ("limit", "val_limit"):
            _check(getattr(self, name) is None or getattr(self, name) >= 1, f"{name} must be at least 1")
        _check(self.max_people >= 1, "max_people must be at least 1")
        _check(self.tag_radius >= 0, "tag_radius must not be negative")


@dataclasses.dataclass(frozen=True)
class LossConfig:
    """Weights of the terms; `tag_form` is the push term's shape (see `training.losses`)."""

    heatmaps_4: float = 1.0
    heatmaps_2: float = 1.0
    heatmap_focus: float = 0.0  # squared errors count 1 + heatmap_focus * target: more where a keypoint is
    pull: float = 1e-3
    push: float = 1e-3
    tag_form: str = "exp"

    def __post_init__(self):
        _check(self.heatmap_focus >= 0, "heatmap_focus must not be negative")
        _check(self.tag_form in ("exp", "hinge"), "tag_form must be 'exp' or 'hinge'")


@dataclasses.dataclass(frozen=True)
class FitConfig:
    """Optimisation, of a pose model as of a classifier."""

    epochs: int = 300
    steps_per_epoch: int | None = None  # None: once through the data
    batch_size: int = 8
    # adam, adamw (decays by 0.004 where weight_decay is 0), sgd (Nesterov, 0.9), or muon (`training.muon`), which
    # learns faster and takes about 1e-2
    optimizer: str = "adam"
    learning_rate: float = 1e-3
    weight_decay: float = 0.0  # decoupled, a step: rate * decay * kernel; biases and batch norms are left out
    clip_norm: float | None = None  # the gradients' global norm is cut to this
    warmup_epochs: float = 0.0  # linear, from 0
    schedule: str = "step"  # step: times `decay` at each of `milestones`; cosine: to 0 over all epochs
    milestones: tuple[float, ...] = (200.0, 260.0)  # epochs
    decay: float = 0.1
    seed: int = 0
    deterministic: bool = False  # the same weights from the same seed, bit for bit on one machine; slower on a GPU
    checkpoint_minutes: float = 15.0  # last.keras is written this often within an epoch, besides after every one

    def __post_init__(self):
        for name in ("epochs", "batch_size"):
            _check(getattr(self, name) >= 1, f"{name} must be at least 1")
        _check(self.steps_per_epoch is None or self.steps_per_epoch >= 1, "steps_per_epoch must be at least 1")
        _check(self.learning_rate > 0, "learning_rate must be positive")
        _check(self.optimizer in OPTIMIZERS, f"optimizer must be one of {', '.join(OPTIMIZERS)}")
        _check(self.weight_decay >= 0, "weight_decay must not be negative")
        _check(self.clip_norm is None or self.clip_norm > 0, "clip_norm must be positive")
        _check(self.checkpoint_minutes > 0, "checkpoint_minutes must be positive")
        _check(self.schedule in ("step", "cosine"), "schedule must be 'step' or 'cosine'")


@dataclasses.dataclass(frozen=True)
class TrainConfig(FitConfig):
    """Training of a pose model."""

    validate_every: int = 1  # epochs between validations by AP
    freeze_backbone_epochs: int = 0  # the backbone stands still so long, its batch norms' statistics too
    ema: float | None = None  # validated and kept as best.keras: the weights' moving average with this momentum (0.999)
    precision: str = "float32"  # of the arithmetic: float32, mixed_float16, mixed_bfloat16; weights stay float32
    sizes: tuple[tuple[int, int], ...] = ()  # (epoch from 0, input pixels): smaller pictures at first, e.g. [[0, 256]]
    distribution: str = "none"  # data_parallel: every batch shared by all devices and processes (docs/training.md)

    def __post_init__(self):
        super().__post_init__()
        _check(self.ema is None or 0 < self.ema < 1, "ema must lie between 0 and 1")
        _check(self.precision in PRECISIONS, f"precision must be one of {', '.join(PRECISIONS)}")
        begins = [begin for begin, _ in self.sizes]
        _check(begins == sorted(set(begins)) and min(begins, default=0) >= 0, "sizes must be in the order of epochs")
        _check(all(side >= 32 and side % 32 == 0 for _, side in self.sizes), "sizes must be multiples of 32 pixels")
        _check(self.distribution in ("none", "data_parallel"), "distribution must be 'none' or 'data_parallel'")
        _check(self.validate_every >= 1, "validate_every must be at least 1")
        _check(self.freeze_backbone_epochs >= 0, "freeze_backbone_epochs must not be negative")


@dataclasses.dataclass(frozen=True)
class QuantizeConfig:
    """Fine-tuning of a trained model for integers (`ehrnet quantize`), with the run's own batches and losses."""

    epochs: int = 3  # 0: ranges from calibration pictures alone
    steps_per_epoch: int | None = None  # None: once through the data
    learning_rate: float = 3e-4  # of Adam at the beginning; a cosine takes it to 0
    calibration: int = 128  # pictures, drawn from the training split, that give the ranges to begin with
    keep_float: int = 0  # so many layers, those whose rounding alone changes the maps most, compute in float
    report_layers: bool = False  # write layers.csv: what rounding each layer alone does to the maps
    graph: str = "maps"  # what the file gives: maps, or poses: the people, with the decoder inside (in float)

    def __post_init__(self):
        _check(self.epochs >= 0, "epochs must not be negative")
        _check(self.steps_per_epoch is None or self.steps_per_epoch >= 1, "steps_per_epoch must be at least 1")
        _check(self.learning_rate > 0, "learning_rate must be positive")
        _check(self.calibration >= 1, "calibration must be at least 1")
        _check(self.keep_float >= 0, "keep_float must not be negative")
        _check(self.graph in ("maps", "poses"), "graph must be 'maps' or 'poses'")


@dataclasses.dataclass(frozen=True)
class ClassifierConfig:
    """Arguments of `ehrnet_tf.CompactEfficientNet`; the pictures decide the classes."""

    variant: str = "B-4"  # B0 ... B-4, or any "B<phi>"
    input_size: int | None = None  # pixels; None: the variant's own
    activation: str = "swish"  # as the pose model's: swish, relu, relu6
    squeeze_excite: bool = True  # as the pose model's
    drop_connect: float = 0.2
    dropout: float = 0.2
    weights: str | None = None  # a .keras or .weights.h5 file to start from


@dataclasses.dataclass(frozen=True)
class ClassifierDataConfig:
    """Which pictures of the class folders, and how they are cut and changed in training."""

    validation: float = 0.1  # share held out where the data have no val/ folder
    limit: int | None = None  # use only so many training pictures, drawn at random
    crop_area: tuple[float, float] = (0.25, 1.0)  # of a random crop, over the picture's
    flip: float = 0.5  # probability of mirroring
    color: float = 0.2  # +-, relative change of brightness, contrast and saturation

    def __post_init__(self):
        _check(self.limit is None or self.limit >= 1, "limit must be at least 1")
        _check(0 < self.validation < 1, "validation must lie between 0 and 1")
        _check(0 < self.crop_area[0] <= self.crop_area[1] <= 1, "crop_area must be two numbers in 0..1, smaller first")
        _check(0 <= self.flip <= 1, "flip must lie in 0..1")
        _check(0 <= self.color < 1, "color must lie in 0..1")


@dataclasses.dataclass(frozen=True)
class PretrainConfig:
    """One training of a classifier."""

    model: ClassifierConfig = ClassifierConfig()
    data: ClassifierDataConfig = ClassifierDataConfig()
    train: FitConfig = FitConfig(epochs=100, batch_size=32, schedule="cosine", warmup_epochs=2.0)

    def to_dict(self) -> dict[str, Any]:
        """The whole configuration as plain values, ready for YAML or JSON."""
        return _plain(dataclasses.asdict(self))


@dataclasses.dataclass(frozen=True)
class Config:
    """One experiment."""

    model: ModelConfig = ModelConfig()
    augment: AugmentConfig = AugmentConfig()
    data: DataConfig = DataConfig()
    loss: LossConfig = LossConfig()
    train: TrainConfig = TrainConfig()
    quantize: QuantizeConfig = QuantizeConfig()
    decode: DecoderSettings = dataclasses.field(default_factory=DecoderSettings)

    def to_dict(self) -> dict[str, Any]:
        """The whole configuration as plain values, ready for YAML or JSON."""
        return _plain(dataclasses.asdict(self))


Kind = typing.TypeVar("Kind", Config, PretrainConfig)


def load_config(
    which: str | os.PathLike | None = None, overrides: Sequence[str] = (), kind: type[Kind] = Config
) -> Kind:
    """Reads a configuration.

    Args:
      which: a YAML file's path or a name among `configs/*.yaml` ("demo"), for a classifier among
        `configs/pretrain/*.yaml`; None: the defaults.
      overrides: ``section.key=value`` strings, the value in YAML syntax, applied in order.
      kind: `Config`, or `PretrainConfig` for a classifier.

    Raises:
      UsageError: no such file or name, not YAML, an unknown key, a wrong type, a value out of range.
    """
    data: dict[str, Any] = {}
    source = "configuration"
    if which is not None:
        path = _find(which, FOLDER / "pretrain" if kind is PretrainConfig else FOLDER)
        source = str(path)
        try:
            data = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise UsageError(f"{source}: cannot be read as YAML ({' '.join(str(error).split())})") from error
    config = _build(kind, data, source, "")
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals:
            raise UsageError(f"override '{override}': write it as section.key=value")
        try:
            value: Any = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise UsageError(f"override '{override}': the value is not valid YAML") from error
        for part in reversed(key.strip().split(".")):
            value = {part: value}
        config = _build(kind, value, f"override '{override}'", "", config)
    return config


def save_config(path: str | os.PathLike, config: Config | PretrainConfig) -> None:
    """Writes every value of ``config`` as a YAML file that `load_config` reads."""
    from ehrnet_tf.files import write_text

    write_text(path, yaml.safe_dump(config.to_dict(), sort_keys=False))


def _find(which: str | os.PathLike, folder: Path) -> Path:
    path = Path(which)
    if path.is_file():
        return path
    named = folder / f"{str(which).lower()}.yaml"
    if named.is_file():
        return named
    names = ", ".join(sorted(p.stem for p in folder.glob("*.yaml")))
    raise UsageError(f"config '{which}': neither a YAML file nor one of the named configurations ({names})")


def _build(cls: type, data: Any, source: str, where: str, base: Any = None) -> Any:
    """An instance of the dataclass ``cls`` from a mapping, on top of ``base`` (default: the defaults)."""
    if not isinstance(data, Mapping):
        raise UsageError(f"{source}: '{where.rstrip('.') or 'the file'}' must be a mapping of keys to values")
    base = cls() if base is None else base
    hints = typing.get_type_hints(cls)
    changes = {}
    for key, value in data.items():
        if key not in hints:
            near = difflib.get_close_matches(str(key), hints, n=1, cutoff=0.5)
            hint = f"did you mean '{where}{near[0]}'?" if near else f"known here: {', '.join(hints)}"
            raise UsageError(f"{source}: unknown key '{where}{key}'; {hint}")
        if dataclasses.is_dataclass(hints[key]):
            changes[key] = _build(hints[key], value, source, f"{where}{key}.", getattr(base, key))
        else:
            try:
                changes[key] = _convert(value, hints[key])
            except (TypeError, ValueError):
                raise UsageError(f"{source}: '{where}{key}' must be {_describe(hints[key])}, not {value!r}") from None
    try:
        return dataclasses.replace(base, **changes)
    except ValueError as error:
        raise UsageError(f"{source}: {where}{error}") from error


def _convert(value: Any, hint: Any) -> Any:
    """``value`` as the type ``hint``; ints pass as floats and lists as tuples, nothing else is bent."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        if value is None:
            if type(None) in arguments:
                return None
            raise TypeError
        return _convert(value, next(a for a in arguments if a is not type(None)))
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise TypeError
        if arguments[-1] is not Ellipsis and len(value) != len(arguments):
            raise ValueError
        return tuple(_convert(v, arguments[0]) for v in value)
    if isinstance(value, str) and hint is float:
        return float(value)  # YAML 1.1 reads 1e-3 as a string
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not hint:
        raise TypeError
    return value


def _describe(hint: Any) -> str:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return " or ".join("null" if a is type(None) else _describe(a) for a in arguments)
    if origin is tuple:
        count = "" if arguments[-1] is Ellipsis else f"{len(arguments)} "
        return f"a list of {count}values, each {_describe(arguments[0])}"
    return {int: "an integer", float: "a number", str: "a string", bool: "true or false"}[hint]


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return value
