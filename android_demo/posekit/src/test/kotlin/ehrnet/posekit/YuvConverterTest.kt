package ehrnet.posekit

import com.sun.management.ThreadMXBean
import java.lang.management.ManagementFactory
import java.nio.ByteBuffer
import java.util.Random
import kotlin.math.abs
import kotlin.math.exp
import kotlin.math.roundToInt
import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Test

class YuvConverterTest {
    /** A picture in planes as Android hands them out: rows padded, the last one ends with its last sample. */
    private class Planes(
        val width: Int,
        val height: Int,
        val uvPixelStride: Int = 1,
        padding: Int = 0,
        private val direct: Boolean = false,
        private val offset: Int = 0,
    ) {
        val yRowStride = width + padding
        val uvRowStride = (width + 1) / 2 * uvPixelStride + padding
        private val chromaHeight = (height + 1) / 2
        val y = plane((height - 1) * yRowStride + width)
        val u = plane((chromaHeight - 1) * uvRowStride + ((width + 1) / 2 - 1) * uvPixelStride + 1)
        val v = plane(u.remaining())

        private fun plane(size: Int): ByteBuffer {
            val whole = if (direct) ByteBuffer.allocateDirect(size + offset) else ByteBuffer.allocate(size + offset)
            whole.position(offset)
            return whole
        }

        fun fill(random: Random) {
            for (plane in listOf(y, u, v)) {
                for (i in plane.position() until plane.limit()) plane.put(i, random.nextInt().toByte())
            }
        }

        fun set(plane: ByteBuffer, at: Int, value: Int) {
            plane.put(offset + at, value.toByte())
        }

        private fun read(plane: ByteBuffer, at: Int) = plane.get(offset + at).toInt() and 0xFF

        /** The definition in float: JFIF's conversion of the pixel at a row and column. */
        fun rgb(row: Int, column: Int): List<Double> {
            val luma = read(y, row * yRowStride + column)
            val u = read(u, row / 2 * uvRowStride + column / 2 * uvPixelStride) - 128
            val v = read(v, row / 2 * uvRowStride + column / 2 * uvPixelStride) - 128
            return listOf(luma + 1.402 * v, luma - 0.344136 * u - 0.714136 * v, luma + 1.772 * u)
                .map { it.coerceIn(0.0, 255.0) }
        }

        fun convert(rotation: Int, mirrored: Boolean): IntArray {
            val pixels = IntArray(width * height)
            YuvConverter(width, height, rotation, mirrored)
                .convert(y, yRowStride, u, v, uvRowStride, uvPixelStride, pixels)
            return pixels
        }
    }

    @Test
    fun `colours are the formula's, for every layout of the planes`() {
        val random = Random(0)
        for ((width, height) in listOf(64 to 48, 33 to 35, 1 to 1, 1 to 20, 47 to 1, 2 to 34, 18 to 16)) {
            for (pixelStride in listOf(1, 2)) {
                for (padding in listOf(0, 5)) {
                    for (direct in listOf(false, true)) {
                        val planes = Planes(width, height, pixelStride, padding, direct, offset = 3 * padding)
                        planes.fill(random)
                        val pixels = planes.convert(0, false)
                        for ((i, pixel) in pixels.withIndex()) {
                            val expected = planes.rgb(i / width, i % width)
                            for ((channel, shift) in intArrayOf(16, 8, 0).withIndex()) {
                                val difference = abs((pixel shr shift and 0xFF) - expected[channel])
                                assertTrue("$width x $height: $difference", difference <= 0.51)
                            }
                            assertEquals(0xFF, pixel ushr 24)
                        }
                    }
                }
            }
        }
    }

    @Test
    fun `rotation and mirroring move pixels and change none`() {
        for ((width, height) in listOf(20 to 34, 33 to 17, 1 to 5)) {
            val planes = Planes(width, height, uvPixelStride = 2, padding = 3)
            planes.fill(Random(1))
            val upright = planes.convert(0, false)
            for (rotation in listOf(0, 90, 180, 270)) {
                for (mirrored in listOf(false, true)) {
                    val converter = YuvConverter(width, height, rotation, mirrored)
                    val pixels = planes.convert(rotation, mirrored)
                    val expected = IntArray(width * height)
                    for (row in 0 until height) {
                        for (column in 0 until width) {
                            val (x, y) = place(column + 0.5, row + 0.5, width, height, rotation, mirrored)
                            expected[y.toInt() * converter.outputWidth + x.toInt()] = upright[row * width + column]
                        }
                    }
                    assertArrayEquals("$width x $height, $rotation, $mirrored", expected, pixels)
                }
            }
        }
    }

    @Test
    fun `a blob is found where its keypoint goes, through converter and fitter`() {
        val random = Random(2)
        val width = 160
        val height = 121
        for (rotation in listOf(0, 90, 180, 270)) {
            for (mirrored in listOf(false, true)) {
                val x = 40 + 80 * random.nextDouble()
                val y = 40 + 40 * random.nextDouble()
                val planes = Planes(width, height)
                for (i in 0 until width * height) {
                    val dx = i % width + 0.5 - x
                    val dy = i / width + 0.5 - y
                    planes.set(planes.y, i, (255 * exp(-(dx * dx + dy * dy) / 32)).roundToInt())
                }
                for (i in 0 until planes.u.remaining()) {
                    planes.set(planes.u, i, 128)
                    planes.set(planes.v, i, 128)
                }
                val pixels = planes.convert(rotation, mirrored)
                val (expectedX, expectedY) = place(x, y, width, height, rotation, mirrored)
                val converter = YuvConverter(width, height, rotation, mirrored)
                val (uprightWidth, uprightHeight) = converter.outputWidth to converter.outputHeight
                val (foundX, foundY) = centreOfMass(uprightWidth, uprightHeight) { pixels[it] and 0xFF }
                assertEquals(expectedX, foundX, 0.05)
                assertEquals(expectedY, foundY, 0.05)

                val fitter = PictureFitter(uprightWidth, uprightHeight, 96, 64)
                val input = ByteBuffer.allocateDirect(3 * 96 * 64)
                fitter.fit(pixels, input)
                val (inputX, inputY) = centreOfMass(96, 64) { input.get(3 * it).toInt() and 0xFF }
                assertEquals(expectedX, fitter.box.toImageX(inputX), 0.15)
                assertEquals(expectedY, fitter.box.toImageY(inputY), 0.15)
            }
        }
    }

    /** Where a place of the camera's picture goes when it is turned clockwise and then mirrored. */
    private fun place(
        x: Double,
        y: Double,
        width: Int,
        height: Int,
        rotation: Int,
        mirrored: Boolean,
    ): Pair<Double, Double> {
        var at = x to y
        var size = width to height
        repeat(rotation / 90) {
            at = size.second - at.second to at.first
            size = size.second to size.first
        }
        return if (mirrored) size.first - at.first to at.second else at
    }

    @Test
    fun `planes are left as they were and may be shared`() {
        val planes = Planes(32, 18, uvPixelStride = 2, offset = 5)
        planes.fill(Random(0))
        val first = planes.convert(90, true)
        assertEquals(listOf(5, 5, 5), listOf(planes.y, planes.u, planes.v).map { it.position() })
        assertArrayEquals(first, planes.convert(90, true))
    }

    @Test
    fun `nothing is allocated per picture`() {
        val planes = Planes(64, 50, uvPixelStride = 2, direct = true)
        val pixels = IntArray(64 * 50)
        val input = ByteBuffer.allocateDirect(3 * 32 * 32)
        for (rotation in listOf(0, 90)) {
            val converter = YuvConverter(64, 50, rotation, mirrored = true)
            val fitter = PictureFitter(converter.outputWidth, converter.outputHeight, 32, 32)
            val bytes = allocatedBy(1000) {
                converter.convert(planes.y, planes.yRowStride, planes.u, planes.v, planes.uvRowStride, 2, pixels)
                fitter.fit(pixels, input)
            }
            assertTrue("$bytes bytes by 1000 pictures", bytes < 1000)
        }
    }

    private fun allocatedBy(times: Int, run: () -> Unit): Long {
        val threads = ManagementFactory.getThreadMXBean() as ThreadMXBean
        val thread = Thread.currentThread().id
        repeat(10) { run() }
        val before = threads.getThreadAllocatedBytes(thread)
        repeat(times) { run() }
        return threads.getThreadAllocatedBytes(thread) - before
    }

    @Test
    fun `what does not fit is refused by name`() {
        val planes = Planes(32, 18)
        val converter = YuvConverter(32, 18, 90, false)
        val pixels = IntArray(32 * 18)

        fun refusal(run: () -> Unit) = assertThrows(IllegalArgumentException::class.java) { run() }.message!!

        val short = ByteBuffer.allocate(planes.u.remaining() - 1)
        assertTrue("plane u" in refusal { converter.convert(planes.y, 32, short, planes.v, 16, 1, pixels) })
        assertTrue("plane v" in refusal { converter.convert(planes.y, 32, planes.u, short, 16, 1, pixels) })
        assertTrue("row stride 31" in refusal { converter.convert(planes.y, 31, planes.u, planes.v, 16, 1, pixels) })
        assertTrue("row stride 16" in refusal { converter.convert(planes.y, 32, planes.u, planes.v, 16, 2, pixels) })
        assertTrue("pixel stride 0" in refusal { converter.convert(planes.y, 32, planes.u, planes.v, 16, 0, pixels) })
        assertTrue("575" in refusal { converter.convert(planes.y, 32, planes.u, planes.v, 16, 1, IntArray(575)) })
        assertTrue("rotation 45" in refusal { YuvConverter(32, 18, 45, false) })
        assertTrue("0 x 18" in refusal { YuvConverter(0, 18, 0, false) })
    }
}
