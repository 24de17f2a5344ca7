import keras
import pytest

from ehrnet_tf.config import load_config
from ehrnet_tf.training.schedules import WarmupSchedule, make_schedule


def test_warmup_and_steps():
    config = load_config(
        None, ["train.epochs=10", "train.warmup_epochs=1", "train.milestones=[5, 8]", "train.learning_rate=0.1"]
    )
    rate = make_schedule(config.train, steps_per_epoch=10)
    values = [float(rate(step)) for step in (0, 4, 9, 49, 50, 79, 80)]
    assert values == pytest.approx([0.01, 0.05, 0.1, 0.1, 0.01, 0.01, 0.001])


def test_cosine_ends_at_zero():
    rate = WarmupSchedule(1.0, total=100, warmup=10)
    assert float(rate(10)) == pytest.approx(1.0)
    assert float(rate(55)) == pytest.approx(0.5)
    assert float(rate(100)) == pytest.approx(0.0, abs=1e-6)


def test_survives_saving():
    rate = WarmupSchedule(0.5, 100, 3, [20], 0.2)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(rate))
    assert float(again(30)) == pytest.approx(0.1)
