package ehrnet.posekit

/** The highest peaks of one keypoint, at most [most], in descending order of heat, of equals the first added first. */
internal class Candidates(private val most: Int) {
    /** How many there are. */
    var size = 0
        private set

    /** Index of each one's heat in the heat-maps' values. */
    var cells = IntArray(minOf(most, 16))
        private set

    /** Index of the first of each one's tags in the tags' values. */
    var tags = IntArray(cells.size)
        private set

    var heats = FloatArray(cells.size)
        private set

    /** The person that each one was given to. */
    var owners = IntArray(cells.size)
        private set

    fun clear() {
        size = 0
    }

    /** Drops all but the first [most]. */
    fun keep(most: Int) {
        size = minOf(size, most)
    }

    fun add(cell: Int, tag: Int, heat: Float) {
        if (size == most && heat <= heats[size - 1]) return
        if (size < most && size++ == cells.size) grow()
        var at = size - 1
        while (at > 0 && heats[at - 1] < heat) {
            cells[at] = cells[at - 1]
            tags[at] = tags[at - 1]
            heats[at] = heats[at - 1]
            at--
        }
        cells[at] = cell
        tags[at] = tag
        heats[at] = heat
    }

    private fun grow() {
        val capacity = minOf(most.toLong(), 2L * cells.size).toInt()
        cells = cells.copyOf(capacity)
        tags = tags.copyOf(capacity)
        heats = heats.copyOf(capacity)
        owners = owners.copyOf(capacity)
    }
}
