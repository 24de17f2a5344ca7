package ehrnet.demo

import android.content.Context
import android.graphics.Canvas
import android.graphics.Paint
import android.util.AttributeSet
import android.view.View
import ehrnet.posekit.KeypointSet
import ehrnet.posekit.Pose
import kotlin.math.min

/**
 * Shows a picture, as large as fits, with the people found in that very picture: the skeleton never lags behind.
 */
class PoseView @JvmOverloads constructor(context: Context, attributes: AttributeSet? = null) : View(context, attributes) {
    /** Told how long a drawing took, nanoseconds. */
    var onDrawn: (Long) -> Unit = {}

    private val smooth = Paint(Paint.FILTER_BITMAP_FLAG)
    private val painter = PosePainter()
    internal var frame: Frame? = null
        private set
    private var poses: List<Pose> = emptyList()
    private var keypoints: KeypointSet? = null

    /** Shows a frame, and gives back the one shown before, which may be written to again. */
    fun show(frame: Frame?, poses: List<Pose> = emptyList(), keypoints: KeypointSet? = null): Frame? {
        val before = this.frame
        this.frame = frame
        if (poses.size != this.poses.size || contentDescription == null) describe(poses.size)
        this.poses = poses
        this.keypoints = keypoints
        invalidate()
        return before
    }

    private fun describe(people: Int) {
        contentDescription = resources.getQuantityString(R.plurals.people, people, people)
    }

    override fun onDraw(canvas: Canvas) {
        val frame = frame ?: return
        val start = System.nanoTime()
        val scale = min(width.toFloat() / frame.width, height.toFloat() / frame.height)
        canvas.save()
        canvas.translate((width - frame.width * scale) / 2, (height - frame.height * scale) / 2)
        canvas.save()
        canvas.scale(scale, scale)
        canvas.drawBitmap(frame.bitmap, 0f, 0f, smooth)
        canvas.restore()
        keypoints?.let { painter.draw(canvas, poses, it, frame.width, frame.height, scale) }
        canvas.restore()
        onDrawn(System.nanoTime() - start)
    }
}
