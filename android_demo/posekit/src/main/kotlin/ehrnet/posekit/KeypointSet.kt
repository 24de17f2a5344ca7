package ehrnet.posekit

/** Two keypoints, by their indices. */
data class Limb(val a: Int, val b: Int)

/**
 * A set of K keypoints, as a model file describes it; the same as `ehrnet_tf.keypoints.KeypointSet`.
 *
 * @property name the set's name ("coco").
 * @property category what carries these keypoints ("person").
 * @property names K different keypoint names, in the order of the network's channels.
 * @property flipPairs keypoints that change places in a mirrored picture.
 * @property skeleton keypoints that are joined by a drawn limb.
 * @property sigmas K constants of COCO's object keypoint similarity.
 * @property grouping the K indices in the order in which the decoder visits them.
 * @property colors K colours 0xRRGGBB to draw with, null where [limbColor] chooses by the side of the body.
 * @throws IllegalArgumentException if these do not belong together.
 */
class KeypointSet(
    val name: String,
    val category: String,
    val names: List<String>,
    val flipPairs: List<Limb>,
    val skeleton: List<Limb>,
    val sigmas: FloatArray,
    val grouping: IntArray,
    val colors: List<Int?> = List(names.size) { null },
) {
    init {
        require(names.isNotEmpty()) { "keypoints: none is named" }
        val double = names.groupingBy { it }.eachCount().entries.firstOrNull { it.value > 1 }
        require(double == null) { "keypoint '${double?.key}' is listed twice; give each a name of its own" }
        checkLimbs("flip_pairs", flipPairs)
        checkLimbs("skeleton", skeleton)
        require(flipPairs.flatMap { listOf(it.a, it.b) }.let { it.size == it.toSet().size }) {
            "flip_pairs name a keypoint more than once; a keypoint has one mirror image"
        }
        require(sigmas.size == size && sigmas.all { it > 0 && it.isFinite() }) {
            "sigmas must be $size positive numbers, one a keypoint"
        }
        require(grouping.sorted() == names.indices.toList()) { "grouping must name each of the $size keypoints once" }
        require(colors.size == size && colors.all { it == null || it in 0..0xFFFFFF }) {
            "colors must be $size colours from 0 to 0xFFFFFF, or null"
        }
    }

    /** K. */
    val size: Int get() = names.size

    /**
     * The colour, 0xRRGGBB, of the limb between two keypoints, or of one keypoint if [a] and [b] are the same.
     *
     * The mean of the ends' colours. Where neither end has a colour of its own: that of the side of the body, which
     * names beginning with left_ and right_ tell; the side's as well if the other end is in the centre.
     */
    fun limbColor(a: Int, b: Int): Int {
        val sideA = sideColor(names[a])
        val sideB = sideColor(names[b])
        if (colors[a] == null && colors[b] == null) {
            return when {
                sideA == sideB || sideB == CENTRE -> sideA
                sideA == CENTRE -> sideB
                else -> CENTRE
            }
        }
        return mean(colors[a] ?: sideA, colors[b] ?: sideB)
    }

    private fun checkLimbs(what: String, limbs: List<Limb>) {
        for ((a, b) in limbs) {
            require(a in names.indices && b in names.indices) { "$what: no keypoints $a and $b among $size" }
            require(a != b) { "$what pairs '${names[a]}' with itself; name two keypoints, or leave the pair out" }
        }
    }

    companion object {
        // As in ehrnet_tf/drawing.py: left and right from the palette of Okabe and Ito, "Color Universal Design", 2008.
        const val LEFT = 0x56B4E9
        const val RIGHT = 0xF09114
        const val CENTRE = 0xFFF0C3

        private fun sideColor(name: String): Int = when {
            name.startsWith("left_", ignoreCase = true) -> LEFT
            name.startsWith("right_", ignoreCase = true) -> RIGHT
            else -> CENTRE
        }

        /** The mean of two colours, halves rounded to even as Python does. */
        private fun mean(a: Int, b: Int): Int {
            var color = 0
            for (shift in intArrayOf(16, 8, 0)) {
                val sum = (a shr shift and 0xFF) + (b shr shift and 0xFF)
                color = color shl 8 or Math.rint(sum / 2.0).toInt()
            }
            return color
        }
    }
}
