package ehrnet.posekit

import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Test
import kotlin.random.Random

class AssignmentTest {
    @Test
    fun `the sum counts, not the single cheapest pair`() {
        assertArrayEquals(intArrayOf(1, 0), assign(matrix("1 2", "2 9")))
        assertArrayEquals(intArrayOf(1, 0, 2), assign(matrix("4 1 3", "2 0 5", "3 2 2")))
    }

    @Test
    fun `more columns than rows, more rows than columns, none`() {
        assertArrayEquals(intArrayOf(2), assign(matrix("3 2 1")))
        assertArrayEquals(intArrayOf(-1, 0, -1), assign(matrix("3", "1", "2")))
        assertArrayEquals(intArrayOf(1, -1, 0), assign(matrix("5 1", "5 5", "1 5")))
        assertArrayEquals(IntArray(0), assign(emptyArray()))
        assertArrayEquals(intArrayOf(-1, -1), assign(Array(2) { DoubleArray(0) }))
    }

    @Test
    fun `equal costs give the identity`() {
        assertArrayEquals(intArrayOf(0, 1, 2), assign(Array(3) { DoubleArray(5) { 7.0 } }))
    }

    @Test
    fun `as good as the best of all permutations`() {
        val random = Random(1)
        repeat(500) {
            val cost = randomCost(random, 1 + random.nextInt(5), 1 + random.nextInt(5), if (it % 2 == 0) 3 else 1000)
            val result = assign(cost)
            val used = result.filter { column -> column >= 0 }
            assertEquals(used.size, used.toSet().size)
            assertEquals(minOf(cost.size, cost[0].size), used.size)
            val sum = result.indices.filter { row -> result[row] >= 0 }.sumOf { row -> cost[row][result[row]] }
            assertEquals(leastSum(cost, 0, BooleanArray(cost[0].size), cost.size - used.size), sum, 1e-9)
        }
    }

    @Test
    fun `huge, negative and large problems end`() {
        val random = Random(2)
        assertTrue(assign(randomCost(random, 120, 150, 1_000_000)).all { it >= 0 })
        val mixed = Array(20) { DoubleArray(20) { if (random.nextBoolean()) 1e10 else -random.nextDouble() } }
        assertEquals(20, assign(mixed).toSet().size)
        assertEquals(8, assign(Array(8) { DoubleArray(8) { random.nextDouble() * 1e40 } }).toSet().size)
        assertEquals(8, assign(Array(8) { DoubleArray(8) { (random.nextDouble() - 0.5) * 2e300 } }).toSet().size)
    }

    @Test
    fun `NaN, infinity and ragged rows are refused`() {
        for (bad in listOf(Double.NaN, Double.POSITIVE_INFINITY, Double.NEGATIVE_INFINITY, -1e301)) {
            assertThrows(IllegalArgumentException::class.java) { assign(arrayOf(doubleArrayOf(0.0, bad))) }
        }
        assertThrows(IllegalArgumentException::class.java) { assign(arrayOf(DoubleArray(2), DoubleArray(3))) }
    }

    private fun matrix(vararg rows: String) =
        Array(rows.size) { rows[it].split(" ").map(String::toDouble).toDoubleArray() }

    private fun randomCost(random: Random, rows: Int, columns: Int, most: Int) =
        Array(rows) { DoubleArray(columns) { random.nextInt(-most, most).toDouble() } }

    /** Tries everything; [spare] rows may stay without a column. */
    private fun leastSum(cost: Array<DoubleArray>, row: Int, taken: BooleanArray, spare: Int): Double {
        if (row == cost.size) return 0.0
        var least = if (spare > 0) leastSum(cost, row + 1, taken, spare - 1) else Double.POSITIVE_INFINITY
        for (column in taken.indices.filter { !taken[it] }) {
            taken[column] = true
            least = minOf(least, cost[row][column] + leastSum(cost, row + 1, taken, spare))
            taken[column] = false
        }
        return least
    }
}
