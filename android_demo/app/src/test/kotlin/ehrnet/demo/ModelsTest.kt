package ehrnet.demo

import android.net.Uri
import ehrnet.posekit.ModelFileException
import ehrnet.posekit.ModelMetadata
import org.junit.Assert.assertEquals
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Test
import org.junit.runner.RunWith
import org.robolectric.RobolectricTestRunner
import org.robolectric.RuntimeEnvironment
import org.robolectric.Shadows.shadowOf
import java.io.ByteArrayInputStream
import java.io.File
import java.io.IOException
import java.io.InputStream

@RunWith(RobolectricTestRunner::class)
class ModelsTest {
    private val app = RuntimeEnvironment.getApplication() as TestApplication
    private val models = Models(app)
    private val content = File(Repository.golden, "painted_int8.tflite").readBytes()

    @Test
    fun `a model from storage is kept, and read as it was`() {
        assertEquals(emptyList<String>(), models.names())
        val uri = Uri.parse("content://files/mine.tflite")
        shadowOf(app.contentResolver).registerInputStream(uri, ByteArrayInputStream(content))
        assertEquals("mine.tflite", models.add(uri))
        assertEquals(listOf("mine.tflite"), Models(app).names())
        val read = models.content("mine.tflite")
        assertEquals(content.size, read.remaining())
        assertEquals("square", ModelMetadata.read(read, "mine.tflite").keypoints.name)
    }

    @Test
    fun `what is no model is refused, and nothing of it kept`() {
        val uri = Uri.parse("content://files/holiday.mp4")
        shadowOf(app.contentResolver).registerInputStream(uri, ByteArrayInputStream(ByteArray(1000)))
        val said = assertThrows(ModelFileException::class.java) { models.add(uri) }.message!!
        assertTrue(said, said.startsWith("holiday.mp4: "))
        assertEquals(0, File(app.filesDir, "models").list()!!.size)
    }

    @Test
    fun `a copy that breaks off leaves nothing`() {
        val uri = Uri.parse("content://files/mine.tflite")
        val breaking = object : InputStream() {
            private var left = 100

            override fun read(): Int = if (left-- > 0) 1 else throw IOException("the connection was lost")
        }
        shadowOf(app.contentResolver).registerInputStream(uri, breaking)
        val said = assertThrows(ModelFileException::class.java) { models.add(uri) }.message!!
        assertTrue(said, said.startsWith("mine.tflite: cannot be copied (the connection was lost)"))
        assertEquals(0, File(app.filesDir, "models").list()!!.size)
    }

    @Test
    fun `two copies of one name at once do not meet`() {
        val first = Uri.parse("content://slow/mine.tflite")
        val second = Uri.parse("content://files/mine.tflite")
        shadowOf(app.contentResolver).registerInputStream(second, ByteArrayInputStream(content))
        val slow = object : InputStream() {
            private val bytes = ByteArrayInputStream(content)

            override fun read(): Int {
                if (bytes.available() == content.size / 2) assertEquals("mine.tflite", models.add(second))
                return bytes.read()
            }

            override fun read(target: ByteArray, offset: Int, length: Int): Int {
                if (bytes.available() == 0) return -1
                target[offset] = read().toByte()
                return 1
            }
        }
        shadowOf(app.contentResolver).registerInputStream(first, slow)
        assertEquals("mine.tflite", models.add(first))
        assertEquals(content.size, models.content("mine.tflite").remaining())
        assertEquals(listOf("mine.tflite"), models.names())
    }

    @Test
    fun `a model without a name gets one, and can be removed`() {
        val uri = Uri.parse("content://files/ ")
        shadowOf(app.contentResolver).registerInputStream(uri, ByteArrayInputStream(content))
        assertEquals("model.tflite", models.add(uri))
        assertTrue(models.isOpened("model.tflite"))
        models.remove("model.tflite")
        assertEquals(emptyList<String>(), models.names())
    }

    @Test
    fun `a model that is gone is named`() {
        val said = assertThrows(ModelFileException::class.java) { models.content("gone.tflite") }.message!!
        assertTrue(said, said.startsWith("gone.tflite: no such model"))
    }
}
