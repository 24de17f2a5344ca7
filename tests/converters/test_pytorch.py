"""Checkpoints of the original network: in, out, and what is wrong with those that do not fit."""

import ast
import sys
import types
from pathlib import Path

import keras
import numpy as np
import pytest

from ehrnet_tf import CompactEfficientNet, EfficientHRNet
from ehrnet_tf.converters.checkpoints import read_checkpoint, write_checkpoint
from ehrnet_tf.converters.from_pytorch import import_checkpoint, load_state_dict
from ehrnet_tf.converters.pytorch_names import fitting_variant
from ehrnet_tf.converters.to_pytorch import export_pytorch, to_state_dict
from ehrnet_tf.errors import MissingExtraError, ModelFileError, UsageError
from ehrnet_tf.runtime.metadata import read_metadata

STATE_DICTS = Path(__file__).parents[1] / "golden" / "state_dicts.npz"
PUBLISHED = ("H0", "H-1", "H-2", "H-3", "H-4")


def shapes_of(variant):
    with np.load(STATE_DICTS) as file:
        shapes = (tuple(ast.literal_eval(shape)) for shape in file[f"{variant}_shapes"])
        return dict(zip(file[f"{variant}_keys"], shapes, strict=True))


def build(seed, **arguments):
    keras.utils.set_random_seed(seed)
    return EfficientHRNet("H-4", input_size=64, **arguments)


@pytest.fixture(scope="module")
def state_dict():
    return to_state_dict(build(1))


@pytest.fixture(scope="module")
def other_weights():
    model = build(2)
    return model, model.get_weights()


@pytest.fixture
def model(other_weights):
    """With weights that no checkpoint here has."""
    model, weights = other_weights
    model.set_weights(weights)
    return model


def assert_loaded(model, state_dict, *but):
    found = to_state_dict(model)
    for key, value in state_dict.items():
        if not key.startswith(but):
            np.testing.assert_array_equal(found[key], value, err_msg=key)


@pytest.mark.parametrize("variant", PUBLISHED)
def test_entries_are_those_of_the_original(variant):
    state = to_state_dict(EfficientHRNet(variant, input_size=64))
    assert {key: value.shape for key, value in state.items()} == shapes_of(variant)
    assert fitting_variant(shapes_of(variant)) == variant
    backbone = {key: shape for key, shape in shapes_of(variant).items() if key.startswith("features.")}
    assert fitting_variant(backbone) == variant.replace("H", "B")


@pytest.mark.parametrize(
    "wrap",
    [
        lambda s: s,
        lambda s: {"state_dict": s, "epoch": 3, "optimizer": {"lr": 0.1}},
        lambda s: {"model": "pose_higher_hrnet", "state_dict": {f"module.{k}": v for k, v in s.items()}},
        lambda s: {"model": {f"module.{k}": v for k, v in s.items()}},
        lambda s: {k: v for k, v in s.items() if not k.endswith("num_batches_tracked")},
        lambda s: {k: v.astype(np.float64) for k, v in s.items()},
    ],
)
def test_wrappings_and_prefixes(wrap, state_dict, model):
    assert "whole network" in load_state_dict(model, wrap(state_dict))
    assert_loaded(model, state_dict)


def test_half_precision_tensors(state_dict, model):
    """Anything with PyTorch's detach, cpu, float and numpy counts as a tensor."""

    class Tensor:
        def __init__(self, value):
            self.value = value

        detach = cpu = float = lambda self: self

        def is_floating_point(self):
            return True

        def numpy(self):
            return self.value

    load_state_dict(model, {key: Tensor(value) for key, value in state_dict.items()})
    assert_loaded(model, state_dict)


def wide(state_dict):
    """With tag channels in the second head, as the released checkpoints have."""
    rng = np.random.default_rng(0)
    shapes = {"final_layers.1.weight": (34, 14, 1, 1), "final_layers.1.bias": (34,)}
    return {**state_dict, **{key: rng.normal(size=shape).astype(np.float32) for key, shape in shapes.items()}}


def test_second_head_with_tags(state_dict, model):
    checkpoint = wide(state_dict)
    assert "without the tags of its second head" in load_state_dict(model, checkpoint)
    assert_loaded(model, state_dict, "final_layers.1")
    np.testing.assert_array_equal(model.get_layer("head_heatmaps_2").bias, checkpoint["final_layers.1.bias"][:17])

    both = build(3, tags_on_both_stages=True)
    load_state_dict(both, checkpoint)
    assert_loaded(both, checkpoint)
    np.testing.assert_array_equal(both.get_layer("head_tags_2").bias, checkpoint["final_layers.1.bias"][17:])
    with pytest.raises(ModelFileError, match=r"final_layers\.1\.bias has shape \(17,\) instead of \(34,\)"):
        load_state_dict(both, state_dict)


def test_backbone_alone(state_dict, model):
    head = np.array(model.get_layer("head_deconv").kernel)
    backbone = {key: value for key, value in state_dict.items() if key.startswith("features.")}
    assert load_state_dict(model, backbone) == f"{len(backbone)} entries: the backbone alone"
    np.testing.assert_array_equal(model.get_layer("head_deconv").kernel, head)
    assert_loaded(model, backbone)
    with pytest.raises(ModelFileError, match=r"does not fit H-2: it holds B-4 .* choose H-4, or import it as B-4"):
        load_state_dict(EfficientHRNet("H-2", 64), backbone)
    del backbone["features.3.conv.0.1.weight"]
    with pytest.raises(ModelFileError, match=r"does not fit H-4: missing features\.3\.conv\.0\.1\.weight$"):
        load_state_dict(model, backbone)


def test_every_fault_is_listed_and_nothing_is_changed(state_dict, model):
    before = model.get_weights()
    broken = dict(state_dict)
    del broken["features.0.1.weight"], broken["stage2.0.branches.0.0.bn1.num_batches_tracked"]
    broken["extra.weight"] = np.zeros(3)
    broken["extra.num_batches_tracked"] = np.zeros(())
    broken["features.0.2.bias"] = np.zeros(7)
    broken["final_layers.0.bias"] = np.zeros(17)
    broken["features.0.2.weight"] = np.full(24, np.nan)
    broken["deconv_layers.0.0.1.bias"] = np.array(["text"])
    broken["features.0.2.num_batches_tracked"] = np.zeros((3, 5))
    broken["deconv_layers.0.0.0.weight"] = np.float32(1)
    broken["final_layers.1.bias"] = np.zeros(34)
    broken[7] = [[1, 2], [3]]
    with pytest.raises(ModelFileError) as error:
        load_state_dict(model, broken)
    faults = str(error.value).split(": ", 2)[2].split("; ")
    assert sorted(faults) == sorted(
        [
            "missing features.0.1.weight",
            "missing stage2.0.branches.0.0.bn1.num_batches_tracked",
            "surplus extra.weight",
            "surplus extra.num_batches_tracked",
            "features.0.2.bias has shape (7,) instead of (24,)",
            "final_layers.0.bias has shape (17,) instead of (34,)",
            "features.0.2.weight holds NaN or infinity",
            "deconv_layers.0.0.1.bias is no array of numbers",
            "missing deconv_layers.0.0.1.bias",
            "features.0.2.num_batches_tracked is no single number",
            "deconv_layers.0.0.0.weight has shape () instead of (48, 14, 4, 4)",
            "final_layers.1.weight has shape (17, 14, 1, 1) instead of (34, 14, 1, 1)",
            "7 is no array of numbers",
        ]
    )
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_wrong_variant_names_the_one_that_fits(state_dict):
    with pytest.raises(ModelFileError, match=r"does not fit H-3: it holds H-4 \(\d+ entries differ\)") as error:
        load_state_dict(EfficientHRNet("H-3", 64), state_dict)
    assert len(str(error.value)) < 120


def test_faults_of_a_renamed_model_and_of_misshapen_sizes(state_dict):
    source = build(1)
    renamed = keras.Model(source.input, source.output, name="mine")
    with pytest.raises(ModelFileError, match=r"does not fit mine: surplus extra$"):
        load_state_dict(renamed, {**state_dict, "extra": np.zeros(1)})
    with pytest.raises(ModelFileError, match=r"features\.0\.1\.weight has shape \(\) instead of \(24, 3, 3, 3\)$"):
        load_state_dict(renamed, {**state_dict, "features.0.1.weight": np.float32(0)})


def test_bfloat16_safetensors(state_dict, model, tmp_path):
    import ml_dtypes
    from safetensors.numpy import save_file

    short = {key: value.astype(ml_dtypes.bfloat16) if value.ndim else value for key, value in state_dict.items()}
    save_file(short, tmp_path / "w.safetensors")
    load_state_dict(model, tmp_path / "w.safetensors")
    assert_loaded(model, {key: value.astype(np.float32) for key, value in short.items() if value.ndim})


def test_other_keypoints_are_listed(model):
    from ehrnet_tf.keypoints import KeypointSet

    corners = KeypointSet.from_dict({"name": "box", "keypoints": ["a", "b", "c"]})
    state_dict = to_state_dict(build(1, keypoints=corners))
    with pytest.raises(ModelFileError, match=r"final_layers\.0\.weight has shape \(6, 14, 1, 1\) instead of \(34, 14"):
        load_state_dict(model, state_dict)


def test_options_that_the_original_has_not(state_dict):
    relu6 = build(0, activation="relu6")
    load_state_dict(relu6, state_dict)  # to start from
    with pytest.raises(ModelFileError, match="no activation but swish"):
        to_state_dict(relu6)
    with pytest.raises(ModelFileError, match="without squeeze_excite"):
        to_state_dict(build(0, squeeze_excite=False))
    with pytest.raises(ModelFileError, match="no width_divisor"):
        to_state_dict(build(0, width_divisor=8))
    with pytest.raises(ModelFileError, match="no counterpart of layer 'head_reduce_conv'"):
        to_state_dict(build(0, upsampling="resize"))


def test_classifier():
    keras.utils.set_random_seed(0)
    model = CompactEfficientNet("B-4", classes=5, input_size=64)
    state_dict = to_state_dict(model)
    assert state_dict["features.11.1.weight"].shape == (872, 216, 1, 1)
    assert state_dict["classifier.1.weight"].shape == (5, 872)
    again = CompactEfficientNet("B-4", classes=5, input_size=64)
    assert "whole network" in load_state_dict(again, state_dict)
    pixels = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), np.uint8)
    np.testing.assert_array_equal(model(pixels, training=False), again(pixels, training=False))
    with pytest.raises(ModelFileError, match=r"it holds B-4 .* import it as B-4 and give that file as b"):
        load_state_dict(EfficientHRNet("H-4", 64), state_dict)


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_files_without_pytorch(suffix, state_dict, model, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    source = build(1)
    assert export_pytorch(source, tmp_path / f"w{suffix}") == len(state_dict)
    load_state_dict(model, tmp_path / f"w{suffix}")
    assert_loaded(model, state_dict)
    with pytest.raises(MissingExtraError, match=r"torch is not installed: pip install 'ehrnet-tf\[pytorch\]'"):
        export_pytorch(source, tmp_path / "w.pth")
    assert [p.name for p in tmp_path.iterdir()] == [f"w{suffix}"]


def test_pth_files_with_pytorch(state_dict, model, tmp_path):
    torch = pytest.importorskip("torch")
    write_checkpoint(tmp_path / "w.pth", state_dict)
    load_state_dict(model, tmp_path / "w.pth")
    assert_loaded(model, state_dict)
    torch.save({"state_dict": {}, "args": types.SimpleNamespace()}, tmp_path / "foreign.pth")
    with pytest.raises(ModelFileError, match=r"foreign\.pth: holds Python objects .*SimpleNamespace"):
        read_checkpoint(tmp_path / "foreign.pth")
    wrapped = {"module.a": torch.ones(2, dtype=torch.bfloat16), "best": np.float64(0.5)}
    torch.save({np.str_(key): value for key, value in wrapped.items()}, tmp_path / "numpy.pth")
    assert set(read_checkpoint(tmp_path / "numpy.pth")) == set(wrapped)


def test_pth_files_are_never_unpickled_unrestricted(tmp_path, monkeypatch):
    """Checked on a stand-in for PyTorch, which is no part of the everyday environment."""
    import contextlib

    seen = {}

    def load(path, **options):
        seen.update(options)
        raise RuntimeError("Unsupported global: GLOBAL os.system was not an allowed global by default")

    allowed = []
    serialization = types.SimpleNamespace(safe_globals=lambda names: contextlib.nullcontext(allowed.extend(names)))
    monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(load=load, serialization=serialization))
    (tmp_path / "evil.pth").write_bytes(b"x")
    with pytest.raises(ModelFileError, match=r"evil\.pth: holds Python objects beside tensors \(os\.system\)"):
        read_checkpoint(tmp_path / "evil.pth")
    assert seen == {"map_location": "cpu", "weights_only": True}
    assert all(name.__module__.startswith("numpy") for name in allowed)


@pytest.mark.parametrize("name", ["junk.npz", "junk.safetensors", "none.npz", "objects.npz", "h.keras"])
def test_unreadable_files(name, tmp_path):
    (tmp_path / "junk.npz").write_bytes(b"hello")
    (tmp_path / "junk.safetensors").write_bytes(b"hello")
    (tmp_path / "h.keras").write_bytes(b"hello")
    np.savez(tmp_path / "objects.npz", a=np.array([object()]))
    with pytest.raises(ModelFileError, match=name):
        read_checkpoint(tmp_path / name)


def test_import_checkpoint(state_dict, tmp_path):
    np.savez(tmp_path / "w.npz", **wide(state_dict))
    out = tmp_path / "h.keras"
    assert import_checkpoint(tmp_path / "w.npz", out, input_size=64, tags_on_both_stages=True)[0] == "H-4"
    loaded = keras.saving.load_model(out)
    assert loaded.output["tags_2"].shape == (None, 32, 32, 17)
    assert_loaded(loaded, wide(state_dict))
    metadata = read_metadata(out)
    assert metadata["variant"] == "H-4" and metadata["source"] == str(tmp_path / "w.npz")

    backbone = {key: value for key, value in state_dict.items() if key.startswith("features.")}
    np.savez(tmp_path / "b.npz", **backbone)
    assert import_checkpoint(tmp_path / "b.npz", tmp_path / "b.keras")[0] == "B-4"
    assert read_metadata(tmp_path / "b.keras")["task"] == "classification"
    assert_loaded(EfficientHRNet("H-4", 64, backbone_weights=tmp_path / "b.keras"), backbone)

    with pytest.raises(ModelFileError, match=r"w\.npz: does not fit H0: it holds H-4"):
        import_checkpoint(tmp_path / "w.npz", tmp_path / "x.keras", "H0")
    np.savez(tmp_path / "odd.npz", a=np.zeros(3))
    with pytest.raises(ModelFileError, match=r"odd\.npz: is of no variant known here"):
        import_checkpoint(tmp_path / "odd.npz", tmp_path / "x.keras")
    with pytest.raises(UsageError, match="no family E; choose H-4"):
        import_checkpoint(tmp_path / "w.npz", tmp_path / "x.keras", "E-4")
    with pytest.raises(UsageError, match=r"must end in \.keras"):
        import_checkpoint(tmp_path / "w.npz", tmp_path / "x.h5")
    assert not (tmp_path / "x.keras").exists()
