package ehrnet.posekit

import org.junit.Assert.assertEquals
import org.junit.Test

/** The exact decoder gives the reference implementation's people, step by step (`tests/golden/decode.npz`). */
class ReferenceScenesTest {
    private val golden = readGolden("decode.npz")

    @Test
    fun `people, their order and scores are the reference's`() {
        for (case in 0 until 4) {
            val heatmaps = channelsLast(golden.getValue("case${case}_heatmaps"))
            val tags = channelsLast(golden.getValue("case${case}_tags"))
            val scores = golden.getValue("case${case}_scores").floats()
            for ((step, settings) in listOf(
                "adjusted" to DecoderSettings(refine = false),
                "refined" to DecoderSettings(),
            )) {
                val expected = golden.getValue("case${case}_$step")
                val poses = ExactDecoder(settings, COCO_ORDER).decode(heatmaps, tags)
                assertEquals("case $case", expected.shape[0], poses.size)
                for ((person, pose) in poses.withIndex()) {
                    assertEquals("case $case, person $person", scores[person], pose.score, 1e-5f)
                    for (i in pose.keypoints.indices) {
                        val value = expected.numbers[(person * 17 + i / 3) * expected.shape[2] + i % 3].toFloat()
                        assertEquals("case $case, $step, person $person, value $i", value, pose.keypoints[i], 1e-5f)
                    }
                }
            }
        }
    }

    /** (K, H, W) or (K, H, W, T) to maps of K or K·T channels. */
    private fun channelsLast(planes: NpyArray): Maps {
        val (count, height, width) = planes.shape
        val dimensions = planes.shape.drop(3).product()
        val values = FloatArray(planes.numbers.size)
        for (i in planes.numbers.indices) {
            val keypoint = i / dimensions / width / height
            val pixel = i / dimensions % (width * height)
            values[(pixel * count + keypoint) * dimensions + i % dimensions] = planes.numbers[i].toFloat()
        }
        return Maps(height, width, count * dimensions, values)
    }

    private companion object {
        /** Nose, eyes, ears, shoulders, hips, elbows, wrists, knees, ankles. */
        val COCO_ORDER = intArrayOf(0, 1, 2, 3, 4, 5, 6, 11, 12, 7, 8, 9, 10, 13, 14, 15, 16)
    }
}
