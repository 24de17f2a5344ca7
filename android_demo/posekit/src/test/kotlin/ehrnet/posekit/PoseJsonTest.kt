package ehrnet.posekit

import org.junit.Assert.assertEquals
import org.junit.Assert.assertThrows
import org.junit.Test

/** The format is held to Python's by GeometryContractTest. */
class PoseJsonTest {
    private val points = KeypointSet(
        "one", "card \"A\"", listOf("corner"), emptyList(), emptyList(), floatArrayOf(.1f), intArrayOf(0),
    )

    private fun json(vararg poses: Pose) = posesToJson(poses.asList(), points, imageWidth = 640, imageHeight = 480)

    @Test
    fun `people and their ids`() {
        assertEquals(
            """{"image_size":[480,640],"keypoint_set":"one","category":"card \"A\"","people":[]}""",
            json(),
        )
        val people = """{"id":7,"score":0.25,"keypoints":{"corner":[1.235,-2.0,0.5]}}"""
        assertEquals(
            """{"image_size":[480,640],"keypoint_set":"one","category":"card \"A\"","people":[$people]}""",
            json(Pose(floatArrayOf(1.23456f, -2f, .5f), .25f, 7)),
        )
    }

    @Test
    fun `people of a reduced picture in that of the file`() {
        val found = Pose(floatArrayOf(1.5f, 2f, .5f), .25f, 7).scaled(2.0, 3.0)
        assertEquals(listOf(3f, 6f, .5f, .25f), found.keypoints.asList() + found.score)
        assertEquals(7, found.id)
    }

    @Test
    fun `what is no pose of this set is refused`() {
        assertThrows(IllegalArgumentException::class.java) { json(Pose(FloatArray(6), 1f)) }
        assertThrows(IllegalArgumentException::class.java) { json(Pose(floatArrayOf(0f, Float.NaN, 1f), 1f)) }
    }
}
