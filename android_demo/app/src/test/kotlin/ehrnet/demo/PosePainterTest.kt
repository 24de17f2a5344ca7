package ehrnet.demo

import android.graphics.Bitmap
import android.graphics.Canvas
import android.graphics.Color
import ehrnet.posekit.ModelMetadata
import ehrnet.posekit.Pose
import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Test
import org.junit.runner.RunWith
import org.robolectric.RobolectricTestRunner
import kotlin.math.abs

@RunWith(RobolectricTestRunner::class)
class PosePainterTest {
    private val coco = ModelMetadata.parse(goldenJson("coco_metadata.json").toString(), "coco").keypoints

    @Test
    fun `keypoints and limbs lie where the poses say, in the colours of their sides`() {
        val photo = goldenPicture("astronaut.jpg").copy(Bitmap.Config.ARGB_8888, true)
        val untouched = photo.copy(Bitmap.Config.ARGB_8888, false)
        val pose = posesOf(goldenJson("astronaut.json"), coco).single()
        PosePainter().draw(Canvas(photo), listOf(Pose(pose.keypoints, pose.score, 7)), coco, photo.width, photo.height, 1f)
        photo.save("overlay.png")

        for (k in 0 until coco.size) {
            val x = pose.x(k).toInt()
            val y = pose.y(k).toInt()
            if (pose.score(k) > 0.8f) assertNear(coco.limbColor(k, k), photo.getPixel(x, y), 45)
        }
        val (left, right) = coco.names.indexOf("left_shoulder") to coco.names.indexOf("right_shoulder")
        val middle = photo.getPixel(((pose.x(left) + pose.x(right)) / 2).toInt(), ((pose.y(left) + pose.y(right)) / 2).toInt())
        assertNear(coco.limbColor(left, right), middle, 45)
        assertEquals(untouched.getPixel(450, 300), photo.getPixel(450, 300))
        val wrist = coco.names.indexOf("left_wrist") // absent: all 0
        assertEquals(0f, pose.score(wrist))
        assertEquals(untouched.getPixel(0, 0), photo.getPixel(0, 0))
    }

    @Test
    fun `less certain keypoints are more transparent, and those below the least score are not drawn`() {
        val black = { Bitmap.createBitmap(100, 100, Bitmap.Config.ARGB_8888).apply { eraseColor(Color.BLACK) } }
        fun brightness(score: Float): Int {
            val bitmap = black()
            val pose = Pose(FloatArray(51).apply { this[0] = 50f; this[1] = 50f; this[2] = score }, score)
            PosePainter(minScore = 0.1f).draw(Canvas(bitmap), listOf(pose), coco, 100, 100, 1f)
            return Color.green(bitmap.getPixel(50, 50))
        }
        assertEquals(0, brightness(0.05f))
        assertTrue(brightness(0.2f) in 1 until brightness(0.9f))
    }

    @Test
    fun `a scaled canvas shows the same places, larger`() {
        val bitmap = Bitmap.createBitmap(300, 300, Bitmap.Config.ARGB_8888).apply { eraseColor(Color.BLACK) }
        val pose = Pose(FloatArray(51).apply { this[0] = 50f; this[1] = 20f; this[2] = 1f }, 1f)
        PosePainter().draw(Canvas(bitmap), listOf(pose), coco, 100, 100, 3f)
        assertNear(coco.limbColor(0, 0), bitmap.getPixel(150, 60), 3)
        assertEquals(Color.BLACK, bitmap.getPixel(50, 20))
    }

    private fun assertNear(rgb: Int, pixel: Int, tolerance: Int) {
        for (shift in listOf(16, 8, 0)) {
            val difference = abs((rgb shr shift and 255) - (pixel shr shift and 255))
            assertTrue("expected %06x, found %08x".format(rgb, pixel), difference <= tolerance)
        }
    }
}
