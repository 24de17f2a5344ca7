package ehrnet.posekit

import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertSame
import org.junit.Assert.assertThrows
import org.junit.Test
import kotlin.random.Random

class ProjectionTest {
    @Test
    fun `twice the size, half-pixel centres`() {
        val row = Maps(1, 2, 1, floatArrayOf(0f, 4f))
        assertArrayEquals(floatArrayOf(0f, 1f, 3f, 4f), resize(row, 1, 4).values, 0f)
        val column = Maps(2, 1, 2, floatArrayOf(0f, 1f, 4f, 5f))
        assertArrayEquals(floatArrayOf(0f, 1f, 1f, 2f, 3f, 4f, 4f, 5f), resize(column, 4, 1).values, 0f)
    }

    @Test
    fun `half the size, a third, and one cell`() {
        val maps = Maps(2, 4, 1, floatArrayOf(1f, 2f, 3f, 4f, 5f, 6f, 7f, 8f))
        assertArrayEquals(floatArrayOf(3.5f, 5.5f), resize(maps, 1, 2).values, 0f)
        assertArrayEquals(floatArrayOf(2f, 5f), resize(Maps(1, 6, 1, FloatArray(6) { it + 1f }), 1, 2).values, 0f)
        assertArrayEquals(FloatArray(12) { 7f }, resize(Maps(1, 1, 1, floatArrayOf(7f)), 3, 4).values, 0f)
        assertSame(maps, resize(maps, 2, 4))
    }

    @Test
    fun `a plane stays a plane within the outer centres`() {
        val random = Random(5)
        repeat(50) {
            val (h, w, height, width) = List(4) { 2 + random.nextInt(20) }
            val maps = Maps(h, w, 1, FloatArray(h * w) { it % w + 0.5f - 3 * (it / w + 0.5f) })
            val resized = resize(maps, height, width)
            for (y in 0 until height) {
                for (x in 0 until width) {
                    val column = ((x + 0.5) * w / width).coerceIn(0.5, w - 0.5)
                    val row = ((y + 0.5) * h / height).coerceIn(0.5, h - 0.5)
                    assertEquals(column - 3 * row, resized.values[y * width + x].toDouble(), 1e-4)
                }
            }
        }
    }

    @Test
    fun `stages are averaged at stage 2's size`() {
        val first = Maps(1, 1, 2, floatArrayOf(1f, 3f))
        val second = Maps(1, 2, 2, floatArrayOf(0f, 1f, 4f, 5f))
        val (heatmaps, tags) = project(first, second, Maps(1, 1, 4, floatArrayOf(1f, 2f, 3f, 4f)), 1, 2)
        assertArrayEquals(floatArrayOf(0.5f, 2f, 2.5f, 4f), heatmaps.values, 0f)
        assertArrayEquals(floatArrayOf(1f, 2f, 3f, 4f, 1f, 2f, 3f, 4f), tags.values, 0f)
        assertArrayEquals(floatArrayOf(0f, 1f, 4f, 5f), second.values, 0f)
    }

    @Test
    fun `maps that do not belong together and impossible sizes are refused`() {
        val maps = Maps(2, 2, 2, FloatArray(8))
        for (wrong in listOf(Maps(2, 2, 3, FloatArray(12)), Maps(1, 4, 2, FloatArray(8)))) {
            assertThrows(IllegalArgumentException::class.java) { project(maps, maps, wrong, 4, 4) }
            assertThrows(IllegalArgumentException::class.java) { project(wrong, maps, maps, 4, 4) }
        }
        for (size in listOf(0, -1, 60_000)) {
            assertThrows(IllegalArgumentException::class.java) { project(maps, maps, maps, size, size) }
        }
        assertThrows(IllegalArgumentException::class.java) { Maps(1 shl 16, 1 shl 16, 1, FloatArray(0)) }
    }

    @Test
    fun `cells outside a region are cleared`() {
        val maps = Maps(3, 4, 2, FloatArray(24) { 1f })
        maps.clearOutside(Region(1, 1, 2, 3))
        assertArrayEquals(FloatArray(24) { if (it in 10..13) 1f else 0f }, maps.values, 0f)
        maps.clearOutside(Region(0, 2, 0, 2))
        assertArrayEquals(FloatArray(24), maps.values, 0f)
        assertThrows(IllegalArgumentException::class.java) { maps.clearOutside(Region(0, 0, 3, 5)) }
    }
}
