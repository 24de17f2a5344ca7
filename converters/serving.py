"""Functions from pictures to what an exported file gives: maps or poses."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ehrnet_tf.decoding.live import PEOPLE
from ehrnet_tf.errors import UsageError
from ehrnet_tf.runtime.metadata import decoder_settings, model_metadata, package_versions
from ehrnet_tf.runtime.runners import GRAPHS, KerasRunner

if TYPE_CHECKING:
    import keras
    import tensorflow as tf


def source_runner(
    model: keras.Model, graph: str, people: int = PEOPLE, metadata: dict[str, Any] | None = None
) -> KerasRunner:
    """The runner of a model that is to be exported; its metadata are the exported file's.

    Args:
      model: an `EfficientHRNet`.
      graph: "maps" or "poses".
      people: the most people found, for "poses".
      metadata: of the model, see `runtime.metadata`; None: `model_metadata(model)`.

    Raises:
      UsageError: an unknown graph, or ``people`` below 1.
    """
    if graph not in GRAPHS:
        raise UsageError(f"graph '{graph}': expected one of {', '.join(GRAPHS)}")
    if people < 1:
        raise UsageError(f"people {people}: must be at least 1")
    metadata = {**(model_metadata(model) if metadata is None else metadata), "graph": graph}
    metadata["versions"] = package_versions()
    if "accuracy" in metadata:  # the file's own is measured by `ehrnet eval --store`
        metadata["source_accuracy"] = metadata.pop("accuracy")
    if graph == "poses":
        metadata["people"] = people
    return KerasRunner(model, metadata=metadata)


def decoder_function(source: KerasRunner, people: int = PEOPLE) -> Callable[..., dict[str, tf.Tensor]]:
    """The in-graph decoder with a model's keypoints and decoder settings.

    Returns:
      (image (1, H, W, 3) uint8, heatmaps_2, tags) to "keypoints" (1, P, K, 3) and "scores" (1, P).
    """
    from ehrnet_tf.decoding.graph import find_people

    settings = decoder_settings(source.metadata, source.name)
    grouping = source.keypoints.grouping

    def decode(image, heatmaps_2, tags):
        return find_people(image, heatmaps_2, tags, settings, grouping, people)

    return decode


def serving_function(source: KerasRunner, graph: str, people: int = PEOPLE) -> Callable[..., dict[str, tf.Tensor]]:
    """A model from (B, H, W, 3) uint8 pixels to its maps, or with B = 1 to poses."""
    import tensorflow as tf

    decode = decoder_function(source, people)

    def serve(image):
        maps = source.model(tf.cast(image, tf.float32), training=False)
        maps = {name: tf.cast(values, tf.float32) for name, values in maps.items()}
        return maps if graph == "maps" else decode(image, maps["heatmaps_2"], maps["tags"])

    return serve
