package ehrnet.posekit

import org.junit.Assert.assertEquals
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Test

class KeypointSetTest {
    private val names = listOf("nose", "Left_eye", "right_eye", "left_ear")

    private fun set(
        names: List<String> = this.names,
        flipPairs: List<Limb> = emptyList(),
        skeleton: List<Limb> = emptyList(),
        sigmas: FloatArray = FloatArray(names.size) { 0.1f },
        grouping: IntArray = names.indices.toList().toIntArray(),
        colors: List<Int?> = List(names.size) { null },
    ) = KeypointSet("set", "person", names, flipPairs, skeleton, sigmas, grouping, colors)

    @Test
    fun `limbs have the colour of their side`() {
        val points = set()
        assertEquals(KeypointSet.CENTRE, points.limbColor(0, 0))
        assertEquals(KeypointSet.LEFT, points.limbColor(1, 0))
        assertEquals(KeypointSet.LEFT, points.limbColor(1, 3))
        assertEquals(KeypointSet.RIGHT, points.limbColor(0, 2))
        assertEquals(KeypointSet.CENTRE, points.limbColor(1, 2))
    }

    @Test
    fun `limbs have the mean of their ends' own colours`() {
        val points = set(colors = listOf(0x000103, 0x0002FF, null, null))
        assertEquals(0x000103, points.limbColor(0, 0))
        assertEquals(0x000281, points.limbColor(0, 1)) // 1.5 becomes 2, as in Python
        assertEquals(0x78490C, points.limbColor(0, 2)) // with the side's colour F0 91 14; 11.5 becomes 12
        assertEquals(KeypointSet.LEFT, points.limbColor(3, 3))
    }

    @Test
    fun `what does not belong together is refused by name`() {
        fun refusal(make: () -> KeypointSet) =
            assertThrows(IllegalArgumentException::class.java) { make() }.message!!

        assertTrue("'nose' is listed twice" in refusal { set(names = listOf("nose", "nose")) })
        assertTrue("none" in refusal { set(names = emptyList()) })
        assertTrue("skeleton" in refusal { set(skeleton = listOf(Limb(0, 4))) })
        assertTrue("flip_pairs" in refusal { set(flipPairs = listOf(Limb(2, 2))) })
        assertTrue("one mirror image" in refusal { set(flipPairs = listOf(Limb(1, 2), Limb(2, 3))) })
        assertTrue("sigmas" in refusal { set(sigmas = FloatArray(3) { 1f }) })
        assertTrue("sigmas" in refusal { set(sigmas = FloatArray(4)) })
        assertTrue("grouping" in refusal { set(grouping = intArrayOf(0, 1, 2, 2)) })
        assertTrue("colors" in refusal { set(colors = listOf(0, 0x1000000, null, null)) })
    }
}
