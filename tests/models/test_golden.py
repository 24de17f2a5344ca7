"""The network against one forward pass of the reference network in float64."""

import ast
import zlib
from pathlib import Path

import numpy as np
import pytest

from ehrnet_tf import EfficientHRNet
from ehrnet_tf.converters.from_pytorch import load_state_dict

FOLDER = Path(__file__).parents[1] / "golden"
GOLDEN = FOLDER / "model_H-4.npz"


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


@pytest.mark.parametrize(("variant", "size"), [("H-1", 480), ("H-3", 416)])
def test_forward_pass_where_branches_have_odd_sizes(variant, size):
    with np.load(FOLDER / "state_dicts.npz") as file:
        entries = dict(zip(file[f"{variant}_keys"], file[f"{variant}_shapes"], strict=True))
    state_dict = {key: draw(key, ast.literal_eval(shape)) for key, shape in entries.items()}
    width = state_dict["final_layers.1.weight"].shape[1]
    for key, shape in (("final_layers.1.weight", (34, width, 1, 1)), ("final_layers.1.bias", (34,))):
        state_dict[key] = draw(key, shape)
    model = EfficientHRNet(variant, tags_on_both_stages=True)
    load_state_dict(model, state_dict)
    out = {k: np.asarray(v)[0] for k, v in model(picture(size)[None], training=False).items()}
    stages = [np.concatenate([out[f"heatmaps_{s}"], out[t]], -1) for s, t in ((4, "tags"), (2, "tags_2"))]
    with np.load(FOLDER / "model_odd_branches.npz") as file:
        for number, (maps, step) in enumerate(zip(stages, (8, 16), strict=True), start=1):
            maps = maps.transpose(2, 0, 1)
            wanted, means = file[f"{variant}_out{number}"], file[f"{variant}_mean{number}"]
            np.testing.assert_allclose(maps[:, ::step, ::step], wanted, atol=1e-5 * np.abs(wanted).max())
            np.testing.assert_allclose(maps.mean((1, 2)), means, atol=1e-5 * np.abs(wanted).max())
