import numpy as np
import pytest


@pytest.fixture(scope="session")
def build_small():
    """A small whole network whose batch norms have something to fold, as after training."""

    def build(variant="H-10", size=64, seed=0, **options):
        import keras

        from ehrnet_tf import EfficientHRNet

        keras.utils.set_random_seed(seed)
        model = EfficientHRNet(variant, input_size=size, **options)
        random = np.random.default_rng(seed)
        for layer in model.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                gamma, *_ = layer.get_weights()
                shape = gamma.shape
                values = [random.uniform(0.8, 1.6, shape), random.normal(0, 0.3, shape), random.normal(0, 0.3, shape)]
                layer.set_weights([*values, random.uniform(0.6, 1.4, shape)])
        for name, factor in (("heatmaps_4", 100), ("heatmaps_2", 100), ("tags", 30)):
            layer = model.get_layer(f"head_{name}")
            layer.set_weights([factor * weights for weights in layer.get_weights()])
        return model

    return build


@pytest.fixture(scope="session")
def pictures():
    """Smooth pictures."""
    coarse = np.random.default_rng(0).integers(0, 256, (8, 8, 8, 3), dtype=np.uint8)
    return list(coarse.repeat(8, axis=1).repeat(8, axis=2))
