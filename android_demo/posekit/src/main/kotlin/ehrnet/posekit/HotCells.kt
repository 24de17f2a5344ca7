package ehrnet.posekit

/** The cells of one keypoint whose heat exceeds the threshold, row by row. */
internal class HotCells {
    /** How many there are. */
    var size = 0
        private set

    /** Index of each one's heat in the heat-maps' values. */
    var cells = IntArray(256)
        private set

    /** Index of the first of each one's tags in the tags' values. */
    var tags = IntArray(256)
        private set

    fun clear() {
        size = 0
    }

    fun add(cell: Int, tag: Int) {
        if (size == cells.size) {
            cells = cells.copyOf(2 * size)
            tags = tags.copyOf(2 * size)
        }
        cells[size] = cell
        tags[size] = tag
        size++
    }
}
