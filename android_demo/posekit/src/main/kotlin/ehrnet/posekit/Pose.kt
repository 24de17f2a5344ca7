package ehrnet.posekit

/**
 * One person.
 *
 * Coordinates are continuous: x right, y down, in pixels (or cells of maps, where a decoder says so); pixel (row i,
 * column j) covers [j, j + 1) x [i, i + 1), its centre lies at +0.5. An absent keypoint is all 0.
 *
 * @property keypoints x, y, score of each of K keypoints, one after the other: 3 K numbers.
 * @property score the mean of the keypoints' scores before refinement, absent ones counting 0.
 * @property id the number that a [Tracker] gave the person, or [NO_ID].
 */
class Pose(val keypoints: FloatArray, val score: Float, val id: Int = NO_ID) {
    /** K. */
    val size: Int get() = keypoints.size / 3

    fun x(keypoint: Int): Float = keypoints[3 * keypoint]

    fun y(keypoint: Int): Float = keypoints[3 * keypoint + 1]

    fun score(keypoint: Int): Float = keypoints[3 * keypoint + 2]

    /** The same person in a picture whose sides are [scaleX] and [scaleY] times as long. */
    fun scaled(scaleX: Double, scaleY: Double): Pose {
        val scale = doubleArrayOf(scaleX, scaleY, 1.0)
        return Pose(FloatArray(keypoints.size) { (keypoints[it] * scale[it % 3]).toFloat() }, score, id)
    }

    companion object {
        const val NO_ID = -1
    }
}

/** The mean of the scores of [keypoints] (x, y, score of each). */
internal fun meanScore(keypoints: FloatArray): Float {
    var sum = 0.0
    for (i in 2 until keypoints.size step 3) sum += keypoints[i]
    return (sum / (keypoints.size / 3)).toFloat()
}
