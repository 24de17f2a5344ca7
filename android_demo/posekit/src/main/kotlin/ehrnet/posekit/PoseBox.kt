package ehrnet.posekit

/** The box round a pose's present keypoints, pixels. */
internal class PoseBox(val left: Float, val top: Float, val right: Float, val bottom: Float) {
    val area: Double get() = (right - left).toDouble() * (bottom - top)
    val longerSide: Float get() = maxOf(right - left, bottom - top)
}

/** Whether a keypoint is there: its score is above 0, and nothing of it NaN or infinite. */
internal fun Pose.has(k: Int): Boolean = score(k) > 0 && score(k).isFinite() && x(k).isFinite() && y(k).isFinite()

/** Null if no keypoint is present. */
internal fun Pose.box(): PoseBox? = boxOf(size, ::has, ::x, ::y)

/** The box round those of [size] places that are present; null if none is. */
internal inline fun boxOf(size: Int, present: (Int) -> Boolean, x: (Int) -> Float, y: (Int) -> Float): PoseBox? {
    var left = Float.POSITIVE_INFINITY
    var top = Float.POSITIVE_INFINITY
    var right = Float.NEGATIVE_INFINITY
    var bottom = Float.NEGATIVE_INFINITY
    for (k in 0 until size) {
        if (!present(k)) continue
        left = minOf(left, x(k))
        right = maxOf(right, x(k))
        top = minOf(top, y(k))
        bottom = maxOf(bottom, y(k))
    }
    return if (left <= right) PoseBox(left, top, right, bottom) else null
}

/** What counts as a person's size at least, pixels: COCO's "small" ends there, and jitter weighs more than shape. */
internal const val SMALLEST_PERSON = 32f
