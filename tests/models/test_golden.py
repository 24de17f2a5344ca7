"""The network against one forward pass of the reference network in float64."""

import ast
import zlib
from pathlib import Path

import numpy as np
import pytest

from ehrnet_tf import EfficientHRNet
from ehrnet_tf.converters.from_pytorch import load_state_dict
from ehrnet_tf.errors import ModelFileError

GOLDEN = Path(__file__).parents[1] / "golden" / "model_H-4.npz"


def draw(key, shape, salt=0):
    rng = np.random.default_rng([zlib.crc32(key.encode()), salt])
    z = rng.standard_normal(shape)
    leaf = key.rsplit(".", 1)[-1]
    if leaf == "running_mean":
        v = 0.1 * z
    elif leaf == "running_var":
        v = 1.0 + 0.3 * np.tanh(z)
    elif leaf == "num_batches_tracked":
        return np.asarray(1, np.int64)
    elif len(shape) == 1 and leaf == "weight":
        v = 1.0 + 0.2 * np.tanh(z)
    elif len(shape) == 1:
        v = 0.1 * z
    else:
        v = z / np.sqrt(np.prod(shape[1:]))
    return v.astype(np.float32)


def picture(size, salt=0):
    rng = np.random.default_rng([size, salt, 7])
    low = rng.integers(0, 256, (size // 32, size // 32, 3))
    up = np.kron(low, np.ones((32, 32, 1)))
    return np.clip(up + rng.integers(-20, 21, (size, size, 3)), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN) as file:
        return dict(file)


@pytest.fixture(scope="module")
def state_dict(golden):
    return {k: draw(k, ast.literal_eval(s)) for k, s in zip(golden["keys"], golden["shapes"], strict=True)}


@pytest.fixture(scope="module")
def model():
    return EfficientHRNet("H-4")


def test_forward_pass(golden, state_dict, model):
    load_state_dict(model, state_dict)
    out = {k: np.asarray(v)[0] for k, v in model(picture(384)[None], training=False).items()}
    stage_1 = np.concatenate([out["heatmaps_4"], out["tags"]], -1).transpose(2, 0, 1)
    stage_2 = out["heatmaps_2"].transpose(2, 0, 1)
    for found, wanted in [
        (stage_1[:, ::4, ::4], golden["out1"]),
        (stage_2[:, ::8, ::8], golden["out2"]),
        (stage_1.mean((1, 2)), golden["mean1"]),
        (stage_2.mean((1, 2)), golden["mean2"]),
    ]:
        np.testing.assert_allclose(found, wanted, atol=1e-5 * np.abs(wanted).max())


def test_module_prefix_and_wide_second_head(state_dict, model):
    wide = {f"module.{k}": v for k, v in state_dict.items()}
    for leaf, shape in (("weight", (34, 14, 1, 1)), ("bias", (34,))):
        wide[f"module.final_layers.1.{leaf}"] = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    load_state_dict(model, wide)
    np.testing.assert_array_equal(model.get_layer("head_heatmaps_2").bias, np.arange(17))


def test_every_fault_is_listed(state_dict, model):
    before = [np.asarray(w) for w in model.weights]
    broken = dict(state_dict)
    del broken["features.0.1.weight"]
    broken["extra.weight"] = np.zeros(3)
    broken["features.0.2.bias"] = np.zeros(7)
    with pytest.raises(ModelFileError) as error:
        load_state_dict(model, broken)
    for part in ("missing features.0.1.weight", "surplus extra.weight", "features.0.2.bias has shape (7,)"):
        assert part in str(error.value)
    for a, b in zip(before, model.weights, strict=True):
        np.testing.assert_array_equal(a, b)
