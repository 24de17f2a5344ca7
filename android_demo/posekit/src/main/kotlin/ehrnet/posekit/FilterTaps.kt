package ehrnet.posekit

import kotlin.math.floor

/**
 * Along one axis, the source pixels that each output pixel is the weighted mean of: those of bilinear sampling at the
 * output pixel's centre, with 0 beyond the picture. Below half the size it is not source pixels that are sampled but
 * means of equal parts of the axis, about two for an output pixel (`ehrnet_tf.runtime.letterbox.warp`).
 *
 * Output pixel o is made of [count]`[o]` source pixels from [first]`[o]` on, with [weights] from [offset]`[o]` on. The
 * weights of an output pixel add up to 2^[BITS], or less at the picture's edges, where black mixes in.
 *
 * @param imageSize pixels of the picture.
 * @param inputSize pixels of the output.
 * @param scale output pixels a source pixel.
 * @param origin where the picture's edge lies in the output.
 */
internal class FilterTaps(private val imageSize: Int, inputSize: Int, scale: Double, origin: Double) {
    val first = IntArray(inputSize)
    val count = IntArray(inputSize)
    val offset = IntArray(inputSize)
    val weights: IntArray

    /** The most source pixels for an output pixel, at least 1. */
    val most: Int get() = count.max().coerceAtLeast(1)

    private val parts = if (scale < 0.5) maxOf(1, Math.rint(2 * scale * imageSize).toInt()) else imageSize
    private val share = DoubleArray(imageSize) // of the output pixel at hand

    init {
        val all = ArrayList<Int>()
        val perPart = scale * imageSize / parts
        for (o in 0 until inputSize) {
            val place = (o + 0.5 - origin) / perPart - 0.5
            val before = floor(place).toInt()
            addPart(before, 1 - (place - before))
            addPart(before + 1, place - before)
            offset[o] = all.size
            takeShares(o, all)
        }
        weights = all.toIntArray()
    }

    /** Adds a part of the axis, weighted; each source pixel counts by how much of it lies in the part. */
    private fun addPart(part: Int, weight: Double) {
        if (part !in 0 until parts || weight <= 0) return
        val size = imageSize.toDouble() / parts
        val start = part * size
        val end = start + size
        for (i in start.toInt()..minOf(end.toInt(), imageSize - 1)) {
            val overlap = minOf(end, i + 1.0) - maxOf(start, i.toDouble())
            if (overlap > 0) share[i] += weight * overlap / size
        }
    }

    /** Turns the shares into whole weights, whose sum is right though each is rounded, and clears them. */
    private fun takeShares(o: Int, all: MutableList<Int>) {
        val from = share.indexOfFirst { it > SMALLEST }
        if (from >= 0) {
            val to = share.indexOfLast { it > SMALLEST }
            first[o] = from
            count[o] = to - from + 1
            var exact = 0.0
            var given = 0
            for (i in from..to) {
                exact += share[i]
                val weight = Math.rint(exact * (1 shl BITS)).toInt() - given
                all += weight
                given += weight
            }
        }
        share.fill(0.0)
    }

    companion object {
        /** Bits of a weight. */
        const val BITS = 11
        private const val SMALLEST = 1e-6
    }
}
