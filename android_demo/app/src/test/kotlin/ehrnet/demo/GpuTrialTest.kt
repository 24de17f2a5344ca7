package ehrnet.demo

import android.content.Intent
import android.net.Uri
import android.os.Bundle
import android.widget.Switch
import ehrnet.posekit.ModelMetadata
import org.junit.After
import org.junit.Assert.assertEquals
import org.junit.Assert.assertFalse
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
import org.robolectric.shadows.ShadowAlertDialog
import java.io.ByteArrayInputStream
import java.io.File
import java.util.Collections.synchronizedList
import java.util.concurrent.Semaphore
import java.util.concurrent.TimeUnit.SECONDS
import java.util.concurrent.atomic.AtomicInteger

/** A driver may take the app down while it tries the GPU; `onCreate` of the application stands for the next start. */
@RunWith(RobolectricTestRunner::class)
class GpuTrialTest {
    private val app = RuntimeEnvironment.getApplication() as TestApplication
    private val metadata = ModelMetadata.parse(goldenJson("coco_metadata.json").toString(), "coco")
    private val asked = synchronizedList(mutableListOf<Device>())
    private val opened = AtomicInteger()
    private val gate = Semaphore(0) // where networks wait while they are opened
    private val controllers = mutableListOf<ActivityController<*>>()

    @Before
    fun model() {
        app.install("painted_int8.tflite")
        app.replaced = NetworkOpener { _, _, device, _ ->
            asked += device
            gate.tryAcquire(10, SECONDS)
            FixedNetwork(metadata, { emptyList() }).also { opened.incrementAndGet() }
        }
    }

    @After
    fun end() {
        gate.release(100)
        controllers.filter { !it.get().isDestroyed }.forEach { it.pause().stop().destroy() }
    }

    @Test
    fun `a driver that took the app down is not tried at the next start`() {
        crash()
        val activity = main().get()
        settle { asked.size == 1 }
        assertEquals(Device.CPU, asked.single())
        assertEquals(app.getString(R.string.gpu_crashed), told())
        assertFalse(activity.findViewById<Switch>(R.id.gpu).isChecked)
        assertNull(app.takeWarning())
    }

    @Test
    fun `nor by a picture that another app shares`() {
        crash()
        picture()
        settle { asked.size == 1 }
        assertEquals(Device.CPU, asked.single())
        assertEquals(app.getString(R.string.gpu_crashed), told())
    }

    @Test
    fun `an activity that begins while another tries the GPU accuses nobody`() {
        val first = main()
        settle { asked.size == 1 && app.settings.gpuOnTrial }
        first.recreate()
        picture()
        settle { asked.size == 3 }
        assertTrue(asked.all { it == Device.GPU })
        gate.release(2)
        settle { opened.get() == 2 }
        assertTrue(app.settings.gpuOnTrial) // the last one's trial goes on
        assertNull(ShadowAlertDialog.getLatestAlertDialog())
        gate.release()
        settle { !app.settings.gpuOnTrial }
    }

    @Test
    fun `what Android restores does not undo the settings`() {
        val before = main()
        val state = Bundle()
        before.saveInstanceState(state).pause().stop().destroy()
        gate.release(10)
        settle { !app.settings.gpuOnTrial }
        crash()
        app.settings.smooth = false
        app.settings.threads = 7
        val controller = Robolectric.buildActivity(MainActivity::class.java).also { controllers += it }
        val activity = controller.create(state).start().restoreInstanceState(state).resume().visible().get()
        settle()
        assertFalse(activity.findViewById<Switch>(R.id.gpu).isChecked)
        assertEquals(Device.CPU, app.settings.device)
        assertFalse(app.settings.smooth)
        assertEquals(7, app.settings.threads)
    }

    /** The app ends in the driver, and starts again. */
    private fun crash() {
        app.settings.gpuOnTrial = true
        app.onCreate()
    }

    private fun main() = Robolectric.buildActivity(MainActivity::class.java).setup().also { controllers += it }

    private fun picture(): ActivityController<PictureActivity> {
        val uri = Uri.parse("content://gallery/1")
        val content = File(Repository.golden, "picture.png").readBytes()
        shadowOf(app.contentResolver).registerInputStreamSupplier(uri) { ByteArrayInputStream(content) }
        return Robolectric.buildActivity(PictureActivity::class.java, Intent().setData(uri)).setup().also { controllers += it }
    }

    private fun told() = shadowOf(ShadowAlertDialog.getLatestAlertDialog()).message
}
