package ehrnet.demo

import android.graphics.Bitmap
import android.graphics.BitmapFactory
import android.graphics.Color
import android.graphics.ImageFormat
import android.hardware.camera2.CameraCharacteristics
import android.util.Size
import ehrnet.posekit.KeypointSet
import ehrnet.posekit.Pose
import kotlin.math.roundToInt
import kotlinx.serialization.json.Json
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.float
import kotlinx.serialization.json.jsonArray
import kotlinx.serialization.json.jsonObject
import kotlinx.serialization.json.jsonPrimitive
import org.robolectric.Shadows.shadowOf
import org.robolectric.shadows.ShadowCameraCharacteristics
import org.robolectric.shadows.StreamConfigurationMapBuilder
import java.io.File
import java.nio.ByteBuffer

/** A picture of tests/golden/android. */
fun goldenPicture(name: String): Bitmap =
    BitmapFactory.decodeFile(File(Repository.golden, name).path, BitmapFactory.Options().apply { inScaled = false })!!

fun Bitmap.pixels(): IntArray = IntArray(width * height).also { getPixels(it, 0, width, 0, 0, width, height) }

/** Writes a picture to look at. */
fun Bitmap.save(name: String) =
    File(Repository.screens, name).outputStream().use { compress(Bitmap.CompressFormat.PNG, 100, it) }

/** Poses as Python's `Poses.to_dict` writes them. */
fun posesOf(json: JsonObject, set: KeypointSet): List<Pose> = json.getValue("people").jsonArray.map { person ->
    val named = person.jsonObject.getValue("keypoints").jsonObject
    val numbers = set.names.flatMap { name -> named.getValue(name).jsonArray.map { it.jsonPrimitive.float } }
    Pose(numbers.toFloatArray(), person.jsonObject.getValue("score").jsonPrimitive.float)
}

fun goldenJson(name: String): JsonObject = Json.parseToJsonElement(File(Repository.golden, name).readText()).jsonObject

/**
 * What a camera delivers of an upright picture: turned back and mirrored as the sensor lies, YUV 4:2:0 (BT.601, full range),
 * interleaved chroma planes whose last byte is missing, as on most phones.
 */
fun cameraImage(pixels: IntArray, width: Int, height: Int, rotation: Int, mirrored: Boolean, nanos: Long = 0): CameraImage {
    val lying = rotation % 180 != 0
    val sensorWidth = if (lying) height else width
    val sensorHeight = if (lying) width else height
    fun upright(row: Int, column: Int): Int {
        val (x, y) = when (rotation) {
            90 -> sensorHeight - 1 - row to column
            180 -> sensorWidth - 1 - column to sensorHeight - 1 - row
            270 -> row to sensorWidth - 1 - column
            else -> column to row
        }
        return pixels[y * width + if (mirrored) width - 1 - x else x]
    }
    val image = CameraImage()
    image.width = sensorWidth
    image.height = sensorHeight
    image.nanos = nanos
    image.yRowStride = sensorWidth + 16
    image.uvRowStride = sensorWidth + 16
    image.uvPixelStride = 2
    image.y = ByteBuffer.allocateDirect(image.yRowStride * sensorHeight)
    val chroma = ByteBuffer.allocateDirect(image.uvRowStride * (sensorHeight / 2))
    for (row in 0 until sensorHeight) for (column in 0 until sensorWidth) {
        val color = upright(row, column)
        val red = Color.red(color)
        val green = Color.green(color)
        val blue = Color.blue(color)
        image.y.put(row * image.yRowStride + column, (0.299 * red + 0.587 * green + 0.114 * blue).toLuma())
        if (row % 2 == 0 && column % 2 == 0) {
            val at = row / 2 * image.uvRowStride + column
            chroma.put(at, (128 - 0.168736 * red - 0.331264 * green + 0.5 * blue).toLuma())
            chroma.put(at + 1, (128 + 0.5 * red - 0.418688 * green - 0.081312 * blue).toLuma())
        }
    }
    image.u = chroma.duplicate().apply { limit(capacity() - 1) }.slice()
    image.v = chroma.duplicate().apply { position(1) }.slice()
    return image
}

private fun Double.toLuma(): Byte = roundToInt().coerceIn(0, 255).toByte()

/** What a camera says of itself: which way it looks, how its sensor lies, the sizes of its YUV pictures. */
fun cameraCharacteristics(facing: Int, sensor: Int, sizes: List<Size> = listOf(Size(640, 480))): CameraCharacteristics {
    val map = StreamConfigurationMapBuilder.newBuilder()
    sizes.forEach { map.addOutputSize(ImageFormat.YUV_420_888, it) }
    return ShadowCameraCharacteristics.newCameraCharacteristics().also {
        shadowOf(it).apply {
            set(CameraCharacteristics.LENS_FACING, facing)
            set(CameraCharacteristics.SENSOR_ORIENTATION, sensor)
            set(CameraCharacteristics.SCALER_STREAM_CONFIGURATION_MAP, map.build())
        }
    }
}
