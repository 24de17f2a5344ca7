"""What a device needs to run a .tflite file: few packages, little memory, and an old Python."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import fake_tensorrt

HEAVY = {"tensorflow", "keras", "tf_keras", "torch", "jax", "onnx", "onnxruntime", "openvino", "matplotlib"}
OLDEST = (3, 8)  # JetPack 5's
PROBE = """
import json, sys
import ehrnet_tf
ehrnet_tf.PoseEstimator
from ehrnet_tf.runtime import tflite_runner
tflite_runner.interpreter_package()
from ehrnet_tf.benchmark.machine import memory
print(json.dumps([sorted({name.split(".")[0] for name in sys.modules}), memory().get("peak")]))
"""
DEVICE = """
import json, sys
import ehrnet_tf.benchmark.run, ehrnet_tf.benchmark.stages, ehrnet_tf.benchmark.worker, ehrnet_tf.cli
import ehrnet_tf.converters.export, ehrnet_tf.converters.jetson.camera, ehrnet_tf.converters.jetson.deploy
import ehrnet_tf.converters.tensorrt, ehrnet_tf.data.synthetic, ehrnet_tf.filters, ehrnet_tf.runtime.info
import ehrnet_tf.predict, ehrnet_tf.redraw
import ehrnet_tf.smoothing, ehrnet_tf.tracking
ehrnet_tf.PoseEstimator
print(json.dumps([m.__file__ for n, m in sys.modules.items() if n.split(".")[0] == "ehrnet_tf" and m.__file__]))
"""


def run(code):
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def test_the_estimator_and_the_tflite_runner_are_light():
    modules, memory = run(PROBE)
    assert not HEAVY & set(modules)
    assert "scipy" not in modules, "only the exact decoder needs it"
    if memory is not None:
        assert memory < 150, "MiB"


def test_what_a_device_imports_runs_on_its_python():
    vermin = pytest.importorskip("vermin")
    files = run(DEVICE)
    assert len(files) > 40
    config = vermin.Config()
    config.set_eval_annotations(False)
    too_new = {}
    for file in [*files, *map(str, Path(fake_tensorrt.__file__).parent.glob("*.py"))]:
        visitor = vermin.visit(Path(file).read_text(encoding="utf-8"), config)
        _, least = visitor.minimum_versions()
        if least is not None and least > OLDEST:
            too_new[file] = visitor.output_text()
    assert not too_new


def test_vermin_sees_what_is_too_new():
    vermin = pytest.importorskip("vermin")
    visitor = vermin.visit("zip([], [], strict=True)", vermin.Config())
    assert visitor.minimum_versions()[1] == (3, 10)
