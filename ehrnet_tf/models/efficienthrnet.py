"""EfficientHRNet as one flat functional Keras model (arXiv 2007.08090)."""

from __future__ import annotations

import os

import keras

from ehrnet_tf import keypoints as keypoint_sets
from ehrnet_tf.errors import UsageError
from ehrnet_tf.keypoints import KeypointSet
from ehrnet_tf.models.efficientnet import backbone
from ehrnet_tf.models.fusion import fusion_stages
from ehrnet_tf.models.head import check_upsampling, head
from ehrnet_tf.models.layers import check_activation, check_rate, normalize
from ehrnet_tf.models.scaling import scale
from ehrnet_tf.models.weights import load_backbone, load_weights

STRIDE = 32  # height and width must be multiples of it


def EfficientHRNet(
    variant: str | float = "H-2",
    input_size: int | tuple[int | None, int | None] | None = None,
    keypoints: str | os.PathLike | KeypointSet = "coco",
    activation: str | None = None,
    squeeze_excite: bool | None = None,
    width_divisor: int | None = None,
    upsampling: str | None = None,
    tags_on_both_stages: bool = False,
    drop_connect: float = 0.2,
    weights: str | os.PathLike | None = None,
    backbone_weights: str | os.PathLike | keras.Model | None = None,
) -> keras.Model:
    """Builds an EfficientHRNet.

    Args:
      variant: "H0", "H-1", "H-2", "H-3", "H-4" as published; "E0" ... "E-4", the same of parts that integer and mobile
        hardware runs well; any other "H<phi>" or "E<phi>" by the same formulas.
      input_size: pixels, one number for a square or (height, width), multiples of 32; (None, None) accepts any such
        size at run time; None: the variant's own.
      keypoints: a built-in set's name, a YAML file, or a KeypointSet; decides the number K of map channels.
      activation: of the backbone: "swish" (H), "relu" or "relu6" (E); None: the family's, as for the next three.
      squeeze_excite: whether the backbone's blocks have their channel gates (H: yes, E: no).
      width_divisor: branch widths are rounded to multiples of this (H: 1, E: 8).
      upsampling: in the head: "transposed" (H): a transposed convolution; "resize" (E): nearest neighbours between
        two convolutions.
      tags_on_both_stages: tag maps at 1/2 as well, as the released checkpoints have.
      drop_connect: probability with which a residual block is skipped in training (published: 0.2).
      weights: a `.keras` or `.weights.h5` file to load.
      backbone_weights: whose backbone to load: a `CompactEfficientNet`, another `EfficientHRNet`, or its file, such as
        `ehrnet pretrain` writes (see `models.weights.load_backbone`).

    Returns:
      A functional `keras.Model`. Input: (B, H, W, 3) RGB, float32 or uint8, 0..255; normalisation is inside.
      Outputs, float32: {"heatmaps_4": (B, H/4, W/4, K), "tags": (B, H/4, W/4, K), "heatmaps_2": (B, H/2, W/2, K)},
      and "tags_2": (B, H/2, W/2, K) with ``tags_on_both_stages``.

    Raises:
      UsageError: an argument that cannot be used, such as a size that is not a multiple of 32.
      ModelFileError: ``weights`` or ``backbone_weights`` is missing or does not fit.
    """
    dimensions = scale(variant, width_divisor)
    points = keypoint_sets.load(keypoints)
    family = dimensions.family
    activation = family.activation if activation is None else activation
    squeeze_excite = family.squeeze_excite if squeeze_excite is None else squeeze_excite
    upsampling = family.upsampling if upsampling is None else upsampling
    check_activation(activation)
    check_upsampling(upsampling)
    check_rate("drop_connect", drop_connect)
    height, width = check_size(dimensions.input_size if input_size is None else input_size)

    # 1. Pixels
    image = keras.Input((height, width, 3), name="image")
    x = normalize(image)
    # 2. Backbone: four maps at strides 4, 8, 16, 32
    taps = backbone(x, dimensions, activation, squeeze_excite, drop_connect)
    # 3. Parallel branches, fused again and again
    x = fusion_stages(taps, dimensions.branch_widths, dimensions.modules)
    # 4. Heat-maps and tags
    outputs = head(x, len(points), dimensions.branch_widths[0], upsampling, tags_on_both_stages)

    model = keras.Model(image, outputs, name=f"efficienthrnet_{dimensions.name.lower()}")
    if backbone_weights is not None:
        load_backbone(model, backbone_weights)
    if weights is not None:
        load_weights(model, weights)
    return model


def check_size(size: int | tuple[int | None, int | None]) -> tuple[int | None, int | None]:
    """(height, width) of an input size given as one number or a pair.

    Raises:
      UsageError: a side is not a positive multiple of 32.
    """
    height, width = (size, size) if isinstance(size, int) else tuple(size)
    for side in (height, width):
        if side is not None and (side < STRIDE or side % STRIDE):
            below = max(STRIDE, side // STRIDE * STRIDE)
            raise UsageError(
                f"input size {height}x{width}: height and width must be multiples of {STRIDE} "
                f"(near {side}: {below} or {below + STRIDE})"
            )
    return height, width
