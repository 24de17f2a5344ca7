package ehrnet.posekit

/**
 * The highest of many values, equal ones in the order in which the reference happens to take them.
 *
 * The order of equal candidates decides which of them opens a person. The reference's is that of `torch.topk` on a CPU,
 * `std::partial_sort`: a heap of the first values in which every higher value replaces the lowest. Elements move as in
 * Python's heapq, which the Python decoder uses; `java.util.PriorityQueue` moves equal ones otherwise.
 */
internal class HeapOrder(private val count: Int) {
    private val heats = FloatArray(count)
    private val cells = IntArray(count)
    private var size = 0

    /** The lowest value that a further one has to exceed. */
    val lowest: Float get() = if (size < count) Float.NEGATIVE_INFINITY else heats[0]

    /** Takes the value of one more cell. */
    fun offer(heat: Float, cell: Int) {
        if (size < count) {
            heats[size] = heat
            cells[size++] = cell
            if (size == count) for (i in count / 2 - 1 downTo 0) sink(i, heats[i], cells[i])
        } else if (heat > heats[0]) {
            sink(0, heat, cell)
        }
    }

    /** The cells of the values held, of which there must be [count], the highest first; empties the heap. */
    fun drain(): IntArray {
        val order = IntArray(count)
        for (i in count - 1 downTo 0) {
            order[i] = cells[0]
            size--
            if (size > 0) sink(0, heats[size], cells[size])
        }
        return order
    }

    /** Puts an element in the place of the one at [start]: down to a leaf along the lower children, then up again. */
    private fun sink(start: Int, heat: Float, cell: Int) {
        var at = start
        while (2 * at + 1 < size) {
            var child = 2 * at + 1
            if (child + 1 < size && heats[child] >= heats[child + 1]) child++
            move(child, at)
            at = child
        }
        while (at > start && heat < heats[(at - 1) / 2]) {
            move((at - 1) / 2, at)
            at = (at - 1) / 2
        }
        heats[at] = heat
        cells[at] = cell
    }

    private fun move(from: Int, to: Int) {
        heats[to] = heats[from]
        cells[to] = cells[from]
    }
}
