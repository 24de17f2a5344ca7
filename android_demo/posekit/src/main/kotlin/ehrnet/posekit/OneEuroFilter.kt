package ehrnet.posekit

import kotlin.math.PI
import kotlin.math.abs

/**
 * Low-pass filter of one noisy number whose cutoff frequency rises with the speed: steady at rest, prompt in motion.
 *
 * Source: Casiez, Roussel, Vogel, "1 € Filter", CHI 2012, algorithms 1 and 2.
 *
 * @property minCutoff cutoff at rest, Hz; lower: less jitter.
 * @property beta how much the cutoff rises, Hz for each unit a second; higher: less lag.
 * @property derivativeCutoff cutoff of the speed's own filter, Hz.
 * @throws IllegalArgumentException if a cutoff is not positive or [beta] is negative.
 */
class OneEuroFilter(val minCutoff: Double, val beta: Double, val derivativeCutoff: Double = 1.0) {
    private var time = 0.0
    private var value = 0.0
    private var speed = 0.0
    private var started = false

    init {
        require(minCutoff > 0 && derivativeCutoff > 0 && beta >= 0) {
            "One-Euro filter of cutoffs $minCutoff and $derivativeCutoff Hz, beta $beta: cutoffs must be positive"
        }
    }

    /**
     * The filtered value.
     *
     * @param next the value measured.
     * @param seconds when, on any clock. A time not later than the last one's starts the filter anew.
     * @param unit what [beta] counts speed in, in units of [next].
     */
    fun filter(next: Double, seconds: Double, unit: Double = 1.0): Double {
        val step = seconds - time
        if (!started || !(step > 0)) {
            speed = 0.0
            value = next
        } else {
            speed += share(derivativeCutoff, step) * ((next - value) / step - speed)
            value += share(minCutoff + beta * abs(speed) / unit, step) * (next - value)
        }
        started = true
        time = seconds
        return value
    }

    /** Forgets everything: the next value is taken as it is. */
    fun reset() {
        started = false
    }

    /** The new value's share of an exponential average that has this cutoff, Hz, after a step of so many seconds. */
    private fun share(cutoff: Double, step: Double): Double = 1 / (1 + 1 / (2 * PI * cutoff * step))
}
