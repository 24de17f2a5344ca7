package ehrnet.posekit

import java.util.Random
import kotlin.math.sqrt
import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertSame
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Test

class PoseSmootherTest {
    private fun pose(x: Double, height: Double, noise: Double = 0.0, random: Random = Random(0), id: Int = 0): Pose {
        fun at(place: Double) = (place + noise * random.nextGaussian()).toFloat()
        return Pose(floatArrayOf(at(x), at(50.0), 1f, at(x), at(50 + height), .5f), .7f, id)
    }

    /** How far the first keypoint's x is from the truth, in 240 pictures after the first 60, 30 a second. */
    private fun errors(speed: Double, noise: Double, height: Double): List<Double> {
        val smoother = PoseSmoother()
        val random = Random(1)
        return List(300) {
            val x = 100 + speed * it / 30
            smoother.smooth(listOf(pose(x, height, noise, random)), it / 30.0).single().x(0) - x
        }.drop(60)
    }

    private fun rms(values: List<Double>) = sqrt(values.sumOf { it * it } / values.size)

    @Test
    fun `a still person jitters a fifth as much`() {
        val left = errors(speed = 0.0, noise = 1.0, height = 200.0)
        assertTrue("${rms(left)}", rms(left) < 0.4)
        val steps = left.zipWithNext { a, b -> b - a } // of raw places: 1.41
        assertTrue("${rms(steps)}", rms(steps) < 1.41 / 5)
    }

    @Test
    fun `a walking person is less than 20 ms behind, a running one less than 10`() {
        val walking = -errors(speed = 200.0, noise = 1.0, height = 200.0).average() / 200
        val running = -errors(speed = 600.0, noise = 1.0, height = 200.0).average() / 600
        assertTrue("$walking s", walking < 0.020)
        assertTrue("$running s", running < 0.010)
    }

    @Test
    fun `a picture of twice the size gives the same places, doubled`() {
        val small = errors(speed = 50.0, noise = 0.5, height = 100.0)
        val large = errors(speed = 100.0, noise = 1.0, height = 200.0)
        for ((a, b) in small.zip(large)) assertEquals(2 * a, b, 1e-3)
    }

    @Test
    fun `scores and ids stay, poses without id and the input unchanged`() {
        val smoother = PoseSmoother()
        smoother.smooth(listOf(pose(10.0, 100.0)), 0.0)
        val moved = pose(20.0, 100.0)
        val nobody = pose(99.0, 100.0, id = Pose.NO_ID)
        val (smooth, same) = smoother.smooth(listOf(moved, nobody), 0.03)
        assertSame(nobody, same)
        assertEquals(20f, moved.x(0))
        assertTrue("${smooth.x(0)}", smooth.x(0) in 10.1f..19.9f)
        assertEquals(listOf(1f, .5f, .7f), listOf(smooth.score(0), smooth.score(1), smooth.score))
        assertEquals(0, smooth.id)
    }

    @Test
    fun `a keypoint that was away starts anew, the others do not`() {
        val smoother = PoseSmoother()
        smoother.smooth(listOf(pose(10.0, 100.0)), 0.0)
        val half = Pose(floatArrayOf(0f, 0f, 0f, 10f, 150f, 1f), .5f, 0)
        assertArrayEquals(half.keypoints, smoother.smooth(listOf(half), 0.03).single().keypoints, 0f)
        val back = smoother.smooth(listOf(pose(40.0, 100.0)), 0.06).single()
        assertEquals(40f, back.x(0))
        assertTrue("${back.x(1)}", back.x(1) < 39)
    }

    @Test
    fun `people are forgotten after a second, and by a clock that runs back`() {
        val smoother = PoseSmoother()
        smoother.smooth(listOf(pose(10.0, 100.0)), 5.0)
        smoother.smooth(emptyList(), 5.9)
        assertEquals(1, smoother.remembered)
        smoother.smooth(emptyList(), 6.1)
        assertEquals(0, smoother.remembered)
        smoother.smooth(listOf(pose(10.0, 100.0)), 6.2)
        for (seconds in listOf(6.2, 1.0)) {
            assertEquals(70f, smoother.smooth(listOf(pose(70.0, 100.0)), seconds).single().x(0))
        }
        assertTrue(smoother.smooth(listOf(pose(80.0, 100.0)), 1.01).single().x(0) in 70.1f..79.9f)
    }

    @Test
    fun `ever new people do not fill the memory`() {
        val smoother = PoseSmoother()
        for (i in 0 until 100_000) {
            smoother.smooth(listOf(pose(10.0, 100.0, id = i)), i / 30.0)
            assertTrue("${smoother.remembered}", smoother.remembered <= 32)
        }
    }

    @Test
    fun `a keypoint that is no number counts as absent and stays`() {
        for (i in 0..2) {
            val smoother = PoseSmoother()
            smoother.smooth(listOf(pose(10.0, 100.0)), 0.0)
            val spoilt = pose(10.0, 100.0).also { it.keypoints[i] = Float.NaN }
            assertArrayEquals(spoilt.keypoints, smoother.smooth(listOf(spoilt), 0.03).single().keypoints, 0f)
            assertEquals(40f, smoother.smooth(listOf(pose(40.0, 100.0)), 0.06).single().x(0))
        }
    }

    @Test
    fun `times that are no numbers, and an id twice, are refused`() {
        val twice = listOf(pose(10.0, 100.0), pose(90.0, 100.0))
        assertThrows(IllegalArgumentException::class.java) { PoseSmoother().smooth(twice, 0.0) }
        assertThrows(IllegalArgumentException::class.java) { PoseSmoother().smooth(emptyList(), Double.NaN) }
        assertThrows(IllegalArgumentException::class.java) { PoseSmoother(minCutoff = -1.0) }
    }
}
