package ehrnet.posekit

import java.math.BigDecimal
import java.math.RoundingMode
import kotlinx.serialization.json.add
import kotlinx.serialization.json.addJsonObject
import kotlinx.serialization.json.buildJsonObject
import kotlinx.serialization.json.put
import kotlinx.serialization.json.putJsonArray
import kotlinx.serialization.json.putJsonObject

/**
 * The people of one picture as JSON text, as `ehrnet predict --json` writes them (`ehrnet_tf.poses.Poses.to_dict`):
 *
 *     {"image_size": [height, width], "keypoint_set": "coco", "category": "person",
 *      "people": [{"score": 0.81, "keypoints": {"nose": [x, y, score], ...}}]}
 *
 * with coordinates in pixels of the picture, to 3 decimals, scores to 6, and an "id" where a person has one.
 *
 * @param keypoints names the poses' keypoints.
 * @throws IllegalArgumentException if a pose has another number of keypoints, or holds NaN or infinity.
 */
fun posesToJson(poses: List<Pose>, keypoints: KeypointSet, imageWidth: Int, imageHeight: Int): String =
    buildJsonObject {
        putJsonArray("image_size") {
            add(imageHeight)
            add(imageWidth)
        }
        put("keypoint_set", keypoints.name)
        put("category", keypoints.category)
        putJsonArray("people") {
            for (pose in poses) {
                require(pose.size == keypoints.size) {
                    "a pose of ${pose.size} keypoints, the set '${keypoints.name}' has ${keypoints.size}"
                }
                addJsonObject {
                    if (pose.id != Pose.NO_ID) put("id", pose.id)
                    put("score", rounded(pose.score, SCORE_DECIMALS))
                    putJsonObject("keypoints") {
                        for ((k, name) in keypoints.names.withIndex()) {
                            putJsonArray(name) {
                                add(rounded(pose.x(k), PLACE_DECIMALS))
                                add(rounded(pose.y(k), PLACE_DECIMALS))
                                add(rounded(pose.score(k), SCORE_DECIMALS))
                            }
                        }
                    }
                }
            }
        }
    }.toString()

private const val PLACE_DECIMALS = 3
private const val SCORE_DECIMALS = 6

/** The decimal nearest to the number's exact value, as Python's `round` gives it. */
private fun rounded(number: Float, decimals: Int): Double {
    require(number.isFinite()) { "a pose holds $number, which JSON cannot" }
    return BigDecimal(number.toDouble()).setScale(decimals, RoundingMode.HALF_EVEN).toDouble()
}
