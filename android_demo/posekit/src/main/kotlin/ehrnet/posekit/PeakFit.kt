package ehrnet.posekit

import kotlin.math.ln

/**
 * Where a peak lies between the cells: the maximum of a quadratic a + b x + c y + d x²/2 + e y²/2 + f x y, fitted by
 * least squares to the logarithms of the 3x3 heats around it. They make a Gaussian peak exactly quadratic.
 */
internal class PeakFit {
    private val logs = DoubleArray(9)

    /** How far right of the peak's centre the maximum lies, within ±1 cell; 0 if there is none, or hardly one. */
    var x = 0f
        private set

    /** How far below the peak's centre. */
    var y = 0f
        private set

    /** Sets [x] and [y] from 3x3 heats, row by row; the middle one is positive. */
    fun fit(window: FloatArray) {
        val least = maxOf(LOWEST * window[4], SMALLEST_NORMAL)
        for (i in 0 until 9) logs[i] = ln(maxOf(window[i], least).toDouble())
        val left = logs[0] + logs[3] + logs[6]
        val right = logs[2] + logs[5] + logs[8]
        val above = logs[0] + logs[1] + logs[2]
        val below = logs[6] + logs[7] + logs[8]
        val all = above + logs[3] + logs[4] + logs[5] + below
        val slopeX = (right - left) / 6
        val slopeY = (below - above) / 6
        val curveX = left + right - all * 2 / 3
        val curveY = above + below - all * 2 / 3
        val twist = (logs[0] - logs[2] - logs[6] + logs[8]) / 4
        val determinant = curveX * curveY - twist * twist
        if (determinant > FLATTEST && curveX < 0) {
            x = ((slopeY * twist - slopeX * curveY) / determinant).coerceIn(-1.0, 1.0).toFloat()
            y = ((slopeX * twist - slopeY * curveX) / determinant).coerceIn(-1.0, 1.0).toFloat()
        } else {
            x = 0f
            y = 0f
        }
    }

    private companion object {
        /** Determinant of the curvatures of a peak that has a place: a Gaussian of 10 cells, or a ridge. */
        const val FLATTEST = 1e-4

        /** Of the peak's heat: what a neighbour counts at least, lest its logarithm runs away. */
        const val LOWEST = 1e-3f
        const val SMALLEST_NORMAL = 1.17549435e-38f
    }
}
