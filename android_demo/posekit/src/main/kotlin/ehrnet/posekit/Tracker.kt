package ehrnet.posekit

import kotlin.math.exp

/**
 * Gives people ids that stay from picture to picture.
 *
 * Poses are assigned to known people so that the sum of similarities is greatest. The similarity is COCO's object
 * keypoint similarity (OKS) of the pose and the person's last one, moved on by the person's velocity, over keypoints
 * that both have; a keypoint that the last one lacked is where it was before, moved along with the others. The longer
 * ago that was, the more distance it allows for and the less it counts. A pose that matches nobody is a new person. Ids
 * count from 0 in the order of appearance and are not used again. For one thread at a time.
 * `ehrnet_tf/tracking.py` does the same.
 *
 * @param sigmas K constants of the OKS, see [KeypointSet.sigmas].
 * @param patience how long a person who is not seen is remembered, seconds.
 * @param minSimilarity 0 to 1; a pose and a person less similar are not the same.
 * @throws IllegalArgumentException if a value is out of range.
 */
class Tracker(
    sigmas: FloatArray,
    private val patience: Double = 1.0,
    private val minSimilarity: Double = 0.02,
) {
    private val clock = Clock()
    private val tracks = ArrayList<Track>()
    private var nextId = 0

    // 1 / (2 (2 sigma)²): what a keypoint's squared distance is multiplied by, besides 1 / area.
    private val sharpness = DoubleArray(sigmas.size) { 1 / (8.0 * sigmas[it] * sigmas[it]) }

    init {
        require(sigmas.isNotEmpty() && sigmas.all { it > 0 }) { "sigmas: give a positive number for each keypoint" }
        require(patience >= 0) { "patience of $patience seconds: must not be negative" }
        require(minSimilarity in 0.0..1.0) { "minSimilarity $minSimilarity: must lie in 0..1" }
    }

    /** How many people are remembered, those out of sight too. */
    val remembered: Int get() = tracks.size

    /**
     * The same poses in the same order, with ids; a pose without any keypoint keeps [Pose.NO_ID]. A keypoint that holds
     * NaN or infinity counts as absent.
     *
     * @param seconds when the picture was taken, on any clock; steps may differ, and steps back count as none.
     * @throws IllegalArgumentException if [seconds] is not finite, or a pose has not K keypoints.
     */
    fun update(poses: List<Pose>, seconds: Double): List<Pose> {
        for (pose in poses) {
            require(pose.size == sharpness.size) { "a pose of ${pose.size} keypoints, not ${sharpness.size}" }
        }
        val now = clock.advance(seconds)
        tracks.removeAll { now - it.seen > patience }
        val boxes = poses.map { it.box() }
        val chosen = match(poses, boxes, now)
        return poses.mapIndexed { i, pose ->
            val box = boxes[i]
            if (box == null) {
                Pose(pose.keypoints, pose.score)
            } else {
                val track = chosen[i]?.also { it.follow(pose, now) }
                    ?: Track(nextId++, pose, box, now).also { tracks += it }
                Pose(pose.keypoints, pose.score, track.id)
            }
        }
    }

    /** The known person for each pose, null where there is none. */
    private fun match(poses: List<Pose>, boxes: List<PoseBox?>, now: Double): List<Track?> {
        val similarity = Array(poses.size) { i ->
            DoubleArray(tracks.size) { t -> boxes[i]?.let { tracks[t].similarity(poses[i], it, now) } ?: 0.0 }
        }
        val cost = Array(poses.size) { i ->
            DoubleArray(tracks.size) { t -> similarity[i][t].let { if (it >= minSimilarity) -it else 0.0 } }
        }
        return assign(cost).mapIndexed { i, t -> if (t >= 0 && cost[i][t] < 0) tracks[t] else null }
    }

    /** A person as last seen, with the keypoints that were seen earlier. */
    private inner class Track(val id: Int, pose: Pose, box: PoseBox, now: Double) {
        var seen = now
            private set
        private val x = FloatArray(sharpness.size)
        private val y = FloatArray(sharpness.size)
        private val known = BooleanArray(sharpness.size)
        private var area = box.area
        private var steps = 0

        // Pixels a second.
        private var velocityX = 0.0
        private var velocityY = 0.0

        init {
            place(pose, 0.0, 0.0)
        }

        fun similarity(pose: Pose, box: PoseBox, now: Double): Double {
            val age = now - seen
            val shiftX = velocityX * age
            val shiftY = velocityY * age
            val widening = 1 + (if (steps > 0) WIDENING else UNKNOWN_WIDENING) * age
            val wideArea = widening * widening * maxOf(area, box.area, SMALLEST_PERSON.toDouble() * SMALLEST_PERSON)
            var sum = 0.0
            var common = 0
            for (k in sharpness.indices) {
                if (!known[k] || !pose.has(k)) continue
                common++
                val dx = pose.x(k) - x[k] - shiftX
                val dy = pose.y(k) - y[k] - shiftY
                val exponent = (dx * dx + dy * dy) * sharpness[k] / wideArea
                if (exponent < NEGLIGIBLE) sum += exp(-exponent)
            }
            return if (common > 0) sum / common / (1 + WIDENING * age) else 0.0
        }

        /** Moves on to a pose, one that is similar: which has at least one keypoint in common. */
        fun follow(pose: Pose, now: Double) {
            var dx = 0.0
            var dy = 0.0
            var common = 0
            for (k in sharpness.indices) {
                if (!known[k] || !pose.has(k)) continue
                common++
                dx += pose.x(k) - x[k]
                dy += pose.y(k) - y[k]
            }
            dx /= common
            dy /= common
            if (now > seen) {
                steps++
                val step = now - seen
                val share = maxOf(1.0 / steps, 1 - exp(-step / MEMORY))
                velocityX += share * (dx / step - velocityX)
                velocityY += share * (dy / step - velocityY)
            }
            place(pose, dx, dy)
            area = boxOf(sharpness.size, { known[it] }, { x[it] }, { y[it] })!!.area
            seen = now
        }

        /** Takes over the pose's keypoints, and moves those that it lacks. */
        private fun place(pose: Pose, dx: Double, dy: Double) {
            for (k in sharpness.indices) {
                val has = pose.has(k)
                x[k] = if (has) pose.x(k) else (x[k] + dx).toFloat()
                y[k] = if (has) pose.y(k) else (y[k] + dy).toFloat()
                known[k] = known[k] || has
            }
        }
    }

    private companion object {
        const val NEGLIGIBLE = 20.0

        // Chosen by benchmarks/tracking.py's sequences, see docs/tracking.md. A longer memory loses people who turn, a
        // shorter one those who are hidden.
        const val WIDENING = 3.0 // of the standard deviation, for each second
        const val UNKNOWN_WIDENING = 10.0 // the same, as long as the person's velocity is not known
        const val MEMORY = 0.15 // of the velocity, seconds
    }
}
