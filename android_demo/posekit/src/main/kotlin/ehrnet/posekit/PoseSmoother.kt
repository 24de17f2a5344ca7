package ehrnet.posekit

/**
 * Smooths the keypoints of people who have an id, each coordinate by a [OneEuroFilter] of its own.
 *
 * Speed is reckoned in sizes of the person (the longer side of the box round the keypoints present, at least
 * [SMALLEST_PERSON] pixels) a second: the same movement is then smoothed alike near to the camera and far from it, and
 * in pictures of any size. A keypoint that was absent starts anew. For one thread at a time.
 * `ehrnet_tf/smoothing.py` does the same.
 *
 * @param minCutoff cutoff frequency at rest, Hz; lower: less jitter.
 * @param beta how much the cutoff rises, Hz for one person's size a second; higher: less lag.
 * @param derivativeCutoff cutoff of the speed's own filter, Hz.
 * @param memory how long a person who is not seen is remembered, seconds.
 * @throws IllegalArgumentException if a cutoff is not positive, or another value negative.
 */
class PoseSmoother(
    private val minCutoff: Double = 1.0,
    private val beta: Double = 6.0,
    private val derivativeCutoff: Double = 1.0,
    private val memory: Double = 1.0,
) {
    private val clock = Clock()
    private val people = HashMap<Int, Person>()

    init {
        OneEuroFilter(minCutoff, beta, derivativeCutoff)
        require(memory >= 0) { "memory of $memory seconds: must not be negative" }
    }

    /** How many people are remembered. */
    val remembered: Int get() = people.size

    /**
     * The poses of a picture, smoothed; those without an id unchanged. Scores stay as they are. A keypoint that
     * holds NaN or infinity counts as absent, and stays as it is.
     *
     * @param seconds when the picture was taken, on any clock. When it does not advance, keypoints start anew.
     * @throws IllegalArgumentException if [seconds] is not finite, or two people have the same id.
     */
    fun smooth(poses: List<Pose>, seconds: Double): List<Pose> {
        val ids = poses.map { it.id }.filter { it != Pose.NO_ID }
        require(ids.size == ids.toSet().size) { "ids $ids: two people of one picture have the same" }
        val now = clock.advance(seconds)
        people.values.removeIf { now - it.seen > memory }
        return poses.map { pose ->
            if (pose.id == Pose.NO_ID) {
                pose
            } else {
                val known = people[pose.id]?.takeIf { it.size == pose.size }
                (known ?: Person(pose.size).also { people[pose.id] = it }).smooth(pose, now)
            }
        }
    }

    private inner class Person(val size: Int) {
        var seen = 0.0
            private set
        private val filters = Array(2 * size) { OneEuroFilter(minCutoff, beta, derivativeCutoff) }

        fun smooth(pose: Pose, now: Double): Pose {
            seen = now
            val unit = maxOf(pose.box()?.longerSide ?: 0f, SMALLEST_PERSON).toDouble()
            val keypoints = pose.keypoints.copyOf()
            for (k in 0 until size) {
                for (axis in 0..1) {
                    val filter = filters[2 * k + axis]
                    if (pose.has(k)) {
                        val place = keypoints[3 * k + axis].toDouble()
                        keypoints[3 * k + axis] = filter.filter(place, now, unit).toFloat()
                    } else {
                        filter.reset()
                    }
                }
            }
            return Pose(keypoints, pose.score, pose.id)
        }
    }
}
