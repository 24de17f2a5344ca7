package ehrnet.demo

import android.content.Context
import android.hardware.camera2.CameraAccessException
import android.hardware.camera2.CameraCharacteristics
import android.hardware.camera2.CameraDevice
import android.hardware.camera2.CameraManager
import org.junit.Assert.assertEquals
import org.junit.Assert.assertNull
import org.junit.Assert.assertTrue
import org.junit.Before
import org.junit.Test
import org.junit.runner.RunWith
import org.robolectric.RobolectricTestRunner
import org.robolectric.RuntimeEnvironment
import org.robolectric.Shadows.shadowOf
import org.robolectric.annotation.Config
import org.robolectric.annotation.Implementation
import org.robolectric.annotation.Implements
import org.robolectric.shadow.api.Shadow
import org.robolectric.shadows.ShadowCameraManager
import org.robolectric.util.ReflectionHelpers
import java.util.concurrent.CopyOnWriteArrayList
import java.util.concurrent.CountDownLatch
import java.util.concurrent.Executor
import java.util.concurrent.LinkedBlockingQueue
import java.util.concurrent.TimeUnit.SECONDS
import kotlin.concurrent.thread

/** Every camera that is opened is closed, whenever that comes. */
@RunWith(RobolectricTestRunner::class)
@Config(shadows = [SlowCameras::class])
class CameraLifeTest {
    private val app = RuntimeEnvironment.getApplication()
    private val manager = app.getSystemService(Context.CAMERA_SERVICE) as CameraManager
    private val failures = LinkedBlockingQueue<String>()
    private val listener = object : CameraListener {
        override fun onImage(camera: Camera, image: CameraImage, rotation: Int, mirrored: Boolean) = Unit

        override fun onCameraFailure(camera: Camera, message: String) = failures.put(message)
    }

    @Before
    fun phone() {
        SlowCameras.reset()
        shadowOf(manager).addCamera("0", cameraCharacteristics(CameraCharacteristics.LENS_FACING_BACK, 90))
    }

    @Test
    fun `a camera that is closed while it opens is released, and close waits for that`() {
        val camera = open()
        assertTrue(SlowCameras.entered.await(10, SECONDS))
        val closing = thread { camera.close() }
        while (closing.state != Thread.State.TIMED_WAITING) Thread.sleep(1)
        SlowCameras.gate.countDown()
        closing.join()
        assertTrue(isClosed(SlowCameras.opened.single()))
        assertEquals(emptyList<String>(), failures.toList())
    }

    @Test
    fun `a camera that opens later than close waits is released, too`() {
        val camera = open()
        assertTrue(SlowCameras.entered.await(10, SECONDS))
        camera.close()
        assertEquals(0, SlowCameras.opened.size)
        SlowCameras.gate.countDown()
        val end = System.nanoTime() + 10_000_000_000
        while (SlowCameras.opened.none(::isClosed) && System.nanoTime() < end) Thread.sleep(1)
        assertTrue(isClosed(SlowCameras.opened.single()))
    }

    @Test
    fun `a camera that is closed at once is not opened`() {
        SlowCameras.gate.countDown()
        repeat(20) { open().close() }
        assertTrue(SlowCameras.opened.all(::isClosed))
    }

    @Test
    fun `what a driver throws is said`() {
        SlowCameras.gate.countDown()
        SlowCameras.error = UnsupportedOperationException("no planes")
        open().use { assertEquals("the camera failed (no planes); restart the device if it does so again", said()) }
    }

    @Test
    fun `a camera that does not say what it is, or gives no YUV pictures, does not keep others from being used`() {
        SlowCameras.gate.countDown()
        SlowCameras.broken = "1"
        shadowOf(manager).addCamera("1", cameraCharacteristics(CameraCharacteristics.LENS_FACING_BACK, 90))
        shadowOf(manager).addCamera("2", cameraCharacteristics(CameraCharacteristics.LENS_FACING_FRONT, 90, sizes = emptyList()))
        shadowOf(manager).addCamera("3", cameraCharacteristics(CameraCharacteristics.LENS_FACING_FRONT, 270))
        open(Facing.FRONT).use { settleOpened(1) }
        assertEquals("3", SlowCameras.opened.single().id)
        shadowOf(manager).removeCamera("0")
        shadowOf(manager).removeCamera("3")
        open().use { assertEquals("no camera of this device gives YUV pictures; open a picture instead", said()) }
    }

    @Test
    fun `autofocus is asked of cameras that have it`() {
        val known = cameraCharacteristics(CameraCharacteristics.LENS_FACING_BACK, 90)
        assertNull(Camera.focus(known))
        val modes = intArrayOf(CameraCharacteristics.CONTROL_AF_MODE_OFF, CameraCharacteristics.CONTROL_AF_MODE_CONTINUOUS_VIDEO)
        shadowOf(known).set(CameraCharacteristics.CONTROL_AF_AVAILABLE_MODES, modes)
        assertEquals(CameraCharacteristics.CONTROL_AF_MODE_CONTINUOUS_VIDEO, Camera.focus(known))
    }

    private fun open(facing: Facing = Facing.BACK) = Camera(app, facing, 480, 0, listener)

    private fun said() = failures.poll(10, SECONDS)

    private fun settleOpened(count: Int) {
        val end = System.nanoTime() + 10_000_000_000
        while (SlowCameras.opened.size < count && System.nanoTime() < end) Thread.sleep(1)
    }

    private fun isClosed(device: CameraDevice): Boolean = ReflectionHelpers.getField(Shadow.extract(device), "closed")
}

/** Cameras that open when [gate] does. */
@Implements(CameraManager::class)
class SlowCameras : ShadowCameraManager() {
    @Implementation(minSdk = 34)
    public override fun openCameraDeviceUserAsync(
        id: String,
        callback: CameraDevice.StateCallback,
        executor: Executor,
        uid: Int,
        oomScoreOffset: Int,
        overrideToPortrait: Boolean,
    ): CameraDevice {
        error?.let { throw it }
        entered.countDown()
        gate.await(10, SECONDS)
        return super.openCameraDeviceUserAsync(id, callback, executor, uid, oomScoreOffset, overrideToPortrait).also { opened += it }
    }

    @Implementation
    public override fun getCameraCharacteristics(id: String): CameraCharacteristics {
        if (id == broken) throw CameraAccessException(CameraAccessException.CAMERA_ERROR)
        return super.getCameraCharacteristics(id)
    }

    companion object {
        val opened = CopyOnWriteArrayList<CameraDevice>()
        var entered = CountDownLatch(1)
        var gate = CountDownLatch(1)
        var broken: String? = null
        var error: RuntimeException? = null

        fun reset() {
            opened.clear()
            entered = CountDownLatch(1)
            gate = CountDownLatch(1)
            broken = null
            error = null
        }
    }
}
