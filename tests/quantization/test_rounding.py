import numpy as np
import pytest
import tensorflow as tf

from ehrnet_tf.converters.serving import source_runner
from ehrnet_tf.converters.tflite import write_tflite
from ehrnet_tf.errors import EhrnetError
from ehrnet_tf.quantization.clone import clone, copy_weights_back
from ehrnet_tf.quantization.finetune import convert
from ehrnet_tf.quantization.layers import layer_errors, write_layers
from ehrnet_tf.quantization.ranges import best_range, calibrate, range_variables
from ehrnet_tf.quantization.rounding import FixedQuantizer, KernelQuantizer, quantize, roundings
from ehrnet_tf.quantization.simulation import SimulatedRunner
from ehrnet_tf.runtime.metadata import model_metadata
from ehrnet_tf.runtime.operators import delegate_partitions, float_ops
from ehrnet_tf.runtime.runners import OUTPUTS, KerasRunner, TFLiteRunner


@pytest.fixture(scope="module", params=["H-10", "E-10"])
def rounded(request, build_small, pictures):
    """(model, float clone, calibrated quantised clone)"""
    model = build_small(request.param)
    cloned = clone(model)
    quantized = quantize(cloned)
    calibrate(cloned, quantized, pictures)
    return model, cloned, quantized


def test_every_operator_is_rounded_once(rounded):
    _, cloned, _ = rounded
    chosen = roundings(cloned)
    left_out = [layer for layer in cloned.layers if layer.name not in chosen]
    for layer in left_out:
        kind = type(layer).__name__
        followed = kind == "Add" and type(layer.outbound_nodes[0].outbound_layer).__name__ == "ReLU"
        assert followed or kind in ("InputLayer", "ZeroPadding2D", "UpSampling2D")
    for layer in cloned.layers:
        kind, rounding = type(layer).__name__, chosen.get(layer.name)
        if layer.name == "normalization":
            assert rounding.kernel is None and rounding.output == "range"
        elif "Conv" in kind:
            assert rounding.kernel in ("kernel", "depthwise_kernel")
            assert rounding.channels_last == (kind == "Conv2D")
    assert chosen["stage2_module0_branch0_block0_conv1"].output == "none", "a ReLU follows: one operator"
    assert chosen["stage2_module0_branch0_block0_relu1"].output == "range"
    assert chosen["stage2_module0_branch0_block0_conv2"].output == "range", "a sum follows"
    for name in OUTPUTS:
        assert chosen[f"head_{name}"].output == "range"
    sigmoids = [n for n, layer in ((x.name, x) for x in cloned.layers) if type(layer).__name__ == "Activation"]
    assert {chosen[name].output for name in sigmoids} <= {"sigmoid"}


def test_kernels_are_rounded_by_channel():
    kernel = np.random.default_rng(0).normal(size=(3, 3, 4, 5)).astype(np.float32) * [1, 2, 3, 4, 50]
    found = KernelQuantizer(True)(tf.constant(kernel, tf.float32), False, {}).numpy()
    steps = np.abs(kernel).max(axis=(0, 1, 2)) / 127
    assert np.abs(found - kernel).max(axis=(0, 1, 2)) == pytest.approx(steps / 2, rel=0.2)
    np.testing.assert_allclose(found / steps, np.round(found / steps), atol=1e-3)
    other = KernelQuantizer(False)(tf.constant(kernel.transpose(0, 1, 3, 2), tf.float32), False, {}).numpy()
    np.testing.assert_array_equal(other.transpose(0, 1, 3, 2), found)


def test_sigmoids_have_the_steps_of_tflite():
    values = FixedQuantizer(0.0, 255 / 256)(tf.constant([0.0, 0.1, 0.5, 1.0]), False, {}).numpy()
    np.testing.assert_allclose(values, [0, 26 / 256, 0.5, 255 / 256], atol=1e-6)


def test_ranges_are_what_calibration_saw(rounded, pictures):
    _, cloned, quantized = rounded
    import tf_keras

    for name in ("head_tags", "head_concat", "stage2_module0_branch0_block0_relu1"):
        values = tf_keras.Model(cloned.input, cloned.get_layer(name).output)(np.stack(pictures).astype(np.float32))
        low, high = range_variables(quantized)[name]
        smallest, largest = min(0, float(tf.reduce_min(values))), float(tf.reduce_max(values))
        assert 1.001 * smallest <= float(low) <= 0 < 0.1 * largest < float(high) <= 1.001 * largest
        inside = float(tf.reduce_mean(tf.cast((values >= low) & (values <= high), tf.float32)))
        assert inside > 0.98
    assert float(range_variables(quantized)["stage2_module0_branch0_block0_relu1"][0]) == 0


def test_best_range():
    evenly = np.ones(1000)
    assert best_range(evenly, -2.0, 6.0) == (-2.0, 6.0)
    assert best_range(evenly, -20.0, 6.0, floor=-8.0) == (-8.0, 6.0)
    outlier = np.zeros(1000)
    outlier[:10], outlier[-1] = 1e6, 1
    low, high = best_range(outlier, 0.0, 100.0)
    assert low == 0 and 1 <= high <= 30, "one value in ten million does not take the others' steps"


def test_what_only_a_swish_reads_ends_at_minus_8(build_mini, pictures):
    model = build_mini()
    for name in ("stem_bn", "module_branch0_block0_bn2"):
        layer = model.get_layer(name)
        gamma, *rest = layer.get_weights()
        layer.set_weights([100 * gamma, *rest])
    cloned = clone(model)
    quantized = quantize(cloned)
    calibrate(cloned, quantized, pictures)
    found = range_variables(quantized)
    assert -8 <= float(found["stem_conv"][0]) <= -7
    assert float(found["module_branch0_block0_conv2"][0]) < -20, "a sum reads it"


def test_rounding_changes_little_but_something(rounded, pictures):
    model, _, quantized = rounded
    images = np.stack(pictures)
    expected, found = KerasRunner(model)(images), SimulatedRunner(quantized, model_metadata(model))(images)
    for name in OUTPUTS:
        away = np.abs(found[name] - expected[name]).mean() / np.ptp(expected[name])
        assert 1e-4 < away < 0.03


def test_file_is_all_integer_and_gives_what_was_simulated(rounded, pictures, tmp_path):
    model, _, quantized = rounded
    path = tmp_path / "int8.tflite"
    report = write_tflite(convert(quantized), path, source_runner(model, "maps"), "int8", (64, 64), pictures)
    assert report["float_ops"] == {}
    assert not {"SHAPE", "PACK", "STRIDED_SLICE", "TILE", "FAKE_QUANT"} & set(report["ops"])
    assert delegate_partitions(path) == (1, ["QUANTIZE"])
    runner, simulated = TFLiteRunner(path), SimulatedRunner(quantized, model_metadata(model))
    assert runner.input_quantization == (1.0, 0)
    images = np.stack(pictures)
    expected, found, true = simulated(images), runner(images), KerasRunner(model)(images)
    for name in OUTPUTS:
        simulated_error, error = (np.abs(maps[name] - true[name]).mean() for maps in (expected, found))
        assert error == pytest.approx(simulated_error, rel=0.35), "no error that was not foreseen"
        assert np.abs(found[name] - expected[name]).mean() < 0.02 * np.ptp(true[name])
    assert not KernelQuantizer.converting


def test_an_addend_that_is_next_to_nothing_stays_with_xnnpack(build_mini, pictures, tmp_path):
    model = build_mini(swish=False)
    norm = model.get_layer("module_fuse0_from1_bn")
    gamma, beta, mean, variance = norm.get_weights()
    norm.set_weights([1e-5 * gamma, 1e-5 * beta, mean, variance])
    cloned = clone(model)
    quantized = quantize(cloned)
    calibrate(cloned, quantized, pictures)
    path = tmp_path / "int8.tflite"
    write_tflite(convert(quantized), path, source_runner(model, "maps"), "int8", (64, 64), pictures)
    assert delegate_partitions(path) == (1, ["QUANTIZE"])
    low, high = range_variables(quantized)["module_fuse0_from1_conv"]
    low_sum, high_sum = range_variables(quantized)["module_fuse0_add_0"]
    assert float(high - low) == pytest.approx(float(high_sum - low_sum) / 512, rel=1e-4)
    assert float(low) <= 0 <= float(high)


def test_a_transposed_convolution_without_bias_is_integer_too(build_mini, pictures, tmp_path):
    model = build_mini()
    norm = model.get_layer("head_deconv_bn")
    gamma, beta, mean, variance = norm.get_weights()
    norm.set_weights([gamma, 0 * beta, 0 * mean, variance])
    cloned = clone(model)
    quantized = quantize(cloned)
    calibrate(cloned, quantized, pictures)
    path = tmp_path / "int8.tflite"
    write_tflite(convert(quantized), path, source_runner(model, "maps"), "int8", (64, 64), pictures)
    assert float_ops(path) == {}


def test_layers_that_stay_float(build_mini, pictures, tmp_path):
    model = build_mini()
    cloned = clone(model)
    quantized = quantize(cloned, ["head_block0_conv1", "head_block0_relu1"])
    calibrate(cloned, quantized, pictures)
    source = source_runner(model, "maps")
    flatbuffer = convert(quantized)
    with pytest.raises(EhrnetError, match=r"int8\.tflite: .*head_block0.*\(CONV_2D\) would compute in float"):
        write_tflite(flatbuffer, tmp_path / "int8.tflite", source, "int8", (64, 64), pictures)
    assert list(tmp_path.iterdir()) == []
    report = write_tflite(flatbuffer, tmp_path / "int8.tflite", source, "int8", (64, 64), pictures, kept_float=True)
    assert report["float_ops"] == {"CONV_2D": 2}, "it and the one that reads its output"
    with pytest.raises(EhrnetError, match="'head_nothing': not a rounded layer"):
        quantize(cloned, ["head_nothing"])


@pytest.mark.parametrize("swish", [True, False])
def test_trained_weights_come_back_from_under_the_rounding(build_mini, pictures, swish):
    model = build_mini(swish)
    quantized = quantize(clone(model))
    SimulatedRunner(quantized, model_metadata(model))(np.stack(pictures[:1]))
    other = build_mini(swish, seed=3)
    copy_weights_back(quantized, other)
    images = np.stack(pictures[:2])
    expected, found = KerasRunner(model)(images), KerasRunner(other)(images)
    for name in OUTPUTS:
        np.testing.assert_allclose(found[name], expected[name], atol=2e-5 * np.ptp(expected[name]))


def test_the_layer_that_hurts_is_found(build_mini, pictures, tmp_path):
    """One weight far beyond its channel's others costs these their steps."""
    model = build_mini(swish=False)
    layer = model.get_layer("module_branch0_block1_conv2")
    kernel = layer.get_weights()[0]
    kernel[0, 0, 0] *= 300
    layer.set_weights([kernel])
    cloned = clone(model)
    rows = layer_errors(cloned, pictures, compared=2)
    assert {row["layer"] for row in rows} == set(roundings(cloned))
    assert rows[0]["layer"] == "module_branch0_block1_conv2"
    assert [row["error"] for row in rows] == sorted((row["error"] for row in rows), reverse=True)
    assert rows[0]["error"] == pytest.approx(sum(rows[0][name] for name in OUTPUTS))
    halved = layer_errors(cloned, pictures, compared=2, tag_threshold=2.0)
    by_name = {row["layer"]: row for row in halved}
    assert by_name[rows[0]["layer"]]["tags"] == pytest.approx(rows[0]["tags"] / 2, rel=1e-3)
    write_layers(tmp_path / "layers.csv", rows)
    lines = (tmp_path / "layers.csv").read_text().splitlines()
    assert set(lines[0].split(",")) == {"layer", "heatmaps_4", "heatmaps_2", "tags", "error"}
    assert len(lines) == len(rows) + 1
