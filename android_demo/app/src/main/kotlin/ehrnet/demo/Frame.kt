package ehrnet.demo

import android.graphics.Bitmap
import java.util.concurrent.ArrayBlockingQueue

/**
 * An upright picture that is used again and again.
 *
 * @property pixels ARGB, row by row; what the network sees.
 * @property bitmap the same, for the screen: see [publish].
 * @property seconds when it was taken, on the camera's clock.
 */
class Frame(val width: Int, val height: Int) {
    val pixels = IntArray(width * height)
    val bitmap: Bitmap = Bitmap.createBitmap(width, height, Bitmap.Config.ARGB_8888)
    var seconds = 0.0

    fun publish() = bitmap.setPixels(pixels, 0, width, 0, 0, width, height)
}

/**
 * The frames between camera and screen: one is written, one waits, one is looked at, one is shown. Nothing is allocated
 * after the first four.
 */
class FramePool(val width: Int, val height: Int) {
    private val free = ArrayBlockingQueue<Frame>(FRAMES).apply { repeat(FRAMES) { add(Frame(width, height)) } }

    /** A frame to write to; null while all are in use. */
    fun take(): Frame? = free.poll()

    /** Gives a frame back; one of another size, of the pool before this one, is dropped. */
    fun recycle(frame: Frame) {
        if (frame.width == width && frame.height == height) free.offer(frame)
    }

    companion object {
        const val FRAMES = 4
    }
}
