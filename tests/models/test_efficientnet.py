"""The classifier, and its backbone's way into the pose model."""

import keras
import numpy as np
import pytest

from ehrnet_tf import CompactEfficientNet, EfficientHRNet
from ehrnet_tf.errors import ModelFileError, UsageError
from ehrnet_tf.models.weights import backbone_layers, load_backbone

# With 1000 classes (ImageNet) and with 100 (CIFAR-100).
MILLIONS = {
    "B0": (5.289, 4.136),
    "B-1": (4.548, 3.503),
    "B-2": (3.464, 2.512),
    "B-3": (2.796, 1.931),
    "B-4": (2.056, 1.271),
}


def small(seed=0, variant="B-8", **options):
    keras.utils.set_random_seed(seed)
    return CompactEfficientNet(variant, classes=3, input_size=32, **options)


def pose(**options):
    return EfficientHRNet("H-8", input_size=32, **options)


@pytest.mark.parametrize("variant", MILLIONS)
def test_counts(variant):
    for classes, millions in zip((1000, 100), MILLIONS[variant], strict=True):
        model = CompactEfficientNet(variant, classes)
        count = sum(int(np.prod(w.shape)) for w in model.trainable_weights)
        assert count / 1e6 == pytest.approx(millions, abs=5.1e-4)
        assert model.output_shape == (None, classes)


def test_trains_by_fit_and_takes_any_size():
    model = CompactEfficientNet("B-8", 3, input_size=(None, None))
    assert model(np.zeros((2, 40, 64, 3), np.uint8)).shape == (2, 3)
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=False)
    images = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3)).astype(np.uint8)
    history = model.fit(images, np.arange(6) % 3, epochs=5, verbose=0).history["loss"]
    assert history[-1] < history[0]


def test_backbone_goes_into_the_pose_model(tmp_path, caplog):
    classifier = small()
    classifier.save(tmp_path / "b.keras")
    model = pose(backbone_weights=tmp_path / "b.keras")
    assert not caplog.text
    classifier.save_weights(tmp_path / "b.weights.h5")
    for source in (classifier, tmp_path / "b.weights.h5"):
        for mine, its in zip(pose(backbone_weights=source).weights, model.weights, strict=True):
            if mine.path.startswith("backbone_") and "seed" not in mine.path:
                np.testing.assert_array_equal(mine, its)
    moved = 0
    for layer in backbone_layers(model):
        for mine, its in zip(layer.weights, classifier.get_layer(layer.name).weights, strict=True):
            if "seed" not in mine.name:
                np.testing.assert_array_equal(mine, its)
                moved += 1
    assert moved > 100

    # Both compute the same features from it.
    pixels = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3)).astype(np.float32)
    last = max(
        int(layer.name.split("_")[1].removeprefix("block")) for layer in backbone_layers(model) if "block" in layer.name
    )
    features = [
        keras.Model(m.input, m.get_layer(f"backbone_block{last}_project_bn").output)(pixels)
        for m in (model, classifier)
    ]
    np.testing.assert_array_equal(*features)

    model.save(tmp_path / "h.keras")
    load_backbone(small(seed=1), tmp_path / "h.keras")  # and back


def test_backbones_that_do_not_fit(tmp_path, caplog):
    small(variant="B-7").save(tmp_path / "b-7.keras")
    with pytest.raises(ModelFileError, match=r"its backbone, of B-7, does not fit H-8 .*(missing|has shape)"):
        pose(backbone_weights=tmp_path / "b-7.keras")
    small(squeeze_excite=False).save(tmp_path / "plain.keras")
    with pytest.raises(ModelFileError, match=r"same squeeze_excite.*missing backbone_block1_se_reduce/kernel"):
        pose(backbone_weights=tmp_path / "plain.keras")
    small(activation="relu").save(tmp_path / "relu.keras")
    pose(backbone_weights=tmp_path / "relu.keras")
    assert "was trained with relu, H-8 has swish" in caplog.text
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)]).save(tmp_path / "dense.keras")
    with pytest.raises(ModelFileError, match="holds no backbone"):
        pose(backbone_weights=tmp_path / "dense.keras")
    small(variant="B-7").save_weights(tmp_path / "b-7.weights.h5")
    with pytest.raises(ModelFileError, match=r"b-7\.weights\.h5: does not fit B-8"):
        pose(backbone_weights=tmp_path / "b-7.weights.h5")
    (tmp_path / "text.keras").write_text("no model")
    (tmp_path / "d.weights.h5").write_text("no weights")
    for name, message in (
        ("none.keras", "no such model"),
        ("text.keras", "not a whole Keras"),
        ("w.weights.h5", "no such weights"),
        ("d.weights.h5", "holds no Compact"),
    ):
        with pytest.raises(ModelFileError, match=message):
            pose(backbone_weights=tmp_path / name)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"classes": 0}, "classes"),
        ({"input_size": 31}, "at least 32"),
        ({"dropout": 2}, "dropout"),
        ({"activation": "gelu"}, "gelu"),
        ({"variant": "H0"}, "B0"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(UsageError, match=message):
        CompactEfficientNet(**arguments)
