package ehrnet.posekit

/**
 * Maps of one picture, as a network gives them: (height, width, channels), row by row, channels last.
 *
 * @property values height x width x channels numbers, not copied.
 */
class Maps(val height: Int, val width: Int, val channels: Int, val values: FloatArray) {
    init {
        require(height > 0 && width > 0 && channels > 0) { "maps of $height x $width x $channels: none may be 0" }
        require(values.size == height * width * channels) {
            "maps of $height x $width x $channels: ${values.size} values given"
        }
    }
}

/** Cells of maps: rows from [top] to [bottom], columns from [left] to [right], the last ones exclusive. */
data class Region(val top: Int, val left: Int, val bottom: Int, val right: Int)
