package ehrnet.demo

import android.annotation.SuppressLint
import android.annotation.TargetApi
import android.content.Context
import android.graphics.ImageFormat
import android.hardware.camera2.CameraAccessException
import android.hardware.camera2.CameraCaptureSession
import android.hardware.camera2.CameraCharacteristics
import android.hardware.camera2.CameraDevice
import android.hardware.camera2.CameraManager
import android.hardware.camera2.CaptureRequest
import android.hardware.camera2.params.OutputConfiguration
import android.hardware.camera2.params.SessionConfiguration
import android.media.ImageReader
import android.os.Build
import android.os.Handler
import android.os.HandlerThread
import android.util.Range
import android.util.Size
import android.view.Surface
import java.io.Closeable
import java.util.concurrent.CountDownLatch
import java.util.concurrent.Executor
import java.util.concurrent.TimeUnit
import kotlin.math.abs

/**
 * A camera of the phone, by the framework's Camera2: open from the constructor to [close].
 *
 * Of the pictures that come while one is looked at, only the newest is kept.
 *
 * @param shortSide the least short side of the pictures, pixels: what the network's input has.
 * @param displayRotation how far the screen is turned from its natural orientation: 0, 90, 180 or 270 degrees.
 */
class Camera(
    context: Context,
    private val facing: Facing,
    private val shortSide: Int,
    @Volatile var displayRotation: Int,
    private val listener: CameraListener,
) : Closeable {
    private val manager = context.getSystemService(CameraManager::class.java)
    private val thread = HandlerThread("camera").apply { start() }
    private val handler = Handler(thread.looper)
    private val released = CountDownLatch(1)
    @Volatile private var closing = false

    // The camera thread's.
    private val picture = CameraImage()
    private var device: CameraDevice? = null
    private var reader: ImageReader? = null
    private var opening = false // asked for, but not answered yet
    private var done = false

    init {
        handler.post { attempt { open() } }
    }

    /** Closes the camera, and waits for that at most two seconds: the next one, or another app's, may be the same. */
    override fun close() {
        closing = true
        handler.post(::release)
        released.await(CLOSING, TimeUnit.MILLISECONDS)
    }

    @SuppressLint("MissingPermission") // the activity asks for it; without it this throws, and says so
    private fun open() {
        if (closing) return
        val ids = manager.cameraIdList
        if (ids.isEmpty()) return fail("this device has no camera; open a picture instead")
        val usable = ids.mapNotNull { usable(manager, it) }
        val (id, known) = usable.firstOrNull { (_, known) -> isFront(known) == (facing == Facing.FRONT) }
            ?: usable.firstOrNull()
            ?: return fail("no camera of this device gives YUV pictures; open a picture instead")
        val size = bestSize(yuvSizes(known), shortSide)!!
        val sensor = known[CameraCharacteristics.SENSOR_ORIENTATION] ?: 0
        val front = isFront(known)
        val rate = bestRate(known[CameraCharacteristics.CONTROL_AE_AVAILABLE_TARGET_FPS_RANGES].orEmpty().asList())
        reader = ImageReader.newInstance(size.width, size.height, ImageFormat.YUV_420_888, IMAGES).apply {
            setOnImageAvailableListener({ deliver(it, sensor, front) }, handler)
        }
        manager.openCamera(id, Opened(rate, focus(known)), handler)
        opening = true // the answer comes to this thread, so not before
    }

    private fun deliver(reader: ImageReader, sensor: Int, front: Boolean) {
        if (closing || done) return
        val rotation = uprightRotation(sensor, displayRotation, front)
        attempt { reader.acquireLatestImage()?.use { listener.onImage(this, picture.set(it), rotation, front) } }
    }

    private inner class Opened(private val rate: Range<Int>?, private val focus: Int?) : CameraDevice.StateCallback() {
        override fun onOpened(camera: CameraDevice) {
            answer(camera)
            if (closing || done) return release()
            attempt { startSession(camera, rate, focus) }
        }

        override fun onDisconnected(camera: CameraDevice) {
            answer(camera)
            fail("another app took the camera")
        }

        override fun onError(camera: CameraDevice, error: Int) {
            answer(camera)
            fail(
                when (error) {
                    ERROR_CAMERA_IN_USE -> "another app uses the camera; close it"
                    ERROR_MAX_CAMERAS_IN_USE -> "too many cameras are in use; close other apps"
                    ERROR_CAMERA_DISABLED -> "the camera is switched off by this device's policy"
                    else -> "the camera failed (error $error); restart the device if it does so again"
                },
            )
        }

        private fun answer(camera: CameraDevice) {
            device = camera
            opening = false
        }
    }

    private fun startSession(camera: CameraDevice, rate: Range<Int>?, focus: Int?) {
        val surface = reader?.surface ?: return
        val request = camera.createCaptureRequest(CameraDevice.TEMPLATE_PREVIEW).apply {
            addTarget(surface)
            focus?.let { set(CaptureRequest.CONTROL_AF_MODE, it) }
            rate?.let { set(CaptureRequest.CONTROL_AE_TARGET_FPS_RANGE, it) }
        }.build()
        val started = object : CameraCaptureSession.StateCallback() {
            override fun onConfigured(session: CameraCaptureSession) = attempt {
                if (!closing && !done) session.setRepeatingRequest(request, null, handler)
            }

            override fun onConfigureFailed(session: CameraCaptureSession) =
                fail("the camera refused its configuration; choose another camera")
        }
        if (Build.VERSION.SDK_INT >= Build.VERSION_CODES.P) {
            createSession(camera, surface, started)
        } else {
            @Suppress("DEPRECATION") // what there is before Android 9
            camera.createCaptureSession(listOf(surface), started, handler)
        }
    }

    @TargetApi(Build.VERSION_CODES.P)
    private fun createSession(camera: CameraDevice, surface: Surface, started: CameraCaptureSession.StateCallback) {
        val outputs = listOf(OutputConfiguration(surface))
        val executor = Executor { handler.post(it) }
        camera.createCaptureSession(SessionConfiguration(SessionConfiguration.SESSION_REGULAR, outputs, executor, started))
    }

    private fun attempt(step: () -> Unit) {
        try {
            step()
        } catch (error: CameraAccessException) {
            fail("the camera cannot be used (${error.firstLine()}); close other apps that use it")
        } catch (error: SecurityException) {
            fail("the camera may not be used; allow it in the settings of this app (${error.firstLine()})")
        } catch (error: IllegalArgumentException) {
            fail("the camera is gone, or its pictures are no YUV (${error.firstLine()}); choose another one")
        } catch (error: IllegalStateException) { // closed by the system meanwhile
            fail("the camera was closed (${error.firstLine()})")
        } catch (error: RuntimeException) { // what drivers throw
            fail("the camera failed (${error.firstLine()}); restart the device if it does so again")
        }
    }

    private fun fail(message: String) {
        val heard = closing || done
        release()
        if (!heard) listener.onCameraFailure(this, message)
    }

    /** Frees all there is; the thread ends when nothing more can come: a camera that is being opened comes here again. */
    private fun release() {
        done = true
        device?.close() // returns when others may open it
        reader?.close()
        device = null
        reader = null
        if (opening) return
        thread.quitSafely()
        released.countDown()
    }

    companion object {
        private const val IMAGES = 3 // the one that is looked at, the newest, one that the camera writes to
        private const val CLOSING = 2000L // milliseconds

        /** A camera's id and characteristics; null if it does not tell them, or gives no YUV pictures, as depth cameras. */
        private fun usable(manager: CameraManager, id: String): Pair<String, CameraCharacteristics>? = try {
            (id to manager.getCameraCharacteristics(id)).takeIf { (_, known) -> yuvSizes(known).isNotEmpty() }
        } catch (_: CameraAccessException) {
            null
        } catch (_: RuntimeException) { // plugged out meanwhile, or a driver's
            null
        }

        private fun yuvSizes(known: CameraCharacteristics): List<Size> =
            known[CameraCharacteristics.SCALER_STREAM_CONFIGURATION_MAP]?.getOutputSizes(ImageFormat.YUV_420_888).orEmpty().asList()

        /** The autofocus for video; null if the camera has none. */
        internal fun focus(known: CameraCharacteristics): Int? = CaptureRequest.CONTROL_AF_MODE_CONTINUOUS_VIDEO
            .takeIf { known[CameraCharacteristics.CONTROL_AF_AVAILABLE_MODES]?.contains(it) == true }

        private fun isFront(known: CameraCharacteristics) =
            known[CameraCharacteristics.LENS_FACING] == CameraCharacteristics.LENS_FACING_FRONT

        /**
         * Degrees clockwise that make a picture upright on the screen.
         *
         * @param sensor how far the sensor's picture must be turned for the device's natural orientation, degrees.
         * @param display how far the screen is turned from that, degrees anticlockwise, as `Display.rotation` says.
         */
        fun uprightRotation(sensor: Int, display: Int, front: Boolean): Int =
            if (front) (sensor + display) % 360 else (sensor - display + 360) % 360

        /**
         * The smallest size whose sides are at least [shortSide], not wider than 16:9; of equal ones that nearest to 4:3.
         * If all are smaller, the largest.
         */
        fun bestSize(sizes: List<Size>, shortSide: Int): Size? {
            val enough = sizes.filter { minOf(it.width, it.height) >= shortSide && it.width * 9 <= it.height * 16 }
            return enough.minWithOrNull(compareBy({ it.width * it.height }, { abs(it.width * 3 - it.height * 4) }))
                ?: sizes.maxByOrNull { it.width * it.height }
        }

        /** The range of frame rates that stays highest, up to 30 a second. */
        fun bestRate(ranges: List<Range<Int>>): Range<Int>? =
            ranges.filter { it.upper <= 30 }.maxWithOrNull(compareBy({ it.upper }, { it.lower }))
    }
}
