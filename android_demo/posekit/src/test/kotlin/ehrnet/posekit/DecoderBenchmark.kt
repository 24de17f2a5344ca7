package ehrnet.posekit

import java.io.File

/**
 * Times the decoders on maps from an .npz file: `benchmarks/android_decoder.py` writes it and runs this.
 *
 * The file holds `models`, the names of the models; `grouping`; and for each model `NAME/heatmaps_4`, `/heatmaps_2` and
 * `/tags`, and `/size`, the input's height and width. Arguments: the file, the number of rounds. Prints a line a model
 * and decoder: name, decoder, people, median and least ms, KiB allocated a call; separated by tabs.
 */
fun main(arguments: Array<String>) {
    val arrays = readNpz(File(arguments[0]))
    val rounds = arguments[1].toInt()
    val grouping = arrays.getValue("grouping").ints()
    for (model in arrays.getValue("models").strings) {
        val (first, second, tags) = listOf("heatmaps_4", "heatmaps_2", "tags").map { part ->
            val array = arrays.getValue("$model/$part")
            val (height, width, channels) = array.shape
            Maps(height, width, channels, array.floats())
        }
        val (height, width) = arrays.getValue("$model/size").ints()
        val live = LiveDecoder(DecoderSettings(), grouping)
        measure("$model\tlive", rounds) { live.decode(second, tags) }
        val exact = ExactDecoder(DecoderSettings(), grouping)
        measure("$model\texact", maxOf(rounds / 5, 1)) {
            val (heatmaps, wide) = project(first, second, tags, height, width)
            exact.decode(heatmaps, wide)
        }
    }
}

private fun measure(name: String, rounds: Int, decode: () -> List<Pose>) {
    repeat(rounds) { decode() }
    val memory = java.lang.management.ManagementFactory.getThreadMXBean() as com.sun.management.ThreadMXBean
    val before = memory.getThreadAllocatedBytes(Thread.currentThread().id)
    val people = decode().size
    val allocated = memory.getThreadAllocatedBytes(Thread.currentThread().id) - before
    val times = DoubleArray(rounds) {
        val begin = System.nanoTime()
        decode()
        (System.nanoTime() - begin) / 1e6
    }
    times.sort()
    println("$name\t$people\t${times[rounds / 2]}\t${times[0]}\t${allocated / 1024.0}")
}
