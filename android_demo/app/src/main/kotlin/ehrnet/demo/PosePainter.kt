package ehrnet.demo

import android.graphics.Canvas
import android.graphics.Color
import android.graphics.Paint
import ehrnet.posekit.KeypointSet
import ehrnet.posekit.Pose
import kotlin.math.max
import kotlin.math.min

/**
 * Draws people, as `ehrnet_tf.drawing` does: limbs in colours that tell left from right, to the colour-blind as well, with a
 * dark edge, more transparent the less certain they are, thicker the larger the person.
 *
 * @property minScore keypoints below, and their limbs, are not drawn.
 */
class PosePainter(private val minScore: Float = 0.1f) {
    private val line = Paint(Paint.ANTI_ALIAS_FLAG).apply {
        style = Paint.Style.STROKE
        strokeCap = Paint.Cap.ROUND
    }
    private val disc = Paint(Paint.ANTI_ALIAS_FLAG)
    private val text = Paint(Paint.ANTI_ALIAS_FLAG).apply {
        color = Color.WHITE
        textAlign = Paint.Align.CENTER
        setShadowLayer(4f, 0f, 0f, Color.BLACK)
    }

    /**
     * Draws people on a canvas of picture pixels times [scale]; their ids, where they have one, stand over their heads.
     *
     * @param width of the picture, pixels.
     * @param height of the picture, pixels.
     */
    fun draw(canvas: Canvas, poses: List<Pose>, keypoints: KeypointSet, width: Int, height: Int, scale: Float) {
        val short = min(width, height) * scale
        for (i in poses.indices) drawPerson(canvas, poses[i], keypoints, short, scale)
    }

    private fun drawPerson(canvas: Canvas, pose: Pose, set: KeypointSet, short: Float, scale: Float) {
        var left = Float.MAX_VALUE
        var right = -Float.MAX_VALUE
        var bottom = -Float.MAX_VALUE
        var top = Float.MAX_VALUE
        var topX = 0f
        for (k in 0 until set.size) {
            if (!seen(pose, k)) continue
            left = min(left, pose.x(k))
            right = max(right, pose.x(k))
            bottom = max(bottom, pose.y(k))
            if (pose.y(k) < top) {
                top = pose.y(k)
                topX = pose.x(k)
            }
        }
        if (left > right) return
        val extent = max(right - left, bottom - top) * scale
        val thickness = (extent / 45).coerceIn(max(1.5f, short / 300), max(2f, short / 80))
        val edge = max(1f, thickness / 3)
        for (limb in set.skeleton) drawLimb(canvas, pose, limb.a, limb.b, EDGE, thickness + 2 * edge, scale)
        for (limb in set.skeleton) {
            drawLimb(canvas, pose, limb.a, limb.b, set.limbColor(limb.a, limb.b), thickness, scale)
        }
        val radius = thickness * 0.95f + 0.5f
        for (k in 0 until set.size) {
            if (!seen(pose, k)) continue
            disc.color = argb(EDGE, pose.score(k))
            canvas.drawCircle(pose.x(k) * scale, pose.y(k) * scale, radius + edge, disc)
            disc.color = argb(set.limbColor(k, k), pose.score(k))
            canvas.drawCircle(pose.x(k) * scale, pose.y(k) * scale, radius, disc)
        }
        if (pose.id != Pose.NO_ID) {
            text.textSize = short / 22
            canvas.drawText(label(pose.id), topX * scale, max(text.textSize, top * scale - 2 * radius), text)
        }
    }

    private fun drawLimb(canvas: Canvas, pose: Pose, a: Int, b: Int, color: Int, thickness: Float, scale: Float) {
        if (!seen(pose, a) || !seen(pose, b)) return
        line.color = argb(color, min(pose.score(a), pose.score(b)))
        line.strokeWidth = thickness
        canvas.drawLine(pose.x(a) * scale, pose.y(a) * scale, pose.x(b) * scale, pose.y(b) * scale, line)
    }

    private fun seen(pose: Pose, k: Int) = pose.score(k) > 0 && pose.score(k) >= minScore

    private fun argb(rgb: Int, score: Float): Int =
        ((0.3f + 0.7f * score.coerceIn(0f, 1f)) * 255).toInt() shl 24 or (rgb and 0xffffff)

    private fun label(id: Int) = if (id < LABELS.size) LABELS[id] else id.toString()

    private companion object {
        const val EDGE = 0x19191e
        val LABELS = Array(1000) { it.toString() }
    }
}
