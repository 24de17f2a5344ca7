package ehrnet.posekit

import java.io.ByteArrayOutputStream
import java.nio.ByteBuffer
import java.util.Random
import java.util.zip.ZipEntry
import java.util.zip.ZipOutputStream
import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertNull
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Assert.fail
import org.junit.Test

class ModelMetadataTest {
    private val keypoints = """{"name": "two", "keypoints": ["a", "b"]}"""
    private val input = """{"height": 64, "width": 96}"""

    private val maps = "\"graph\": \"maps\""

    private fun json(keypoints: String = this.keypoints, input: String = this.input, more: String = maps) =
        """{"keypoints": $keypoints, "input": $input, $more}"""

    private val recorded = readGolden("geometry.npz").let { golden ->
        listOf("tflite", "tflite_deflated").map { name ->
            golden.getValue(name).ints().map { it.toByte() }.toByteArray()
        }
    }

    private fun refusal(json: String): String {
        val error = assertThrows(json, ModelFileException::class.java) { ModelMetadata.parse(json, "pose.tflite") }
        return checked(error)
    }

    private fun refusal(file: ByteArray): String {
        val error = assertThrows(ModelFileException::class.java) {
            ModelMetadata.read(ByteBuffer.wrap(file), "pose.tflite")
        }
        return checked(error)
    }

    private fun checked(error: ModelFileException): String {
        val message = error.message!!
        assertTrue(message, message.startsWith("pose.tflite: "))
        assertTrue(message, message.endsWith("export it again with `ehrnet export`"))
        assertTrue(message, '\n' !in message && message.length < 400)
        return message
    }

    @Test
    fun `little is needed, the rest has defaults`() {
        val metadata = ModelMetadata.parse(json(), "a file")
        assertNull(metadata.variant)
        assertNull(metadata.precision)
        assertNull(metadata.accuracy)
        assertEquals(DecoderSettings(), metadata.decoder)
        assertEquals(64 to 96, metadata.inputHeight to metadata.inputWidth)
        assertEquals("person", metadata.keypoints.category)
        assertArrayEquals(floatArrayOf(0.05f, 0.05f), metadata.keypoints.sigmas, 0f)
        assertArrayEquals(intArrayOf(0, 1), metadata.keypoints.grouping)
        assertEquals(listOf(null, null), metadata.keypoints.colors)
    }

    @Test
    fun `keys of later versions, and null, are passed over`() {
        val points = """{"name": "two", "keypoints": ["a", "b"], "colors": {"b": [1, 2, 255]}, "area_per_box": 0.5}"""
        val more = """"graph": "poses", "new": [{}], "variant": null, "decoder": {"refine": false, "max_people": 3}"""
        val metadata = ModelMetadata.parse(json(points, more = more), "a file")
        assertEquals(ModelMetadata.Graph.POSES, metadata.graph)
        assertEquals(DecoderSettings(refine = false, maxPeople = 3), metadata.decoder)
        assertEquals(listOf(null, 0x0102FF), metadata.keypoints.colors)
    }

    @Test
    fun `what cannot be used is refused by name`() {
        val cases = mapOf(
            "" to "cannot be used",
            "[]" to "not a JSON object",
            "{" to "cannot be used",
            """{"graph": "maps"}""" to "'input' is missing",
            """{"task": "classification", "input": $input}""" to "classification",
            """{"input": $input, $maps}""" to "'keypoints' is missing",
            json(input = """{"height": null, "width": 64, "nominal": [64, 64]}""") to "height is not fixed",
            json(input = """{"height": 64}""") to "width is not fixed",
            json(input = """{"height": 50, "width": 64}""") to "multiples of 32",
            json(input = """{"height": -64, "width": 64}""") to "multiples of 32",
            json(input = """{"height": 1e9, "width": 64}""") to "multiples of 32",
            json(input = """{"height": 64.5, "width": 64}""") to "whole number",
            json(input = """{"height": 64, "width": 64, "color": "BGR"}""") to "color is BGR, not RGB",
            json(input = """{"height": 64, "width": 64, "dtype": "float32"}""") to "float32",
            json(more = "\"graph\": \"mesh\"") to "mesh",
            json(more = "\"precision\": \"int8\"") to "graph is null",
            json(more = "$maps, \"strides\": {\"heatmaps_4\": 8}") to "heatmaps_4 is not 4",
            json(more = "$maps, \"decoder\": {\"speed\": 1}") to "speed",
            json(more = "$maps, \"decoder\": {\"nms_kernel\": 4}") to "nms_kernel 4",
            json(more = "$maps, \"decoder\": {\"threshold\": \"high\"}") to "'threshold' is no number",
            json(more = "$maps, \"decoder\": {\"threshold\": NaN}") to "'threshold' is no number",
            json(more = "$maps, \"decoder\": {\"adjust\": 7}") to "'adjust'",
            json(keypoints("""["a", "a"]""")) to "'a' is listed twice",
            json(keypoints("""["a", " "]""")) to "no name",
            json(keypoints("""["a", null]""")) to "no name",
            json(keypoints("""["a", ["b"]]""")) to "no name",
            json(keypoints("[]")) to "none",
            json(keypoints("\"a\"")) to "no list",
            json("""{"keypoints": ["a"]}""") to "no name",
            json(keypoints("""["a", "b"]""", "\"skeleton\": [[\"a\", \"c\"]]")) to "skeleton names 'c'",
            json(keypoints("""["a", "b"]""", "\"skeleton\": [[\"a\", \"a\"]]")) to "with itself",
            json(keypoints("""["a", "b"]""", "\"flip_pairs\": [[\"a\"]]")) to "not a pair",
            json(keypoints("""["a", "b"]""", "\"grouping\": [\"a\", \"a\"]")) to "grouping",
            json(keypoints("""["a", "b"]""", "\"grouping\": [\"a\"]")) to "grouping",
            json(keypoints("""["a", "b"]""", "\"sigmas\": [0.1]")) to "sigmas",
            json(keypoints("""["a", "b"]""", "\"sigmas\": [0.1, \"x\"]")) to "sigmas",
            json(keypoints("""["a", "b"]""", "\"colors\": {\"a\": [1, 2, 256]}")) to "colors",
            json(keypoints("""["a", "b"]""", "\"colors\": {\"c\": [1, 2, 3]}")) to "colors names 'c'",
        )
        for ((text, part) in cases) refusal(text).let { assertTrue("$text: $it", part in it) }
    }

    private fun keypoints(names: String, more: String = "\"category\": \"person\"") =
        """{"name": "set", "keypoints": $names, $more}"""

    @Test
    fun `nesting without end is refused, not run into`() {
        refusal("[".repeat(500_000))
        refusal("""{"a":""".repeat(100_000))
    }

    @Test
    fun `a file without metadata is refused`() {
        assertTrue("holds no metadata" in refusal(ByteArray(0)))
        assertTrue("holds no metadata" in refusal(ByteArray(21)))
        assertTrue("holds no metadata" in refusal(ByteArray(100_000) { it.toByte() }))
        assertTrue("holds no metadata" in refusal(zip("other.json" to json())))
    }

    @Test
    fun `a member of another archive is read, wherever it lies in the buffer`() {
        val archive = ByteArray(1000) { 7 } + zip("other.json" to "{}", "ehrnet.json" to json())
        val buffer = ByteBuffer.allocateDirect(archive.size + 20)
        buffer.position(10)
        buffer.put(archive)
        buffer.limit(buffer.position())
        buffer.position(10)
        assertEquals("two", ModelMetadata.read(buffer, "a file").keypoints.name)
        assertEquals(10, buffer.position())
    }

    @Test
    fun `a member larger than a mebibyte is refused`() {
        val large = json().replace("\"a\"", "\"a${"x".repeat(1 shl 20)}\"")
        assertTrue("larger than 1 MiB" in refusal(zip("ehrnet.json" to large)))
    }

    private fun zip(vararg members: Pair<String, String>): ByteArray {
        val bytes = ByteArrayOutputStream()
        ZipOutputStream(bytes).use { zip ->
            for ((name, text) in members) {
                zip.putNextEntry(ZipEntry(name))
                zip.write(text.toByteArray())
                zip.closeEntry()
            }
        }
        return bytes.toByteArray()
    }

    @Test
    fun `cut files are refused at any length`() {
        for (file in recorded) {
            val comment = "a comment".length
            for (length in 0 until file.size - comment) refusal(file.copyOf(length))
            assertTrue("cut off" in refusal(file.copyOf(file.size - 60)))
        }
    }

    @Test
    fun `a changed letter is noticed`() {
        val file = recorded[0].copyOf()
        val at = String(file, Charsets.ISO_8859_1).indexOf("\"int8\"")
        file[at + 1] = 'u'.code.toByte()
        assertTrue("checksum is wrong" in refusal(file))
    }

    @Test
    fun `flipped bits and random bytes give a ModelFileException or sound metadata`() {
        val random = Random(0)
        var refused = 0
        repeat(3000) {
            val file = recorded[it % 2].copyOf()
            repeat(1 + random.nextInt(3)) {
                val at = random.nextInt(file.size)
                file[at] = (file[at].toInt() xor (1 shl random.nextInt(8))).toByte()
            }
            refused += readOrRefuse(file)
        }
        assertTrue("$refused", refused > 2000)
        repeat(1000) {
            val file = recorded[it % 2].copyOf()
            val start = maxOf(0, file.size - 1 - random.nextInt(300))
            for (i in start until file.size) if (random.nextInt(4) == 0) file[i] = random.nextInt().toByte()
            readOrRefuse(file)
            val noise = ByteArray(random.nextInt(400)).also(random::nextBytes)
            assertEquals(1, readOrRefuse(noise))
            val text = String(file, Charsets.ISO_8859_1).dropWhile { c -> c != '{' }.toCharArray()
            if (text.isNotEmpty()) {
                text[random.nextInt(text.size)] = "{}[]\",:0"[random.nextInt(8)]
                parseOrRefuse(String(text).substringBeforeLast('}') + "}")
            }
        }
    }

    private fun readOrRefuse(file: ByteArray): Int = orRefuse { ModelMetadata.read(ByteBuffer.wrap(file), "a file") }

    private fun parseOrRefuse(json: String): Int = orRefuse { ModelMetadata.parse(json, "a file") }

    /** 1 if a ModelFileException was thrown, 0 if nothing was. */
    private fun orRefuse(read: () -> Unit): Int =
        try {
            read()
            0
        } catch (expected: ModelFileException) {
            assertTrue(expected.message!!.startsWith("a file: "))
            1
        } catch (other: Throwable) {
            fail("$other")
            0
        }
}
