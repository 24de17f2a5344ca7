package ehrnet.posekit

import kotlin.math.abs

/**
 * The optimal assignment of rows to columns: each row to at most one column and the other way round, as many pairs as
 * the shorter side has, with the least sum of costs.
 *
 * Shortest augmenting paths with dual prices: D. F. Crouse, "On implementing 2D rectangular assignment algorithms",
 * IEEE Transactions on Aerospace and Electronic Systems 52 (2016). Of equally good assignments it finds the one that
 * SciPy's `linear_sum_assignment` finds. O(n³).
 *
 * @param cost rows of equal length; may have more or fewer rows than columns, or none.
 * @return the column of each row, -1 for a row that is left over.
 * @throws IllegalArgumentException rows of different lengths, or a cost that is NaN or beyond ±1e300.
 */
fun assign(cost: Array<DoubleArray>): IntArray {
    val rows = cost.size
    val columns = cost.firstOrNull()?.size ?: 0
    for (row in cost) {
        require(row.size == columns) { "cost: rows of $columns and ${row.size} columns; give all the same length" }
        require(row.all { abs(it) <= MOST }) { "cost: holds NaN or more than $MOST; give 1e10 or so to pairs to avoid" }
    }
    if (rows <= columns) return ShortestPaths(cost, columns).solve()

    val transposed = Array(columns) { column -> DoubleArray(rows) { row -> cost[row][column] } }
    val result = IntArray(rows) { -1 }
    ShortestPaths(transposed, rows).solve().forEachIndexed { column, row -> result[row] = column }
    return result
}

private const val MOST = 1e300 // sums of such costs are finite

/** Assigns the rows one after the other, at most as many as there are columns. */
private class ShortestPaths(private val cost: Array<DoubleArray>, private val columns: Int) {
    private val rowPrices = DoubleArray(cost.size)
    private val columnPrices = DoubleArray(columns)
    private val columnOf = IntArray(cost.size) { -1 }
    private val rowOf = IntArray(columns) { -1 }

    // The search from one row: lengths of the paths to the columns, the row before each column, who was visited.
    private val lengths = DoubleArray(columns)
    private val before = IntArray(columns)
    private val waiting = IntArray(columns)
    private val visitedRows = BooleanArray(cost.size)
    private val visitedColumns = BooleanArray(columns)
    private var shortest = 0.0

    fun solve(): IntArray {
        for (row in cost.indices) {
            val end = search(row)
            updatePrices(row)
            augment(row, end)
        }
        return columnOf
    }

    /** Dijkstra's search from a [row] for the free column that lies nearest in reduced costs. */
    private fun search(row: Int): Int {
        var left = columns
        for (i in 0 until columns) waiting[i] = columns - 1 - i // equal costs then give the identity
        lengths.fill(Double.POSITIVE_INFINITY)
        visitedRows.fill(false)
        visitedColumns.fill(false)
        shortest = 0.0
        var from = row
        while (true) {
            visitedRows[from] = true
            var nearest = -1
            var least = Double.POSITIVE_INFINITY
            for (i in 0 until left) {
                val column = waiting[i]
                val length = shortest + cost[from][column] - rowPrices[from] - columnPrices[column]
                if (length < lengths[column]) {
                    lengths[column] = length
                    before[column] = from
                }
                if (lengths[column] < least || lengths[column] == least && rowOf[column] < 0) {
                    least = lengths[column]
                    nearest = i
                }
            }
            shortest = least
            val column = waiting[nearest]
            visitedColumns[column] = true
            if (rowOf[column] < 0) return column
            from = rowOf[column]
            waiting[nearest] = waiting[--left]
        }
    }

    private fun updatePrices(row: Int) {
        rowPrices[row] += shortest
        for (other in cost.indices) {
            if (visitedRows[other] && other != row) rowPrices[other] += shortest - lengths[columnOf[other]]
        }
        for (column in 0 until columns) {
            if (visitedColumns[column]) columnPrices[column] -= shortest - lengths[column]
        }
    }

    private fun augment(row: Int, end: Int) {
        var column = end
        while (true) {
            val owner = before[column]
            rowOf[column] = owner
            val next = columnOf[owner]
            columnOf[owner] = column
            if (owner == row) return
            column = next
        }
    }
}
