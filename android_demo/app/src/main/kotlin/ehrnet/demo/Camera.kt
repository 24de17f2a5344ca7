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
import android.media.Image
import android.media.ImageReader
import android.os.Build
import android.os.Handler
import android.os.HandlerThread
import android.util.Range
import android.util.Size
import android.view.Surface
import java.io.Closeable
import java.nio.ByteBuffer
import java.util.concurrent.Executor
import kotlin.math.abs

/**
 * A picture as a camera delivers it: YUV 4:2:0 in three planes, lying as the sensor does.
 *
 * @property nanos when it was taken, on the camera's clock.
 */
class CameraImage {
    var width = 0
    var height = 0
    var nanos = 0L
    var yRowStride = 0
    var uvRowStride = 0
    var uvPixelStride = 0
    var y: ByteBuffer = EMPTY
    var u: ByteBuffer = EMPTY
    var v: ByteBuffer = EMPTY

    /** Takes over what [image] holds, not copied. */
    fun set(image: Image): CameraImage {
        val planes = image.planes
        width = image.width
        height = image.height
        nanos = image.timestamp
        yRowStride = planes[0].rowStride
        uvRowStride = planes[1].rowStride
        uvPixelStride = planes[1].pixelStride
        y = planes[0].buffer
        u = planes[1].buffer
        v = planes[2].buffer
        return this
    }

    private companion object {
        val EMPTY: ByteBuffer = ByteBuffer.allocate(0)
    }
}

/** What a camera tells, on the camera's thread. */
interface CameraListener {
    /**
     * A picture has come; it is gone when this returns.
     *
     * @param rotation degrees clockwise that make it upright on the screen.
     * @param mirrored whether it is to be mirrored then, as people expect of the camera that faces them.
     */
    fun onImage(image: CameraImage, rotation: Int, mirrored: Boolean)

    /** The camera cannot be used, or no longer, as [message] says to people. It is closed. */
    fun onCameraFailure(message: String)
}

/** Which way a camera looks. */
enum class Facing { BACK, FRONT }

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
    private var device: CameraDevice? = null
    private var reader: ImageReader? = null
    private val picture = CameraImage()
    private var closed = false

    init {
        handler.post { attempt { open() } }
    }

    override fun close() {
        handler.post(::release)
        thread.quitSafely()
        thread.join(CLOSING) // the next camera, or another app's, may be the same one
    }

    @SuppressLint("MissingPermission") // the activity asks for it; without it this throws, and says so
    private fun open() {
        val (id, known) = cameras(manager).let { all -> all[facing] ?: all.values.firstOrNull() }
            ?: return fail("this device has no camera; open a picture instead")
        val sizes = known[CameraCharacteristics.SCALER_STREAM_CONFIGURATION_MAP]
            ?.getOutputSizes(ImageFormat.YUV_420_888).orEmpty()
        val size = bestSize(sizes.asList(), shortSide) ?: return fail("the camera gives no YUV pictures")
        val sensor = known[CameraCharacteristics.SENSOR_ORIENTATION] ?: 0
        val front = isFront(known)
        val rate = bestRate(known[CameraCharacteristics.CONTROL_AE_AVAILABLE_TARGET_FPS_RANGES].orEmpty().asList())
        reader = ImageReader.newInstance(size.width, size.height, ImageFormat.YUV_420_888, IMAGES).apply {
            setOnImageAvailableListener({ deliver(it, sensor, front) }, handler)
        }
        manager.openCamera(id, Opened(rate), handler)
    }

    private fun deliver(reader: ImageReader, sensor: Int, front: Boolean) {
        if (closed) return
        val rotation = uprightRotation(sensor, displayRotation, front)
        attempt { reader.acquireLatestImage()?.use { listener.onImage(picture.set(it), rotation, front) } }
    }

    private inner class Opened(private val rate: Range<Int>?) : CameraDevice.StateCallback() {
        override fun onOpened(camera: CameraDevice) {
            device = camera
            if (closed) return release()
            attempt { startSession(camera, rate) }
        }

        override fun onDisconnected(camera: CameraDevice) {
            device = camera
            fail("another app took the camera")
        }

        override fun onError(camera: CameraDevice, error: Int) {
            device = camera
            fail(
                when (error) {
                    ERROR_CAMERA_IN_USE -> "another app uses the camera; close it"
                    ERROR_MAX_CAMERAS_IN_USE -> "too many cameras are in use; close other apps"
                    ERROR_CAMERA_DISABLED -> "the camera is switched off by this device's policy"
                    else -> "the camera failed (error $error); restart the device if it does so again"
                },
            )
        }
    }

    private fun startSession(camera: CameraDevice, rate: Range<Int>?) {
        val surface = reader?.surface ?: return
        val request = camera.createCaptureRequest(CameraDevice.TEMPLATE_PREVIEW).apply {
            addTarget(surface)
            set(CaptureRequest.CONTROL_AF_MODE, CaptureRequest.CONTROL_AF_MODE_CONTINUOUS_VIDEO)
            rate?.let { set(CaptureRequest.CONTROL_AE_TARGET_FPS_RANGE, it) }
        }.build()
        val started = object : CameraCaptureSession.StateCallback() {
            override fun onConfigured(session: CameraCaptureSession) = attempt {
                if (!closed) session.setRepeatingRequest(request, null, handler)
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
        }
    }

    private fun fail(message: String) {
        val heard = closed
        release()
        if (!heard) listener.onCameraFailure(message)
    }

    private fun release() {
        closed = true
        device?.close()
        reader?.close()
        device = null
        reader = null
    }

    companion object {
        private const val IMAGES = 3 // the one that is looked at, the newest, one that the camera writes to
        private const val CLOSING = 2000L // milliseconds

        /** The first camera of either facing, id and characteristics; one that is plugged in counts as facing back. */
        private fun cameras(manager: CameraManager): Map<Facing, Pair<String, CameraCharacteristics>> =
            manager.cameraIdList.reversed().map { it to manager.getCameraCharacteristics(it) }
                .associateBy { (_, known) -> if (isFront(known)) Facing.FRONT else Facing.BACK }

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
