package ehrnet.demo

import ehrnet.posekit.ModelMetadata
import java.io.Closeable
import java.nio.ByteBuffer

/** Where a network may be asked to run. */
enum class Device { GPU, CPU }

/**
 * A pose network that is ready to run, on the thread that opened it.
 *
 * @property metadata what its file says of itself.
 * @property runsOn what it really runs on, for people.
 * @property note why that is not what was asked for, one line; null: it is.
 */
interface Network : Closeable {
    val metadata: ModelMetadata
    val runsOn: String
    val note: String?

    /** The input: H x W x 3 bytes, RGB, 0..255. Written from position 0 before [run]. */
    val input: ByteBuffer

    /** The outputs by name, as the decoder takes them; the arrays are used again by the next run. */
    fun run(): Map<String, FloatArray>
}

/** Opens networks: [LiteRtNetwork.Opener] in the app. */
fun interface NetworkOpener {
    /**
     * @param model the content of a .tflite file, at position 0.
     * @param name what messages call it.
     * @throws ehrnet.posekit.ModelFileException it cannot be run; the message is for people.
     */
    fun open(model: ByteBuffer, name: String, device: Device, threads: Int): Network
}
