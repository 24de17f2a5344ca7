package ehrnet.posekit

import kotlinx.serialization.json.Json
import kotlinx.serialization.json.JsonArray
import kotlinx.serialization.json.JsonElement
import kotlinx.serialization.json.JsonNull
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.JsonPrimitive
import kotlinx.serialization.json.booleanOrNull

/**
 * The metadata in `ehrnet_tf.runtime.metadata`'s JSON.
 *
 * @throws IllegalArgumentException if they cannot be used; the message says why.
 */
internal fun parseMetadata(json: String): ModelMetadata {
    requireShallow(json)
    val root = Fields("metadata", Json.parseToJsonElement(json))
    root.text("task")?.let { throw IllegalArgumentException("the model's task is $it, not poses") }
    val input = root.needed("input")
    for ((key, only) in INPUT) {
        val given = input.text(key)
        require(given == null || given == only) { "input: $key is $given, not $only" }
    }
    root.fields("strides")?.let { strides ->
        for ((output, stride) in STRIDES) {
            require(strides.int(output) == stride) { "strides: that of $output is not $stride" }
        }
    }
    return ModelMetadata(
        variant = root.text("variant"),
        keypoints = keypointSet(root.needed("keypoints")),
        inputHeight = requireNotNull(input.int("height")) { "the input's height is not fixed" },
        inputWidth = requireNotNull(input.int("width")) { "the input's width is not fixed" },
        graph = when (val graph = root.text("graph")) {
            "maps" -> ModelMetadata.Graph.MAPS
            "poses" -> ModelMetadata.Graph.POSES
            else -> throw IllegalArgumentException("the graph is $graph, neither maps nor poses")
        },
        decoder = decoderSettings(root.fields("decoder")),
        precision = root.text("precision"),
        accuracy = root.fields("accuracy")?.number("AP"),
        sourceAccuracy = root.fields("source_accuracy")?.number("AP"),
    )
}

/** The JSON library recurses, and a stack that overflows is no exception to catch. */
private fun requireShallow(json: String) {
    var depth = 0
    var inText = false
    var escaped = false
    for (character in json) {
        when {
            escaped -> escaped = false
            inText && character == '\\' -> escaped = true
            character == '"' -> inText = !inText
            inText -> continue
            character == '{' || character == '[' -> depth++
            character == '}' || character == ']' -> depth--
        }
        require(depth <= DEEPEST) { "nested more than $DEEPEST deep" }
    }
}

private const val DEEPEST = 64
private val INPUT = mapOf("dtype" to "uint8", "color" to "RGB")
private val STRIDES = mapOf("heatmaps_4" to 4, "tags" to 4, "heatmaps_2" to 2)
private val DECODER_KEYS = setOf("nms_kernel", "threshold", "tag_threshold", "max_people", "adjust", "refine")

/** Unlike elsewhere an unknown key is refused: people would be decoded otherwise than the file's writer meant. */
private fun decoderSettings(fields: Fields?): DecoderSettings {
    val defaults = DecoderSettings()
    fields ?: return defaults
    val unknown = fields.keys - DECODER_KEYS
    require(unknown.isEmpty()) { "decoder: unknown setting '${unknown.first()}'" }
    return DecoderSettings(
        nmsKernel = fields.int("nms_kernel") ?: defaults.nmsKernel,
        threshold = fields.number("threshold")?.toFloat() ?: defaults.threshold,
        tagThreshold = fields.number("tag_threshold")?.toFloat() ?: defaults.tagThreshold,
        maxPeople = fields.int("max_people") ?: defaults.maxPeople,
        adjust = fields.boolean("adjust") ?: defaults.adjust,
        refine = fields.boolean("refine") ?: defaults.refine,
    )
}

private fun keypointSet(fields: Fields): KeypointSet {
    val names = fields.array("keypoints").map { text(it, "keypoints") }
    val index = names.withIndex().associate { (k, name) -> name to k }

    fun lookUp(element: JsonElement, key: String): Int {
        val name = text(element, key)
        return requireNotNull(index[name]) { "$key names '$name', which is not among the keypoints" }
    }

    fun limbs(key: String) = fields.array(key).map { pair ->
        require(pair is JsonArray && pair.size == 2) { "$key holds something that is not a pair of keypoint names" }
        Limb(lookUp(pair[0], key), lookUp(pair[1], key))
    }

    val sigmas = fields.array("sigmas").map { requireNotNull(number(it)) { "sigmas hold something that is no number" } }
    val grouping = fields.array("grouping").map { lookUp(it, "grouping") }
    val colors = arrayOfNulls<Int>(names.size)
    fields.fields("colors")?.let { given ->
        for (name in given.keys) colors[lookUp(JsonPrimitive(name), "colors")] = color(name, given.array(name))
    }
    return KeypointSet(
        name = requireNotNull(fields.text("name")) { "the keypoint set has no name" },
        category = fields.text("category") ?: "person",
        names = names,
        flipPairs = limbs("flip_pairs"),
        skeleton = limbs("skeleton"),
        sigmas = if (sigmas.isEmpty()) FloatArray(names.size) { DEFAULT_SIGMA } else sigmas.toFloats(),
        grouping = if (grouping.isEmpty()) names.indices.toList().toIntArray() else grouping.toIntArray(),
        colors = colors.asList(),
    )
}

private const val DEFAULT_SIGMA = 0.05f

private fun List<Double>.toFloats() = FloatArray(size) { this[it].toFloat() }

private fun color(name: String, rgb: List<JsonElement>): Int {
    val parts = rgb.map { number(it) }
    require(parts.size == 3 && parts.all { it != null && it in 0.0..255.0 && it % 1 == 0.0 }) {
        "colors: that of '$name' is not [r, g, b], each 0 to 255"
    }
    return parts.fold(0) { color, part -> color shl 8 or part!!.toInt() }
}

private fun text(element: JsonElement, key: String): String {
    require(element is JsonPrimitive && element !is JsonNull && element.content.isNotBlank()) {
        "$key holds something that is no name"
    }
    return element.content
}

/** A finite number, null for anything else. */
private fun number(element: JsonElement): Double? =
    (element as? JsonPrimitive)?.takeUnless { it.isString }?.content?.toDoubleOrNull()?.takeIf { it.isFinite() }

/** A JSON object whose values are asked for by key and type: none or null gives null, another type an error. */
private class Fields(private val name: String, element: JsonElement) {
    private val values: JsonObject

    init {
        require(element is JsonObject) { "$name: not a JSON object" }
        values = element
    }

    val keys: Set<String> get() = values.keys

    private operator fun get(key: String): JsonElement? = values[key].takeUnless { it is JsonNull }

    fun fields(key: String): Fields? = this[key]?.let { Fields(key, it) }

    fun needed(key: String): Fields = requireNotNull(fields(key)) { "$name: '$key' is missing" }

    fun array(key: String): List<JsonElement> {
        val element = this[key] ?: return emptyList()
        require(element is JsonArray) { "$name: '$key' is no list" }
        return element
    }

    fun text(key: String): String? = this[key]?.let {
        require(it is JsonPrimitive && it.isString) { "$name: '$key' is no text" }
        it.content
    }

    fun number(key: String): Double? = this[key]?.let {
        requireNotNull(number(it)) { "$name: '$key' is no number" }
    }

    fun int(key: String): Int? = number(key)?.let {
        require(it % 1 == 0.0 && it in Int.MIN_VALUE.toDouble()..Int.MAX_VALUE.toDouble()) {
            "$name: '$key' is no whole number"
        }
        it.toInt()
    }

    fun boolean(key: String): Boolean? = this[key]?.let {
        requireNotNull((it as? JsonPrimitive)?.booleanOrNull) { "$name: '$key' is neither true nor false" }
    }
}
