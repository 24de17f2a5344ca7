package ehrnet.demo

import android.content.Context
import android.content.res.AssetManager
import android.net.Uri
import android.provider.OpenableColumns
import ehrnet.posekit.ModelFileException
import ehrnet.posekit.ModelMetadata
import java.io.File
import java.io.FileInputStream
import java.io.FileNotFoundException
import java.io.IOException
import java.nio.Buffer
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.nio.channels.FileChannel

/** The .tflite files that the app has: those in its assets, and those that were opened from storage, which it keeps. */
class Models(private val context: Context) {
    private val assets: AssetManager = context.assets
    private val folder = File(context.filesDir, "models")

    /** The names of all files, opened ones first. */
    fun names(): List<String> {
        val opened = folder.list { _, name -> name.endsWith(SUFFIX) }.orEmpty().sorted()
        val shipped = assets.list("").orEmpty().filter { it.endsWith(SUFFIX) }.sorted()
        return (opened + shipped).distinct()
    }

    /** The file that the user [wanted], or the first there is; null if there is none. */
    fun chosen(wanted: String?): String? = names().let { names -> wanted?.takeIf { it in names } ?: names.firstOrNull() }

    /** Whether a file was opened from storage, and so can be removed. */
    fun isOpened(name: String): Boolean = File(folder, name).isFile

    /** Deletes the copy of a file that was opened from storage; a network that runs it goes on. */
    fun remove(name: String) {
        File(folder, name).delete()
    }

    /**
     * The content of a file, mapped into memory where it can be.
     *
     * @throws ModelFileException there is no such file, or it cannot be read.
     */
    fun content(name: String): ByteBuffer = try {
        val opened = File(folder, name)
        if (opened.isFile) FileInputStream(opened).use { map(it, 0, opened.length()) } else asset(name)
    } catch (error: FileNotFoundException) {
        throw ModelFileException("$name: no such model; put a .tflite file of `ehrnet export` into assets, or open one", error)
    } catch (error: IOException) {
        throw ModelFileException("$name: cannot be read (${error.firstLine()}); open it again", error)
    }

    /**
     * Copies a model from storage, if it is one that the app can run; all of it or nothing.
     *
     * @return its name among [names].
     * @throws ModelFileException it is not.
     */
    fun add(uri: Uri): String {
        val name = displayName(uri)
        folder.mkdirs()
        var copy: File? = null
        try {
            copy = File.createTempFile("model", ".part", context.cacheDir) // of its own: a file may be opened twice at once
            val source = context.contentResolver.openInputStream(uri) ?: throw FileNotFoundException("no content")
            source.use { from -> copy.outputStream().use { from.copyTo(it) } }
            FileInputStream(copy).use { ModelMetadata.read(map(it, 0, copy.length()), name) }
            val target = File(folder, if (name.endsWith(SUFFIX)) name else name + SUFFIX)
            if (!copy.renameTo(target)) throw IOException("the copy cannot be renamed")
            return target.name
        } catch (error: ModelFileException) {
            throw error
        } catch (error: IOException) {
            throw ModelFileException("$name: cannot be copied (${error.firstLine()}); is the storage full?", error)
        } catch (error: SecurityException) {
            throw ModelFileException("$name: may not be read; choose it again", error)
        } finally {
            copy?.delete()
        }
    }

    private fun asset(name: String): ByteBuffer {
        if (name !in assets.list("").orEmpty()) throw FileNotFoundException(name)
        return try {
            assets.openFd(name).use { part ->
                FileInputStream(part.fileDescriptor).use { map(it, part.startOffset, part.length) }
            }
        } catch (_: FileNotFoundException) { // stored compressed: see noCompress in build.gradle.kts
            val bytes = assets.open(name).use { it.readBytes() }
            val content = ByteBuffer.allocateDirect(bytes.size).order(ByteOrder.nativeOrder()).put(bytes)
            content.also { (it as Buffer).rewind() }
        }
    }

    private fun map(stream: FileInputStream, start: Long, length: Long): ByteBuffer =
        stream.channel.map(FileChannel.MapMode.READ_ONLY, start, length).order(ByteOrder.nativeOrder())

    private fun displayName(uri: Uri): String {
        val columns = arrayOf(OpenableColumns.DISPLAY_NAME)
        val shown = context.contentResolver.query(uri, columns, null, null, null)?.use {
            if (it.moveToFirst()) it.getString(0) else null
        }
        return File(shown ?: uri.lastPathSegment.orEmpty()).name.ifBlank { "model$SUFFIX" }
    }

    private companion object {
        const val SUFFIX = ".tflite"
    }
}
