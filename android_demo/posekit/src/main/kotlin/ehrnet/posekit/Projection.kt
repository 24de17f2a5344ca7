package ehrnet.posekit

import kotlin.math.floor

/**
 * Resizes maps bilinearly, with half-pixel centres and no smoothing before a reduction, as OpenCV's `INTER_LINEAR`.
 *
 * @return maps of [height] x [width] cells; [maps] themselves if they have that size.
 * @throws IllegalArgumentException a size below 1 or too large.
 */
fun resize(maps: Maps, height: Int, width: Int): Maps {
    require(height > 0 && width > 0) { "size $height x $width: height and width must be at least 1 cell" }
    if (maps.height == height && maps.width == width) return maps
    val size = height.toLong() * width * maps.channels
    require(size <= Int.MAX_VALUE) { "size $height x $width x ${maps.channels}: too large for one array" }

    val rows = Axis(maps.height, height)
    val columns = Axis(maps.width, width)
    val result = FloatArray(size.toInt())
    var above = StretchedRow(maps, columns)
    var below = StretchedRow(maps, columns)
    for (y in 0 until height) {
        val first = rows.lower[y]
        if (below.row == first) above = below.also { below = above }
        above.read(first)
        below.read(rows.upper[y])
        blend(above.values, below.values, rows.weight[y], result, y * above.values.size)
    }
    return Maps(height, width, maps.channels, result)
}

/**
 * Joins the two stages of one picture and projects them to the network input's resolution, without flip: heat-maps are
 * the mean of both stages, tags come from stage 1; what is of stage 1 is first resized to stage 2's size, then
 * everything to the result's. The twin of `ehrnet_tf.decoding.project`.
 *
 * Source: the test procedure of HigherHRNet (MIT), `get_multi_stage_outputs` and `aggregate_results`.
 *
 * @param heatmaps4 (h4, w4, K), stage 1.
 * @param heatmaps2 (h2, w2, K), stage 2.
 * @param tags (h4, w4, K·T), stage 1.
 * @param height of the result in cells, normally the network input's.
 * @param width of the result in cells.
 * @return new heat-maps (height, width, K), and tags (height, width, K·T).
 * @throws IllegalArgumentException the shapes do not belong together, or a size is not positive or too large.
 */
fun project(heatmaps4: Maps, heatmaps2: Maps, tags: Maps, height: Int, width: Int): Pair<Maps, Maps> {
    require(
        heatmaps4.channels == heatmaps2.channels && tags.channels % heatmaps4.channels == 0 &&
            heatmaps4.height == tags.height && heatmaps4.width == tags.width,
    ) {
        "heatmaps_4 ${heatmaps4.shape}, heatmaps_2 ${heatmaps2.shape}, tags ${tags.shape}: " +
            "give (h4, w4, K), (h2, w2, K) and (h4, w4, K·T)"
    }
    val first = resize(heatmaps4, heatmaps2.height, heatmaps2.width).values
    val second = heatmaps2.values
    val mean = FloatArray(second.size) { (first[it] + second[it]) / 2 }
    val heatmaps = Maps(heatmaps2.height, heatmaps2.width, heatmaps2.channels, mean)
    val middle = resize(tags, heatmaps2.height, heatmaps2.width)
    return resize(heatmaps, height, width) to resize(middle, height, width)
}

/** Where the cells of a resized axis lie in the original: between [lower] and [upper], [weight] of the way. */
private class Axis(from: Int, to: Int) {
    val lower = IntArray(to)
    val upper = IntArray(to)
    val weight = FloatArray(to)

    init {
        val step = from.toDouble() / to
        for (i in 0 until to) {
            val place = ((i + 0.5) * step - 0.5).toFloat()
            val cell = floor(place)
            lower[i] = cell.toInt().coerceIn(0, from - 1)
            upper[i] = (cell.toInt() + 1).coerceIn(0, from - 1)
            weight[i] = place - cell
        }
    }
}

/** One row of [maps], resized along x. */
private class StretchedRow(private val maps: Maps, private val columns: Axis) {
    val values = FloatArray(columns.lower.size * maps.channels)

    /** The row of the maps that [values] hold. */
    var row = -1
        private set

    fun read(row: Int) {
        if (row == this.row) return
        this.row = row
        val channels = maps.channels
        val begin = row * maps.width * channels
        var at = 0
        for (x in columns.lower.indices) {
            val left = begin + columns.lower[x] * channels
            val right = begin + columns.upper[x] * channels
            mix(maps.values, left, right, columns.weight[x], values, at, channels)
            at += channels
        }
    }
}

/** [count] values of [from], between those at [left] and those at [right]. */
private fun mix(from: FloatArray, left: Int, right: Int, weight: Float, to: FloatArray, at: Int, count: Int) {
    val other = 1 - weight
    for (i in 0 until count) to[at + i] = from[left + i] * other + from[right + i] * weight
}

private fun blend(above: FloatArray, below: FloatArray, weight: Float, to: FloatArray, at: Int) {
    val other = 1 - weight
    for (i in above.indices) to[at + i] = above[i] * other + below[i] * weight
}
