package ehrnet.posekit

import java.nio.Buffer
import java.nio.ByteBuffer

/**
 * Fits pictures of one size into the network's input: uniform scale, centred, bilinear, the rest black; a picture that
 * shrinks to less than half is averaged over areas as well. Nothing is allocated per picture. For one thread at a time.
 *
 * The result is that of `ehrnet_tf.runtime.letterbox.letterbox` to 1 grey level, reckoned in another way: each output
 * pixel is a weighted mean of source pixels, the weights ([FilterTaps]) being products of one for the row and one for
 * the column.
 *
 * @throws IllegalArgumentException if a side is less than 1 pixel.
 */
class PictureFitter(
    private val imageWidth: Int,
    private val imageHeight: Int,
    private val inputWidth: Int,
    private val inputHeight: Int,
) {
    /** Where the picture lies in the input. */
    val box: Letterbox = Letterbox.fit(imageWidth, imageHeight, inputWidth, inputHeight)

    private val columns = FilterTaps(imageWidth, inputWidth, box.scale, box.dx)
    private val rows = FilterTaps(imageHeight, inputHeight, box.scale, box.dy)

    // Source rows, filtered along the row: row i belongs into slot i % lines.size, which holds row held[slot].
    private val lines = Array(rows.most) { IntArray(CHANNELS * inputWidth) }
    private val held = IntArray(rows.most)
    private val sums = IntArray(CHANNELS * inputWidth)
    private val bytes = ByteArray(CHANNELS * inputWidth)

    /**
     * Writes the network's input.
     *
     * @param pixels the picture row by row, ARGB (alpha is not looked at).
     * @param input takes inputHeight x inputWidth x 3 bytes, RGB, and is then ready to be read from the start.
     * @throws IllegalArgumentException if one of them has another size.
     */
    fun fit(pixels: IntArray, input: ByteBuffer) {
        require(pixels.size >= imageWidth * imageHeight) { "${pixels.size} pixels for $imageWidth x $imageHeight" }
        require(input.capacity() == CHANNELS * inputWidth * inputHeight) {
            "input of ${input.capacity()} bytes for $inputWidth x $inputHeight x $CHANNELS"
        }
        held.fill(NONE)
        val view: Buffer = input // older Androids lack ByteBuffer.clear() and rewind(), of Java 9
        view.clear()
        for (row in 0 until inputHeight) {
            mixRows(pixels, row)
            input.put(bytes)
        }
        view.rewind()
    }

    /** Makes [bytes] of an output row. */
    private fun mixRows(pixels: IntArray, row: Int) {
        sums.fill(ROUND)
        val first = rows.first[row]
        for (k in 0 until rows.count[row]) {
            addLine(filteredLine(pixels, first + k), rows.weights[rows.offset[row] + k])
        }
        for (i in bytes.indices) bytes[i] = (sums[i] shr SUM_BITS).toByte()
    }

    private fun addLine(line: IntArray, weight: Int) {
        for (i in sums.indices) sums[i] += weight * line[i]
    }

    /** A source row, filtered along the row: grey levels times 2^[LINE_BITS]. */
    private fun filteredLine(pixels: IntArray, row: Int): IntArray {
        val slot = row % lines.size
        val line = lines[slot]
        if (held[slot] != row) {
            held[slot] = row
            filter(pixels, row * imageWidth, line)
        }
        return line
    }

    private fun filter(pixels: IntArray, start: Int, line: IntArray) {
        val weights = columns.weights
        var to = 0
        for (column in 0 until inputWidth) {
            val from = start + columns.first[column]
            val offset = columns.offset[column]
            var red = LINE_ROUND
            var green = LINE_ROUND
            var blue = LINE_ROUND
            for (k in 0 until columns.count[column]) {
                val pixel = pixels[from + k]
                val weight = weights[offset + k]
                red += weight * (pixel shr 16 and 0xFF)
                green += weight * (pixel shr 8 and 0xFF)
                blue += weight * (pixel and 0xFF)
            }
            line[to++] = red shr LINE_SHIFT
            line[to++] = green shr LINE_SHIFT
            line[to++] = blue shr LINE_SHIFT
        }
    }

    private companion object {
        const val CHANNELS = 3
        const val NONE = -1

        // 8 bits of grey level and 11 of weight become 16 in a line, and with 11 of weight 27 in a sum.
        const val LINE_BITS = 8
        const val LINE_SHIFT = FilterTaps.BITS - LINE_BITS
        const val LINE_ROUND = 1 shl LINE_SHIFT - 1
        const val SUM_BITS = LINE_BITS + FilterTaps.BITS
        const val ROUND = 1 shl SUM_BITS - 1
    }
}
