package ehrnet.demo

import ehrnet.posekit.ModelFileException
import ehrnet.posekit.PictureFitter
import ehrnet.posekit.PoseDecoder
import ehrnet.posekit.YuvConverter
import kotlinx.serialization.json.jsonObject
import org.junit.Assert.assertEquals
import org.junit.Assert.assertNotEquals
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Assume.assumeTrue
import org.junit.Before
import org.junit.Test
import org.junit.runner.RunWith
import org.robolectric.RobolectricTestRunner
import org.robolectric.annotation.Config
import java.io.File
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.util.zip.CRC32

/** From the camera's picture to poses with real exported files and LiteRT, against what Python finds. */
@RunWith(RobolectricTestRunner::class)
@Config(shadows = [ShadowInterpreter::class, ShadowInterpreterImpl::class], instrumentedPackages = ["org.tensorflow.lite"])
class LiteRtNetworkTest {
    @Before
    fun needsPython() {
        assumeTrue("no Python with LiteRT: run `make env`, or set EHRNET_PYTHON", Repository.python != null)
        ShadowInterpreter.gpu = Gpu.REFUSES
    }

    @Test
    fun `every kind of file finds what Python finds, whichever way the camera lies`() {
        val picture = goldenPicture("picture.png")
        for ((name, expected) in goldenJson("poses.json")) {
            open(name, Device.CPU).use { network ->
                for ((rotation, mirrored) in listOf(0 to false, 90 to false, 180 to true, 270 to true)) {
                    val image = cameraImage(picture.pixels(), picture.width, picture.height, rotation, mirrored)
                    val converter = YuvConverter(image.width, image.height, rotation, mirrored)
                    val pixels = IntArray(image.width * image.height)
                    with(image) { converter.convert(y, yRowStride, u, v, uvRowStride, uvPixelStride, pixels) }
                    val metadata = network.metadata
                    val fitter = PictureFitter(picture.width, picture.height, metadata.inputWidth, metadata.inputHeight)
                    fitter.fit(pixels, network.input)
                    val found = PoseDecoder(metadata).decode(network.run(), fitter.box).filter { it.score >= 0.2f }
                    // In pixels of the input; YUV 4:2:0 halves the resolution of the colours, int8 rounds the peaks.
                    val tolerance = ((if (metadata.precision == "int8") 0.6 else 0.25) / fitter.box.scale).toFloat()
                    val recorded = posesOf(expected.jsonObject, metadata.keypoints)
                    assertEquals(name, recorded.size, found.size)
                    for ((pose, python) in found.zip(recorded)) {
                        assertEquals(python.score, pose.score, 0.03f)
                        for (k in 0 until pose.size) {
                            assertEquals("$name $rotation x$k", python.x(k), pose.x(k), tolerance)
                            assertEquals("$name $rotation y$k", python.y(k), pose.y(k), tolerance)
                        }
                    }
                }
            }
        }
        assertTrue(ShadowInterpreter.opened > 0)
        assertEquals(ShadowInterpreter.opened, ShadowInterpreter.closed)
    }

    @Test
    fun `a GPU that refuses leaves the network on the CPU, and says so`() {
        open("painted_int8.tflite", Device.GPU).use { network ->
            assertEquals("CPU (XNNPACK), 2 threads", network.runsOn)
            assertTrue(network.note, network.note!!.startsWith("no GPU: "))
            network.run()
        }
        open("painted_int8.tflite", Device.CPU).use { assertEquals(null, it.note) }
    }

    @Test
    fun `a file that is no model, or not what its metadata say, is named`() {
        val content = File(Repository.golden, "painted_int8.tflite").readBytes()
        val broken = content.copyOf().apply { fill(0, 0, 64) }
        val said = assertThrows(ModelFileException::class.java) { open(broken, "broken.tflite") }.message!!
        assertTrue(said, said.startsWith("broken.tflite: LiteRT cannot run it (") && '\n' !in said)

        // The metadata of a network of 96 x 64 behind one of 64 x 64, with the checksum that they need.
        val text = String(content, Charsets.ISO_8859_1)
        val json = text.substring(text.indexOf("ehrnet.json") + "ehrnet.json".length, text.indexOf("PK\u0001\u0002"))
        val otherJson = json.replace("\"height\": 64", "\"height\": 96")
        assertNotEquals(json, otherJson)
        val other = text.replace(json, otherJson).replace(checksum(json), checksum(otherJson)).toByteArray(Charsets.ISO_8859_1)
        val strange = assertThrows(ModelFileException::class.java) { open(other, "other.tflite") }.message!!
        val shapes = "its input is 1x64x64x3 UINT8, not 1x96x64x3 UINT8"
        assertEquals("other.tflite: LiteRT cannot run it ($shapes); export it again", strange)
    }

    @Test
    fun `a GPU that takes the network leaves what it lacks to the CPU's threads`() {
        ShadowInterpreter.gpu = Gpu.WORKS
        open("painted_float32.tflite", Device.GPU).use { network ->
            assertEquals("GPU (the CPU for what it lacks)", network.runsOn)
            assertEquals(null, network.note)
        }
        assertEquals(2, ShadowInterpreter.threads)
    }

    @Test
    fun `a GPU whose results are not finite leaves the network on the CPU, and says so`() {
        ShadowInterpreter.gpu = Gpu.OVERFLOWS
        open("painted_float32.tflite", Device.GPU).use { network ->
            assertEquals("CPU (XNNPACK), 2 threads", network.runsOn)
            assertEquals("no GPU: its results are not finite (float16 overflows?)", network.note)
            assertTrue(network.run().values.all { output -> output.all { it.isFinite() } })
        }
        assertEquals(ShadowInterpreter.opened, ShadowInterpreter.closed)
    }

    private fun checksum(member: String): String {
        val sum = CRC32().apply { update(member.toByteArray(Charsets.ISO_8859_1)) }.value.toInt()
        val bytes = ByteBuffer.allocate(4).order(ByteOrder.LITTLE_ENDIAN).putInt(sum).array()
        return String(bytes, Charsets.ISO_8859_1)
    }

    private fun open(name: String, device: Device) =
        LiteRtNetwork.Opener().open(buffer(File(Repository.golden, name).readBytes()), name, device, 2)

    private fun open(content: ByteArray, name: String) = LiteRtNetwork.Opener().open(buffer(content), name, Device.CPU, 2)

    private fun buffer(content: ByteArray): ByteBuffer =
        ByteBuffer.allocateDirect(content.size).put(content).rewind() as ByteBuffer
}
