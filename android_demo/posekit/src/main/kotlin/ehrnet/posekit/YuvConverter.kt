package ehrnet.posekit

import java.nio.Buffer
import java.nio.ByteBuffer

/**
 * Camera pictures in YUV 4:2:0 (Android's `YUV_420_888`) to upright RGB; nothing is allocated per picture.
 *
 * BT.601, full range, as Android cameras deliver it; a chroma sample counts for its 2 x 2 pixels. For one thread at a
 * time.
 *
 * @property width of the camera's picture, pixels.
 * @property height of the camera's picture, pixels.
 * @property rotation 0, 90, 180 or 270: the degrees clockwise that make the picture upright.
 * @property mirrored whether the upright picture is then mirrored, left and right, as people expect of a front camera.
 * @throws IllegalArgumentException for any other rotation, or a side of less than 1 pixel.
 */
class YuvConverter(val width: Int, val height: Int, val rotation: Int, val mirrored: Boolean) {
    /** Width of the upright picture, pixels. */
    val outputWidth: Int

    /** Height of the upright picture, pixels. */
    val outputHeight: Int

    // Pixel (row i, column j) of the camera goes to pixels[origin + i * rowStep + j * columnStep].
    private val origin: Int
    private val rowStep: Int
    private val columnStep: Int

    private val luma = ByteArray(STRIP * width)
    private var chromaU = ByteArray(0)
    private var chromaV = ByteArray(0)

    init {
        require(width > 0 && height > 0) { "picture of $width x $height: each side must be at least 1 pixel" }
        require(rotation in ROTATIONS) { "rotation $rotation: must be 0, 90, 180 or 270 degrees" }
        val lying = rotation % 180 != 0
        outputWidth = if (lying) height else width
        outputHeight = if (lying) width else height
        // How output column and row change with the camera's row and column, and which of them run backwards.
        val columnBackwards = (rotation == 90 || rotation == 180) != mirrored
        val rowBackwards = rotation == 180 || rotation == 270
        val alongRow = if (columnBackwards) -1 else 1
        val downColumn = if (rowBackwards) -outputWidth else outputWidth
        rowStep = if (lying) alongRow else downColumn
        columnStep = if (lying) downColumn else alongRow
        origin = (if (columnBackwards) outputWidth - 1 else 0) +
            (if (rowBackwards) (outputHeight - 1) * outputWidth else 0)
    }

    /**
     * Converts a picture. Planes are read from their buffers' positions, which are left as they were; the last row of a
     * plane may end with its last sample.
     *
     * @param y luma, a byte a pixel.
     * @param yRowStride bytes from one row to the next.
     * @param u first chroma plane, for every second row and column (sides rounded up).
     * @param v second chroma plane, laid out as [u].
     * @param uvRowStride bytes from one row to the next.
     * @param uvPixelStride bytes from one sample to the next, 1 or more.
     * @param pixels takes the upright picture row by row, ARGB, alpha 255.
     * @throws IllegalArgumentException if a plane or [pixels] is too small, or a stride smaller than what it spans.
     */
    fun convert(
        y: ByteBuffer,
        yRowStride: Int,
        u: ByteBuffer,
        v: ByteBuffer,
        uvRowStride: Int,
        uvPixelStride: Int,
        pixels: IntArray,
    ) {
        val chromaHeight = (height + 1) / 2
        require(uvPixelStride > 0) { "pixel stride $uvPixelStride: must be at least 1 byte" }
        val chromaBytes = ((width + 1) / 2 - 1) * uvPixelStride + 1
        checkPlane("y", y, height, width, yRowStride)
        checkPlane("u", u, chromaHeight, chromaBytes, uvRowStride)
        checkPlane("v", v, chromaHeight, chromaBytes, uvRowStride)
        require(pixels.size >= width * height) { "${pixels.size} pixels for $width x $height" }
        if (chromaU.size < STRIP / 2 * chromaBytes) {
            chromaU = ByteArray(STRIP / 2 * chromaBytes)
            chromaV = ByteArray(STRIP / 2 * chromaBytes)
        }
        for (strip in 0..(height - 1) / STRIP) { // `until ... step` would allocate a range
            val top = strip * STRIP
            val rows = minOf(STRIP, height - top)
            copyRows(y, top, rows, width, yRowStride, luma)
            copyRows(u, top / 2, (rows + 1) / 2, chromaBytes, uvRowStride, chromaU)
            copyRows(v, top / 2, (rows + 1) / 2, chromaBytes, uvRowStride, chromaV)
            convertStrip(origin + top * rowStep, rows, chromaBytes, uvPixelStride, pixels)
        }
    }

    private fun convertStrip(start: Int, rows: Int, chromaBytes: Int, chromaStep: Int, pixels: IntArray) {
        for (chromaColumn in 0 until (width + 1) / 2) {
            val column = 2 * chromaColumn
            val two = column + 1 < width
            for (chromaRow in 0 until (rows + 1) / 2) {
                val row = 2 * chromaRow
                val chroma = chromaRow * chromaBytes + chromaColumn * chromaStep
                val u = (chromaU[chroma].toInt() and 0xFF) - 128
                val v = (chromaV[chroma].toInt() and 0xFF) - 128
                val red = RED_V * v + HALF
                val green = GREEN_U * u + GREEN_V * v + HALF
                val blue = BLUE_U * u + HALF
                val from = row * width + column
                val to = start + row * rowStep + column * columnStep
                pixels[to] = argb(luma[from], red, green, blue)
                if (two) pixels[to + columnStep] = argb(luma[from + 1], red, green, blue)
                if (row + 1 < rows) {
                    pixels[to + rowStep] = argb(luma[from + width], red, green, blue)
                    if (two) pixels[to + rowStep + columnStep] = argb(luma[from + width + 1], red, green, blue)
                }
            }
        }
    }

    private fun argb(luma: Byte, red: Int, green: Int, blue: Int): Int {
        val y = (luma.toInt() and 0xFF) shl BITS
        return OPAQUE or (clamp(y + red) shl 16) or (clamp(y + green) shl 8) or clamp(y + blue)
    }

    private fun clamp(value: Int): Int = minOf(maxOf(value shr BITS, 0), 255)

    private fun copyRows(plane: ByteBuffer, row: Int, count: Int, bytes: Int, rowStride: Int, into: ByteArray) {
        val view: Buffer = plane // older Androids lack ByteBuffer.position(Int), of Java 9
        val start = view.position()
        for (k in 0 until count) {
            view.position(start + (row + k) * rowStride)
            plane.get(into, k * bytes, bytes)
        }
        view.position(start)
    }

    private fun checkPlane(name: String, plane: ByteBuffer, rows: Int, bytes: Int, rowStride: Int) {
        require(rowStride >= bytes) { "plane $name: row stride $rowStride is less than a row's $bytes bytes" }
        val needed = (rows - 1) * rowStride + bytes
        require(plane.remaining() >= needed) { "plane $name: ${plane.remaining()} bytes, needs $needed" }
    }

    private companion object {
        val ROTATIONS = setOf(0, 90, 180, 270)

        // Rows at a time, even. Where they become columns, so many of them fill a cache line of the output.
        const val STRIP = 16
        const val OPAQUE = 0xFF shl 24

        // ITU-T T.871 (JFIF): R = Y + 1.402 V, G = Y - 0.344136 U - 0.714136 V, B = Y + 1.772 U, times 2^16.
        const val BITS = 16
        const val HALF = 1 shl BITS - 1
        const val RED_V = 91881
        const val GREEN_U = -22553
        const val GREEN_V = -46802
        const val BLUE_U = 116130
    }
}
