"""EfficientNet (arXiv 1905.11946), compact sizes below B0 included: the pose model's backbone, and a classifier."""

from __future__ import annotations

import os

import keras
from keras import layers

from ehrnet_tf.errors import UsageError
from ehrnet_tf.models.layers import activate, batch_norm, check_activation, check_rate, conv, mbconv, normalize
from ehrnet_tf.models.scaling import ClassifierScale, Scale, classifier_scale
from ehrnet_tf.models.weights import load_weights


def backbone(
    x, scale: Scale | ClassifierScale, kind: str = "swish", use_se: bool = True, drop_connect: float = 0.2
) -> list:
    """(B, H, W, 3) normalised pixels → the four taps [(B, H/4, W/4, C1), ... (B, H/32, W/32, C4)].

    Layers are called `backbone_stem_*` and `backbone_block<i>_*`, i counting from 1 through all stages.
    """
    x = layers.Conv2D(
        scale.stem_width,
        3,
        strides=2,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
        name="backbone_stem_conv",
    )(x)
    x = batch_norm(x, "backbone_stem_bn")
    x = activate(x, kind, "backbone_stem_activation")
    taps, index = [], 0
    for stage in scale.stages:
        for repeat in range(stage.repeats):
            index += 1
            x = mbconv(
                x,
                stage.width,
                stage.kernel,
                stage.stride if repeat == 0 else 1,
                stage.expand,
                kind,
                use_se,
                drop_connect,
                f"backbone_block{index}",
            )
        if stage.tap:
            taps.append(x)
    return taps


def CompactEfficientNet(
    variant: str | float = "B0",
    classes: int = 1000,
    input_size: int | tuple[int | None, int | None] | None = None,
    activation: str = "swish",
    squeeze_excite: bool = True,
    drop_connect: float = 0.2,
    dropout: float = 0.2,
    weights: str | os.PathLike | None = None,
) -> keras.Model:
    """Builds the classifier on the backbone that `EfficientHRNet` of the same phi has.

    Its backbone's weights go into the pose model by ``EfficientHRNet(backbone_weights=...)``.

    Args:
      variant: "B0", "B-1" ... "B-4" as published, or any other B<phi>.
      classes: how many.
      input_size: pixels, one number for a square or (height, width); (None, None) accepts any size; None: the
        variant's own, 224 * 1.15^phi.
      activation: "swish" (published), "relu" or "relu6"; the pose model must have the same.
      squeeze_excite: whether blocks have their channel gates (published: yes); the pose model must have the same.
      drop_connect: probability with which a residual block is skipped in training.
      dropout: in training, before the last layer.
      weights: a `.keras` or `.weights.h5` file to load.

    Returns:
      A functional `keras.Model`. Input: (B, H, W, 3) RGB, float32 or uint8, 0..255. Output: (B, classes) float32
      logits: no softmax.

    Raises:
      UsageError: an argument that cannot be used.
      ModelFileError: ``weights`` is missing or does not fit.
    """
    dimensions = classifier_scale(variant)
    check_activation(activation)
    check_rate("drop_connect", drop_connect)
    check_rate("dropout", dropout)
    if classes < 1:
        raise UsageError(f"classes must be at least 1, not {classes}")
    size = dimensions.input_size if input_size is None else input_size
    height, width = (size, size) if isinstance(size, int) else size
    if any(side is not None and side < 32 for side in (height, width)):
        raise UsageError(f"input size {height}x{width}: height and width must be at least 32")

    image = keras.Input((height, width, 3), name="image")
    x = backbone(normalize(image), dimensions, activation, squeeze_excite, drop_connect)[-1]
    x = conv(x, dimensions.width, 1, "top_conv")
    x = batch_norm(x, "top_bn")
    x = activate(x, activation, "top_activation")
    x = layers.GlobalAveragePooling2D(name="top_pool")(x)
    if dropout:
        x = layers.Dropout(dropout, name="top_dropout")(x)
    logits = layers.Dense(classes, dtype="float32", name="classifier")(x)
    model = keras.Model(image, logits, name=f"compactefficientnet_{dimensions.name.lower()}")
    if weights is not None:
        load_weights(model, weights)
    return model
