package ehrnet.demo

import android.content.ContentProvider
import android.content.ContentValues
import android.content.Context
import android.database.Cursor
import android.database.MatrixCursor
import android.net.Uri
import android.os.ParcelFileDescriptor
import android.provider.OpenableColumns
import java.io.File
import java.io.FileNotFoundException
import java.time.LocalDateTime
import java.time.format.DateTimeFormatter
import java.util.Locale

/** Lets other apps read the files that the user shares with them, and no others. */
class SharedFiles : ContentProvider() {
    override fun onCreate() = true

    override fun getType(uri: Uri): String = if (uri.path.orEmpty().endsWith(".json")) "application/json" else "image/jpeg"

    override fun openFile(uri: Uri, mode: String): ParcelFileDescriptor =
        ParcelFileDescriptor.open(file(uri), ParcelFileDescriptor.MODE_READ_ONLY)

    override fun query(
        uri: Uri,
        projection: Array<out String>?,
        selection: String?,
        selectionArgs: Array<out String>?,
        sortOrder: String?,
    ): Cursor {
        val file = file(uri)
        val known = mapOf(OpenableColumns.DISPLAY_NAME to file.name, OpenableColumns.SIZE to file.length())
        val columns = (projection?.toList() ?: known.keys.toList()).filter { it in known }
        return MatrixCursor(columns.toTypedArray()).apply { addRow(columns.map { known[it] }) }
    }

    override fun insert(uri: Uri, values: ContentValues?): Uri = throw UnsupportedOperationException("read only")

    override fun update(uri: Uri, values: ContentValues?, selection: String?, selectionArgs: Array<out String>?): Int =
        throw UnsupportedOperationException("read only")

    override fun delete(uri: Uri, selection: String?, selectionArgs: Array<out String>?): Int =
        throw UnsupportedOperationException("read only")

    private fun file(uri: Uri): File {
        val file = File(folder(context!!), uri.lastPathSegment.orEmpty())
        if (file.parentFile != folder(context!!) || !file.isFile) throw FileNotFoundException("$uri: not shared")
        return file
    }

    companion object {
        private const val KEPT = 24 * 3600 * 1000L // milliseconds; a receiver may read long after it was sent

        /** Where shared files are written. */
        fun folder(context: Context) = File(context.cacheDir, "shared")

        /** A file to write to, with a name of its own: what was shared before is left as it was. */
        fun create(context: Context, extension: String): File {
            val time = LocalDateTime.now().format(DateTimeFormatter.ofPattern("yyyyMMdd-HHmmss-SSS", Locale.ROOT))
            return File(folder(context).apply { mkdirs() }, "poses-$time.$extension")
        }

        /** Deletes what was shared more than a day ago. */
        fun deleteOld(context: Context) {
            val oldest = System.currentTimeMillis() - KEPT
            folder(context).listFiles().orEmpty().filter { it.lastModified() < oldest }.forEach { it.delete() }
        }

        /** How other apps address a file in [folder]. */
        fun uri(context: Context, file: File): Uri =
            Uri.Builder().scheme("content").authority("${context.packageName}.shared").appendPath(file.name).build()
    }
}
