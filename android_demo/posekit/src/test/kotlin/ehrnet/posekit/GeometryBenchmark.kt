package ehrnet.posekit

import java.nio.ByteBuffer
import java.util.Random

/**
 * Times [YuvConverter] and [PictureFitter]: median milliseconds of 200 pictures after 200 to warm up.
 *
 *     mvn -q -pl posekit test-compile dependency:build-classpath -Dmdep.outputFile=target/classpath
 *     java -cp posekit/target/classes:posekit/target/test-classes:$(cat posekit/target/classpath) \
 *         ehrnet.posekit.GeometryBenchmarkKt
 */
fun main() {
    for ((width, height) in listOf(640 to 480, 1280 to 720, 1920 to 1080)) {
        for (rotation in listOf(0, 90, 180, 270)) {
            for (pixelStride in listOf(1, 2)) {
                val ms = timeConverter(width, height, rotation, pixelStride)
                println("YuvConverter $width x $height, $rotation degrees, stride $pixelStride: %.2f ms".format(ms))
            }
        }
    }
    for ((width, height) in listOf(640 to 480, 480 to 640, 1280 to 720, 1920 to 1080, 1080 to 1920, 192 to 192)) {
        println("PictureFitter $width x $height to 384 x 384: %.2f ms".format(timeFitter(width, height)))
    }
}

private fun timeConverter(width: Int, height: Int, rotation: Int, pixelStride: Int): Double {
    val random = Random(0)
    val y = randomPlane(random, width * height)
    val uvRowStride = (width + 1) / 2 * pixelStride
    val u = randomPlane(random, uvRowStride * ((height + 1) / 2))
    val v = randomPlane(random, uvRowStride * ((height + 1) / 2))
    val converter = YuvConverter(width, height, rotation, mirrored = true)
    val pixels = IntArray(width * height)
    return median { converter.convert(y, width, u, v, uvRowStride, pixelStride, pixels) }
}

private fun timeFitter(width: Int, height: Int): Double {
    val random = Random(0)
    val pixels = IntArray(width * height) { random.nextInt() }
    val fitter = PictureFitter(width, height, 384, 384)
    val input = ByteBuffer.allocateDirect(384 * 384 * 3)
    return median { fitter.fit(pixels, input) }
}

private fun randomPlane(random: Random, size: Int): ByteBuffer {
    val bytes = ByteArray(size).also(random::nextBytes)
    return ByteBuffer.allocateDirect(size).apply { duplicate().put(bytes) }
}

private fun median(run: () -> Unit): Double {
    repeat(200) { run() }
    val times = DoubleArray(200) {
        val start = System.nanoTime()
        run()
        (System.nanoTime() - start) / 1e6
    }
    times.sort()
    return times[times.size / 2]
}
