package ehrnet.posekit

import java.io.IOException
import java.nio.ByteBuffer

/** A model file that cannot be used; the message is one line and names the file and the remedy. */
class ModelFileException(message: String, cause: Throwable? = null) : IOException(message, cause)

/**
 * What a .tflite file that `ehrnet export` wrote knows of itself.
 *
 * The file's input is always `image`, (1, [inputHeight], [inputWidth], 3) uint8 RGB, into which a [PictureFitter] fits
 * the picture; a [PoseDecoder] makes people of its outputs.
 *
 * @property variant the model's name ("H-2"), null if unknown.
 * @property inputHeight pixels, a multiple of 32.
 * @property inputWidth pixels, a multiple of 32.
 * @property precision of weights and arithmetic ("int8"), null if not said.
 * @property accuracy AP of this very file, 0..1, null if it was not measured.
 * @property sourceAccuracy AP of the model that the file was made of, 0..1, null if it was not measured.
 */
class ModelMetadata(
    val variant: String?,
    val keypoints: KeypointSet,
    val inputHeight: Int,
    val inputWidth: Int,
    val graph: Graph,
    val decoder: DecoderSettings,
    val precision: String?,
    val accuracy: Double? = null,
    val sourceAccuracy: Double? = null,
) {
    init {
        for (side in intArrayOf(inputHeight, inputWidth)) {
            require(side in STRIDE..LARGEST_SIDE && side % STRIDE == 0) {
                "input of $inputHeight x $inputWidth pixels: must be multiples of $STRIDE up to $LARGEST_SIDE"
            }
        }
    }

    /** What the network gives. */
    enum class Graph {
        /** heatmaps_4 and tags (1, H/4, W/4, K), heatmaps_2 (1, H/2, W/2, K). */
        MAPS,

        /** keypoints (1, P, K, 3): x, y in pixels of the input and score; scores (1, P), 0 for nobody. */
        POSES,
    }

    companion object {
        private const val STRIDE = 32
        private const val LARGEST_SIDE = 8192

        /**
         * Reads the metadata from a model file's bytes.
         *
         * @param model the whole file, from the buffer's position to its limit; the buffer is left as it was.
         * @param source what error messages call the file.
         * @throws ModelFileException if the file holds no metadata, damaged ones, or those of no pose model.
         */
        fun read(model: ByteBuffer, source: String): ModelMetadata {
            val json = try {
                ZipTail(model).read(MEMBER)?.decodeToString(throwOnInvalidSequence = true)
            } catch (error: IOException) {
                throw ModelFileException(
                    "$source: its metadata ($MEMBER) is damaged (${oneLine(error)}); copy the file again, or $REMEDY",
                    error,
                )
            }
            json ?: throw ModelFileException("$source: holds no metadata ($MEMBER), or was cut off; $REMEDY")
            return parse(json, source)
        }

        /**
         * Reads the metadata from their JSON text. Keys that are not needed here are ignored.
         *
         * @param source what error messages call the file.
         * @throws ModelFileException if the text is no JSON, or not a pose model's metadata.
         */
        fun parse(json: String, source: String): ModelMetadata =
            try {
                parseMetadata(json)
            } catch (error: IllegalArgumentException) {
                throw ModelFileException(
                    "$source: its metadata ($MEMBER) cannot be used (${oneLine(error)}); $REMEDY",
                    error,
                )
            }

        private const val MEMBER = "ehrnet.json"
        private const val REMEDY = "export it again with `ehrnet export`"
        private const val LONGEST = 200

        private fun oneLine(error: Exception): String =
            error.message.orEmpty().lineSequence().first().filterNot { it.isISOControl() }.take(LONGEST)
    }
}
