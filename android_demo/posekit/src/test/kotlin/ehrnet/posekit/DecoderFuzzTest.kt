package ehrnet.posekit

import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Test
import kotlin.random.Random

/** Whatever the maps hold: finite people within the maps, or IllegalArgumentException. */
class DecoderFuzzTest {
    @Test
    fun `any maps, settings and regions`() {
        var decoded = 0
        for (seed in 0 until 6000) {
            val random = Random(seed)
            val count = 1 + random.nextInt(4)
            val heatmaps = maps(random, count)
            val tagChannels = if (random.nextInt(20) == 0) count + 1 else count * (1 + random.nextInt(2))
            val tags = maps(random, tagChannels, heatmaps)
            val settings = settings(random)
            val order = (0 until count).shuffled(random).toIntArray()
            val region = region(random, heatmaps)
            val message = "seed $seed"
            val broken = heatmaps.values.any { !it.isFinite() }
            val live = orRefused { LiveDecoder(settings, order).decode(heatmaps, tags, region) }
            val exact = orRefused { ExactDecoder(settings, order).decode(heatmaps, tags) }
            assertTrue(message, !broken || live == null && exact == null)
            for (poses in listOfNotNull(live, exact)) {
                poses.forEach { assertPlausible(message, it, heatmaps, settings) }
                decoded += poses.size
            }
        }
        assertTrue("$decoded people", decoded > 10_000)
    }

    @Test
    fun `one decoder for pictures of any size does what a fresh one does`() {
        val order = intArrayOf(1, 0, 2)
        val reused = LiveDecoder(DecoderSettings(), order)
        for (seed in 0 until 1000) {
            val random = Random(seed)
            val heatmaps = maps(random, 3)
            val tags = maps(random, 3 * (1 + random.nextInt(3)), heatmaps)
            val expected = orRefused { LiveDecoder(DecoderSettings(), order).decode(heatmaps, tags) }
            val poses = orRefused { reused.decode(heatmaps, tags) }
            assertEquals("seed $seed", expected?.map { it.keypoints.toList() }, poses?.map { it.keypoints.toList() })
        }
    }

    @Test
    fun `any maps are projected`() {
        for (seed in 0 until 1000) {
            val random = Random(seed)
            val first = maps(random, 2)
            val (height, width) = List(2) { random.nextInt(20) }
            orRefused {
                val (heatmaps, tags) = project(first, maps(random, 2), first, height, width)
                assertEquals(height * width * 2, heatmaps.values.size)
                assertEquals(height * width * 2, tags.values.size)
                emptyList()
            }
        }
    }

    private fun assertPlausible(message: String, pose: Pose, maps: Maps, settings: DecoderSettings) {
        assertEquals(message, maps.channels, pose.size)
        assertTrue("$message: score ${pose.score}", pose.score.isFinite() && pose.score >= 0)
        var found = 0
        for (keypoint in 0 until pose.size) {
            val (x, y, score) = listOf(pose.x(keypoint), pose.y(keypoint), pose.score(keypoint))
            if (score == 0f) {
                assertTrue(message, x == 0f && y == 0f)
                continue
            }
            found++
            assertTrue("$message: score $score", score > 0 && score.isFinite())
            assertTrue("$message: x $x", x >= -0.5f && x <= maps.width + 0.5f)
            assertTrue("$message: y $y", y >= -0.5f && y <= maps.height + 0.5f)
            if (!settings.refine) assertTrue(message, score > settings.threshold)
        }
        assertTrue("$message: a person without keypoints", found > 0)
    }

    private fun orRefused(decode: () -> List<Pose>): List<Pose>? = try {
        decode()
    } catch (error: IllegalArgumentException) {
        assertTrue("$error", error.message!!.lines().size == 1)
        null
    }

    private fun settings(random: Random) = DecoderSettings(
        nmsKernel = listOf(1, 3, 5, 9, Int.MAX_VALUE).random(random),
        threshold = listOf(0f, 0.1f, 0.5f, 1e-40f, Float.MAX_VALUE, Float.POSITIVE_INFINITY).random(random),
        tagThreshold = listOf(1e-30f, 0.5f, 1f, 1e30f, Float.POSITIVE_INFINITY).random(random),
        maxPeople = listOf(1, 2, 30, Int.MAX_VALUE).random(random),
        adjust = random.nextBoolean(),
        refine = random.nextBoolean(),
    )

    private fun region(random: Random, maps: Maps): Region? = when (random.nextInt(4)) {
        0 -> Region(random.nextInt(-1, 5), random.nextInt(-1, 5), random.nextInt(0, 12), random.nextInt(0, 12))
        1 -> Region(random.nextInt(maps.height), random.nextInt(maps.width), maps.height, maps.width)
        else -> null
    }

    private fun maps(random: Random, channels: Int, like: Maps? = null): Maps {
        val same = like != null && random.nextInt(3) > 0
        val height = if (same) like!!.height else 1 + random.nextInt(12)
        val width = if (same) like!!.width else 1 + random.nextInt(12)
        val kind = random.nextInt(6)
        val poison = random.nextInt(12) == 0
        val values = FloatArray(height * width * channels) { value(random, kind) }
        if (poison) values[random.nextInt(values.size)] = NOT_FINITE.random(random)
        return Maps(height, width, channels, values)
    }

    private fun value(random: Random, kind: Int): Float = when (kind) {
        0 -> random.nextFloat()
        1 -> random.nextInt(-2, 4) / 4f
        2 -> (random.nextFloat() - 0.5f) * 2 * Float.MAX_VALUE
        3 -> Float.MIN_VALUE * random.nextInt(-50, 50)
        4 -> Float.fromBits(random.nextInt()).takeIf { it.isFinite() } ?: 0f
        else -> 0.5f
    }

    private companion object {
        val NOT_FINITE = listOf(Float.NaN, Float.POSITIVE_INFINITY, Float.NEGATIVE_INFINITY)
    }
}
