package ehrnet.posekit

import java.util.Random
import kotlin.math.abs
import kotlin.math.sin
import org.junit.Assert.assertEquals
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Test

class TrackerTest {
    /** Switches of the tracker and of the baseline over sequences of 4 seconds; both see the same poses. */
    private fun switches(fps: Int, seeds: Int, people: (Random) -> List<Walker>): Pair<Int, Int> {
        val times = List(4 * fps) { it.toDouble() / fps }
        var ours = 0
        var nearest = 0
        for (seed in 0L until seeds) {
            ours += score(Walkers(people(Random(seed)), seed = seed), times, Tracker(Walkers.SIGMAS)::update).switches
            nearest += score(Walkers(people(Random(seed)), seed = seed), times, NearestCentre()::update).switches
        }
        return ours to nearest
    }

    private fun Random.from(least: Double, most: Double) = least + (most - least) * nextDouble()

    private fun crossing(random: Random, hidden: Double) = List(2) { i ->
        val speed = random.from(80.0, 200.0) * if (i == 0) 1 else -1
        val height = random.from(180.0, 220.0)
        Walker(height, { 320 + speed * (it - 2) }, { 240.0 + 6 * i }, seen = { i == 0 || abs(it - 2) > hidden })
    }

    private fun turning(random: Random) = List(4) { i ->
        val width = random.from(30.0, 125.0)
        val phase = random.from(0.0, 6.0)
        val x = { t: Double -> 100 + 140.0 * i + width * sin(2 * t + phase) }
        Walker(random.from(80.0, 200.0), x, { 200 + 30 * sin(1.3 * it + phase) }, missing = 0.3)
    }

    private fun crowd(random: Random) = List(30) {
        val (x, y) = random.from(0.0, 640.0) to random.from(100.0, 400.0)
        val (speedX, speedY) = random.from(-80.0, 80.0) to random.from(-20.0, 20.0)
        val gone = random.from(0.0, 3.0).let { it..it + random.from(0.3, 0.6) }
        val height = random.from(50.0, 140.0)
        Walker(height, { x + speedX * it }, { y + speedY * it }, missing = 0.2, seen = { it !in gone })
    }

    @Test
    fun `people who cross keep their ids`() {
        for (fps in listOf(30, 10, 5)) {
            val (ours, nearest) = switches(fps, 20) { crossing(it, hidden = -1.0) }
            assertEquals("$fps a second", 0, ours)
            assertTrue("$nearest", nearest >= 10)
        }
    }

    @Test
    fun `someone hidden for 10 pictures while crossing keeps the id`() {
        for (fps in listOf(30, 10, 5)) {
            val (ours, nearest) = switches(fps, 20) { crossing(it, hidden = 1.0 / 6) }
            assertEquals("$fps a second", 0, ours)
            assertTrue("$nearest", nearest >= 30)
        }
    }

    @Test
    fun `people who turn back keep their ids`() {
        val bounds = mapOf(30 to 0, 10 to 3, 5 to 12)
        for ((fps, most) in bounds) {
            val (ours, nearest) = switches(fps, 20, ::turning)
            assertTrue("$fps a second: $ours, baseline $nearest", ours <= most && ours < nearest)
        }
    }

    @Test
    fun `of 30 people who walk among and behind each other few change their ids`() {
        val bounds = mapOf(30 to 5, 10 to 10, 5 to 50) // 600 people, hidden once each
        for ((fps, most) in bounds) {
            val (ours, nearest) = switches(fps, 20, ::crowd)
            assertTrue("$fps a second: $ours, baseline $nearest", ours <= most && nearest > 8 * ours)
        }
    }

    @Test
    fun `people of whom most keypoints are missing keep their ids`() {
        val (ours, nearest) = switches(30, 10) { random ->
            List(5) { i ->
                val speed = random.from(-40.0, 40.0)
                Walker(random.from(60.0, 140.0), { 60 + 120 * i + speed * it }, { 240.0 }, missing = 0.6)
            }
        }
        assertTrue("$ours, baseline $nearest", ours <= 15 && nearest > 1000) // of 6000 poses
    }

    private fun person(x: Float, y: Float = 100f): Pose {
        val keypoints = FloatArray(51)
        for (k in 0 until 17) {
            keypoints[3 * k] = x + 10 * (k % 4)
            keypoints[3 * k + 1] = y + 10 * k
            keypoints[3 * k + 2] = .9f
        }
        return Pose(keypoints, .6f)
    }

    private fun List<Pose>.ids() = map { it.id }

    @Test
    fun `ids count from 0 in the order of appearance and are not used again`() {
        val tracker = Tracker(Walkers.SIGMAS)
        assertEquals(listOf(0, 1), tracker.update(listOf(person(10f), person(300f)), 0.0).ids())
        assertEquals(listOf(1, 2, 0), tracker.update(listOf(person(301f), person(500f), person(11f)), .1).ids())
        assertEquals(listOf(1), tracker.update(listOf(person(302f)), .2).ids())
        assertEquals(listOf(0, 1), tracker.update(listOf(person(14f), person(302f)), 1.0).ids())
        assertEquals(listOf(3, 4), tracker.update(listOf(person(14f), person(302f)), 9.0).ids())
    }

    @Test
    fun `people are remembered as long as is asked for`() {
        for ((patience, id) in listOf(0.3 to 1, 0.5 to 0)) {
            val tracker = Tracker(Walkers.SIGMAS, patience)
            tracker.update(listOf(person(10f)), 20.0)
            tracker.update(emptyList(), 20.2)
            assertEquals(listOf(id), tracker.update(listOf(person(10f)), 20.4).ids())
        }
    }

    @Test
    fun `someone far away, or without a keypoint in common, is someone else`() {
        val tracker = Tracker(Walkers.SIGMAS)
        val (upper, lower) = List(2) { person(10f) }
        upper.keypoints.fill(0f, 24)
        lower.keypoints.fill(0f, 0, 24)
        assertEquals(listOf(0), tracker.update(listOf(upper), 0.0).ids())
        assertEquals(listOf(1), tracker.update(listOf(lower), .1).ids())
        assertEquals(listOf(2), tracker.update(listOf(person(400f)), .2).ids())
    }

    @Test
    fun `the pose itself stays, and one without keypoints gets no id`() {
        val tracker = Tracker(Walkers.SIGMAS)
        val pose = person(10f)
        val (same, nobody) = tracker.update(listOf(pose, Pose(FloatArray(51), 0f)), 0.0)
        assertTrue(same.keypoints === pose.keypoints && same.score == pose.score)
        assertEquals(Pose.NO_ID, nobody.id)
        assertEquals(1, tracker.remembered)
    }

    @Test
    fun `keypoints that were away are looked for where the rest went`() {
        val tracker = Tracker(Walkers.SIGMAS)
        val (upper, lower) = listOf(person(80f), person(110f))
        upper.keypoints.fill(0f, 24)
        lower.keypoints.fill(0f, 0, 24)
        for ((i, pose) in listOf(person(50f), upper, lower).withIndex()) {
            assertEquals(listOf(0), tracker.update(listOf(pose), i / 10.0).ids())
        }
    }

    @Test
    fun `someone whose speed is not known may go farther`() {
        for ((before, id) in mapOf(1 to 0, 6 to 1)) {
            val tracker = Tracker(Walkers.SIGMAS)
            for (i in 0 until before) assertEquals(listOf(0), tracker.update(listOf(person(100f)), i / 10.0).ids())
            assertEquals(listOf(id), tracker.update(listOf(person(160f)), before / 10.0).ids())
        }
    }

    @Test
    fun `keypoints that are no numbers count as absent`() {
        val tracker = Tracker(Walkers.SIGMAS)
        for (i in 0 until 10) {
            val spoilt = person(10f + 9 * i)
            spoilt.keypoints[3 * i + i % 3] = if (i % 2 == 0) Float.NaN else Float.NEGATIVE_INFINITY
            val nobody = Pose(FloatArray(51) { Float.NaN }, 0f)
            assertEquals(listOf(0, Pose.NO_ID), tracker.update(listOf(spoilt, nobody), i / 10.0).ids())
        }
    }

    @Test
    fun `a single keypoint can be followed`() {
        val tracker = Tracker(floatArrayOf(.05f))
        val ids = List(20) { tracker.update(listOf(Pose(floatArrayOf(5f + it, 9f, 1f), 1f)), it / 30.0).single().id }
        assertEquals(List(20) { 0 }, ids)
    }

    @Test
    fun `time may stand still, run back and jump`() {
        val tracker = Tracker(Walkers.SIGMAS)
        for (seconds in listOf(100.0, 100.0, 99.0, -5.0, -4.9, -4.9)) {
            assertEquals(listOf(0), tracker.update(listOf(person(10f)), seconds).ids())
        }
        assertEquals(listOf(1), tracker.update(listOf(person(10f)), 1e9).ids())
        assertThrows(IllegalArgumentException::class.java) { tracker.update(emptyList(), Double.NaN) }
        assertThrows(IllegalArgumentException::class.java) { tracker.update(listOf(Pose(FloatArray(3), 1f)), 0.0) }
    }

    @Test
    fun `ever new people do not fill the memory`() {
        val tracker = Tracker(Walkers.SIGMAS)
        for (i in 0 until 20_000) {
            assertEquals(i, tracker.update(listOf(person(500f * (i % 50), 600f * (i / 50 % 50))), i / 30.0).single().id)
            assertTrue("${tracker.remembered}", tracker.remembered <= 32)
        }
    }
}
