import keras
import numpy as np
import tensorflow as tf

from ehrnet_tf.training.fused import fuse_batch_norm


def build():
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((6, 5, 3)), keras.layers.Conv2D(4, 3), keras.layers.BatchNormalization()])


def test_same_training_same_weights(tmp_path):
    x = np.random.default_rng(0).normal(size=(8, 6, 5, 3)).astype(np.float32)
    y = np.random.default_rng(1).normal(size=(8, 4, 3, 4)).astype(np.float32)
    plain, fused = build(), build()
    fuse_batch_norm(fused)
    for model in (plain, fused):
        model.compile(keras.optimizers.SGD(0.1), loss="mse", jit_compile=False)
        model.fit(x, y, batch_size=4, epochs=3, shuffle=False, verbose=0)
    graph = tf.function(lambda batch: fused(batch, training=True)).get_concrete_function(x).graph
    assert any(op.type.startswith("FusedBatchNorm") for op in graph.get_operations())
    for a, b in zip(plain.weights, fused.weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5, err_msg=a.path)
    np.testing.assert_allclose(plain.predict(x, verbose=0), fused.predict(x, verbose=0), rtol=1e-3, atol=1e-4)
    fused.save(tmp_path / "m.keras")
    again = keras.saving.load_model(tmp_path / "m.keras")
    np.testing.assert_allclose(again.predict(x, verbose=0), fused.predict(x, verbose=0), rtol=1e-5)
