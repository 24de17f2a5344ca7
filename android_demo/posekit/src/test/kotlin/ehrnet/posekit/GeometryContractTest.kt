package ehrnet.posekit

import java.nio.ByteBuffer
import kotlin.math.abs
import kotlinx.serialization.json.Json
import kotlinx.serialization.json.JsonArray
import kotlinx.serialization.json.JsonElement
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.JsonPrimitive
import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Test

/** What tests/android/record_geometry.py wrote is what posekit does. */
class GeometryContractTest {
    private val golden = readGolden("geometry.npz")

    private fun array(name: String) = golden.getValue(name)

    @Test
    fun `inputs are Python's to one grey level`() {
        for (name in array("fits").strings) {
            val image = array("$name/image")
            val expected = array("$name/input")
            val (height, width) = expected.shape
            val input = ByteBuffer.allocateDirect(3 * height * width)
            PictureFitter(image.shape[1], image.shape[0], width, height).fit(image.ints(), input)
            var different = 0
            for ((i, color) in expected.ints().withIndex()) {
                for ((channel, shift) in intArrayOf(16, 8, 0).withIndex()) {
                    val difference = abs((color shr shift and 0xFF) - (input.get(3 * i + channel).toInt() and 0xFF))
                    assertTrue("$name: pixel $i differs by $difference", difference <= 1)
                    different += difference
                }
            }
            val share = different / (3.0 * height * width)
            assertTrue("$name: $share of the values differ", share < 0.15)
        }
    }

    @Test
    fun `boxes and regions are Python's`() {
        val regions = array("regions").ints()
        val boxes = array("boxes").numbers
        for (i in 0 until array("regions").shape[0]) {
            val (imageHeight, imageWidth, height, width, stride) = regions.slice(9 * i until 9 * i + 5)
            val box = Letterbox.fit(imageWidth, imageHeight, width, height)
            assertArrayEquals(boxes.sliceArray(3 * i until 3 * i + 3), doubleArrayOf(box.scale, box.dx, box.dy), 1e-12)
            val (top, left, bottom, right) = regions.slice(9 * i + 5 until 9 * i + 9)
            val region = box.region(height / stride, width / stride, stride.toDouble())
            assertEquals(Region(top, left, bottom, right), region)
        }
    }

    @Test
    fun `metadata and colours of the built-in keypoint sets are Python's`() {
        for (name in array("sets").strings) {
            val metadata = ModelMetadata.parse(array("$name/metadata").strings.single(), "a file")
            val points = metadata.keypoints
            assertEquals(name, points.name)
            assertEquals(array("$name/names").strings, points.names)
            assertEquals(limbs(array("$name/flip_pairs")), points.flipPairs)
            assertEquals(limbs(array("$name/skeleton")), points.skeleton)
            assertArrayEquals(array("$name/sigmas").floats(), points.sigmas, 0f)
            assertArrayEquals(array("$name/grouping").ints(), points.grouping)
            val colors = array("$name/colors").ints()
            for (a in 0 until points.size) {
                for (b in 0 until points.size) {
                    assertEquals("$name: $a, $b", colors[a * points.size + b], points.limbColor(a, b))
                }
            }
            assertIsRecorded(metadata)
        }
    }

    @Test
    fun `metadata are read from a file's end`() {
        for (name in listOf("tflite", "tflite_deflated")) {
            val bytes = array(name).ints().map { it.toByte() }.toByteArray()
            val metadata = ModelMetadata.read(ByteBuffer.wrap(bytes), name)
            assertEquals("coco", metadata.keypoints.name)
            assertIsRecorded(metadata)
        }
    }

    private fun assertIsRecorded(metadata: ModelMetadata) {
        assertEquals("H-2", metadata.variant)
        assertEquals(448, metadata.inputHeight)
        assertEquals(320, metadata.inputWidth)
        assertEquals(ModelMetadata.Graph.MAPS, metadata.graph)
        assertEquals(DecoderSettings(threshold = 0.15f, maxPeople = 20), metadata.decoder)
        assertEquals("int8", metadata.precision)
        assertEquals(0.5, metadata.accuracy!!, 0.0)
        assertEquals(0.625, metadata.sourceAccuracy!!, 0.0)
    }

    private fun limbs(pairs: NpyArray) = pairs.ints().toList().chunked(2) { (a, b) -> Limb(a, b) }

    @Test
    fun `people are Python's`() {
        val corners = ModelMetadata.parse(array("corners/metadata").strings.single(), "a file").keypoints
        val outputs = listOf("heatmaps_4", "heatmaps_2", "tags", "keypoints", "scores")
            .associateWith { array("decoder/$it").floats() }
        val (imageHeight, imageWidth) = array("decoder/image_size").ints()
        val box = Letterbox.fit(imageWidth, imageHeight, 96, 64)
        for (kind in listOf("live", "exact", "poses")) {
            val graph = if (kind == "poses") ModelMetadata.Graph.POSES else ModelMetadata.Graph.MAPS
            val metadata = ModelMetadata(null, corners, 64, 96, graph, DecoderSettings(), null)
            val people = PoseDecoder(metadata, exact = kind == "exact").decode(outputs, box)
            val expected = array("decoder/${kind}_people")
            assertEquals(expected.shape[0], people.size)
            val places = people.flatMap { it.keypoints.asList() }.toFloatArray()
            assertArrayEquals(kind, expected.floats(), places, 2e-3f)
            val scores = people.map { it.score }.toFloatArray()
            assertArrayEquals(kind, array("decoder/${kind}_scores").floats(), scores, 1e-5f)
        }
    }

    @Test
    fun `JSON is Python's`() {
        val keypoints = array("poses/keypoints").floats()
        val poses = array("poses/scores").floats().mapIndexed { i, score ->
            Pose(keypoints.copyOfRange(51 * i, 51 * (i + 1)), score)
        }
        val coco = ModelMetadata.parse(array("coco/metadata").strings.single(), "a file").keypoints
        val text = posesToJson(poses, coco, imageWidth = 600, imageHeight = 400)
        val expected = Json.parseToJsonElement(array("poses/json").strings.single())
        assertEquals(plain(expected), plain(Json.parseToJsonElement(text)))
    }

    /** JSON whose numbers are equal if their values are: Python writes 1e-07, Java 1.0E-7. */
    private fun plain(element: JsonElement): Any = when (element) {
        is JsonObject -> element.mapValues { plain(it.value) }
        is JsonArray -> element.map { plain(it) }
        is JsonPrimitive -> if (element.isString) element.content else element.content.toDouble() + 0.0
    }
}
