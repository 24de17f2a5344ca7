package ehrnet.demo

import org.junit.Assert.assertEquals
import org.junit.Assert.assertFalse
import org.junit.Assert.assertTrue
import org.junit.Test

class StagesTest {
    private val stages = Stages()

    @Test
    fun `the frame rate falls to nothing when no frame comes any longer`() {
        assertTrue(stages.stalled(5 * SECOND))
        for (i in 0..10) stages.frame(SECOND + i * SECOND / 20)
        assertEquals(20.0, stages.framesPerSecond(2 * SECOND), 1e-6)
        assertEquals(0.0, stages.framesPerSecond(3 * SECOND), 0.0)
        assertTrue(stages.stalled(3 * SECOND))
    }

    @Test
    fun `a network that takes longer than a second has not stopped`() {
        for (i in 0..3) stages.frame(SECOND + i * 2 * SECOND)
        assertEquals(0.5, stages.framesPerSecond(9 * SECOND), 1e-6)
        assertFalse(stages.stalled(12 * SECOND))
        assertTrue(stages.stalled(14 * SECOND))
    }

    private companion object {
        const val SECOND = 1_000_000_000L
    }
}
