package ehrnet.demo

import android.Manifest.permission.CAMERA
import android.content.Context
import android.content.Intent
import android.content.pm.PackageManager.PERMISSION_DENIED
import android.graphics.Bitmap
import android.graphics.Canvas
import android.graphics.ImageFormat
import android.hardware.camera2.CameraAccessException
import android.hardware.camera2.CameraCharacteristics
import android.hardware.camera2.CameraManager
import android.net.Uri
import android.os.Looper
import android.util.Size
import android.view.Surface
import android.view.View
import android.widget.Button
import android.widget.SeekBar
import android.widget.Spinner
import android.widget.Switch
import android.widget.TextView
import ehrnet.posekit.ModelFileException
import ehrnet.posekit.ModelMetadata
import ehrnet.posekit.Pose
import org.junit.After
import org.junit.Assert.assertEquals
import org.junit.Assert.assertNotNull
import org.junit.Assert.assertNull
import org.junit.Assert.assertTrue
import org.junit.Before
import org.junit.Test
import org.junit.runner.RunWith
import org.robolectric.Robolectric
import org.robolectric.RobolectricTestRunner
import org.robolectric.RuntimeEnvironment
import org.robolectric.Shadows.shadowOf
import org.robolectric.android.controller.ActivityController
import org.robolectric.annotation.Config
import org.robolectric.annotation.Implementation
import org.robolectric.annotation.Implements
import org.robolectric.shadows.ShadowCameraCharacteristics
import org.robolectric.shadows.ShadowCameraManager
import org.robolectric.shadows.ShadowDisplay
import org.robolectric.shadows.ShadowToast
import org.robolectric.shadows.StreamConfigurationMapBuilder
import java.io.ByteArrayInputStream
import java.io.File

@RunWith(RobolectricTestRunner::class)
class MainActivityTest {
    private val app = RuntimeEnvironment.getApplication() as TestApplication
    private val metadata = ModelMetadata.parse(goldenJson("coco_metadata.json").toString(), "coco")
    private val astronaut = posesOf(goldenJson("astronaut.json"), metadata.keypoints)
    private val model = File(Repository.golden, "painted_int8.tflite").readBytes()
    private val manager = shadowOf(app.getSystemService(Context.CAMERA_SERVICE) as CameraManager)
    private val networks = mutableListOf<FixedNetwork>()
    private val controllers = mutableListOf<ActivityController<MainActivity>>()
    private val asked = mutableListOf<String>() // of the opener

    @Before
    fun phone() {
        manager.addCamera("0", characteristics(CameraCharacteristics.LENS_FACING_BACK, 90))
        manager.addCamera("1", characteristics(CameraCharacteristics.LENS_FACING_FRONT, 270))
        app.install("h2_int8.tflite", model)
        app.install("h4_int8.tflite", model)
        app.replaced = NetworkOpener { _, name, device, threads ->
            asked += "$name $device $threads"
            FixedNetwork(metadata, { inInput(astronaut) }, "CPU (XNNPACK), $threads threads").also { networks += it }
        }
    }

    @After
    fun end() = controllers.filter { !it.get().isDestroyed }.forEach { it.pause().stop().destroy() }

    @Test
    fun `people in the camera's picture, and what they cost`() {
        val activity = start().get()
        assertNotNull(activity.camera)
        val photo = goldenPicture("astronaut.jpg")
        // The back camera of a phone held upright, once: 12 frames of the same photograph.
        repeat(12) {
            activity.onImage(cameraImage(photo.pixels(), 512, 512, 90, mirrored = false, it * 33_000_000L), 90, false)
            settle { networks[0].runs > it }
        }
        settle { activity.people() == "1 person" }
        val screen = screenshot(activity, "main.png")
        val figures = activity.text(R.id.figures)
        assertTrue(figures, Regex("""\d+[.,]\d fps, 1 person\ncamera \d+[.,]\d · fit .* ms\nh2_int8.tflite \(H-4 int8\), 384×384, CPU \(XNNPACK\), 4 threads""").containsMatchIn(figures))
        assertEquals(View.GONE, activity.findViewById<View>(R.id.notice).visibility)

        // The picture fills the width; the nose of the skeleton lies on that of the photograph.
        val view = activity.findViewById<PoseView>(R.id.poses)
        val scale = view.width / 512f
        val top = (view.height - view.width) / 2
        val nose = screen.getPixel((astronaut[0].x(0) * scale).toInt(), (top + astronaut[0].y(0) * scale).toInt())
        assertEquals(metadata.keypoints.limbColor(0, 0), nose and 0xffffff, 12)
    }

    @Test
    fun `turning the phone turns the picture, and neither camera nor network starts anew`() {
        val controller = start()
        val (activity, camera) = controller.get() to controller.get().camera
        assertEquals(0, camera!!.displayRotation)
        RuntimeEnvironment.setQualifiers("+land")
        controller.configurationChange()
        shadowOf(ShadowDisplay.getDefaultDisplay()).setRotation(Surface.ROTATION_90)
        settle()
        assertEquals(90, activity.camera!!.displayRotation)
        assertTrue(camera === activity.camera && networks.size == 1)
        val photo = goldenPicture("astronaut.jpg")
        activity.onImage(cameraImage(photo.pixels(), 512, 512, 0, false), 0, false)
        settle { activity.people() == "1 person" }
        activity.findViewById<Button>(R.id.settings).performClick()
        screenshot(activity, "landscape.png")
        assertTrue(activity.findViewById<View>(R.id.panel).height in 1 until activity.window.decorView.height)
    }

    @Test
    fun `the camera is free while the app is not seen, and all is freed at its end`() {
        val before = threads()
        val controller = start()
        val activity = controller.get()
        val first = activity.camera
        controller.pause()
        assertNull(activity.camera)
        controller.resume()
        settle()
        assertTrue(activity.camera != null && activity.camera !== first)
        assertEquals(2, (threads() - before).size)
        controller.pause().stop().destroy()
        settle { networks[0].closed && (threads() - before).isEmpty() }
    }

    @Test
    fun `a recreated activity goes on`() {
        val controller = start()
        controller.recreate()
        settle { networks.size == 2 && networks[0].closed }
        assertNotNull(controller.get().camera)
    }

    @Test
    fun `a refused permission is explained, and given later it is used`() {
        shadowOf(app).denyPermissions(CAMERA)
        val controller = launch()
        val activity = controller.get()
        assertEquals(CAMERA, shadowOf(activity).lastRequestedPermission.requestedPermissions.single())
        activity.onRequestPermissionsResult(1, arrayOf(CAMERA), intArrayOf(PERMISSION_DENIED))
        settle { networks.size == 1 }
        assertNull(activity.camera)
        assertEquals(app.getString(R.string.no_permission), activity.text(R.id.notice_text))
        screenshot(activity, "permission.png")
        activity.findViewById<Button>(R.id.notice_action).performClick()
        assertEquals(android.provider.Settings.ACTION_APPLICATION_DETAILS_SETTINGS, shadowOf(activity).nextStartedActivity.action)
        controller.pause()
        shadowOf(app).grantPermissions(CAMERA)
        controller.resume()
        settle()
        assertNotNull(activity.camera)
        assertEquals(View.GONE, activity.findViewById<View>(R.id.notice).visibility)
    }

    @Test
    fun `without a model the app says where to get one`() {
        File(app.filesDir, "models").deleteRecursively()
        val activity = start(running = false).get()
        assertEquals(app.getString(R.string.no_model), activity.text(R.id.notice_text))
        activity.findViewById<Button>(R.id.notice_action).performClick()
        val chooser = shadowOf(activity).nextStartedActivityForResult
        assertEquals(Intent.ACTION_OPEN_DOCUMENT, chooser.intent.action)

        val uri = Uri.parse("content://files/new.tflite")
        shadowOf(app.contentResolver).registerInputStream(uri, ByteArrayInputStream(model))
        shadowOf(activity).receiveResult(chooser.intent, android.app.Activity.RESULT_OK, Intent().setData(uri))
        settle { activity.findViewById<View>(R.id.notice).visibility == View.GONE }
        assertEquals("new.tflite GPU 4", asked.single())
    }

    @Test
    fun `a corrupt model is named, and another can be chosen`() {
        app.install("h4_int8.tflite", byteArrayOf(1, 2, 3))
        app.replaced = NetworkOpener { model, name, _, _ -> FixedNetwork(ModelMetadata.read(model, name), { emptyList() }) }
        app.settings.model = "h4_int8.tflite"
        val activity = start(running = false).get()
        settle { activity.text(R.id.notice_text).startsWith("h4_int8.tflite: ") }
        assertTrue(activity.text(R.id.notice_text).contains("ehrnet export"))
        activity.findViewById<Spinner>(R.id.model).setSelection(0)
        settle { activity.findViewById<View>(R.id.notice).visibility == View.GONE }
        assertEquals("h2_int8.tflite", app.settings.model)
    }

    @Test
    fun `a camera that is taken away is reported, and can be tried again`() {
        val activity = start().get()
        manager.triggerDisconnect()
        settle { activity.camera == null }
        assertEquals("another app took the camera", activity.text(R.id.notice_text))
        activity.findViewById<Button>(R.id.notice_action).performClick()
        settle()
        assertNotNull(activity.camera)
    }

    @Test
    @Config(shadows = [DisabledCameras::class])
    fun `a camera that cannot be used is reported`() {
        shadowOf(app).grantPermissions(CAMERA)
        val activity = launch().get()
        settle { activity.camera == null }
        assertTrue(activity.text(R.id.notice_text), activity.text(R.id.notice_text).startsWith("the camera cannot be used"))
    }

    @Test
    fun `a device without a camera says so`() {
        manager.removeCamera("0")
        manager.removeCamera("1")
        val activity = start().get()
        settle { activity.camera == null }
        assertEquals("this device has no camera; open a picture instead", activity.text(R.id.notice_text))
    }

    @Test
    fun `switches take effect, and are remembered`() {
        val activity = start().get()
        val photo = goldenPicture("astronaut.jpg")
        activity.onImage(cameraImage(photo.pixels(), 512, 512, 270, true), 270, true)
        settle { activity.people() == "1 person" }
        activity.findViewById<Button>(R.id.settings).performClick()
        screenshot(activity, "settings.png")
        assertEquals("h2_int8.tflite GPU 4", asked.last())
        activity.findViewById<Switch>(R.id.gpu).performClick()
        settle { asked.size == 2 }
        assertEquals("h2_int8.tflite CPU 4", asked.last())
        val threads = activity.findViewById<SeekBar>(R.id.threads)
        threads.progress = 1
        shadowOf(threads).onSeekBarChangeListener.onStopTrackingTouch(threads)
        settle { asked.size == 3 }
        assertEquals("h2_int8.tflite CPU 2", asked.last())
        activity.findViewById<Switch>(R.id.smooth).performClick()
        val score = activity.findViewById<SeekBar>(R.id.min_score)
        shadowOf(score).onSeekBarChangeListener.onProgressChanged(score, 90, true)
        assertEquals(Options(0.9f, smooth = false), app.settings.options)
        activity.onImage(cameraImage(IntArray(64 * 48), 64, 48, 90, false), 90, false)
        settle { activity.people() == "0 people" }
        assertEquals(1, networks.last().runs)

        val facing = activity.camera
        activity.findViewById<Button>(R.id.switch_camera).performClick()
        settle()
        assertTrue(activity.camera !== facing && app.settings.facing == Facing.FRONT)
        assertEquals(3, asked.size)
        assertEquals(Facing.FRONT, Settings(app).facing)
    }

    @Test
    fun `a driver that took the app down is not tried at the next start`() {
        app.settings.gpuOnTrial = true // as the app left it when it ended in the driver
        val activity = start().get()
        settle { asked.size == 1 }
        assertEquals("h2_int8.tflite CPU 4", asked.single())
        assertEquals(app.getString(R.string.gpu_crashed), ShadowToast.getTextOfLatestToast())
        assertTrue(!activity.findViewById<Switch>(R.id.gpu).isChecked)
    }

    @Test
    fun `a model that LiteRT cannot run is reported`() {
        app.replaced = NetworkOpener { _, name, _, _ -> throw ModelFileException("$name: LiteRT cannot run it; export it again") }
        val activity = start(running = false).get()
        settle { activity.text(R.id.notice_text).isNotEmpty() }
        assertEquals("h2_int8.tflite: LiteRT cannot run it; export it again", activity.text(R.id.notice_text))
    }

    @Test
    fun `frames are used again, however many come`() {
        val activity = start().get()
        val image = cameraImage(IntArray(64 * 48) { it }, 64, 48, 270, true)
        val shown = mutableSetOf<Frame>()
        repeat(500) {
            image.nanos = it * 33_000_000L
            val before = networks[0].runs
            activity.onImage(image, 270, true)
            settle { networks[0].runs > before }
            activity.findViewById<PoseView>(R.id.poses).frame?.let { shown += it }
        }
        assertEquals(500, networks[0].runs)
        assertTrue("${shown.size} frames", shown.size <= FramePool.FRAMES)
    }

    private fun launch() = Robolectric.buildActivity(MainActivity::class.java).setup().also { controllers += it }

    private fun threads() = Thread.getAllStackTraces().keys.filter { it.name == "camera" || it.name == "poses" }.toSet()

    /** The app with the camera allowed and, unless the model is what fails, the network running. */
    private fun start(running: Boolean = true): ActivityController<MainActivity> {
        shadowOf(app).grantPermissions(CAMERA)
        return launch().also { settle { !running || networks.size == 1 } }
    }

    /** People of the photograph of 512 x 512 in pixels of the network's input of 384 x 384. */
    private fun inInput(poses: List<Pose>) = poses.map { pose ->
        Pose(FloatArray(pose.keypoints.size) { if (it % 3 == 2) pose.keypoints[it] else pose.keypoints[it] * 0.75f }, pose.score)
    }

    private fun MainActivity.people() = findViewById<View>(R.id.poses).contentDescription

    private fun MainActivity.text(id: Int) = findViewById<TextView>(id).text.toString()

    private fun assertEquals(rgb: Int, pixel: Int, tolerance: Int) {
        for (shift in listOf(16, 8, 0)) {
            assertEquals("%06x is not %06x".format(pixel, rgb), (rgb shr shift and 255).toFloat(), (pixel shr shift and 255).toFloat(), tolerance.toFloat())
        }
    }

    private fun screenshot(activity: MainActivity, name: String): Bitmap {
        settle()
        shadowOf(Looper.getMainLooper()).idleFor(java.time.Duration.ofMillis(300))
        val view = activity.window.decorView
        val bitmap = Bitmap.createBitmap(view.width, view.height, Bitmap.Config.ARGB_8888)
        view.draw(Canvas(bitmap))
        bitmap.save(name)
        return bitmap
    }

    private fun characteristics(facing: Int, sensor: Int): CameraCharacteristics {
        val known = ShadowCameraCharacteristics.newCameraCharacteristics()
        val sizes = StreamConfigurationMapBuilder.newBuilder().addOutputSize(ImageFormat.YUV_420_888, Size(640, 480)).build()
        shadowOf(known).apply {
            set(CameraCharacteristics.LENS_FACING, facing)
            set(CameraCharacteristics.SENSOR_ORIENTATION, sensor)
            set(CameraCharacteristics.SCALER_STREAM_CONFIGURATION_MAP, sizes)
        }
        return known
    }

    @Implements(CameraManager::class)
    class DisabledCameras : ShadowCameraManager() {
        @Implementation
        public override fun getCameraIdList(): Array<String> = throw CameraAccessException(CameraAccessException.CAMERA_DISABLED)
    }
}

/** Lets the main thread work until [done], at most ten seconds. */
fun settle(done: () -> Boolean = { true }) {
    val end = System.nanoTime() + 10_000_000_000
    do {
        Thread.sleep(1)
        shadowOf(Looper.getMainLooper()).idle()
    } while (!done() && System.nanoTime() < end)
    assertTrue("nothing happened in ten seconds", done())
    Thread.sleep(2)
    shadowOf(Looper.getMainLooper()).idle()
}
