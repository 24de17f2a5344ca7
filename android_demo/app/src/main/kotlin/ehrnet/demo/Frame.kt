package ehrnet.demo

import android.graphics.Bitmap
import ehrnet.posekit.YuvConverter
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
 * The frames between camera and screen: one is written, one waits, one is looked at, one is on its way to the main thread,
 * one is shown. Nothing is allocated after the first five.
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
        const val FRAMES = 5
    }
}

/** Makes upright frames of what cameras deliver. */
class FrameMaker {
    @Volatile private var pool = FramePool(1, 1)
    private var converter: YuvConverter? = null

    /** The picture as a frame, with the time it was taken; null while all frames are in use. Others wait meanwhile. */
    @Synchronized
    fun make(image: CameraImage, rotation: Int, mirrored: Boolean): Frame? {
        val converter = converter?.takeIf {
            it.width == image.width && it.height == image.height && it.rotation == rotation && it.mirrored == mirrored
        } ?: YuvConverter(image.width, image.height, rotation, mirrored).also { converter = it }
        if (pool.width != converter.outputWidth || pool.height != converter.outputHeight) {
            pool = FramePool(converter.outputWidth, converter.outputHeight)
        }
        val frame = pool.take() ?: return null
        with(image) { converter.convert(y, yRowStride, u, v, uvRowStride, uvPixelStride, frame.pixels) }
        frame.publish()
        frame.seconds = image.nanos / 1e9
        return frame
    }

    /** Gives a frame back. */
    fun recycle(frame: Frame) = pool.recycle(frame)
}
