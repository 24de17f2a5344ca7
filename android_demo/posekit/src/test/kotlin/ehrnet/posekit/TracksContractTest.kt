package ehrnet.posekit

import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Test

/** What tests/android/record_tracks.py wrote is what posekit does. */
class TracksContractTest {
    private val golden = readGolden("tracks.npz")

    private fun forEachSequence(check: (String, (String) -> NpyArray) -> Unit) {
        val names = golden.getValue("sequences").strings
        assertTrue("$names", names.size >= 13)
        for (name in names) check(name) { golden.getValue("$name/$it") }
    }

    /** The people of each picture, with these ids or none. */
    private fun pictures(array: (String) -> NpyArray, ids: IntArray? = null): List<List<Pose>> {
        val keypoints = array("keypoints").floats()
        val size = 3 * array("sigmas").numbers.size
        var next = 0
        return array("counts").ints().map { count ->
            List(count) {
                val i = next++
                Pose(keypoints.copyOfRange(size * i, size * (i + 1)), 1f, ids?.get(i) ?: Pose.NO_ID)
            }
        }
    }

    @Test
    fun `ids are Python's`() = forEachSequence { name, array ->
        val (patience, minSimilarity) = array("settings").numbers
        val tracker = Tracker(array("sigmas").floats(), patience, minSimilarity)
        val ids = ArrayList<Int>()
        for ((i, poses) in pictures(array).withIndex()) {
            ids += tracker.update(poses, array("times").numbers[i]).map { it.id }
            assertEquals("$name, picture $i", array("remembered").ints()[2 * i], tracker.remembered)
        }
        assertArrayEquals(name, array("ids").ints(), ids.toIntArray())
    }

    @Test
    fun `smoothed places are Python's`() = forEachSequence { name, array ->
        val (minCutoff, beta, derivativeCutoff, memory) = array("settings").numbers.drop(2)
        val smoother = PoseSmoother(minCutoff, beta, derivativeCutoff, memory)
        val places = ArrayList<Float>()
        for ((i, poses) in pictures(array, array("ids").ints()).withIndex()) {
            for (pose in smoother.smooth(poses, array("times").numbers[i])) {
                for (k in 0 until pose.size) places += listOf(pose.x(k), pose.y(k))
            }
            assertEquals("$name, picture $i", array("remembered").ints()[2 * i + 1], smoother.remembered)
        }
        val expected = array("smoothed").floats()
        assertEquals(name, expected.size, places.size)
        for ((a, b) in expected.zip(places.toFloatArray())) {
            if (a.isFinite()) assertEquals(name, a, b, 1e-3f) else assertEquals(name, a, b, 0f)
        }
    }
}
