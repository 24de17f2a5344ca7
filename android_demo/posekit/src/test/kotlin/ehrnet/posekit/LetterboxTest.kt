package ehrnet.posekit

import java.util.Random
import org.junit.Assert.assertEquals
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Test

class LetterboxTest {
    @Test
    fun `a wide picture has borders above and below`() {
        val box = Letterbox.fit(imageWidth = 80, imageHeight = 40, inputWidth = 64, inputHeight = 64)
        assertEquals(listOf(0.8, 0.0, 16.0), listOf(box.scale, box.dx, box.dy))
        assertEquals(Region(top = 8, left = 0, bottom = 24, right = 32), box.region(32, 32, 2.0))
        assertEquals(Region(top = 16, left = 0, bottom = 48, right = 64), box.region(64, 64, 1.0))
    }

    @Test
    fun `coordinates come back, and the picture fills one direction`() {
        val random = Random(0)
        repeat(1000) {
            val (imageWidth, imageHeight, width, height) = List(4) { 1 + random.nextInt(2000) }
            val box = Letterbox.fit(imageWidth, imageHeight, width, height)
            val x = random.nextDouble() * imageWidth
            val y = random.nextDouble() * imageHeight
            assertEquals(x, box.toImageX(box.toInputX(x)), 1e-8 * imageWidth)
            assertEquals(y, box.toImageY(box.toInputY(y)), 1e-8 * imageHeight)
            assertEquals(width / 2.0, box.toInputX(imageWidth / 2.0), 1e-9)
            assertEquals(height / 2.0, box.toInputY(imageHeight / 2.0), 1e-9)
            assertEquals(0.0, minOf(box.dx, box.dy), 1e-9)
            val region = box.region(height, width, 1.0)
            assertTrue("$region", region.top <= box.dy + 1e-9 && region.left <= box.dx + 1e-9)
            assertTrue("$region", region.bottom >= height - box.dy - 1e-5 && region.right >= width - box.dx - 1e-5)
        }
    }

    @Test
    fun `a rounding error adds no row of cells`() {
        val box = Letterbox(scale = 0.1, dx = 0.0, dy = 0.2, imageWidth = 10, imageHeight = 1) // 0.1 + 0.2 > 0.3
        assertEquals(Region(top = 2, left = 0, bottom = 3, right = 10), box.region(10, 10, 0.1))
    }

    @Test
    fun `a picture without pixels is refused`() {
        assertThrows(IllegalArgumentException::class.java) { Letterbox.fit(0, 5, 64, 64) }
    }
}
