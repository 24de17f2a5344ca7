package ehrnet.posekit

import com.sun.management.ThreadMXBean
import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Test
import java.lang.management.ManagementFactory

class LiveDecoderTest {
    private val order = intArrayOf(0, 1, 2)

    /** Two people of three keypoints, left and right of column 20; the second lacks keypoint 2. */
    private fun twoPeople(dimensions: Int = 1, coarser: Int = 1) = PaintedMaps(40, 40, 3, dimensions, coarser).apply {
        draw(0, 8.3, 9.7, 0.9)
        draw(1, 10.02, 20.5, 0.5)
        draw(2, 7.5, 30.99, 0.6)
        draw(0, 30.85, 8.15, 0.8, tag = 5f)
        draw(1, 28.6, 21.4, 0.75, tag = 5f)
    }

    @Test
    fun `two people, in the order of opening, between the cells`() {
        for ((dimensions, coarser) in listOf(1 to 1, 1 to 2, 2 to 1, 3 to 4)) {
            val canvas = twoPeople(dimensions, coarser)
            val people = LiveDecoder(DecoderSettings(), order).decode(canvas.heatmaps, canvas.tags)
            assertEquals(2, people.size)
            assertArrayEquals(floatArrayOf(8.3f, 9.7f), floatArrayOf(people[0].x(0), people[0].y(0)), 0.01f)
            assertArrayEquals(floatArrayOf(7.5f, 30.99f), floatArrayOf(people[0].x(2), people[0].y(2)), 0.01f)
            assertArrayEquals(floatArrayOf(28.6f, 21.4f), floatArrayOf(people[1].x(1), people[1].y(1)), 0.01f)
            assertEquals(0f, people[1].score(2))
            assertEquals((people[1].score(0) + people[1].score(1)) / 3, people[1].score, 1e-6f)
            assertEquals(0.8f, people[1].score(0), 0.03f)
        }
    }

    @Test
    fun `a lacking keypoint is found among hot cells of the person's tag`() {
        val canvas = twoPeople()
        canvas.draw(2, 30.5, 30.5, 0.05, tag = 5f) // no candidate at the usual threshold
        for ((threshold, score) in listOf(0.1f to 0f, 0.04f to 0.05f)) {
            // Above the threshold, yet next to a higher cell: no peak.
            canvas.heatmaps.values[(31 * 40 + 29) * 3 + 2] = 0.06f
            canvas.tags.values[(31 * 40 + 29) * 3 + 2] = 50f
            val settings = DecoderSettings(threshold = threshold)
            val people = LiveDecoder(settings, order).decode(canvas.heatmaps, canvas.tags)
            val unrefined = LiveDecoder(settings.copy(refine = false), order).decode(canvas.heatmaps, canvas.tags)
            assertEquals(score, people[1].score(2), 0.001f)
            assertEquals(0f, unrefined[1].score(2))
            assertEquals(people[1].score, unrefined[1].score)
        }
    }

    @Test
    fun `what lies outside the region is empty`() {
        val canvas = twoPeople()
        val decoder = LiveDecoder(DecoderSettings(), order)
        val right = decoder.decode(canvas.heatmaps, canvas.tags, Region(0, 20, 40, 40))
        assertEquals(1, right.size)
        assertEquals(30.85f, right[0].x(0), 0.01f)
        assertTrue(decoder.decode(canvas.heatmaps, canvas.tags, Region(5, 20, 5, 20)).isEmpty())

        val cleared = twoPeople()
        cleared.heatmaps.clearOutside(Region(0, 20, 40, 40))
        assertSame(right, decoder.decode(cleared.heatmaps, cleared.tags))
    }

    @Test
    fun `what is not in maps of one picture is refused, in one line`() {
        val canvas = twoPeople()
        val decoder = LiveDecoder(DecoderSettings(), order)
        for ((heatmaps, tags, region) in listOf(
            Triple(canvas.heatmaps, canvas.tags, Region(0, 0, 41, 40)),
            Triple(canvas.heatmaps, canvas.tags, Region(-1, 0, 40, 40)),
            Triple(canvas.heatmaps, canvas.tags, Region(30, 0, 20, 40)),
            Triple(canvas.heatmaps, Maps(2, 2, 4, FloatArray(16)), null),
            Triple(Maps(2, 2, 4, FloatArray(16)), canvas.tags, null),
        )) {
            val error = assertThrows(IllegalArgumentException::class.java) { decoder.decode(heatmaps, tags, region) }
            assertTrue(error.message!!, error.message!!.lines().size == 1)
        }
        for (grouping in listOf(intArrayOf(), intArrayOf(0, 0), intArrayOf(1, 2), intArrayOf(-1, 0))) {
            assertThrows(IllegalArgumentException::class.java) { LiveDecoder(DecoderSettings(), grouping) }
            assertThrows(IllegalArgumentException::class.java) { ExactDecoder(DecoderSettings(), grouping) }
        }
    }

    @Test
    fun `NaN and infinity are refused, wherever they stand, and the next picture is decoded`() {
        val decoder = LiveDecoder(DecoderSettings(), order)
        val good = twoPeople()
        val expected = decoder.decode(good.heatmaps, good.tags)
        for (bad in listOf(Float.NaN, Float.POSITIVE_INFINITY, Float.NEGATIVE_INFINITY)) {
            for (at in intArrayOf(0, 2401, 4799)) {
                val canvas = twoPeople()
                canvas.heatmaps.values[at] = bad
                val error = assertThrows(IllegalArgumentException::class.java) {
                    decoder.decode(canvas.heatmaps, canvas.tags, Region(10, 10, 20, 20))
                }
                assertTrue(error.message!!.startsWith("heatmaps: hold NaN or infinity"))
                val unlimited = LiveDecoder(DecoderSettings(threshold = Float.POSITIVE_INFINITY), order)
                assertThrows(IllegalArgumentException::class.java) { unlimited.decode(canvas.heatmaps, canvas.tags) }
            }
            val canvas = twoPeople()
            canvas.tags.values.fill(bad)
            val error = assertThrows(IllegalArgumentException::class.java) {
                decoder.decode(canvas.heatmaps, canvas.tags)
            }
            assertTrue(error.message!!.startsWith("tags: hold NaN or infinity"))
            assertSame(expected, decoder.decode(good.heatmaps, good.tags))
        }
    }

    @Test
    fun `a call allocates little but its result, and leaves the maps alone`() {
        val canvas = twoPeople()
        val copies = canvas.heatmaps.values.copyOf() to canvas.tags.values.copyOf()
        val decoder = LiveDecoder(DecoderSettings(), order)
        decoder.decode(canvas.heatmaps, canvas.tags)
        val memory = ManagementFactory.getThreadMXBean() as ThreadMXBean
        val thread = Thread.currentThread().id
        val before = memory.getThreadAllocatedBytes(thread)
        repeat(100) { decoder.decode(canvas.heatmaps, canvas.tags) }
        assertTrue((memory.getThreadAllocatedBytes(thread) - before) / 100 < 1024)
        assertArrayEquals(copies.first, canvas.heatmaps.values, 0f)
        assertArrayEquals(copies.second, canvas.tags.values, 0f)
    }

    private fun assertSame(expected: List<Pose>, poses: List<Pose>) {
        assertEquals(expected.size, poses.size)
        for ((one, other) in expected.zip(poses)) assertArrayEquals(one.keypoints, other.keypoints, 0f)
    }
}
