package ehrnet.demo

import ehrnet.posekit.ModelFileException
import ehrnet.posekit.PictureFitter
import ehrnet.posekit.PoseDecoder
import ehrnet.posekit.YuvConverter
import kotlinx.serialization.json.jsonObject
import org.junit.Assert.assertEquals
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

/** From the camera's picture to poses with real exported files and LiteRT, against what Python finds. */
@RunWith(RobolectricTestRunner::class)
@Config(shadows = [ShadowInterpreter::class, ShadowInterpreterImpl::class], instrumentedPackages = ["org.tensorflow.lite"])
class LiteRtNetworkTest {
    @Before
    fun needsPython() = assumeTrue("no Python with LiteRT: run `make env`, or set EHRNET_PYTHON", Repository.python != null)

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

        // The metadata of a network of 384 x 384 behind one of 64 x 64.
        val text = String(content, Charsets.ISO_8859_1)
        val other = text.replace("\"height\": 64", "\"height\": 96").toByteArray(Charsets.ISO_8859_1)
        val strange = assertThrows(ModelFileException::class.java) { open(other, "other.tflite") }.message!!
        assertTrue(strange, strange.startsWith("other.tflite: "))
    }

    private fun open(name: String, device: Device) =
        LiteRtNetwork.Opener().open(buffer(File(Repository.golden, name).readBytes()), name, device, 2)

    private fun open(content: ByteArray, name: String) = LiteRtNetwork.Opener().open(buffer(content), name, Device.CPU, 2)

    private fun buffer(content: ByteArray): ByteBuffer =
        ByteBuffer.allocateDirect(content.size).put(content).rewind() as ByteBuffer
}
