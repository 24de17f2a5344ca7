import keras
import numpy as np
import pytest

from ehrnet_tf import EfficientHRNet
from ehrnet_tf.errors import ModelFileError, UsageError
from ehrnet_tf.keypoints import KeypointSet
from ehrnet_tf.models.scaling import scale
from ehrnet_tf.models.statistics import count_macs

# Recomputed from the layer shapes of the reference; the published counts are inflated.
TRUE_PARAMETERS = {"H0": 19_725_359, "H-1": 13_004_446, "H-2": 8_263_495, "H-3": 5_360_390, "H-4": 2_764_706}
EDGE_PARAMETERS = {"E0": 19_066_419, "E-1": 12_709_435, "E-2": 7_870_403, "E-3": 5_045_099, "E-4": 2_655_915}
TRUE_GMACS = {"H0": 23.958, "H-1": 13.130, "H-2": 7.030, "H-3": 3.759, "H-4": 1.807}


@pytest.fixture(scope="module")
def small():
    keras.utils.set_random_seed(1)
    return EfficientHRNet("H-4", input_size=64, drop_connect=0)


@pytest.mark.parametrize("variant", TRUE_PARAMETERS)
def test_published_counts_and_shapes(variant):
    model = EfficientHRNet(variant)
    assert sum(int(np.prod(w.shape)) for w in model.trainable_weights) == TRUE_PARAMETERS[variant]
    assert sum(count_macs(model).values()) / 1e9 == pytest.approx(TRUE_GMACS[variant], abs=5e-4)
    side = model.input_shape[1]
    assert {name: out.shape for name, out in model.output.items()} == {
        "heatmaps_4": (None, side // 4, side // 4, 17),
        "tags": (None, side // 4, side // 4, 17),
        "heatmaps_2": (None, side // 2, side // 2, 17),
    }


@pytest.mark.parametrize(("variant", "millions"), [("H1", 30.93), ("H2", 45.57), ("H3", 69.16), ("H4", 108.38)])
def test_parameters_above_the_published_sizes(variant, millions):
    model = EfficientHRNet(variant, input_size=64)
    assert sum(int(np.prod(w.shape)) for w in model.trainable_weights) / 1e6 == pytest.approx(millions, abs=5e-3)


@pytest.mark.parametrize(
    ("variant", "options", "parameters"),
    [
        *((variant, {}, count) for variant, count in TRUE_PARAMETERS.items()),
        *((variant, {}, count) for variant, count in EDGE_PARAMETERS.items()),
        ("H-2.5", {}, 6_636_009),
        ("H-4", {"activation": "relu6"}, 2_764_706),
        ("H-4", {"squeeze_excite": False}, None),
        ("H-4", {"width_divisor": 8}, None),
        ("H-4", {"upsampling": "resize"}, None),
        ("H-4", {"tags_on_both_stages": True}, 2_764_706 + 17 * (14 + 1)),
    ],
)
def test_every_variant(variant, options, parameters, tmp_path):
    """Shapes at every level, counts, a gradient for every weight, and the same maps from a saved file."""
    import tensorflow as tf

    keras.utils.set_random_seed(0)
    model = EfficientHRNet(variant, input_size=64, **options)
    count = sum(int(np.prod(w.shape)) for w in model.trainable_weights)
    assert count == parameters or (parameters is None and count != TRUE_PARAMETERS[variant])
    dimensions = scale(variant, options.get("width_divisor"))
    assert model.get_layer("backbone_stem_activation").output.shape == (None, 32, 32, dimensions.stem_width)
    block, sizes = 0, []
    for stage in dimensions.stages:
        block += stage.repeats
        sizes.append((model.get_layer(f"backbone_block{block}_project_bn").output.shape[1:], stage.width))
    assert [shape for shape, _ in sizes] == [
        (side, side, width) for side, (_, width) in zip((32, 16, 8, 4, 4, 2, 2), sizes, strict=True)
    ]
    for branch, width in enumerate(dimensions.branch_widths):
        side = 16 // 2**branch
        for stage in range(2, 5):
            if branch < stage:
                fused = model.get_layer(f"stage{stage}_module0_branch{branch}_block1_relu2").output
                assert fused.shape == (None, side, side, width)
    assert (
        max(int(n.split("_")[1].removeprefix("module")) for n in layer_names(model, "stage3_")) + 1
        == (dimensions.modules[1])
    )
    assert all(w % dimensions.family.width_divisor == 0 for w in dimensions.branch_widths)

    # Statistics stand still here: a bias before a batch norm has no gradient otherwise.
    pixels = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3)).astype(np.float32)
    with tf.GradientTape() as tape:
        out = model(pixels, training=False)
        total = sum(tf.reduce_sum(v * tf.random.stateless_normal(tf.shape(v), (1, 2))) for v in out.values())
    gradients = tape.gradient(total, [w.value for w in model.trainable_weights])
    dead = [w.path for w, g in zip(model.trainable_weights, gradients, strict=True) if g is None or not np.any(g)]
    assert not dead

    model.save(tmp_path / "m.keras")
    again = keras.saving.load_model(tmp_path / "m.keras")(pixels, training=False)
    for name, values in out.items():
        np.testing.assert_array_equal(values, again[name])


def layer_names(model, prefix):
    return [layer.name for layer in model.layers if layer.name.startswith(prefix)]


def test_edge_family_has_parts_for_integer_hardware():
    names = layer_names(EfficientHRNet("E-4", 64), "")
    assert not any("_se_" in name or "deconv" in name for name in names)
    model = EfficientHRNet("E-4", 64, activation="swish", squeeze_excite=True, width_divisor=1, upsampling="transposed")
    assert [(w.path, w.shape) for w in model.weights] == [(w.path, w.shape) for w in EfficientHRNet("H-4", 64).weights]


def test_macs_are_counted_by_hand_for_one_layer_of_each_kind(small):
    macs = count_macs(small)
    assert macs["backbone_stem_conv"] == 32 * 32 * 3 * 3 * 3 * 24
    assert macs["backbone_block1_depthwise_conv"] == 32 * 32 * 3 * 3 * 24
    assert macs["head_deconv"] == 16 * 16 * 4 * 4 * (14 + 17 + 17) * 14
    assert "head_deconv_bn" not in macs


def test_graph_is_flat_and_stock(small):
    assert all(type(layer).__module__.startswith("keras.") for layer in small.layers)
    assert not any(isinstance(layer, keras.Model) for layer in small.layers)
    names = [layer.name for layer in small.layers]
    assert len(set(names)) == len(names)
    assert {"backbone_block1_depthwise_conv", "stage4_module1_fuse0_from3_conv", "head_tags"} <= set(names)


def test_names_do_not_depend_on_what_was_built_before(small):
    again = EfficientHRNet("H-4", input_size=64, drop_connect=0)
    assert [layer.name for layer in again.layers] == [layer.name for layer in small.layers]


def test_uint8_and_float_pixels_are_the_same(small):
    pixels = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3))
    a = small(pixels.astype(np.uint8), training=False)
    b = small(pixels.astype(np.float32), training=False)
    for name in a:
        np.testing.assert_array_equal(a[name], b[name])


def test_free_and_oblong_sizes():
    model = EfficientHRNet("H-4", input_size=(None, None), drop_connect=0)
    out = model(np.zeros((1, 64, 160, 3), np.float32), training=False)
    assert out["heatmaps_2"].shape == (1, 32, 80, 17)
    assert EfficientHRNet("H-4", input_size=(96, 160)).output["tags"].shape == (None, 24, 40, 17)


@pytest.mark.parametrize("size", [100, (64, 100), 16, 0, -32])
def test_size_must_be_a_multiple_of_32(size):
    with pytest.raises(UsageError, match="multiples of 32"):
        EfficientHRNet("H-4", input_size=size)


def test_options():
    corners = KeypointSet.from_dict({"name": "box", "keypoints": ["a", "b", "c", "d"]})
    model = EfficientHRNet(
        "H-4", 64, corners, activation="relu6", squeeze_excite=False, width_divisor=8, tags_on_both_stages=True
    )
    assert model.output["tags_2"].shape == (None, 32, 32, 4)
    names = [layer.name for layer in model.layers]
    assert not any("_se_" in name for name in names)
    assert model.get_layer("backbone_stem_activation").max_value == 6
    assert model.get_layer("stage2_module0_branch0_block0_conv1").filters == 16


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"activation": "gelu"}, "activation 'gelu'"),
        ({"upsampling": "cubic"}, "upsampling 'cubic'"),
        ({"drop_connect": 1.0}, "drop_connect"),
        ({"keypoints": "octopus"}, "octopus"),
        ({"variant": "B7"}, "B7"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(UsageError, match=message):
        EfficientHRNet(**{"variant": "H-4", "input_size": 64, **arguments})


def test_weights(small, tmp_path):
    path = tmp_path / "w.weights.h5"
    small.save_weights(path)
    again = EfficientHRNet("H-4", input_size=64, drop_connect=0, weights=path)
    for a, b in zip(small.weights, again.weights, strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(ModelFileError, match="no such weights file"):
        EfficientHRNet("H-4", input_size=64, weights=tmp_path / "none.weights.h5")
    with pytest.raises(ModelFileError, match=r"w\.weights\.h5: does not fit H-3"):
        EfficientHRNet("H-3", input_size=64, weights=path)
