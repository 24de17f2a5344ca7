package ehrnet.posekit

import kotlin.math.ceil
import kotlin.math.floor

/**
 * The map from a picture to the network's input: x' = scale x + dx, y' = scale y + dy, all in pixels; continuous
 * coordinates, x right, y down, the first pixel's centre at 0.5, 0.5. Same as `ehrnet_tf.runtime.letterbox.Letterbox`.
 *
 * @property scale input pixels a picture pixel.
 * @property dx where the picture's left edge lies in the input.
 * @property dy where the picture's upper edge lies in the input.
 * @property imageWidth of the picture, pixels.
 * @property imageHeight of the picture, pixels.
 */
class Letterbox(val scale: Double, val dx: Double, val dy: Double, val imageWidth: Int, val imageHeight: Int) {
    /** Input x to picture x, which may lie outside the picture. */
    fun toImageX(x: Double): Double = (x - dx) / scale

    /** Input y to picture y, which may lie outside the picture. */
    fun toImageY(y: Double): Double = (y - dy) / scale

    /** Picture x to input x. */
    fun toInputX(x: Double): Double = x * scale + dx

    /** Picture y to input y. */
    fun toInputY(y: Double): Double = y * scale + dy

    /**
     * The cells of maps that are not wholly outside the picture.
     *
     * @param height of the maps, cells.
     * @param width of the maps, cells.
     * @param stride input pixels a cell.
     */
    fun region(height: Int, width: Int, stride: Double): Region {
        val right = ceil(toInputX(imageWidth.toDouble()) / stride - ROUNDING).toInt()
        val bottom = ceil(toInputY(imageHeight.toDouble()) / stride - ROUNDING).toInt()
        val top = maxOf(0, floor(dy / stride).toInt())
        val left = maxOf(0, floor(dx / stride).toInt())
        return Region(top, left, minOf(height, bottom), minOf(width, right))
    }

    companion object {
        private const val ROUNDING = 1e-6 // cells: less than this of a cell is a rounding error

        /**
         * The largest uniform scale at which a picture fits into an input, and the picture centred there.
         *
         * @throws IllegalArgumentException if a side is less than 1 pixel.
         */
        fun fit(imageWidth: Int, imageHeight: Int, inputWidth: Int, inputHeight: Int): Letterbox {
            require(imageWidth > 0 && imageHeight > 0 && inputWidth > 0 && inputHeight > 0) {
                "picture $imageWidth x $imageHeight, input $inputWidth x $inputHeight: no side may be less than 1 pixel"
            }
            val scale = minOf(inputHeight.toDouble() / imageHeight, inputWidth.toDouble() / imageWidth)
            val dx = (inputWidth - scale * imageWidth) / 2
            val dy = (inputHeight - scale * imageHeight) / 2
            return Letterbox(scale, dx, dy, imageWidth, imageHeight)
        }
    }
}
