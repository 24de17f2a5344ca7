package ehrnet.posekit

import java.nio.Buffer
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.util.zip.CRC32
import java.util.zip.DataFormatException
import java.util.zip.Inflater
import java.util.zip.ZipException

/**
 * The zip archive behind a model file's flatbuffer. `java.util.zip` opens files only, and an asset is none.
 *
 * Source: PKWARE's APPNOTE.TXT, 4.3.7 (local header), 4.3.12 (central directory), 4.3.16 (end of central directory).
 *
 * @param file the whole file, from position to limit; left as it was.
 */
internal class ZipTail(file: ByteBuffer) {
    private val bytes: ByteBuffer = file.slice().order(ByteOrder.LITTLE_ENDIAN)
    private val size = bytes.limit()

    /**
     * A member's bytes; null if there is no archive, or no such member in it.
     *
     * @throws ZipException if the archive is damaged or cut off, or the member is larger than 1 MiB.
     */
    fun read(member: String): ByteArray? {
        val end = findEnd()
        if (end == null) {
            check(!holdsHeader(member)) { "the file is cut off" }
            return null
        }
        val start = end - unsignedInt(end + 12)
        val base = start - unsignedInt(end + 16) // of the archive's offsets: 0 where they count from the file's start
        check(start >= 0 && base >= 0) { "its directory lies outside the file" }
        var entry = start.toInt()
        repeat(short(end + 10)) {
            check(entry + ENTRY_SIZE <= end && int(entry) == ENTRY) { "its directory is broken" }
            val nameLength = short(entry + 28)
            if (holds(entry + ENTRY_SIZE, nameLength, member)) return content(entry, base)
            entry += ENTRY_SIZE + nameLength + short(entry + 30) + short(entry + 32)
        }
        return null
    }

    /** Where the end of the central directory begins; it is followed by a comment of up to 65,535 bytes. */
    private fun findEnd(): Int? =
        (size - END_SIZE downTo maxOf(0, size - END_SIZE - LONGEST_COMMENT)).firstOrNull { int(it) == END }

    /** Whether the last MiB holds the beginning of [member], as in a file whose directory is cut off. */
    private fun holdsHeader(member: String): Boolean =
        (maxOf(0, size - LARGEST)..size - HEADER_SIZE - member.length).any {
            int(it) == HEADER && holds(it + HEADER_SIZE, member.length, member)
        }

    private fun content(entry: Int, base: Long): ByteArray {
        val flags = short(entry + 8)
        val method = short(entry + 10)
        val packedSize = unsignedInt(entry + 20)
        val fullSize = unsignedInt(entry + 24)
        check(flags and ENCRYPTED == 0) { "it is encrypted" }
        check(packedSize <= LARGEST && fullSize <= LARGEST) { "it is larger than 1 MiB" }
        val header = base + unsignedInt(entry + 42)
        check(header + HEADER_SIZE <= size && int(header.toInt()) == HEADER) { "no member where its directory says" }
        val start = header + HEADER_SIZE + short(header.toInt() + 26) + short(header.toInt() + 28)
        check(start + packedSize <= size) { "the file is cut off" }
        val packed = ByteArray(packedSize.toInt())
        val view: Buffer = bytes
        view.position(start.toInt())
        bytes.get(packed)
        val full = when (method) {
            STORED -> packed
            DEFLATED -> inflate(packed, fullSize.toInt())
            else -> throw ZipException("compressed by method $method")
        }
        val sum = CRC32().apply { update(full) }.value
        check(full.size.toLong() == fullSize && sum == unsignedInt(entry + 16)) { "its checksum is wrong" }
        return full
    }

    private fun inflate(packed: ByteArray, fullSize: Int): ByteArray {
        val inflater = Inflater(true)
        try {
            inflater.setInput(packed)
            val full = ByteArray(fullSize)
            check(inflater.inflate(full) == fullSize) { "its compressed data end early" }
            return full
        } catch (error: DataFormatException) {
            throw ZipException("its compressed data are broken").apply { initCause(error) }
        } finally {
            inflater.end()
        }
    }

    private fun holds(at: Int, length: Int, name: String): Boolean =
        length == name.length && name.indices.all { bytes.get(at + it) == name[it].code.toByte() }

    private fun short(at: Int): Int = bytes.getShort(at).toInt() and 0xFFFF

    private fun int(at: Int): Int = bytes.getInt(at)

    private fun unsignedInt(at: Int): Long = int(at).toLong() and 0xFFFFFFFFL

    private inline fun check(sound: Boolean, message: () -> String) {
        if (!sound) throw ZipException(message())
    }

    private companion object {
        const val HEADER = 0x04034b50
        const val ENTRY = 0x02014b50
        const val END = 0x06054b50
        const val HEADER_SIZE = 30
        const val ENTRY_SIZE = 46
        const val END_SIZE = 22
        const val LONGEST_COMMENT = 0xFFFF
        const val LARGEST = 1 shl 20
        const val ENCRYPTED = 1
        const val STORED = 0
        const val DEFLATED = 8
    }
}
