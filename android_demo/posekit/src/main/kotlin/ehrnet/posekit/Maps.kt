package ehrnet.posekit

/**
 * Maps of one picture, as a network gives them: (height, width, channels), row by row, channels last.
 *
 * @property values height x width x channels numbers, not copied.
 */
class Maps(val height: Int, val width: Int, val channels: Int, val values: FloatArray) {
    init {
        require(height > 0 && width > 0 && channels > 0) { "maps of $height x $width x $channels: none may be 0" }
        require(values.size.toLong() == height.toLong() * width * channels) {
            "maps of $height x $width x $channels: ${values.size} values given"
        }
    }

    /**
     * Sets every cell outside [region] to 0, in place.
     *
     * @throws IllegalArgumentException [region] does not lie in the maps.
     */
    fun clearOutside(region: Region) {
        region.requireWithin(this)
        val row = width * channels
        values.fill(0f, 0, region.top * row)
        values.fill(0f, region.bottom * row, values.size)
        for (y in region.top until region.bottom) {
            values.fill(0f, y * row, y * row + region.left * channels)
            values.fill(0f, y * row + region.right * channels, (y + 1) * row)
        }
    }

    internal fun requireFinite(name: String) {
        var finite = true
        for (value in values) if (!value.isFinite()) finite = false
        requireFinite(finite, name)
    }
}

/** Cells of maps: rows from [top] to [bottom], columns from [left] to [right], the last ones exclusive. */
data class Region(val top: Int, val left: Int, val bottom: Int, val right: Int) {
    internal fun requireWithin(maps: Maps) {
        require(top in 0..bottom && bottom <= maps.height && left in 0..right && right <= maps.width) {
            "region ($top, $left, $bottom, $right): not top, left, bottom, right within " +
                "${maps.height} x ${maps.width} cells"
        }
    }
}

internal fun requireFinite(finite: Boolean, name: String) = require(finite) {
    "$name: hold NaN or infinity (does the model overflow in float16, or has it diverged?)"
}

/** Checks that [grouping] holds each of 0 to K - 1 once, and copies it. */
internal fun checkedGrouping(grouping: IntArray): IntArray {
    require(grouping.isNotEmpty() && grouping.sorted() == grouping.indices.toList()) {
        "grouping ${grouping.toList()}: must hold each of 0 to ${grouping.size - 1} once"
    }
    return grouping.copyOf()
}

/** Checks that [heatmaps] (H, W, K) and [tags] (h, w, K·T) have K = [keypoints], and gives T. */
internal fun tagDimensions(heatmaps: Maps, tags: Maps, keypoints: Int): Int {
    require(heatmaps.channels == keypoints && tags.channels % keypoints == 0) {
        "heatmaps ${heatmaps.shape}, tags ${tags.shape}: " +
            "give (H, W, $keypoints) and (h, w, $keypoints) or a multiple of $keypoints channels of tags"
    }
    return tags.channels / keypoints
}

internal val Maps.shape: String get() = "($height, $width, $channels)"
