"""HRNet's parallel branches and the exchange between them."""

from __future__ import annotations

from keras import layers

from ehrnet_tf.models.layers import basic_block, batch_norm, conv

BLOCKS_PER_BRANCH = 2


def transition(inputs: list, widths: tuple[int, ...], stage: int) -> list:
    """3×3 convolution, BN, ReLU for every branch that enters a stage; the newest branch comes from the backbone."""
    outputs = []
    for b, (x, width) in enumerate(zip(inputs, widths, strict=True)):
        name = f"transition{stage - 1}_branch{b}"
        x = conv(x, width, 3, f"{name}_conv", bias=True)
        x = batch_norm(x, f"{name}_bn")
        outputs.append(layers.ReLU(name=f"{name}_relu")(x))
    return outputs


def _resample(x, source: int, target: int, widths: tuple[int, ...], name: str):
    """Branch ``source``'s map at branch ``target``'s resolution and width."""
    if source > target:
        x = conv(x, widths[target], 1, f"{name}_conv")
        x = batch_norm(x, f"{name}_bn")
        return layers.UpSampling2D(2 ** (source - target), interpolation="nearest", name=f"{name}_up")(x)
    for step in range(target - source):
        last = step == target - source - 1
        x = conv(x, widths[target] if last else widths[source], 3, f"{name}_conv{step}", stride=2)
        x = batch_norm(x, f"{name}_bn{step}")
        if not last:
            x = layers.ReLU(name=f"{name}_relu{step}")(x)
    return x


def fusion_module(branches: list, widths: tuple[int, ...], name: str, outputs: int | None = None) -> list:
    """Two basic blocks on every branch, then every output branch is the ReLU of the sum of all, resampled.

    Args:
      branches: maps at strides 4, 8, ...
      widths: their channels.
      name: prefix of the layer names.
      outputs: how many branches (from the finest) to give; None: all.
    """
    for b, width in enumerate(widths):
        for k in range(BLOCKS_PER_BRANCH):
            branches = [
                *branches[:b],
                basic_block(branches[b], width, f"{name}_branch{b}_block{k}"),
                *branches[b + 1 :],
            ]
    fused = []
    for target in range(len(widths) if outputs is None else outputs):
        parts = [
            x if source == target else _resample(x, source, target, widths, f"{name}_fuse{target}_from{source}")
            for source, x in enumerate(branches)
        ]
        total = layers.Add(name=f"{name}_fuse{target}_add")(parts)
        fused.append(layers.ReLU(name=f"{name}_fuse{target}_relu")(total))
    return fused


def fusion_stages(taps: list, widths: tuple[int, ...], modules: tuple[int, int, int]):
    """Stages 2 to 4: (taps at strides 4 ... 32) → the finest branch, (B, H/4, W/4, widths[0])."""
    branches = taps[:1]
    for stage, count in zip((2, 3, 4), modules, strict=True):
        branches = transition([*branches, taps[stage - 1]], widths[:stage], stage)
        for m in range(count):
            final = stage == 4 and m == count - 1
            branches = fusion_module(branches, widths[:stage], f"stage{stage}_module{m}", 1 if final else None)
    return branches[0]
