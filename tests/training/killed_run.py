"""A tiny training run in a process of its own, for tests that end it.

python killed_run.py DATA OUT [--resume] [a.b=c ...]
python killed_run.py DATA OUT --devices 2 | --process I/N --address HOST:PORT [a.b=c ...]
python killed_run.py DATA OUT --kills N    # begun, killed (-9) after a random time N times, gone on with, finished
"""

import argparse
import json
import logging
import os
import random
import resource
import signal
import sys
import time
import zipfile
from pathlib import Path

import keras

from ehrnet_tf.config import load_config
from ehrnet_tf.errors import EhrnetError
from ehrnet_tf.models.head import head
from ehrnet_tf.training import train as training
from ehrnet_tf.training.devices import Processes

SETTINGS = [
    "model.input_size=64",
    "train.batch_size=4",
    "train.epochs=4",
    "train.steps_per_epoch=30",
    "train.deterministic=true",
    "train.schedule=cosine",
    "train.ema=0.9",
    "train.clip_norm=1",
    "train.weight_decay=0.1",
    "train.checkpoint_minutes=1e-6",  # a state after every step
    "train.validate_every=2",
    "data.val_limit=2",
]


def tiny(config):
    image = keras.Input((64, 64, 3), name="image")
    x = keras.layers.Conv2D(8, 4, strides=4, activation="relu")(keras.layers.Rescaling(1 / 255)(image))
    x = keras.layers.Dropout(config.model.drop_connect)(keras.layers.BatchNormalization()(x))
    return keras.Model(image, head(x, 17, 8), name="efficienthrnet_h-4")


def divide_cpu(count):
    """Makes TensorFlow see that many CPUs."""
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * count)


def limit_files(size):
    """From the first step on, no file may become larger: what a full disk is to a program."""
    fit = training._Run.fit

    def limited(self, model):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        return fit(self, model)

    training._Run.fit = limited


def run(data, out, overrides, resume, processes=None):
    training.build_model = tiny
    try:
        training.train(load_config(None, SETTINGS + overrides), data, out, resume, processes)
    except EhrnetError as error:
        print(f"error: {error}", flush=True)
        return 1
    return 0


def fork(data, out):
    """A child process that trains; TensorFlow is imported here, but has not begun to compute."""
    child = os.fork()
    if child == 0:
        os._exit(run(data, out, [], resume=(Path(out) / "config.yaml").exists()))
    return child


def step_of(out):
    path = Path(out) / "last.keras"
    if not path.exists():
        return 0
    with zipfile.ZipFile(path) as archive:
        return json.loads(archive.read("ehrnet_state.json"))["step"]


def kill_again_and_again(data, out, kills):
    """Prints the step that every kill left behind; the last run is left alone.

    The first is killed when its first state is there, the others after 0.3 to 1.8 times as long.
    """
    rng, left, first = random.Random(0), [], 0.0
    while len(left) < kills:
        begin, child = time.monotonic(), fork(data, out)
        if first:
            time.sleep(rng.uniform(0.3, 1.8) * first)
        else:
            while not step_of(out) and os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                time.sleep(0.01)
            first = time.monotonic() - begin
        os.kill(child, signal.SIGKILL)
        status = os.waitpid(child, 0)[1]
        if status != signal.SIGKILL:  # it ended by itself
            print(json.dumps(left), flush=True)
            return os.waitstatus_to_exitcode(status)
        left.append(step_of(out))
    print(json.dumps(left), flush=True)
    return os.waitstatus_to_exitcode(os.waitpid(fork(data, out), 0)[1])


if __name__ == "__main__":
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser()
    parser.add_argument("data")
    parser.add_argument("out")
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--kills", type=int)
    parser.add_argument("--devices", type=int, default=1)
    parser.add_argument("--process")
    parser.add_argument("--address")
    parser.add_argument("--file-size", type=int, help="no file may become larger, as on a full disk")
    arguments = parser.parse_intermixed_args()
    if arguments.kills:
        sys.exit(kill_again_and_again(arguments.data, arguments.out, arguments.kills))
    if arguments.devices > 1:
        divide_cpu(arguments.devices)
    if arguments.file_size:
        limit_files(arguments.file_size)
    processes = Processes.parse(arguments.process, arguments.address)
    sys.exit(run(arguments.data, arguments.out, arguments.overrides, arguments.resume, processes))
