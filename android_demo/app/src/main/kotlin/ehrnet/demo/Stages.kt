package ehrnet.demo

/** What a frame goes through. CAMERA is the conversion of what the camera delivers to upright RGB. */
enum class Stage { CAMERA, PREPROCESS, NETWORK, DECODE, DRAW }

/** How long the stages take, and how often a frame comes out; for use by several threads. */
class Stages {
    private val means = DoubleArray(Stage.entries.size)
    private var lastFrame = 0L
    private var interval = 0.0

    /** Runs [block] and counts its time as that of [stage]. */
    inline fun <T> measure(stage: Stage, block: () -> T): T {
        val start = System.nanoTime()
        return block().also { add(stage, System.nanoTime() - start) }
    }

    @Synchronized
    fun add(stage: Stage, nanos: Long) {
        means[stage.ordinal] = mean(means[stage.ordinal], nanos / 1e6)
    }

    /** Counts a frame that came out at [now], nanoseconds of one clock. */
    @Synchronized
    fun frame(now: Long) {
        if (lastFrame != 0L) interval = mean(interval, (now - lastFrame) / 1e9)
        lastFrame = now
    }

    /** The stage's time, milliseconds: a mean in which the last twenty frames count most; 0 before the first. */
    @Synchronized
    fun milliseconds(stage: Stage): Double = means[stage.ordinal]

    /** Frames a second; 0 before the second frame, and when none comes any longer. */
    @Synchronized
    fun framesPerSecond(now: Long): Double = if (interval > 0 && !stalled(now)) 1 / interval else 0.0

    /** Whether no frame came out for a second before [now], or for three times as long as usual if that is longer. */
    @Synchronized
    fun stalled(now: Long): Boolean = lastFrame == 0L || (now - lastFrame) / 1e9 > maxOf(1.0, 3 * interval)

    @Synchronized
    fun reset() {
        means.fill(0.0)
        interval = 0.0
        lastFrame = 0
    }

    private fun mean(before: Double, now: Double) = if (before == 0.0) now else before + (now - before) / 20
}
