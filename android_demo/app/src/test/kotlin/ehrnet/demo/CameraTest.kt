package ehrnet.demo

import android.util.Range
import android.util.Size
import org.junit.Assert.assertEquals
import org.junit.Assert.assertNull
import org.junit.Test
import org.junit.runner.RunWith
import org.robolectric.RobolectricTestRunner

@RunWith(RobolectricTestRunner::class)
class CameraTest {
    @Test
    fun `rotation follows sensor, screen and facing`() {
        // The usual phone: the back sensor is turned by 90 degrees, the front one by 270.
        assertEquals(listOf(90, 0, 270, 180), listOf(0, 90, 180, 270).map { Camera.uprightRotation(90, it, front = false) })
        assertEquals(listOf(270, 0, 90, 180), listOf(0, 90, 180, 270).map { Camera.uprightRotation(270, it, front = true) })
        assertEquals(0, Camera.uprightRotation(0, 0, front = false)) // a tablet whose natural orientation is landscape
    }

    @Test
    fun `the size is the smallest that suffices`() {
        val sizes = listOf(Size(1920, 1080), Size(640, 480), Size(640, 360), Size(320, 240), Size(1280, 720), Size(720, 480))
        assertEquals(Size(640, 480), Camera.bestSize(sizes, 384))
        assertEquals(Size(640, 480), Camera.bestSize(sizes, 480))
        assertEquals(Size(320, 240), Camera.bestSize(sizes, 128))
        assertEquals(Size(1280, 720), Camera.bestSize(sizes, 512))
        assertEquals(Size(1920, 1080), Camera.bestSize(sizes, 2000))
        assertEquals(Size(640, 480), Camera.bestSize(listOf(Size(960, 320), Size(640, 480)), 320))
        assertNull(Camera.bestSize(emptyList(), 384))
    }

    @Test
    fun `the frame rate is the steadiest of up to 30 a second`() {
        val rates = listOf(Range(7, 30), Range(15, 15), Range(30, 30), Range(60, 60), Range(15, 30))
        assertEquals(Range(30, 30), Camera.bestRate(rates))
        assertEquals(Range(15, 24), Camera.bestRate(listOf(Range(7, 24), Range(15, 24))))
        assertNull(Camera.bestRate(listOf(Range(60, 60))))
    }
}
