package ehrnet.posekit

import java.nio.ByteBuffer
import java.util.Random
import kotlin.math.exp
import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Test

class PictureFitterTest {
    private fun input(width: Int, height: Int) = ByteBuffer.allocateDirect(3 * width * height)

    private fun bytes(input: ByteBuffer) = ByteArray(input.remaining()).also { input.duplicate().get(it) }

    @Test
    fun `a picture of the input's size is copied`() {
        val random = Random(0)
        val pixels = IntArray(64 * 96) { random.nextInt() }
        val input = input(64, 96)
        PictureFitter(64, 96, 64, 96).fit(pixels, input)
        val expected = pixels.flatMap { listOf((it shr 16).toByte(), (it shr 8).toByte(), it.toByte()) }
        assertArrayEquals(expected.toByteArray(), bytes(input))
    }

    @Test
    fun `white stays white and the border black, at any scale`() {
        val random = Random(0)
        repeat(60) {
            val width = 1 + random.nextInt(400)
            val height = 1 + random.nextInt(400)
            val fitter = PictureFitter(width, height, 96, 64)
            val input = input(96, 64).apply { duplicate().put(ByteArray(capacity()) { 77 }) }
            fitter.fit(IntArray(width * height) { -1 }, input)
            val box = fitter.box
            val blend = 0.5 + maxOf(box.scale / 2, 0.5) + box.scale // pixels over which white turns into black
            for (y in 0 until 64) {
                for (x in 0 until 96) {
                    val inside = minOf(x + 0.5 - box.dx, 96 - box.dx - x - 0.5, y + 0.5 - box.dy, 64 - box.dy - y - 0.5)
                    val value = input.get(3 * (y * 96 + x)).toInt() and 0xFF
                    if (inside > blend) assertEquals("$width x $height: $x, $y", 255, value)
                    if (inside < -blend) assertEquals("$width x $height: $x, $y", 0, value)
                }
            }
        }
    }

    @Test
    fun `a blob lands where its centre is mapped to`() {
        val random = Random(1)
        repeat(60) {
            val width = 40 + random.nextInt(600)
            val height = 40 + random.nextInt(600)
            val fitter = PictureFitter(width, height, 128, 96)
            val sigma = maxOf(1.5, 1.5 / fitter.box.scale)
            val x = width * (0.3 + 0.4 * random.nextDouble())
            val y = height * (0.3 + 0.4 * random.nextDouble())
            val pixels = IntArray(width * height) { i ->
                val dx = i % width + 0.5 - x
                val dy = i / width + 0.5 - y
                0x010101 * (255 * exp(-(dx * dx + dy * dy) / (2 * sigma * sigma))).toInt()
            }
            val input = input(128, 96)
            fitter.fit(pixels, input)
            val (foundX, foundY) = centreOfMass(128, 96) { input.get(3 * it + 1).toInt() and 0xFF }
            assertEquals("$width x $height", fitter.box.toInputX(x), foundX, 0.15)
            assertEquals("$width x $height", fitter.box.toInputY(y), foundY, 0.15)
        }
    }

    @Test
    fun `a checkerboard that shrinks becomes grey, not a pattern`() {
        val pixels = IntArray(640 * 480) { i -> if ((i % 640 + i / 640) % 2 == 0) -1 else 0 }
        val input = input(96, 96)
        val fitter = PictureFitter(640, 480, 96, 96)
        fitter.fit(pixels, input)
        for (y in 16 until 80) {
            for (x in 4 until 92) assertEquals(127.5, (input.get(3 * (96 * y + x)).toInt() and 0xFF).toDouble(), 20.0)
        }
    }

    @Test
    fun `nothing of the last picture is left, and the buffer is ready to be read`() {
        val fitter = PictureFitter(50, 30, 32, 32)
        val random = Random(3)
        val pixels = IntArray(50 * 30) { random.nextInt() }
        val first = input(32, 32)
        fitter.fit(pixels, first)
        val second = input(32, 32)
        fitter.fit(IntArray(50 * 30) { -1 }, second)
        second.get(ByteArray(7))
        fitter.fit(pixels, second)
        assertEquals(0, second.position())
        assertEquals(3 * 32 * 32, second.remaining())
        assertArrayEquals(bytes(first), bytes(second))
    }

    @Test
    fun `other sizes are refused`() {
        val fitter = PictureFitter(50, 30, 32, 32)
        assertThrows(IllegalArgumentException::class.java) { fitter.fit(IntArray(1499), input(32, 32)) }
        val error = assertThrows(IllegalArgumentException::class.java) { fitter.fit(IntArray(1500), input(32, 31)) }
        assertTrue(error.message!!, "32 x 32 x 3" in error.message!!)
    }
}

/** Mean place, in the continuous frame, of pixels weighted by how bright they are; what is dark does not count. */
internal fun centreOfMass(width: Int, height: Int, brightness: (Int) -> Int): Pair<Double, Double> {
    var sum = 0.0
    var sumX = 0.0
    var sumY = 0.0
    for (i in 0 until width * height) {
        val weight = (brightness(i) - 16).coerceAtLeast(0).toDouble()
        sum += weight
        sumX += weight * (i % width + 0.5)
        sumY += weight * (i / width + 0.5)
    }
    return sumX / sum to sumY / sum
}
