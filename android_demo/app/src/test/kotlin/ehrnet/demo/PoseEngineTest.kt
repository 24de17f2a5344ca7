package ehrnet.demo

import ehrnet.posekit.KeypointSet
import ehrnet.posekit.ModelMetadata
import ehrnet.posekit.Pose
import org.junit.After
import org.junit.Assert.assertEquals
import org.junit.Assert.assertNotEquals
import org.junit.Assert.assertTrue
import org.junit.Test
import org.junit.runner.RunWith
import org.robolectric.RobolectricTestRunner
import java.util.Collections.synchronizedList
import java.util.concurrent.CountDownLatch
import java.util.concurrent.LinkedBlockingQueue
import java.util.concurrent.TimeUnit.SECONDS

@RunWith(RobolectricTestRunner::class)
class PoseEngineTest {
    private val metadata = ModelMetadata.parse(goldenJson("coco_metadata.json").toString(), "coco")
    private val events = LinkedBlockingQueue<String>()
    private val shown = synchronizedList(mutableListOf<Pair<Frame, List<Pose>>>())
    private val dropped = synchronizedList(mutableListOf<Frame>())
    private val stages = Stages()
    private val engine = PoseEngine(
        stages,
        object : EngineListener {
            override fun onReady(network: Network) = note("ready")

            override fun onPoses(frame: Frame, poses: List<Pose>, keypoints: KeypointSet) {
                shown += frame to poses
                note("poses")
            }

            override fun onFailure(message: String) = note(message)

            override fun onDropped(frame: Frame) {
                dropped += frame
            }
        },
    )

    @After
    fun close() = engine.close()

    @Test
    fun `the newest frame wins, and every frame comes back once`() {
        val enter = CountDownLatch(2) // a network that is busy with the first frame
        val leave = CountDownLatch(1)
        engine.open {
            FixedNetwork(metadata, {
                enter.countDown()
                leave.await(10, SECONDS)
                emptyList()
            })
        }
        await("ready")
        val frames = List(5) { Frame(64, 48).apply { seconds = it / 30.0 } }
        engine.submit(frames[0])
        while (enter.count == 2L) Thread.sleep(1)
        frames.drop(1).forEach(engine::submit)
        leave.countDown()
        await("poses")
        await("poses")
        assertEquals(listOf(frames[0], frames[4]), shown.map { it.first })
        assertEquals(frames.subList(1, 4), dropped)
    }

    @Test
    fun `people keep their ids, low scores are left out, keypoints are smoothed on request`() {
        var shift = 0f
        engine.open { FixedNetwork(metadata, { listOf(person(100f + shift, 0.9f), person(250f, 0.15f), person(300f, 0.8f)) }) }
        await("ready")
        fun look(seconds: Double): List<Pose> {
            engine.submit(Frame(384, 384).apply { this.seconds = seconds })
            await("poses")
            return shown.last().second
        }
        engine.options = Options(minScore = 0.2f, smooth = false)
        val first = look(0.0)
        assertEquals(listOf(0.9f, 0.8f), first.map { it.score })
        assertNotEquals(first[0].id, first[1].id)
        shift = 4f
        val second = look(1 / 30.0)
        assertEquals(first.map { it.id }, second.map { it.id })
        assertEquals(first[0].x(0) + 4, second[0].x(0), 1e-3f)
        engine.options = Options(minScore = 0.1f, smooth = true)
        look(2 / 30.0)
        shift = 8f
        val smoothed = look(3 / 30.0)
        assertEquals(3, smoothed.size)
        assertTrue(smoothed[0].x(0) > first[0].x(0) + 4 && smoothed[0].x(0) < first[0].x(0) + 8)
    }

    @Test
    fun `a network that fails is closed, said once, and replaced by the next`() {
        val broken = FixedNetwork(metadata, { throw IllegalStateException("the driver failed\nwith details") })
        engine.open { broken }
        await("ready")
        engine.submit(Frame(64, 48))
        await("the driver failed")
        engine.submit(Frame(64, 48))
        engine.open { throw IllegalArgumentException("no such file") }
        await("no such file")
        val working = FixedNetwork(metadata, { listOf(person(100f, 0.9f)) })
        engine.open { working }
        await("ready")
        engine.submit(Frame(64, 48))
        await("poses")
        assertTrue(broken.closed && !working.closed)
        assertEquals(2, dropped.size)
        assertTrue(Stage.entries.filter { it != Stage.CAMERA && it != Stage.DRAW }.all { stages.milliseconds(it) > 0 })
    }

    @Test
    fun `of several networks that are to be opened only the last is`() {
        val enter = CountDownLatch(1)
        val leave = CountDownLatch(1)
        val opened = synchronizedList(mutableListOf<Int>())
        repeat(5) {
            engine.open {
                opened += it
                enter.countDown()
                leave.await(10, SECONDS)
                FixedNetwork(metadata, { emptyList() })
            }
            if (it == 0) assertTrue(enter.await(10, SECONDS))
        }
        leave.countDown()
        await("ready")
        await("ready")
        assertEquals(listOf(0, 4), opened)
    }

    @Test
    fun `a single picture needs no ids`() {
        engine.open { FixedNetwork(metadata, { listOf(person(100f, 0.9f)) }) }
        await("ready")
        engine.options = Options(minScore = 0.2f, smooth = true, track = false)
        engine.submit(Frame(64, 48))
        await("poses")
        assertEquals(Pose.NO_ID, shown.single().second.single().id)
    }

    @Test
    fun `NaN is reported as such`() {
        engine.open { FixedNetwork(metadata, { listOf(person(Float.NaN, 0.9f)) }) }
        await("ready")
        engine.submit(Frame(64, 48))
        assertTrue(events.poll(10, SECONDS)!!.contains("NaN"))
    }

    private fun person(x: Float, score: Float) =
        Pose(FloatArray(51) { if (it % 3 == 2) score else if (it % 3 == 0) x + it else 20f + 2 * it }, score)

    private fun note(event: String) {
        events.put(event)
    }

    private fun await(event: String) = assertEquals(event, events.poll(10, SECONDS))
}
