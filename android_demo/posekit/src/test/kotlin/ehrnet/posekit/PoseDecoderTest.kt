package ehrnet.posekit

import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Test

/** People found in real maps: see GeometryContractTest. */
class PoseDecoderTest {
    private val points = KeypointSet(
        "two", "person", listOf("a", "b"), emptyList(), emptyList(), floatArrayOf(.1f, .1f), intArrayOf(0, 1),
    )

    private fun metadata(graph: ModelMetadata.Graph) =
        ModelMetadata(null, points, 64, 96, graph, DecoderSettings(), null)

    private val box = Letterbox.fit(imageWidth = 192, imageHeight = 64, inputWidth = 96, inputHeight = 64)

    private fun refusal(graph: ModelMetadata.Graph, outputs: Map<String, FloatArray>, exact: Boolean = false): String =
        assertThrows(IllegalArgumentException::class.java) {
            PoseDecoder(metadata(graph), exact).decode(outputs, box)
        }.message!!

    private fun maps() = mapOf(
        "heatmaps_4" to FloatArray(16 * 24 * 2),
        "heatmaps_2" to FloatArray(32 * 48 * 2),
        "tags" to FloatArray(16 * 24 * 2),
    )

    @Test
    fun `poses of the file go to the picture, nobody and absent keypoints are left out`() {
        val keypoints = floatArrayOf(1f, 2f, .5f, 3f, 4f, .5f, 48f, 32f, .9f, 96f, 16f, 0f)
        val outputs = mapOf("keypoints" to keypoints, "scores" to floatArrayOf(0f, .45f))
        val person = PoseDecoder(metadata(ModelMetadata.Graph.POSES)).decode(outputs, box).single()
        assertArrayEquals(floatArrayOf(96f, 32f, .9f, 0f, 0f, 0f), person.keypoints, 1e-4f)
        assertEquals(.45f, person.score)
    }

    @Test
    fun `maps without peaks, or with peaks in the border alone, show nobody`() {
        for (exact in listOf(false, true)) {
            val decoder = PoseDecoder(metadata(ModelMetadata.Graph.MAPS), exact)
            assertEquals(0, decoder.decode(maps(), box).size)
            val outputs = maps()
            outputs.getValue("heatmaps_2")[2 * (3 * 48 + 20)] = 1f
            outputs.getValue("heatmaps_4")[2 * (1 * 24 + 10)] = 1f
            assertEquals(0, decoder.decode(outputs, box).size)
            outputs.getValue("heatmaps_2")[2 * (16 * 48 + 20)] = 1f
            outputs.getValue("heatmaps_4")[2 * (8 * 24 + 10)] = 1f
            val person = decoder.decode(outputs, box).single()
            assertEquals(2 * 41f, person.x(0), 4f)
            assertEquals(2 * (33f - 16f), person.y(0), 4f)
            assertArrayEquals(floatArrayOf(0f, 0f, 0f), person.keypoints.copyOfRange(3, 6), 0f)
        }
    }

    @Test
    fun `outputs that are missing, too small or not finite are refused by name`() {
        val poses = ModelMetadata.Graph.POSES
        val maps = ModelMetadata.Graph.MAPS
        assertTrue("no heatmaps_2" in refusal(maps, maps() - "heatmaps_2"))
        assertTrue("no tags" in refusal(maps, maps() - "tags"))
        assertTrue("no heatmaps_4" in refusal(maps, maps() - "heatmaps_4", exact = true))
        assertTrue("tags: 5 numbers" in refusal(maps, maps() + ("tags" to FloatArray(5))))
        assertTrue("NaN" in refusal(maps, maps() + ("heatmaps_2" to FloatArray(32 * 48 * 2) { Float.NaN })))
        assertTrue("no scores" in refusal(poses, maps()))
        val outputs = mapOf("keypoints" to FloatArray(6), "scores" to FloatArray(1))
        assertTrue("keypoints: 5 numbers" in refusal(poses, outputs + ("keypoints" to FloatArray(5))))
        assertTrue("NaN" in refusal(poses, outputs + ("keypoints" to FloatArray(6) { Float.NaN })))
        assertTrue("NaN" in refusal(poses, outputs + ("scores" to floatArrayOf(Float.POSITIVE_INFINITY))))
    }
}
