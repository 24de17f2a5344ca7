"""HigherHRNet's head: heat-maps and tags at 1/4, heat-maps once more at 1/2."""

from __future__ import annotations

from keras import layers

from ehrnet_tf.errors import UsageError
from ehrnet_tf.models.layers import basic_block, batch_norm, conv, output_conv

BLOCKS = 2
HEATMAP_STD = 1e-3  # initial heat-maps near 0, where almost all of the target is
TAG_STD = 1e-2
UPSAMPLINGS = ("transposed", "resize")


def check_upsampling(kind: str) -> None:
    """Raises UsageError for an upsampling that is none of `UPSAMPLINGS`."""
    if kind not in UPSAMPLINGS:
        raise UsageError(f"upsampling '{kind}': expected one of {', '.join(UPSAMPLINGS)}")


def upsample(x, width: int, kind: str):
    """(B, H, W, C) → (B, 2 H, 2 W, width), by one of `UPSAMPLINGS`; batch norm and ReLU follow."""
    if kind == "transposed":
        x = layers.Conv2DTranspose(
            width, 4, strides=2, padding="same", use_bias=False, kernel_initializer="he_normal", name="head_deconv"
        )(x)
        x = batch_norm(x, "head_deconv_bn")
        return layers.ReLU(name="head_deconv_relu")(x)
    x = conv(x, width, 1, "head_reduce_conv")  # at the lower resolution, where it is cheap
    x = batch_norm(x, "head_reduce_bn")
    x = layers.ReLU(name="head_reduce_relu")(x)
    x = layers.UpSampling2D(2, interpolation="nearest", name="head_resize")(x)
    x = conv(x, width, 3, "head_resize_conv")
    x = batch_norm(x, "head_resize_bn")
    return layers.ReLU(name="head_resize_relu")(x)


def head(x, keypoints: int, width: int, upsampling: str = "transposed", tags_on_both_stages: bool = False) -> dict:
    """(B, H/4, W/4, width) → {"heatmaps_4", "tags", "heatmaps_2"} and, if asked for, "tags_2".

    Heat-maps and tags come from separate convolutions: one tensor for both would share one int8 range.
    """
    outputs = {
        "heatmaps_4": output_conv(x, keypoints, "head_heatmaps_4", HEATMAP_STD),
        "tags": output_conv(x, keypoints, "head_tags", TAG_STD),
    }
    x = layers.Concatenate(name="head_concat")([x, outputs["heatmaps_4"], outputs["tags"]])
    x = upsample(x, width, upsampling)
    for k in range(BLOCKS):
        x = basic_block(x, width, f"head_block{k}")
    outputs["heatmaps_2"] = output_conv(x, keypoints, "head_heatmaps_2", HEATMAP_STD)
    if tags_on_both_stages:
        outputs["tags_2"] = output_conv(x, keypoints, "head_tags_2", TAG_STD)
    return outputs
