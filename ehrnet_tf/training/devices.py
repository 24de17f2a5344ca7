"""Where a run computes: one device, the GPUs of one machine, or several machines.

Nothing of our own: `tf.distribute.MirroredStrategy` on the TensorFlow backend, `keras.distribution.DataParallel` over
JAX's distributed runtime on the JAX backend. Several processes need JAX: TensorFlow's `MultiWorkerMirroredStrategy`
does not work under Keras 3.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os

import keras
import numpy as np

from ehrnet_tf.errors import UsageError


@dataclasses.dataclass(frozen=True)
class Processes:
    """This process among those that train together.

    Attributes:
      index: from 0; the first one writes the run folder.
      count: of the processes.
      address: "HOST:PORT" of the first one, where the others report.
    """

    index: int = 0
    count: int = 1
    address: str | None = None

    def __post_init__(self):
        if not 0 <= self.index < self.count:
            raise UsageError(f"--process {self.index}/{self.count}: give INDEX/COUNT, the index from 0 to COUNT - 1")
        if self.count > 1 and not self.address:
            raise UsageError(f"--process {self.index}/{self.count}: needs --address HOST:PORT of process 0")

    @classmethod
    def parse(cls, text: str | None, address: str | None) -> Processes:
        """From the command line's "INDEX/COUNT" and "HOST:PORT"."""
        if text is None:
            return cls()
        index, slash, count = text.partition("/")
        if not (slash and index.isdecimal() and count.isdecimal()):
            raise UsageError(f"--process {text}: give INDEX/COUNT, e.g. 0/2")
        return cls(int(index), int(count), address)

    @property
    def share(self) -> tuple[int, int]:
        """(index, count)."""
        return self.index, self.count

    @property
    def first(self) -> bool:
        """Whether this process writes the run folder."""
        return self.index == 0


class Devices:
    """The devices that a run uses.

    Args:
      distribution: "none" or "data_parallel" (`TrainConfig.distribution`).
      processes: this process among those that train together.

    Raises:
      UsageError: several processes without ``data_parallel`` or without the JAX backend.
    """

    def __init__(self, distribution: str = "none", processes: Processes | None = None):
        self.processes = processes or Processes()
        self.distributed = distribution == "data_parallel"
        backend = keras.backend.backend()
        if self.processes.count > 1 and not self.distributed:
            raise UsageError("several processes: set train.distribution=data_parallel")
        if self.processes.count > 1 and backend != "jax":
            raise UsageError(
                f"several processes train by the JAX backend, this one has {backend}: set the environment variable "
                "KERAS_BACKEND=jax (and pip install 'ehrnet-tf[jax]')"
            )
        self._strategy = self._distribution = None
        if backend != "tensorflow":
            _keep_tensorflow_off_gpus()
        if not self.distributed:
            return
        if backend == "tensorflow":
            self._strategy = _mirrored()
        else:
            self._distribution = _data_parallel(self.processes)

    def __enter__(self) -> Devices:
        return self

    def __exit__(self, *error) -> None:
        """Models that are built later in this process are not spread over the devices."""
        if self._distribution is not None:
            keras.distribution.set_distribution(None)

    @property
    def count(self) -> int:
        """Devices among which a batch is divided, in all processes."""
        if self._strategy is not None:
            return self._strategy.num_replicas_in_sync
        return self._distribution.num_model_replicas if self._distribution is not None else 1

    @property
    def mirrored(self) -> bool:
        """Whether TensorFlow's strategy is at work, whose collectives XLA does not take everywhere."""
        return self._strategy is not None

    def scope(self) -> contextlib.AbstractContextManager:
        """In which the model is built or loaded, and compiled."""
        return self._strategy.scope() if self._strategy is not None else contextlib.nullcontext()

    @contextlib.contextmanager
    def apart(self):
        """In which this process computes by itself: validation."""
        if self._distribution is None:
            yield
            return
        import jax

        keras.distribution.set_distribution(None)
        try:
            with jax.default_device(jax.local_devices()[0]):
                yield
        finally:
            keras.distribution.set_distribution(self._distribution)

    def any(self, flag: bool) -> bool:
        """Whether ``flag`` is true in any of the processes; all must ask at the same step."""
        if self.processes.count == 1:
            return flag
        from jax.experimental import multihost_utils

        return bool(multihost_utils.process_allgather(np.array(flag)).any())

    def synchronise(self, model: keras.Model) -> None:
        """Batch norms average over all devices, so that the number of devices does not change what is learnt.

        Under JAX they do so anyway.
        """
        if self._strategy is None:
            return
        for layer in model.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.synchronized = True


def _keep_tensorflow_off_gpus() -> None:
    """TensorFlow reads the data only; it would take the GPUs' memory from the backend that computes."""
    import tensorflow as tf

    with contextlib.suppress(RuntimeError):  # it has begun already
        tf.config.set_visible_devices([], "GPU")


def _mirrored():
    import tensorflow as tf

    gpus = tf.config.list_logical_devices("GPU")
    devices = gpus or tf.config.list_logical_devices("CPU")
    return tf.distribute.MirroredStrategy([device.name for device in devices])


def _data_parallel(processes: Processes):
    import jax

    if processes.count > 1:
        if os.environ.get("JAX_PLATFORMS", "") == "cpu":
            jax.config.update("jax_cpu_collectives_implementation", "gloo")
        keras.distribution.initialize(processes.address, processes.count, processes.index)
    distribution = keras.distribution.DataParallel(auto_shard_dataset=False)
    keras.distribution.set_distribution(distribution)
    return distribution
