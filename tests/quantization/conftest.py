import numpy as np
import pytest


def as_if_trained(model, seed):
    """Gives batch norms something to fold, and the maps some size."""
    import keras

    random = np.random.default_rng(seed)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            shape = layer.get_weights()[0].shape
            values = [random.uniform(0.8, 1.6, shape), random.normal(0, 0.3, shape), random.normal(0, 0.3, shape)]
            layer.set_weights([*values, random.uniform(0.6, 1.4, shape)])
    for name, factor in (("heatmaps_4", 100), ("heatmaps_2", 100), ("tags", 30)):
        layer = model.get_layer(f"head_{name}")
        layer.set_weights([factor * weights for weights in layer.get_weights()])
    return model


@pytest.fixture(scope="session")
def build_small():
    """A small whole network."""

    def build(variant="H-10", size=64, seed=0, **options):
        import keras

        from ehrnet_tf import EfficientHRNet

        keras.utils.set_random_seed(seed)
        return as_if_trained(EfficientHRNet(variant, input_size=size, **options), seed)

    return build


@pytest.fixture(scope="session")
def build_mini():
    """A network of every kind of layer that there is, but few of each."""

    def build(swish=True, seed=0):
        import keras

        from ehrnet_tf.models.efficientnet import mbconv
        from ehrnet_tf.models.fusion import fusion_module
        from ehrnet_tf.models.head import head
        from ehrnet_tf.models.layers import activate, batch_norm, conv, normalize

        keras.utils.set_random_seed(seed)
        kind = "swish" if swish else "relu6"
        image = keras.Input((64, 64, 3), name="image")
        x = batch_norm(conv(normalize(image), 8, 3, "stem_conv", stride=2), "stem_bn")
        x = activate(x, kind, "stem_activation")
        x = mbconv(x, 8, 3, 2, 2, kind, swish, 0.2, "block1")
        low = mbconv(x, 8, 3, 1, 2, kind, swish, 0.2, "block2")
        widths = (8, 12, 16)
        branches = [low]
        for b in (1, 2):
            branches.append(batch_norm(conv(branches[-1], widths[b], 3, f"down{b}", stride=2), f"down{b}_bn"))
        (x,) = fusion_module(branches, widths, "module", outputs=1)
        outputs = head(x, 17, 8, "transposed" if swish else "resize")
        return as_if_trained(keras.Model(image, outputs, name="efficienthrnet_h-4"), seed)

    return build


@pytest.fixture(scope="session")
def pictures():
    """Smooth pictures."""
    coarse = np.random.default_rng(0).integers(0, 256, (8, 8, 8, 3), dtype=np.uint8)
    return list(coarse.repeat(8, axis=1).repeat(8, axis=2))
