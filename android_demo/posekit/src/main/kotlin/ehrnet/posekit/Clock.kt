package ehrnet.posekit

/** Time that never runs backwards: steps back of the time given, and standstill, count as no time. */
internal class Clock {
    /** The time by this clock: 0 at first. */
    var seconds = 0.0
        private set
    private var given = Double.NaN

    /**
     * The time by this clock at a time given.
     *
     * @throws IllegalArgumentException if it is not finite.
     */
    fun advance(time: Double): Double {
        require(time.isFinite()) { "time $time: must be a finite number of seconds" }
        if (time > given) seconds += time - given
        given = time
        return seconds
    }
}
