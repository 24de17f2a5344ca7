package ehrnet.demo

import android.graphics.Bitmap
import android.graphics.BitmapFactory
import android.graphics.Canvas
import ehrnet.posekit.PictureFitter
import ehrnet.posekit.PoseDecoder
import ehrnet.posekit.posesToJson
import org.junit.Assert.assertTrue
import org.junit.Assume.assumeTrue
import org.junit.Test
import org.junit.runner.RunWith
import org.robolectric.RobolectricTestRunner
import org.robolectric.annotation.Config
import java.io.File
import java.nio.ByteBuffer

/**
 * One's own model on one's own pictures, as the app sees them, without a phone:
 *
 *     EHRNET_MODEL=pose.tflite EHRNET_PICTURES=folder make test-android
 *
 * writes drawings and JSON to app/target/screens/own. Relative paths are those of the repository's root.
 */
@RunWith(RobolectricTestRunner::class)
@Config(shadows = [ShadowInterpreter::class, ShadowInterpreterImpl::class], instrumentedPackages = ["org.tensorflow.lite"])
class OwnPicturesTest {
    private val model = System.getenv("EHRNET_MODEL")
    private val pictures = System.getenv("EHRNET_PICTURES")

    @Test
    fun `people in one's own pictures`() {
        assumeTrue("EHRNET_MODEL and EHRNET_PICTURES are not set", model != null && pictures != null)
        checkNotNull(Repository.python) { "no Python with LiteRT: run `make env`, or set EHRNET_PYTHON" }
        val folder = File(Repository.screens, "own").apply { mkdirs() }
        val bytes = Repository.root.resolve(model).readBytes()
        val content = ByteBuffer.allocateDirect(bytes.size).put(bytes).rewind() as ByteBuffer
        LiteRtNetwork.Opener().open(content, model, Device.CPU, 2).use { network ->
            val metadata = network.metadata
            val decoder = PoseDecoder(metadata)
            val files = Repository.root.resolve(pictures).listFiles { file -> file.extension.lowercase() in KINDS }.orEmpty()
            assertTrue("$pictures: no pictures", files.isNotEmpty())
            for (file in files.sorted()) {
                val options = BitmapFactory.Options().apply { inScaled = false }
                val bitmap = BitmapFactory.decodeFile(file.path, options).copy(Bitmap.Config.ARGB_8888, true)
                val fitter = PictureFitter(bitmap.width, bitmap.height, metadata.inputWidth, metadata.inputHeight)
                fitter.fit(bitmap.pixels(), network.input)
                val poses = decoder.decode(network.run(), fitter.box).filter { it.score >= Settings.DEFAULT_SCORE }
                PosePainter().draw(Canvas(bitmap), poses, metadata.keypoints, bitmap.width, bitmap.height, 1f)
                bitmap.save("own/${file.nameWithoutExtension}.png")
                val json = posesToJson(poses, metadata.keypoints, bitmap.width, bitmap.height)
                File(folder, "${file.nameWithoutExtension}.json").writeText(json)
            }
        }
    }

    private companion object {
        val KINDS = setOf("jpg", "jpeg", "png")
    }
}
