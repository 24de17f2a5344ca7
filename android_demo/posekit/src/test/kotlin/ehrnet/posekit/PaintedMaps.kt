package ehrnet.posekit

import kotlin.math.exp

/** Maps of made-up people for tests: heat 0 and tags 0 to begin with. */
internal class PaintedMaps(
    private val height: Int,
    private val width: Int,
    private val keypoints: Int,
    private val dimensions: Int = 1,
    private val coarser: Int = 1,
) {
    val heatmaps = emptyMaps(height, width, keypoints)
    val tags = emptyMaps(height / coarser, width / coarser, keypoints * dimensions)

    /** Draws a Gaussian of sigma 2 at x, y in the continuous frame, with a tag on the cells around it. */
    fun draw(keypoint: Int, x: Double, y: Double, heat: Double = 1.0, tag: Float = 0f) {
        for (row in 0 until height) {
            for (column in 0 until width) {
                val dx = column + 0.5 - x
                val dy = row + 0.5 - y
                val square = dx * dx + dy * dy
                val at = (row * width + column) * keypoints + keypoint
                heatmaps.values[at] = maxOf(heatmaps.values[at], (heat * exp(-square / 8)).toFloat())
                if (square < 16) setTag(keypoint, row / coarser, column / coarser, tag)
            }
        }
    }

    private fun setTag(keypoint: Int, row: Int, column: Int, tag: Float) {
        val first = ((row * tags.width + column) * keypoints + keypoint) * dimensions
        for (t in 0 until dimensions) tags.values[first + t] = tag
    }
}

private fun emptyMaps(height: Int, width: Int, channels: Int) =
    Maps(height, width, channels, FloatArray(height * width * channels))
