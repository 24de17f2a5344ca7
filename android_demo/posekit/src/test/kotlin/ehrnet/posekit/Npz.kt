package ehrnet.posekit

import java.io.File
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.util.zip.ZipFile

/** A NumPy array: row by row; numbers as doubles, or strings. */
class NpyArray(val shape: List<Int>, val numbers: DoubleArray, val strings: List<String>) {
    fun floats() = FloatArray(numbers.size) { numbers[it].toFloat() }

    fun ints() = IntArray(numbers.size) { numbers[it].toInt() }
}

/** The arrays of the repository's `tests/golden/[name]`; the repository is looked for from the working directory up. */
fun readGolden(name: String): Map<String, NpyArray> {
    val files = generateSequence(File("").absoluteFile) { it.parentFile }.map { it.resolve("tests/golden/$name") }
    return readNpz(files.firstOrNull { it.isFile } ?: error("no tests/golden/$name above ${File("").absolutePath}"))
}

/** The arrays of an .npz file by name: little-endian floats of 2, 4, 8 bytes, int64, and strings. */
fun readNpz(file: File): Map<String, NpyArray> = ZipFile(file).use { zip ->
    zip.entries().asSequence().associate { entry ->
        entry.name.removeSuffix(".npy") to parse(zip.getInputStream(entry).use { it.readBytes() }, entry.name)
    }
}

private fun parse(file: ByteArray, name: String): NpyArray {
    val buffer = ByteBuffer.wrap(file).order(ByteOrder.LITTLE_ENDIAN)
    check(buffer.getShort(6).toInt() == 1) { "$name: not an .npy file of version 1.0" }
    val header = String(file, 10, buffer.getShort(8).toInt(), Charsets.ISO_8859_1)
    check("'fortran_order': False" in header) { "$name: $header" }
    val type = Regex("'descr': '([^']+)'").find(header)!!.groupValues[1]
    val shape = Regex("'shape': \\(([^)]*)\\)").find(header)!!.groupValues[1].split(",").filter(String::isNotBlank)
        .map { it.trim().toInt() }
    val size = shape.fold(1, Int::times)
    buffer.position(10 + header.length)
    if (type.startsWith("<U")) {
        val length = type.drop(2).toInt()
        val strings = List(size) { String(IntArray(length) { buffer.getInt() }, 0, length).trimEnd('\u0000') }
        return NpyArray(shape, DoubleArray(0), strings)
    }
    val read: () -> Double = when (type) {
        "<f2" -> ({ halfToDouble(buffer.getShort().toInt()) })
        "<f4" -> ({ buffer.getFloat().toDouble() })
        "<f8" -> buffer::getDouble
        "<i8" -> ({ buffer.getLong().toDouble() })
        else -> error("$name: numbers of type $type")
    }
    return NpyArray(shape, DoubleArray(size) { read() }, emptyList())
}

private fun halfToDouble(bits: Int): Double {
    val exponent = bits shr 10 and 31
    val fraction = bits and 1023
    val size = when (exponent) {
        0 -> Math.scalb(fraction.toDouble(), -24)
        31 -> if (fraction == 0) Double.POSITIVE_INFINITY else Double.NaN
        else -> Math.scalb(1024.0 + fraction, exponent - 25)
    }
    return if (bits and 0x8000 != 0) -size else size
}
