package ehrnet.posekit

import java.util.Random
import kotlin.math.PI
import org.junit.Assert.assertEquals
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Test

class OneEuroFilterTest {
    @Test
    fun `without beta it is an exponential average of that cutoff`() {
        val filter = OneEuroFilter(minCutoff = 2.0, beta = 0.0)
        assertEquals(5.0, filter.filter(5.0, 10.0), 0.0)
        val share = 1 / (1 + 1 / (2 * PI * 2 * 0.1))
        assertEquals(5 + share, filter.filter(6.0, 10.1), 1e-9)
        assertEquals(5 + share + (1 - share) * share, filter.filter(6.0, 10.2), 1e-9)
    }

    @Test
    fun `steady values and constant ones`() {
        val filter = OneEuroFilter(1.0, 1.0)
        repeat(100) { assertEquals(3.0, filter.filter(3.0, it / 30.0), 0.0) }
    }

    @Test
    fun `speed opens it`() {
        val lags = listOf(0.0, 0.1, 1.0).map { beta ->
            val filter = OneEuroFilter(1.0, beta)
            (0..90).maxOf { 100 * it / 30.0 - filter.filter(100 * it / 30.0, it / 30.0) }
        }
        assertTrue("$lags", lags[0] > 15 && lags[1] < 8 && lags[2] < 4)
    }

    @Test
    fun `a unit is worth as much of speed`() {
        val one = OneEuroFilter(1.0, 0.5)
        val other = OneEuroFilter(1.0, 0.5)
        val random = Random(0)
        repeat(50) {
            val value = random.nextDouble()
            assertEquals(200 * one.filter(value, it / 30.0), other.filter(200 * value, it / 30.0, unit = 200.0), 1e-9)
        }
    }

    @Test
    fun `time that stands still or runs back starts it anew`() {
        val filter = OneEuroFilter(1.0, 0.0)
        filter.filter(0.0, 5.0)
        assertEquals(7.0, filter.filter(7.0, 5.0), 0.0)
        assertEquals(9.0, filter.filter(9.0, 1.0), 0.0)
        assertTrue(filter.filter(19.0, 1.01) in 9.0..11.0)
        filter.reset()
        assertEquals(4.0, filter.filter(4.0, 1.02), 0.0)
    }

    @Test
    fun `impossible cutoffs are refused`() {
        assertThrows(IllegalArgumentException::class.java) { OneEuroFilter(0.0, 1.0) }
        assertThrows(IllegalArgumentException::class.java) { OneEuroFilter(1.0, -1.0) }
        assertThrows(IllegalArgumentException::class.java) { OneEuroFilter(1.0, 1.0, Double.NaN) }
    }
}
