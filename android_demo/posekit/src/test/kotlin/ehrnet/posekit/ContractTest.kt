package ehrnet.posekit

import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Test
import kotlin.math.abs

/**
 * The decoders do what the Python ones do on the scenes of `tests/golden/live.npz`, which
 * `python tests/android/record.py` writes; Python's side of the contract is `tests/android/test_contract.py`.
 */
class ContractTest {
    private val golden = readGolden("live.npz")
    private val scenes = golden.getValue("scenes").strings.map(::Scene)

    private inner class Scene(val name: String) {
        val heatmaps = maps("heatmaps")
        val tags = maps("tags")
        val grouping = get("grouping").ints()
        val region = get("region").ints().let { (top, left, bottom, right) -> Region(top, left, bottom, right) }
        val settings = settings(get("settings").numbers)

        fun has(part: String) = "$name/$part" in golden

        fun get(part: String) = golden.getValue("$name/$part")

        fun maps(part: String) = get(part).let {
            Maps(it.shape[0], it.shape[1], it.shape.drop(2).product(), it.floats())
        }

        fun assertPeople(kind: String, poses: List<Pose>) {
            val people = get("${kind}_people")
            val scores = get("${kind}_scores").floats()
            val message = "$name, $kind"
            assertEquals("$message: people", scores.size, poses.size)
            for ((person, pose) in poses.withIndex()) {
                assertEquals("$message: score of person $person", scores[person], pose.score, tolerance(scores[person]))
                for (i in pose.keypoints.indices) {
                    val expected = people.numbers[person * pose.keypoints.size + i].toFloat()
                    val place = "$message: person $person, keypoint ${i / 3}, ${"xys"[i % 3]}"
                    assertEquals(place, expected, pose.keypoints[i], tolerance(expected))
                }
            }
        }
    }

    @Test
    fun `there are scenes`() {
        assertTrue(scenes.size > 80)
        assertEquals(scenes.size, scenes.map { it.name }.toSet().size)
    }

    @Test
    fun `live people are Python's, with one decoder for many pictures or a fresh one`() {
        val decoders = HashMap<Pair<DecoderSettings, List<Int>>, LiveDecoder>()
        for (scene in scenes + scenes.reversed()) {
            val decoder = decoders.getOrPut(scene.settings to scene.grouping.toList()) {
                LiveDecoder(scene.settings, scene.grouping)
            }
            scene.assertPeople("live", decoder.decode(scene.heatmaps, scene.tags, scene.region))
        }
    }

    @Test
    fun `exact people are Python's`() {
        val comparable = scenes.filter { it.has("exact_people") }
        assertTrue(comparable.size > 40)
        for (scene in comparable) {
            scene.assertPeople("exact", ExactDecoder(scene.settings, scene.grouping).decode(scene.heatmaps, scene.tags))
        }
    }

    @Test
    fun `projected maps and their people are Python's`() {
        val projected = scenes.filter { it.has("heatmaps_4") }
        assertTrue(projected.size >= 4)
        for (scene in projected) {
            val (height, width) = scene.get("size").ints()
            val (heatmaps, tags) = project(scene.maps("heatmaps_4"), scene.heatmaps, scene.tags, height, width)
            for ((part, maps) in listOf("projected_heatmaps" to heatmaps, "projected_tags" to tags)) {
                assertEquals(scene.get(part).shape, listOf(maps.height, maps.width, maps.channels))
                assertArrayEquals("${scene.name}: $part", scene.get(part).floats(), maps.values, 1e-5f)
            }
            scene.assertPeople("projected", ExactDecoder(scene.settings, scene.grouping).decode(heatmaps, tags))
        }
    }

    @Test
    fun `settings and their defaults are Python's`() {
        assertEquals(
            listOf("nms_kernel", "threshold", "tag_threshold", "max_people", "adjust", "refine"),
            golden.getValue("setting_names").strings,
        )
        assertEquals(DecoderSettings(), settings(golden.getValue("default_settings").numbers))
    }

    @Test
    fun `assignments are SciPy's, of equal ones too`() {
        val names = golden.keys.filter { it.endsWith("/cost") }
        assertTrue(names.size >= 30)
        for (name in names) {
            val cost = golden.getValue(name)
            val (rows, columns) = cost.shape
            val result = assign(Array(rows) { row -> DoubleArray(columns) { cost.numbers[row * columns + it] } })
            assertArrayEquals(name, golden.getValue(name.replace("cost", "columns")).ints(), result)
        }
    }

    private fun settings(values: DoubleArray) = DecoderSettings(
        nmsKernel = values[0].toInt(),
        threshold = values[1].toFloat(),
        tagThreshold = values[2].toFloat(),
        maxPeople = values[3].toInt(),
        adjust = values[4] != 0.0,
        refine = values[5] != 0.0,
    )

    /** In cells: Python fits peaks in 32-bit floats, which differ by some 2e-5 where a peak is hardly curved. */
    private fun tolerance(expected: Float) = 1e-4f * maxOf(1f, abs(expected))
}

internal fun List<Int>.product() = fold(1, Int::times)
