"""The EfficientNet backbone, compact ones included."""

from __future__ import annotations

from keras import layers

from ehrnet_tf.models.layers import activation, batch_norm, mbconv
from ehrnet_tf.models.scaling import Scale


def backbone(x, scale: Scale, kind: str = "swish", use_se: bool = True, drop_connect: float = 0.2) -> list:
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
    x = activation(x, kind, "backbone_stem_activation")
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
