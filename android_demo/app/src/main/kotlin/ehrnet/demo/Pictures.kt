package ehrnet.demo

import android.content.ContentResolver
import android.graphics.Bitmap
import android.graphics.BitmapFactory
import android.graphics.Matrix
import android.media.ExifInterface
import android.net.Uri
import java.io.FileNotFoundException
import java.io.IOException
import java.io.InputStream

/**
 * A picture of the gallery, upright.
 *
 * @property width of the file's picture, which [bitmap] may show reduced, pixels.
 * @property height likewise.
 */
class Picture(val bitmap: Bitmap, val width: Int, val height: Int)

/** Reads pictures of the gallery. */
object Pictures {
    private const val MOST_PIXELS = 8_000_000L

    /**
     * A picture, upright as its EXIF data say, reduced by whole factors to at most eight megapixels.
     *
     * @throws IOException it cannot be read; the message is for people.
     */
    fun read(resolver: ContentResolver, uri: Uri): Picture {
        val bounds = BitmapFactory.Options().apply { inJustDecodeBounds = true }
        open(resolver, uri) { BitmapFactory.decodeStream(it, null, bounds) }
        if (bounds.outWidth <= 0 || bounds.outHeight <= 0) throw unreadable(uri)
        val options = BitmapFactory.Options().apply { inSampleSize = reduction(bounds.outWidth, bounds.outHeight) }
        val bitmap = open(resolver, uri) { BitmapFactory.decodeStream(it, null, options) } ?: throw unreadable(uri)
        val orientation = open(resolver, uri) { orientation(it) }
        val turned = orientation in ExifInterface.ORIENTATION_TRANSPOSE..ExifInterface.ORIENTATION_ROTATE_270
        val (width, height) = if (turned) bounds.outHeight to bounds.outWidth else bounds.outWidth to bounds.outHeight
        return Picture(upright(bitmap, orientation), width, height)
    }

    /** The smallest power of two by which both sides must be divided. */
    internal fun reduction(width: Int, height: Int): Int {
        var by = 1
        while ((width.toLong() / by) * (height / by) > MOST_PIXELS) by *= 2
        return by
    }

    /** A picture turned and mirrored as the EXIF value [orientation] says; the source: EXIF 2.32, tag 0x0112. */
    internal fun upright(bitmap: Bitmap, orientation: Int): Bitmap {
        val matrix = Matrix()
        when (orientation) {
            ExifInterface.ORIENTATION_FLIP_HORIZONTAL -> matrix.setScale(-1f, 1f)
            ExifInterface.ORIENTATION_ROTATE_180 -> matrix.setRotate(180f)
            ExifInterface.ORIENTATION_FLIP_VERTICAL -> matrix.setScale(1f, -1f)
            ExifInterface.ORIENTATION_TRANSPOSE -> matrix.apply { setRotate(90f) }.postScale(-1f, 1f)
            ExifInterface.ORIENTATION_ROTATE_90 -> matrix.setRotate(90f)
            ExifInterface.ORIENTATION_TRANSVERSE -> matrix.apply { setRotate(270f) }.postScale(-1f, 1f)
            ExifInterface.ORIENTATION_ROTATE_270 -> matrix.setRotate(270f)
            else -> return bitmap
        }
        return Bitmap.createBitmap(bitmap, 0, 0, bitmap.width, bitmap.height, matrix, true)
    }

    private fun orientation(stream: InputStream): Int = try {
        ExifInterface(stream).getAttributeInt(ExifInterface.TAG_ORIENTATION, ExifInterface.ORIENTATION_NORMAL)
    } catch (_: IOException) { // a format without EXIF data
        ExifInterface.ORIENTATION_NORMAL
    }

    private fun <T> open(resolver: ContentResolver, uri: Uri, use: (InputStream) -> T): T = try {
        (resolver.openInputStream(uri) ?: throw FileNotFoundException("no content")).use(use)
    } catch (error: SecurityException) {
        throw IOException("the picture may not be read; choose it again", error)
    } catch (error: FileNotFoundException) {
        throw IOException("the picture is gone (${error.firstLine()}); choose another one", error)
    }

    private fun unreadable(uri: Uri) = IOException("${uri.lastPathSegment}: no picture that this device reads")
}
