package ehrnet.demo

import android.media.Image
import java.nio.ByteBuffer

/**
 * A picture as a camera delivers it: YUV 4:2:0 in three planes, lying as the sensor does.
 *
 * @property nanos when it was taken, on the camera's clock.
 */
class CameraImage {
    var width = 0
    var height = 0
    var nanos = 0L
    var yRowStride = 0
    var uvRowStride = 0
    var uvPixelStride = 0
    var y: ByteBuffer = EMPTY
    var u: ByteBuffer = EMPTY
    var v: ByteBuffer = EMPTY

    /** Takes over what [image] holds, not copied. */
    fun set(image: Image): CameraImage {
        val planes = image.planes
        width = image.width
        height = image.height
        nanos = image.timestamp
        yRowStride = planes[0].rowStride
        uvRowStride = planes[1].rowStride
        uvPixelStride = planes[1].pixelStride
        y = planes[0].buffer
        u = planes[1].buffer
        v = planes[2].buffer
        return this
    }

    private companion object {
        val EMPTY: ByteBuffer = ByteBuffer.allocate(0)
    }
}

/** What a camera tells, on the camera's thread. */
interface CameraListener {
    /**
     * A picture has come; it is gone when this returns.
     *
     * @param rotation degrees clockwise that make it upright on the screen.
     * @param mirrored whether it is to be mirrored then, as people expect of the camera that faces them.
     */
    fun onImage(camera: Camera, image: CameraImage, rotation: Int, mirrored: Boolean)

    /** The camera cannot be used, or no longer, as [message] says to people. It is free for others. */
    fun onCameraFailure(camera: Camera, message: String)
}

/** Which way a camera looks. */
enum class Facing { BACK, FRONT }
