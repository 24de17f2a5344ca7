import keras
import numpy as np
import pytest

from ehrnet_tf.errors import EhrnetError, UsageError
from ehrnet_tf.quantization.clone import check_clone, clone, copy_weights_back, foldings
from ehrnet_tf.runtime.runners import KerasRunner


@pytest.mark.parametrize(
    ("variant", "options"),
    [
        ("H-10", {}),
        ("E-10", {}),
        ("H-10", {"activation": "relu", "squeeze_excite": False, "tags_on_both_stages": True}),
        ("E-10", {"keypoints": "corners", "size": 96}),
    ],
)
def test_clone_gives_the_models_maps(build_small, pictures, variant, options):
    model = build_small(variant, **options)
    images = np.stack(pictures[:2])
    if options.get("size"):
        images = np.pad(images, ((0, 0), (0, 32), (0, 32), (0, 0)))
    cloned = clone(model)
    assert set(cloned.output) == set(model.output)
    assert not any(type(layer).__name__ in ("BatchNormalization", "Dropout", "Rescaling") for layer in cloned.layers)
    assert check_clone(model, cloned, images) <= 1e-5
    changed = cloned.get_layer("stage2_module0_branch0_block0_conv1")
    changed.set_weights([1.01 * changed.get_weights()[0], changed.get_weights()[1]])
    with pytest.raises(EhrnetError, match="gives other maps"):
        check_clone(model, cloned, images)


@pytest.mark.parametrize("variant", ["H0", "E-1"])
def test_large_variants(build_small, pictures, variant):
    model = build_small(variant)
    assert check_clone(model, clone(model), np.stack(pictures[:1])) <= 1e-5


def test_weights_go_back(build_mini, pictures):
    """Other weights in the clone make a model that computes what the clone does, scales of zero included."""
    model = build_mini()
    norm = model.get_layer("module_branch0_block0_bn1")
    gamma, *rest = norm.get_weights()
    gamma[0] = 0
    norm.set_weights([gamma, *rest])
    cloned = clone(model)
    random = np.random.default_rng(1)
    for layer in cloned.layers:
        if layer.name != "normalization":
            layer.set_weights([w + 0.02 * random.normal(size=w.shape) for w in layer.get_weights()])
    before = KerasRunner(model)(np.stack(pictures[:2]))
    copy_weights_back(cloned, model)
    assert check_clone(model, cloned, np.stack(pictures[:2])) <= 1e-5
    after = KerasRunner(model)(np.stack(pictures[:2]))
    assert np.abs(after["tags"] - before["tags"]).max() > 1e-2, "they were other weights"
    _, _, mean, variance = norm.get_weights()
    np.testing.assert_array_equal((mean, variance), rest[1:], "statistics stay")


def test_what_is_folded(build_small):
    model = build_small()
    norms = {layer.name for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)}
    assert set(foldings(model).values()) == norms
    assert foldings(model)["head_deconv"] == "head_deconv_bn"


def network(layer, before=None):
    image = keras.Input((32, 32, 3), name="image")
    x = before(image) if before else image
    maps = {name: keras.layers.Conv2D(2, 1, name=name)(layer(x)) for name in ("heatmaps_4", "tags", "heatmaps_2")}
    return keras.Model(image, maps)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (keras.layers.LeakyReLU(name="leak"), r"layer 'leak' \(LeakyReLU\): quantisation does not know"),
        (keras.layers.BatchNormalization(name="alone"), r"layer 'alone' \(BatchNormalization\)"),
        (keras.layers.Activation("tanh", name="odd"), "layer 'odd': .* the activation 'tanh'"),
        (keras.layers.Conv2D(3, 1, activation="relu", name="both"), "layer 'both': give its activation a layer"),
    ],
)
def test_layers_without_counterpart_are_named(layer, message):
    with pytest.raises(EhrnetError, match=message):
        clone(network(layer))


def test_free_size():
    image = keras.Input((None, None, 3))
    with pytest.raises(UsageError, match="fixed input size"):
        clone(keras.Model(image, {"tags": keras.layers.Conv2D(1, 1)(image)}))
