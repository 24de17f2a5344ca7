package ehrnet.demo

import android.app.Activity
import android.content.ClipData
import android.content.Intent
import android.graphics.Bitmap
import android.graphics.Canvas
import android.net.Uri
import android.os.Bundle
import android.os.Handler
import android.os.Looper
import android.os.Parcelable
import android.util.Size
import android.view.View
import android.widget.TextView
import ehrnet.posekit.KeypointSet
import ehrnet.posekit.Pose
import ehrnet.posekit.posesToJson
import java.io.File
import java.io.IOException
import kotlin.concurrent.thread

/** The people in one picture, of the gallery or shared by another app; they can be shared as an image or as JSON. */
class PictureActivity : Activity(), EngineListener {
    private val app get() = application as DemoApplication
    private val main = Handler(Looper.getMainLooper())
    private val engine by lazy { PoseEngine(Stages(), this) }
    private lateinit var poseView: PoseView
    private var found: Found? = null
    private var failed = false
    @Volatile private var original = Size(0, 0) // of the picture, which the frame may show reduced

    private class Found(val frame: Frame, val poses: List<Pose>, val keypoints: KeypointSet)

    override fun onCreate(state: Bundle?) {
        super.onCreate(state)
        setContentView(R.layout.picture)
        poseView = findViewById(R.id.poses)
        findViewById<View>(R.id.share_image).setOnClickListener { share("jpg", "image/jpeg", ::writeImage) }
        findViewById<View>(R.id.share_json).setOnClickListener { share("json", "application/json", ::writeJson) }
        app.takeWarning()?.let(::tell)
        thread(name = "clean") { SharedFiles.deleteOld(this) }
        engine.options = app.settings.options.copy(smooth = false, track = false)
        val model = app.chosenModel()
        val picture = intent.data ?: sharedPicture()
        when {
            model == null -> say(getString(R.string.no_model))
            picture == null -> say("no picture was given; choose one")
            else -> {
                say(getString(R.string.loading, model))
                engine.open { app.openNetwork(model) }
                thread(name = "picture") { read(picture) }
            }
        }
    }

    override fun onDestroy() {
        engine.close()
        super.onDestroy()
    }

    private fun read(picture: Uri) {
        try {
            val read = Pictures.read(contentResolver, picture)
            original = Size(read.width, read.height)
            val bitmap = read.bitmap
            val frame = Frame(bitmap.width, bitmap.height)
            bitmap.getPixels(frame.pixels, 0, frame.width, 0, 0, frame.width, frame.height)
            bitmap.recycle()
            frame.publish()
            onMain { if (found == null) poseView.show(frame) }
            engine.submit(frame)
        } catch (error: IOException) {
            onMain { fail(error.firstLine()) }
        } catch (error: Exception) { // of the app that holds the picture, or of the decoder
            onMain { fail("the picture cannot be read (${error.firstLine()}); choose another one") }
        } catch (error: OutOfMemoryError) {
            onMain { fail("not enough memory for this picture; choose a smaller one") }
        }
    }

    override fun onReady(network: Network) = onMain { if (found == null && !failed) say(getString(R.string.searching)) }

    override fun onPoses(frame: Frame, poses: List<Pose>, keypoints: KeypointSet) = onMain {
        found = Found(frame, poses, keypoints)
        poseView.show(frame, poses, keypoints)
        say(resources.getQuantityString(R.plurals.people, poses.size, poses.size))
        allowSharing(true)
    }

    override fun onFailure(message: String) = onMain { fail(message) }

    override fun onDropped(frame: Frame) = Unit

    private fun share(extension: String, type: String, write: (Found, File) -> Unit) {
        val found = found ?: return
        allowSharing(false) // until it is written
        thread(name = "share") {
            val file = SharedFiles.create(this, extension)
            val problem = try {
                write(found, file)
                null
            } catch (error: IOException) {
                "the result cannot be written (${error.firstLine()}); is the storage full?"
            } catch (error: Exception) {
                "the result cannot be written (${error.firstLine()})"
            } catch (error: OutOfMemoryError) {
                "not enough memory to draw into this picture; share the JSON, or choose a smaller picture"
            }
            if (problem != null) file.delete()
            onMain {
                allowSharing(true)
                if (problem == null) send(file, type) else say(problem)
            }
        }
    }

    private fun send(file: File, type: String) {
        val uri = SharedFiles.uri(this, file)
        val send = Intent(Intent.ACTION_SEND).setType(type).putExtra(Intent.EXTRA_STREAM, uri)
            .addFlags(Intent.FLAG_GRANT_READ_URI_PERMISSION)
        send.clipData = ClipData.newRawUri(file.name, uri)
        tryStart(Intent.createChooser(send, null), R.string.no_receiver)
    }

    private fun writeImage(found: Found, file: File) {
        val drawn = found.frame.bitmap.copy(Bitmap.Config.ARGB_8888, true)
        PosePainter().draw(Canvas(drawn), found.poses, found.keypoints, drawn.width, drawn.height, 1f)
        val written = file.outputStream().use { drawn.compress(Bitmap.CompressFormat.JPEG, JPEG_QUALITY, it) }
        drawn.recycle()
        if (!written) throw IOException("JPEG")
    }

    private fun writeJson(found: Found, file: File) {
        val scaleX = original.width.toDouble() / found.frame.width
        val scaleY = original.height.toDouble() / found.frame.height
        val poses = found.poses.map { it.scaled(scaleX, scaleY) }
        file.writeText(posesToJson(poses, found.keypoints, original.width, original.height))
    }

    private fun allowSharing(allowed: Boolean) {
        findViewById<View>(R.id.share_image).isEnabled = allowed
        findViewById<View>(R.id.share_json).isEnabled = allowed
    }

    @Suppress("DEPRECATION") // what there is before Android 13
    private fun sharedPicture(): Uri? = intent.getParcelableExtra<Parcelable>(Intent.EXTRA_STREAM) as? Uri

    private fun fail(message: String) {
        failed = true
        say(message)
    }

    private fun say(message: String) {
        findViewById<TextView>(R.id.status).text = message
    }

    private fun onMain(act: () -> Unit) {
        main.post { if (!isDestroyed) act() }
    }

    private companion object {
        const val JPEG_QUALITY = 95
    }
}
