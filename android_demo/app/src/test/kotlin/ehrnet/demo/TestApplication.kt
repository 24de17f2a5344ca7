package ehrnet.demo

import ehrnet.posekit.ModelMetadata
import ehrnet.posekit.Pose
import java.io.File
import java.nio.ByteBuffer

/** The app with a model that the tests give it: [opener] is asked instead of LiteRT where it is set. */
class TestApplication : DemoApplication() {
    var replaced: NetworkOpener? = null
    override val opener = NetworkOpener { model, name, device, threads ->
        (replaced ?: LiteRtNetwork.Opener()).open(model, name, device, threads)
    }

    /** Puts a model of tests/golden/android among those that were opened from storage. */
    fun install(name: String, content: ByteArray = File(Repository.golden, name).readBytes()) {
        File(filesDir, "models").mkdirs()
        File(filesDir, "models/$name").writeBytes(content)
    }
}

/** A network that finds the same people in every picture: those of a `poses` file, in pixels of its input. */
class FixedNetwork(
    override val metadata: ModelMetadata,
    private val people: () -> List<Pose>,
    override val runsOn: String = "test",
    override val note: String? = null,
) : Network {
    var runs = 0
    var closed = false
    override val input: ByteBuffer = ByteBuffer.allocateDirect(metadata.inputHeight * metadata.inputWidth * 3)

    override fun run(): Map<String, FloatArray> {
        check(!closed) { "run after close" }
        runs++
        val keypoints = FloatArray(PEOPLE * metadata.keypoints.size * 3)
        val scores = FloatArray(PEOPLE)
        people().forEachIndexed { i, pose ->
            pose.keypoints.copyInto(keypoints, i * pose.keypoints.size)
            scores[i] = pose.score
        }
        return mapOf("keypoints" to keypoints, "scores" to scores)
    }

    override fun close() {
        closed = true
    }

    private companion object {
        const val PEOPLE = 30
    }
}
