package ehrnet.demo

import kotlinx.serialization.json.Json
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.int
import kotlinx.serialization.json.jsonArray
import kotlinx.serialization.json.jsonObject
import kotlinx.serialization.json.jsonPrimitive
import org.robolectric.annotation.Implementation
import org.robolectric.annotation.Implements
import org.tensorflow.lite.DataType
import org.tensorflow.lite.Interpreter
import org.tensorflow.lite.Tensor
import java.io.DataInputStream
import java.io.File
import java.io.RandomAccessFile
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.nio.FloatBuffer

/**
 * LiteRT's interpreter on a computer: the same file, run by LiteRT's Python library in a process of its own
 * (android_demo/checks/litert_server.py). It takes what the real one takes: direct buffers, of the tensors' sizes.
 */
@Implements(Interpreter::class)
class ShadowInterpreter : ShadowInterpreterImpl() {
    private var onGpu = false
    private lateinit var process: Process
    private lateinit var answers: DataInputStream
    private lateinit var inputs: Map<String, Tensor>
    private lateinit var outputs: Map<String, Tensor>

    @Implementation
    fun __constructor__(model: ByteBuffer, options: Interpreter.Options) {
        onGpu = options.delegates.isNotEmpty()
        require(!onGpu || gpu != Gpu.REFUSES) { "Internal error: Failed to apply delegate" }
        threads = options.numThreads
        val file = File.createTempFile("model", ".tflite").apply { deleteOnExit() }
        RandomAccessFile(file, "rw").use { it.channel.write(model.duplicate().rewind() as ByteBuffer) }
        val server = File(Repository.root, "android_demo/checks/litert_server.py")
        process = ProcessBuilder(Repository.python!!.path, server.path, file.path, options.numThreads.toString())
            .redirectError(ProcessBuilder.Redirect.DISCARD).start()
        answers = DataInputStream(process.inputStream.buffered())
        @Suppress("DEPRECATION") // one line of ASCII
        val line = answers.readLine() ?: throw IllegalArgumentException("ByteBuffer is not a valid TensorFlow Lite model flatbuffer")
        val described = Json.parseToJsonElement(line).jsonObject
        inputs = tensors(described, "inputs")
        outputs = tensors(described, "outputs")
        opened++
    }

    @Implementation
    fun getInputTensorFromSignature(name: String, signature: String): Tensor = known(inputs, name, signature)

    @Implementation
    fun getOutputTensorFromSignature(name: String, signature: String): Tensor = known(outputs, name, signature)

    @Implementation
    fun runSignature(given: Map<String, Any>, wanted: Map<String, Any>, signature: String) {
        require(given.keys == inputs.keys) { "Signature $signature has the inputs ${inputs.keys}, not ${given.keys}" }
        val image = given.values.single() as ByteBuffer
        require(image.isDirect && image.position() == 0 && image.remaining() == inputs.values.single().numBytes()) {
            "Cannot copy to a TensorFlow Lite tensor with ${inputs.values.single().numBytes()} bytes from $image"
        }
        val bytes = ByteArray(image.remaining()).also { image.duplicate().get(it) }
        process.outputStream.apply { write(bytes) }.flush()
        wanted.keys.forEach { known(outputs, it, signature) }
        for (name in outputs.keys.sorted()) {
            val values = ByteArray(outputs.getValue(name).numBytes()).also { answers.readFully(it) }
            val target = wanted[name] as FloatBuffer? ?: continue
            require(target.remaining() * 4 >= values.size) { "Cannot copy $name to $target" }
            target.put(ByteBuffer.wrap(values).order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer())
            if (onGpu && gpu == Gpu.OVERFLOWS) target.put(target.position() - 1, Float.NaN)
        }
    }

    override fun close() {
        if (!process.isAlive) return // the real one, too, may be closed twice
        process.outputStream.close()
        process.waitFor()
        closed++
    }

    private fun known(tensors: Map<String, Tensor>, name: String, signature: String): Tensor {
        require(signature == "serving_default") { "Invalid signature key $signature" }
        return requireNotNull(tensors[name]) { "Input error: Signature has no tensor $name, but ${tensors.keys}" }
    }

    private fun tensors(described: JsonObject, kind: String) =
        described.getValue(kind).jsonObject.mapValues { (name, tensor) -> FileTensor(name, tensor.jsonObject) }

    companion object {
        var opened = 0
        var closed = 0
        var threads = 0 // of the interpreter that was opened last
        var gpu = Gpu.REFUSES
    }
}

/** What the phone's GPU does with a network; the CPU stands for it. OVERFLOWS: its float16 does. */
enum class Gpu { REFUSES, WORKS, OVERFLOWS }

/** The class behind [Interpreter], which is not public and has what closes it. */
@Implements(className = "org.tensorflow.lite.InterpreterImpl")
abstract class ShadowInterpreterImpl {
    @Implementation
    abstract fun close()
}

/** What a file says of a tensor. */
private class FileTensor(private val name: String, described: JsonObject) : Tensor {
    private val type = DataType.valueOf(described.getValue("dtype").jsonPrimitive.content.uppercase())
    private val shape = described.getValue("shape").jsonArray.map { it.jsonPrimitive.int }.toIntArray()

    override fun dataType(): DataType = type

    override fun shape(): IntArray = shape

    override fun shapeSignature(): IntArray = shape

    override fun numDimensions(): Int = shape.size

    override fun numElements(): Int = shape.fold(1, Int::times)

    override fun numBytes(): Int = numElements() * type.byteSize()

    override fun index(): Int = 0

    override fun name(): String = name

    override fun quantizationParams(): Tensor.QuantizationParams = Tensor.QuantizationParams(1f, 0)

    override fun asReadOnlyBuffer(): ByteBuffer = throw UnsupportedOperationException()
}
