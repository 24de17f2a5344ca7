"""The few layer groups that the network is made of, as functions over stock Keras layers.

Every function takes a tensor (B, H, W, C) and a name, and returns a tensor. Layer names follow from the position in
the network alone (`stage3_module0_branch1_block0_conv1`), so that importers and quantisation can rely on them.
"""

from __future__ import annotations

from keras import initializers, layers

from ehrnet_tf.errors import UsageError

BN_EPSILON = 1e-5
BN_MOMENTUM = 0.9  # of the running statistics; PyTorch calls this 0.1


ACTIVATIONS = ("swish", "relu", "relu6")
# ImageNet's statistics, for pixels in 0..1 (RGB).
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


def check_activation(kind: str) -> None:
    """Raises UsageError for an activation that is none of `ACTIVATIONS`."""
    if kind not in ACTIVATIONS:
        raise UsageError(f"activation '{kind}': expected one of {', '.join(ACTIVATIONS)}")


def check_rate(name: str, rate: float) -> None:
    """Raises UsageError for a probability that is none, or 1."""
    if not 0 <= rate < 1:
        raise UsageError(f"{name} must lie in 0 .. 1, not {rate}")


def normalize(image):
    """Pixels 0..255 → zero mean and unit variance over ImageNet."""
    return layers.Rescaling(
        [1 / (255 * s) for s in STD], [-m / s for m, s in zip(MEAN, STD, strict=True)], name="normalization"
    )(image)


def activate(x, kind: str, name: str):
    """One of `ACTIVATIONS`."""
    if kind == "relu":
        return layers.ReLU(name=name)(x)
    if kind == "relu6":
        return layers.ReLU(max_value=6.0, name=name)(x)
    return layers.Activation(kind, name=name)(x)


def batch_norm(x, name: str):
    return layers.BatchNormalization(epsilon=BN_EPSILON, momentum=BN_MOMENTUM, name=name)(x)


def conv(x, width: int, kernel: int, name: str, stride: int = 1, bias: bool = False):
    """Convolution with "same" zero padding, placed as PyTorch places it for an odd kernel (p = k // 2 on every side).

    Keras pads a strided convolution over an even size one cell less at the top and left; hence the explicit padding.
    """
    if stride > 1:
        pad = kernel // 2
        x = layers.ZeroPadding2D(((pad, pad - 1), (pad, pad - 1)), name=f"{name}_pad")(x)
    return layers.Conv2D(
        width,
        kernel,
        strides=stride,
        padding="valid" if stride > 1 else "same",
        use_bias=bias,
        kernel_initializer="he_normal",
        name=name,
    )(x)


def basic_block(x, width: int, name: str):
    """Two 3×3 convolutions and the input added to them (ResNet's basic block without projection)."""
    y = conv(x, width, 3, f"{name}_conv1")
    y = batch_norm(y, f"{name}_bn1")
    y = layers.ReLU(name=f"{name}_relu1")(y)
    y = conv(y, width, 3, f"{name}_conv2")
    y = batch_norm(y, f"{name}_bn2")
    y = layers.Add(name=f"{name}_add")([x, y])
    return layers.ReLU(name=f"{name}_relu2")(y)


def squeeze_excite(x, hidden: int, kind: str, name: str):
    """Channel gate from the mean over the map."""
    width = x.shape[-1]
    gate = layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_pool")(x)
    gate = layers.Conv2D(hidden, 1, kernel_initializer="he_normal", name=f"{name}_reduce")(gate)
    gate = activate(gate, kind, f"{name}_activation")
    gate = layers.Conv2D(width, 1, kernel_initializer="glorot_normal", name=f"{name}_expand")(gate)
    gate = layers.Activation("sigmoid", name=f"{name}_gate")(gate)
    return layers.Multiply(name=f"{name}_scale")([x, gate])


def mbconv(
    x, width: int, kernel: int, stride: int, expand: int, kind: str, use_se: bool, drop_connect: float, name: str
):
    """EfficientNet's mobile inverted bottleneck: expand, depthwise, squeeze-excite, project, residual.

    Strided depthwise convolutions pad as EfficientNet and TensorFlow do (the odd cell after), not as `conv`.
    """
    width_in = x.shape[-1]
    y = x
    if expand > 1:
        y = conv(y, width_in * expand, 1, f"{name}_expand_conv")
        y = batch_norm(y, f"{name}_expand_bn")
        y = activate(y, kind, f"{name}_expand_activation")
    y = layers.DepthwiseConv2D(
        kernel,
        strides=stride,
        padding="same",
        use_bias=False,
        depthwise_initializer="he_normal",
        name=f"{name}_depthwise_conv",
    )(y)
    y = batch_norm(y, f"{name}_depthwise_bn")
    y = activate(y, kind, f"{name}_depthwise_activation")
    if use_se:
        y = squeeze_excite(y, max(1, width_in // 4), kind, f"{name}_se")
    y = conv(y, width, 1, f"{name}_project_conv")
    y = batch_norm(y, f"{name}_project_bn")
    if stride == 1 and width == width_in:
        if drop_connect:
            y = layers.Dropout(drop_connect, noise_shape=(None, 1, 1, 1), name=f"{name}_drop")(y)
        y = layers.Add(name=f"{name}_add")([x, y])
    return y


def output_conv(x, width: int, name: str, std: float):
    """The 1×1 convolution that makes maps, in float32 whatever the compute dtype."""
    return layers.Conv2D(
        width, 1, kernel_initializer=initializers.RandomNormal(stddev=std), dtype="float32", name=name
    )(x)
