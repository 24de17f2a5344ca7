import keras
import numpy as np
import pytest

from ehrnet_tf.training.muon import Muon, orthogonal


@pytest.mark.parametrize("shape", [(5, 9), (9, 5), (36, 24)])
def test_orthogonal_keeps_directions_and_evens_out_lengths(shape):
    matrix = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    result = np.array(orthogonal(matrix))
    u, _, vt = np.linalg.svd(matrix, full_matrices=False)
    along = u.T @ result @ vt.T
    np.testing.assert_allclose(along, np.diag(np.diag(along)), atol=2e-2)
    assert (np.diag(along) > 0.5).all() and (np.diag(along) < 1.3).all()


def build():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Conv2D(4, 3, padding="same", name="conv"),
            keras.layers.DepthwiseConv2D(3, padding="same", name="depthwise"),
            keras.layers.Conv2DTranspose(4, 4, strides=2, padding="same", use_bias=False, name="head_deconv"),
            keras.layers.Conv2D(2, 1, name="head_heatmaps_2"),
        ]
    )


def test_only_dense_kernels_inside_the_network_are_matrices():
    model = build()
    optimizer = Muon()
    optimizer.build(model.trainable_variables)
    assert [v.path.split("/", 1)[1] for v in model.trainable_variables if optimizer.is_matrix(v)] == [
        "conv/kernel",
        "head_deconv/kernel",
    ]


def test_a_step_is_as_long_as_the_rate_says():
    model = build()
    before = [np.array(v) for v in model.trainable_variables]
    model.compile(Muon(1e-2, adam_ratio=0.4), loss="mse")
    x = np.random.default_rng(0).normal(size=(4, 8, 8, 3)).astype(np.float32)
    model.fit(x, np.ones((4, 16, 16, 2)), epochs=1, verbose=0)
    change = {v.path.split("/", 1)[1]: np.array(v) - b for v, b in zip(model.trainable_variables, before, strict=True)}
    for path in ("conv/kernel", "head_deconv/kernel"):
        matrix = change[path].reshape(-1, change[path].shape[-1])
        length = np.linalg.norm(matrix, 2) / (1e-2 * 0.2 * max(matrix.shape) ** 0.5)
        assert 0.7 < length < 1.3, path
    # Adam's first step: the rate in every weight
    np.testing.assert_allclose(abs(change["head_heatmaps_2/bias"]), 4e-3, rtol=1e-2)
    np.testing.assert_allclose(abs(change["depthwise/kernel"]).max(), 4e-3, rtol=1e-2)


def test_learns_and_survives_saving(tmp_path):
    model = build()
    model.compile(Muon(1e-2), loss="mse")
    x = np.random.default_rng(0).normal(size=(16, 8, 8, 3)).astype(np.float32)
    y = np.repeat(np.repeat(x[..., :2], 2, 1), 2, 2)
    losses = model.fit(x, y, epochs=60, batch_size=8, verbose=0).history["loss"]
    assert losses[-1] < 0.5 * losses[0]
    model.save(tmp_path / "m.keras")
    again = keras.saving.load_model(tmp_path / "m.keras")
    assert isinstance(again.optimizer, Muon) and int(again.optimizer.iterations) == 120
    for a, b in zip(model.optimizer.variables, again.optimizer.variables, strict=True):
        np.testing.assert_array_equal(a, b, err_msg=a.path)
    for m in (model, again):
        m.fit(x, y, epochs=1, shuffle=False, verbose=0)
    np.testing.assert_allclose(model.predict(x, verbose=0), again.predict(x, verbose=0), rtol=1e-4, atol=1e-5)
