package ehrnet.demo

import android.content.Intent
import android.graphics.Bitmap
import android.graphics.BitmapFactory
import android.graphics.Canvas
import android.graphics.Color
import android.media.ExifInterface
import android.net.Uri
import android.provider.OpenableColumns
import android.view.View
import android.widget.Button
import android.widget.TextView
import ehrnet.posekit.Letterbox
import ehrnet.posekit.ModelMetadata
import ehrnet.posekit.Pose
import kotlinx.serialization.json.Json
import kotlinx.serialization.json.jsonArray
import kotlinx.serialization.json.jsonObject
import org.junit.Assert.assertEquals
import org.junit.Assert.assertFalse
import org.junit.Assert.assertNull
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Before
import org.junit.Test
import org.junit.runner.RunWith
import org.robolectric.Robolectric
import org.robolectric.RobolectricTestRunner
import org.robolectric.RuntimeEnvironment
import org.robolectric.Shadows.shadowOf
import org.robolectric.annotation.Config
import org.robolectric.annotation.Implementation
import org.robolectric.annotation.Implements
import org.robolectric.shadows.ShadowNativeBitmap
import java.io.ByteArrayInputStream
import java.io.ByteArrayOutputStream
import java.io.File
import java.io.FileNotFoundException
import java.io.OutputStream

@RunWith(RobolectricTestRunner::class)
class PictureActivityTest {
    private val app = RuntimeEnvironment.getApplication() as TestApplication
    private val metadata = ModelMetadata.parse(goldenJson("coco_metadata.json").toString(), "coco")
    private val astronaut = posesOf(goldenJson("astronaut.json"), metadata.keypoints)
    private val photo = File(Repository.golden, "astronaut.jpg").readBytes()

    @Before
    fun model() {
        app.install("painted_int8.tflite")
        app.settings.minScore = 0f
        app.replaced = NetworkOpener { _, _, _, _ ->
            FixedNetwork(metadata, {
                astronaut.map { pose ->
                    Pose(FloatArray(51) { pose.keypoints[it] * if (it % 3 == 2) 1f else 0.75f }, pose.score)
                }
            })
        }
    }

    @Test
    fun `a picture of the gallery, its people, and both ways to share them`() {
        val activity = open(photo)
        settle { activity.findViewById<View>(R.id.share_json).isEnabled }
        assertEquals("1 person", activity.findViewById<TextView>(R.id.status).text.toString())
        val screen = activity.window.decorView.let { view ->
            Bitmap.createBitmap(view.width, view.height, Bitmap.Config.ARGB_8888).also { view.draw(Canvas(it)) }
        }
        screen.save("picture.png")

        val json = shared(activity, R.id.share_json, "application/json").decodeToString()
        val poses = posesOf(Json.parseToJsonElement(json).jsonObject, metadata.keypoints)
        assertEquals(1, poses.size)
        for (k in 0 until 17) assertEquals(astronaut[0].x(k), poses[0].x(k), 0.01f)

        val image = shared(activity, R.id.share_image, "image/jpeg")
        val drawn = BitmapFactory.decodeByteArray(image, 0, image.size)
        assertEquals(512, drawn.width)
        val nose = drawn.getPixel(astronaut[0].x(0).toInt(), astronaut[0].y(0).toInt())
        val colour = metadata.keypoints.limbColor(0, 0)
        for (shift in listOf(16, 8, 0)) {
            assertEquals("%08x".format(nose), (colour shr shift and 255).toFloat(), (nose shr shift and 255).toFloat(), 30f)
        }
    }

    @Test
    fun `a picture that another app shares`() {
        val uri = register(photo)
        val intent = Intent(Intent.ACTION_SEND).setType("image/jpeg").putExtra(Intent.EXTRA_STREAM, uri)
        val activity = Robolectric.buildActivity(PictureActivity::class.java, intent).setup().get()
        settle { activity.findViewById<View>(R.id.share_json).isEnabled }
    }

    @Test
    fun `what is no picture, gone or absent is said`() {
        val said = status(open("no picture".toByteArray()))
        assertTrue(said, said.endsWith("no picture that this device reads"))
        val gone = Uri.parse("content://gone/1")
        shadowOf(app.contentResolver).registerInputStreamSupplier(gone) { throw FileNotFoundException("deleted") }
        assertTrue(status(open(gone)).startsWith("the picture is gone"))
        val activity = Robolectric.buildActivity(PictureActivity::class.java, Intent()).setup().get()
        assertEquals("no picture was given; choose one", status(activity))
        assertFalse(activity.findViewById<View>(R.id.share_image).isEnabled)
    }

    @Test
    fun `the JSON of a large photograph is that of the file, upright`() {
        // 4000 x 2400 pixels are looked at as 2000 x 1200; EXIF says that they lie on their side.
        val exif = byteArrayOf(
            -1, 0xE1.toByte(), 0, 34, 'E'.code.toByte(), 'x'.code.toByte(), 'i'.code.toByte(), 'f'.code.toByte(), 0, 0,
            'I'.code.toByte(), 'I'.code.toByte(), 42, 0, 8, 0, 0, 0, 1, 0, 0x12, 1, 3, 0, 1, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0,
        )
        val jpeg = ByteArrayOutputStream().also {
            Bitmap.createBitmap(4000, 2400, Bitmap.Config.ARGB_8888).compress(Bitmap.CompressFormat.JPEG, 50, it)
        }.toByteArray()
        val activity = open(jpeg.copyOf(2) + exif + jpeg.copyOfRange(2, jpeg.size))
        settle { activity.findViewById<View>(R.id.share_json).isEnabled }
        val frame = activity.findViewById<PoseView>(R.id.poses).frame!!
        assertEquals(listOf(1200, 2000), listOf(frame.width, frame.height))
        val json = Json.parseToJsonElement(shared(activity, R.id.share_json, "application/json").decodeToString()).jsonObject
        assertEquals("[4000,2400]", json.getValue("image_size").toString())
        val person = json.getValue("people").jsonArray.single().jsonObject
        assertEquals(setOf("score", "keypoints"), person.keys) // an id is of no meaning in one picture
        val box = Letterbox.fit(2400, 4000, 384, 384)
        val found = posesOf(json, metadata.keypoints).single()
        for (k in 0 until 17) {
            if (found.score(k) == 0f) continue
            assertEquals(box.toImageX(astronaut[0].x(k) * 0.75).toFloat(), found.x(k), 0.01f)
            assertEquals(box.toImageY(astronaut[0].y(k) * 0.75).toFloat(), found.y(k), 0.01f)
        }
    }

    @Test
    fun `every result has a file of its own, and old ones are deleted`() {
        val folder = SharedFiles.folder(app).apply { mkdirs() }
        val old = File(folder, "poses-1.jpg").apply { writeText("old") }
        assertTrue(old.setLastModified(System.currentTimeMillis() - 25 * 3600 * 1000L))
        val recent = File(folder, "poses-2.jpg").apply { writeText("still read by a receiver") }
        val activity = open(photo)
        settle { activity.findViewById<View>(R.id.share_json).isEnabled && !old.exists() }
        repeat(2) { shared(activity, R.id.share_json, "application/json") }
        val names = folder.list()!!.toSet()
        assertEquals("$names", 3, names.size)
        assertTrue(recent.name in names)

        activity.findViewById<Button>(R.id.share_json).performClick()
        assertFalse(activity.findViewById<View>(R.id.share_json).isEnabled)
        assertFalse(activity.findViewById<View>(R.id.share_image).isEnabled)
        settle { activity.findViewById<View>(R.id.share_json).isEnabled }
    }

    @Test
    @Config(shadows = [FullStorage::class])
    fun `an image that cannot be written is not shared`() {
        val activity = open(photo)
        settle { activity.findViewById<View>(R.id.share_image).isEnabled }
        for ((error, said) in mapOf(null to "is the storage full?", OutOfMemoryError() to "not enough memory")) {
            FullStorage.error = error
            activity.findViewById<Button>(R.id.share_image).performClick()
            settle { activity.findViewById<View>(R.id.share_image).isEnabled }
            val status = activity.findViewById<TextView>(R.id.status).text
            assertTrue("$status", said in status)
            assertNull(shadowOf(activity).peekNextStartedActivity())
            assertEquals(0, SharedFiles.folder(app).list()!!.size)
        }
    }

    @Test
    fun `what the app that holds the picture throws is said`() {
        val uri = Uri.parse("content://strange/1")
        shadowOf(app.contentResolver).registerInputStreamSupplier(uri) { throw IllegalStateException("not signed in") }
        assertEquals("the picture cannot be read (not signed in); choose another one", status(open(uri)))
    }

    @Test
    fun `EXIF orientations make pictures upright`() {
        val lying = Bitmap.createBitmap(3, 2, Bitmap.Config.ARGB_8888).apply { setPixel(0, 0, Color.RED) }
        // Where the first stored pixel comes to lie: EXIF's row and column 0.
        val corners = mapOf(
            ExifInterface.ORIENTATION_NORMAL to (0 to 0),
            ExifInterface.ORIENTATION_FLIP_HORIZONTAL to (2 to 0),
            ExifInterface.ORIENTATION_ROTATE_180 to (2 to 1),
            ExifInterface.ORIENTATION_FLIP_VERTICAL to (0 to 1),
            ExifInterface.ORIENTATION_TRANSPOSE to (0 to 0),
            ExifInterface.ORIENTATION_ROTATE_90 to (1 to 0),
            ExifInterface.ORIENTATION_TRANSVERSE to (1 to 2),
            ExifInterface.ORIENTATION_ROTATE_270 to (0 to 2),
        )
        for ((orientation, corner) in corners) {
            val upright = Pictures.upright(lying, orientation)
            assertEquals("$orientation", if (orientation < 5) 3 else 2, upright.width)
            assertEquals("$orientation", Color.RED, upright.getPixel(corner.first, corner.second))
        }
    }

    @Test
    fun `huge pictures are reduced`() {
        assertEquals(1, Pictures.reduction(3264, 2448))
        assertEquals(2, Pictures.reduction(4000, 3000))
        assertEquals(4, Pictures.reduction(8192, 6144))
        assertEquals(8, Pictures.reduction(65500, 5000))
    }

    @Test
    fun `only shared files can be read by others`() {
        val provider = Robolectric.setupContentProvider(SharedFiles::class.java, "${app.packageName}.shared")
        val file = File(SharedFiles.folder(app).apply { mkdirs() }, "poses.json").apply { writeText("{}") }
        provider.query(SharedFiles.uri(app, file), arrayOf(OpenableColumns.SIZE), null, null, null).use {
            assertTrue(it.moveToFirst())
            assertEquals(2, it.getInt(0))
        }
        File(app.cacheDir, "secret").writeText("secret")
        for (path in listOf("secret", "../secret", "..", "nothing.json", "")) {
            val uri = Uri.Builder().scheme("content").authority("${app.packageName}.shared").appendPath(path).build()
            assertThrows(path, FileNotFoundException::class.java) { provider.openFile(uri, "r") }
        }
    }

    private fun open(content: ByteArray) = open(register(content))

    private fun open(uri: Uri): PictureActivity =
        Robolectric.buildActivity(PictureActivity::class.java, Intent().setData(uri)).setup().get()

    private fun register(content: ByteArray): Uri = Uri.parse("content://gallery/${content.size}").also {
        shadowOf(app.contentResolver).registerInputStreamSupplier(it) { ByteArrayInputStream(content) }
    }

    private fun status(activity: PictureActivity): String {
        val waiting = listOf(app.getString(R.string.loading, "painted_int8.tflite"), app.getString(R.string.searching))
        settle { activity.findViewById<TextView>(R.id.status).text.toString() !in waiting }
        return activity.findViewById<TextView>(R.id.status).text.toString()
    }

    private fun shared(activity: PictureActivity, button: Int, type: String): ByteArray {
        activity.findViewById<Button>(button).performClick()
        settle { shadowOf(activity).peekNextStartedActivity() != null }
        @Suppress("DEPRECATION") // until Android 13
        val send = shadowOf(activity).nextStartedActivity.getParcelableExtra<Intent>(Intent.EXTRA_INTENT)!!
        assertEquals(type, send.type)
        assertTrue(send.flags and Intent.FLAG_GRANT_READ_URI_PERMISSION != 0)
        val uri = send.clipData!!.getItemAt(0).uri
        return File(SharedFiles.folder(app), uri.lastPathSegment!!).readBytes()
    }
}

/** Bitmaps that cannot be written: the storage is full, or [error]. */
@Implements(Bitmap::class)
class FullStorage : ShadowNativeBitmap() {
    @Implementation
    fun compress(format: Bitmap.CompressFormat, quality: Int, stream: OutputStream): Boolean {
        error?.let { throw it }
        return false
    }

    companion object {
        var error: Error? = null
    }
}
