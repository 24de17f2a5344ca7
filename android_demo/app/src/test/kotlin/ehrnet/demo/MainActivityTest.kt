package ehrnet.demo

import android.Manifest.permission.CAMERA
import android.content.Context
import android.content.Intent
import android.content.pm.PackageManager.PERMISSION_DENIED
import android.graphics.Bitmap
import android.graphics.Canvas
import android.graphics.Rect
import android.hardware.camera2.CameraAccessException
import android.hardware.camera2.CameraCharacteristics
import android.hardware.camera2.CameraManager
import android.net.Uri
import android.os.Bundle
import android.os.Looper
import android.view.KeyEvent
import android.view.Surface
import android.view.View
import android.view.accessibility.AccessibilityNodeInfo
import android.view.accessibility.AccessibilityNodeInfo.AccessibilityAction
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
import org.junit.Assert.assertFalse
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
import org.robolectric.shadows.ShadowAlertDialog
import org.robolectric.shadows.ShadowCameraManager
import org.robolectric.shadows.ShadowDisplay
import org.robolectric.shadows.ShadowSystemClock
import java.io.ByteArrayInputStream
import java.io.File
import java.time.Duration
import java.util.concurrent.CountDownLatch
import java.util.concurrent.TimeUnit.SECONDS

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
        manager.addCamera("0", cameraCharacteristics(CameraCharacteristics.LENS_FACING_BACK, 90))
        manager.addCamera("1", cameraCharacteristics(CameraCharacteristics.LENS_FACING_FRONT, 270))
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
        activity.watch(cameraImage(photo.pixels(), 512, 512, 90, mirrored = false), 90, false, frames = 12)
        settle { activity.people() == "1 person" }
        val screen = screenshot(activity, "main.png")
        val figures = activity.text(R.id.figures)
        assertTrue(figures, Regex("""30[.,]3 fps, 1 person\ncamera \d+[.,]\d · fit .* ms\nh2_int8.tflite \(H-4 int8\), 384×384, CPU \(XNNPACK\), 4 threads""").containsMatchIn(figures))
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
        activity.look(cameraImage(photo.pixels(), 512, 512, 0, false), 0, false)
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
        settle { activity.text(R.id.notice_text).isNotEmpty() }
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
        activity.watch(cameraImage(photo.pixels(), 512, 512, 270, true), 270, true, frames = 6)
        activity.findViewById<Button>(R.id.settings).performClick()
        screenshot(activity, "settings.png")
        assertEquals("h2_int8.tflite GPU 4", asked.last())
        activity.findViewById<Switch>(R.id.gpu).performClick()
        settle { asked.size == 2 }
        assertEquals("h2_int8.tflite CPU 4", asked.last())
        val threads = activity.findViewById<SeekBar>(R.id.threads)
        shadowOf(threads).onSeekBarChangeListener.onStartTrackingTouch(threads)
        threads.progress = 1
        assertEquals("CPU threads: 2", activity.text(R.id.threads_label))
        shadowOf(threads).onSeekBarChangeListener.onStopTrackingTouch(threads)
        settle { asked.size == 3 }
        assertEquals("h2_int8.tflite CPU 2", asked.last())
        activity.findViewById<Switch>(R.id.smooth).performClick()
        val score = activity.findViewById<SeekBar>(R.id.min_score)
        shadowOf(score).onSeekBarChangeListener.onProgressChanged(score, 90, true)
        assertEquals(Options(0.9f, smooth = false), app.settings.options)
        activity.look(cameraImage(IntArray(64 * 48), 64, 48, 90, false), 90, false)
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
    fun `sliders move by keys and by a screen reader, too`() {
        val activity = start().get()
        activity.findViewById<Button>(R.id.settings).performClick()
        settle()
        val threads = activity.findViewById<SeekBar>(R.id.threads)
        threads.onKeyDown(KeyEvent.KEYCODE_DPAD_RIGHT, KeyEvent(KeyEvent.ACTION_DOWN, KeyEvent.KEYCODE_DPAD_RIGHT))
        settle { asked.size == 2 }
        assertEquals("h2_int8.tflite GPU 5", asked.last())
        assertEquals("CPU threads: 5", activity.text(R.id.threads_label))
        val three = Bundle().apply { putFloat(AccessibilityNodeInfo.ACTION_ARGUMENT_PROGRESS_VALUE, 2f) }
        threads.performAccessibilityAction(AccessibilityAction.ACTION_SET_PROGRESS.id, three)
        settle { asked.size == 3 }
        assertEquals("h2_int8.tflite GPU 3", asked.last())
        assertEquals(3, Settings(app).threads)
    }

    @Test
    fun `the settings that open do not open the network anew, even if the chosen model is gone`() {
        app.settings.model = "gone.tflite"
        val activity = start().get()
        activity.findViewById<Button>(R.id.settings).performClick()
        settle()
        assertEquals(listOf("h2_int8.tflite GPU 4"), asked)
    }

    @Test
    fun `an opened model can be removed, to the last`() {
        val activity = start().get()
        activity.findViewById<Button>(R.id.settings).performClick()
        settle()
        activity.findViewById<Button>(R.id.remove_model).performClick()
        settle { asked.size == 2 }
        assertEquals("h4_int8.tflite GPU 4", asked.last())
        assertEquals(listOf("h4_int8.tflite"), app.models.names())
        activity.findViewById<Button>(R.id.remove_model).performClick()
        settle { networks[1].closed && activity.text(R.id.notice_text).isNotEmpty() }
        assertEquals(app.getString(R.string.no_model), activity.text(R.id.notice_text))
        assertFalse(activity.findViewById<View>(R.id.remove_model).isEnabled)
    }

    @Test
    fun `a pause is no slow frame, and without frames there are no people`() {
        val controller = start()
        val activity = controller.get()
        val image = cameraImage(IntArray(64 * 48), 64, 48, 90, mirrored = false)
        activity.watch(image, 90, false, frames = 3)
        shadowOf(Looper.getMainLooper()).idleFor(Duration.ofMillis(300))
        assertTrue(activity.text(R.id.figures), activity.text(R.id.figures).startsWith("30.3 fps, 1 person"))
        shadowOf(Looper.getMainLooper()).idleFor(Duration.ofMillis(1500))
        assertTrue(activity.text(R.id.figures), activity.text(R.id.figures).startsWith("0.0 fps, 0 people"))
        controller.pause()
        ShadowSystemClock.advanceBy(Duration.ofMinutes(1))
        controller.resume()
        activity.watch(image, 90, false, frames = 3)
        shadowOf(Looper.getMainLooper()).idleFor(Duration.ofMillis(300))
        assertTrue(activity.text(R.id.figures), activity.text(R.id.figures).startsWith("30.3 fps, 1 person"))
    }

    @Test
    fun `an earlier camera's failure and pictures do not concern the present one`() {
        val activity = start().get()
        val earlier = activity.camera!!
        activity.findViewById<Button>(R.id.switch_camera).performClick()
        settle()
        val present = activity.camera
        activity.onCameraFailure(earlier, "another app took the camera")
        activity.onImage(earlier, cameraImage(IntArray(64 * 48), 64, 48, 90, false), 90, false)
        settle()
        assertTrue(present === activity.camera && present !== earlier)
        assertEquals(View.GONE, activity.findViewById<View>(R.id.notice).visibility)
        assertNull(activity.shown())
    }

    @Test
    fun `the camera's picture is there before the network, and if there is none`() {
        val loaded = CountDownLatch(1)
        app.replaced = NetworkOpener { _, name, _, _ ->
            loaded.await(10, SECONDS)
            throw ModelFileException("$name: LiteRT cannot run it; export it again")
        }
        val activity = start(running = false).get()
        fun look(): Frame? {
            val before = activity.shown()
            activity.look(cameraImage(IntArray(64 * 48), 64, 48, 90, false), 90, false)
            settle { activity.shown() !== before }
            return activity.shown()
        }
        val shown = List(20) { look() }
        loaded.countDown()
        settle { activity.text(R.id.notice_text).isNotEmpty() }
        assertTrue((shown + List(20) { look() }).toSet().size <= FramePool.FRAMES)
        assertEquals("0 people", activity.people())
    }

    @Test
    fun `a device without a file chooser says so`() {
        val activity = start().get()
        shadowOf(app).checkActivities(true)
        activity.findViewById<Button>(R.id.open_picture).performClick()
        assertEquals(app.getString(R.string.no_chooser), shadowOf(ShadowAlertDialog.getLatestAlertDialog()).message)
    }

    @Test
    fun `a model that cannot be added is told in full`() {
        val activity = start().get()
        activity.findViewById<Button>(R.id.open_model).performClick()
        val uri = Uri.parse("content://files/holiday.mp4")
        shadowOf(app.contentResolver).registerInputStream(uri, ByteArrayInputStream(ByteArray(1000)))
        val chooser = shadowOf(activity).nextStartedActivityForResult
        shadowOf(activity).receiveResult(chooser.intent, android.app.Activity.RESULT_OK, Intent().setData(uri))
        settle { ShadowAlertDialog.getLatestAlertDialog() != null }
        val said = shadowOf(ShadowAlertDialog.getLatestAlertDialog()).message
        assertTrue("$said", said.startsWith("holiday.mp4: "))
    }

    @Test
    @Config(qualifiers = "w569dp-h320dp-land-xhdpi")
    fun `large letters on a low screen leave everything within reach`() {
        RuntimeEnvironment.setFontScale(2f)
        val activity = start().get()
        val camera = activity.camera!!
        activity.onCameraFailure(camera, "the camera failed (error 4); restart the device if it does so again")
        settle { activity.camera == null }
        screenshot(activity, "large_notice.png")
        val notice = activity.findViewById<View>(R.id.notice)
        val figures = activity.findViewById<View>(R.id.figures)
        val bar = activity.findViewById<View>(R.id.settings).parent as View
        fun place(view: View) = Rect().also { view.getGlobalVisibleRect(it) }
        assertTrue(place(notice).top >= place(figures).bottom && place(notice).bottom <= place(bar).top)
        assertTrue("${place(notice)}", place(notice).height() > 40)
        activity.findViewById<Button>(R.id.settings).performClick()
        screenshot(activity, "large_settings.png")
        val panel = activity.findViewById<View>(R.id.panel)
        assertEquals(View.GONE, notice.visibility)
        assertTrue(place(panel).top >= place(figures).bottom && place(panel).bottom <= place(bar).top)
        assertTrue("${place(panel)}", place(panel).height() > 40)
        activity.findViewById<Button>(R.id.settings).performClick()
        assertEquals(View.VISIBLE, notice.visibility)
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
            activity.look(image, 270, true)
            settle { networks[0].runs > before }
            activity.shown()?.let { shown += it }
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

    private fun MainActivity.look(image: CameraImage, rotation: Int, mirrored: Boolean) =
        onImage(camera!!, image, rotation, mirrored)

    /** One picture again and again, every 33 ms. */
    private fun MainActivity.watch(image: CameraImage, rotation: Int, mirrored: Boolean, frames: Int) = repeat(frames) {
        ShadowSystemClock.advanceBy(Duration.ofMillis(33))
        image.nanos += 33_000_000
        val before = shown()
        look(image, rotation, mirrored)
        settle { shown() !== before }
    }

    private fun MainActivity.people() = findViewById<View>(R.id.poses).contentDescription

    private fun MainActivity.shown() = findViewById<PoseView>(R.id.poses).frame

    private fun MainActivity.text(id: Int) = findViewById<TextView>(id).text.toString()

    private fun assertEquals(rgb: Int, pixel: Int, tolerance: Int) {
        for (shift in listOf(16, 8, 0)) {
            assertEquals("%06x is not %06x".format(pixel, rgb), (rgb shr shift and 255).toFloat(), (pixel shr shift and 255).toFloat(), tolerance.toFloat())
        }
    }

    private fun screenshot(activity: MainActivity, name: String): Bitmap {
        settle()
        shadowOf(Looper.getMainLooper()).idleFor(Duration.ofMillis(300))
        val view = activity.window.decorView
        val bitmap = Bitmap.createBitmap(view.width, view.height, Bitmap.Config.ARGB_8888)
        view.draw(Canvas(bitmap))
        bitmap.save(name)
        return bitmap
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
