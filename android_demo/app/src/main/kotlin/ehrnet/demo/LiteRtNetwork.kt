package ehrnet.demo

import ehrnet.posekit.ModelFileException
import ehrnet.posekit.ModelMetadata
import ehrnet.posekit.ModelMetadata.Graph
import org.tensorflow.lite.DataType
import org.tensorflow.lite.Interpreter
import org.tensorflow.lite.gpu.GpuDelegate
import org.tensorflow.lite.gpu.GpuDelegateFactory
import java.nio.Buffer
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.nio.FloatBuffer
import kotlin.random.Random

/**
 * A .tflite file of `ehrnet export` in LiteRT's (TensorFlow Lite's) interpreter.
 *
 * The tensors are found by the names in the file's signature: input `image`, outputs `heatmaps_2` and `tags`, or, with the
 * decoder in the file, `keypoints` and `scores`. Only those are copied out.
 */
class LiteRtNetwork private constructor(
    override val metadata: ModelMetadata,
    override val runsOn: String,
    override val note: String?,
    private val interpreter: Interpreter,
    private val delegate: AutoCloseable?,
) : Network {
    private val height = metadata.inputHeight
    private val width = metadata.inputWidth

    override val input: ByteBuffer = ByteBuffer.allocateDirect(height * width * 3).order(ByteOrder.nativeOrder())
    private val inputs = mapOf<String, Any>(INPUT to input)
    private val buffers: Map<String, FloatBuffer>
    private val outputs: Map<String, Any>
    private val arrays: Map<String, FloatArray>

    init {
        val image = interpreter.getInputTensorFromSignature(INPUT, SIGNATURE)
        check(image.dataType() == DataType.UINT8 && image.shape().contentEquals(intArrayOf(1, height, width, 3))) {
            "its input is ${image.shape().joinToString("x")} ${image.dataType()}, not 1x${height}x${width}x3 UINT8"
        }
        val wanted = if (metadata.graph == Graph.MAPS) listOf("heatmaps_2", "tags") else listOf("keypoints", "scores")
        val tensors = wanted.associateWith { interpreter.getOutputTensorFromSignature(it, SIGNATURE) }
        tensors.forEach { (name, tensor) ->
            check(tensor.dataType() == DataType.FLOAT32) { "its output $name is ${tensor.dataType()}, not FLOAT32" }
        }
        buffers = tensors.mapValues { (_, tensor) ->
            ByteBuffer.allocateDirect(tensor.numBytes()).order(ByteOrder.nativeOrder()).asFloatBuffer()
        }
        outputs = HashMap<String, Any>(buffers)
        arrays = buffers.mapValues { (_, buffer) -> FloatArray(buffer.capacity()) }
    }

    override fun run(): Map<String, FloatArray> {
        (input as Buffer).rewind() // as Android 8 knows it
        buffers.values.forEach { (it as Buffer).rewind() }
        interpreter.runSignature(inputs, outputs, SIGNATURE)
        buffers.forEach { (name, buffer) ->
            (buffer as Buffer).rewind()
            buffer.get(arrays.getValue(name))
        }
        return arrays
    }

    /** Frees the interpreter, then what it ran on; on the thread that opened it. */
    override fun close() {
        interpreter.close()
        delegate?.close()
    }

    /**
     * Opens networks on the GPU, or on the CPU if that was asked for or the GPU refuses.
     *
     * A network is run once before it is given out: a GPU may refuse as late as that, and the first run is slow.
     */
    class Opener : NetworkOpener {
        override fun open(model: ByteBuffer, name: String, device: Device, threads: Int): Network {
            val metadata = ModelMetadata.read(model, name)
            var note: String? = null
            if (device == Device.GPU) {
                try {
                    return openOnGpu(model, metadata, threads)
                } catch (error: Exception) {
                    note = "no GPU: ${error.firstLine()}"
                } catch (error: LinkageError) { // the GPU library lacks a part on this device
                    note = "no GPU: ${error.firstLine()}"
                }
            }
            try {
                return openOnCpu(model, metadata, threads, note)
            } catch (error: Exception) {
                throw ModelFileException("$name: LiteRT cannot run it (${error.firstLine()}); export it again", error)
            } catch (error: LinkageError) {
                throw ModelFileException("$name: LiteRT does not run on this device (${error.firstLine()})", error)
            }
        }

        private fun openOnGpu(model: ByteBuffer, metadata: ModelMetadata, threads: Int): Network {
            val options = GpuDelegateFactory.Options()
                .setPrecisionLossAllowed(true) // float16: as accurate, and twice as fast
                .setQuantizedModelsAllowed(true)
                .setInferencePreference(GpuDelegateFactory.Options.INFERENCE_PREFERENCE_SUSTAINED_SPEED)
            val delegate = GpuDelegate(options)
            return tried(delegate) {
                val interpreter = Interpreter(model, Interpreter.Options().addDelegate(delegate).setNumThreads(threads))
                tried(interpreter) {
                    LiteRtNetwork(metadata, "GPU (the CPU for what it lacks)", null, interpreter, delegate).apply {
                        input.put(Random(0).nextBytes(input.capacity())) // noise: in a black picture nothing overflows
                        val finite = run().values.all { output -> output.all { it.isFinite() } }
                        check(finite) { "its results are not finite (float16 overflows?)" }
                    }
                }
            }
        }

        private fun openOnCpu(model: ByteBuffer, metadata: ModelMetadata, threads: Int, note: String?): Network {
            val options = Interpreter.Options().setNumThreads(threads)
            options.setUseXNNPACK(true)
            val runsOn = "CPU (XNNPACK), $threads ${if (threads == 1) "thread" else "threads"}"
            val interpreter = Interpreter(model, options)
            return tried(interpreter) { LiteRtNetwork(metadata, runsOn, note, interpreter, null).apply { run() } }
        }

        /** What [use] makes of [resource]; where it fails, the resource is closed. */
        private inline fun <T> tried(resource: AutoCloseable, use: () -> T): T {
            var done = false
            try {
                return use().also { done = true }
            } finally {
                if (!done) resource.close()
            }
        }
    }

    private companion object {
        const val SIGNATURE = "serving_default"
        const val INPUT = "image"
    }
}

/** The first line of what an error says, for people. */
internal fun Throwable.firstLine(): String =
    message?.lineSequence()?.firstOrNull { it.isNotBlank() }?.trim() ?: this::class.java.simpleName
