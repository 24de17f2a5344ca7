package ehrnet.posekit

/**
 * What the decoders can be told; the same names and values as `ehrnet_tf.decoding.DecoderSettings`.
 *
 * @property nmsKernel side of the non-maximum-suppression window, in cells, odd.
 * @property threshold a candidate's heat must be greater than this; at least 0.
 * @property tagThreshold a candidate joins a person if the distance of their tags is less than this.
 * @property maxPeople the most candidates per keypoint, and the number of people that later candidates may join.
 * @property adjust whether grouped keypoints are moved to a place between the cells.
 * @property refine whether keypoints that a person lacks are looked for in the whole map.
 */
data class DecoderSettings(
    val nmsKernel: Int = 5,
    val threshold: Float = 0.1f,
    val tagThreshold: Float = 1f,
    val maxPeople: Int = 30,
    val adjust: Boolean = true,
    val refine: Boolean = true,
) {
    init {
        require(nmsKernel >= 1 && nmsKernel % 2 == 1) {
            "nms_kernel $nmsKernel: must be a positive odd number of cells"
        }
        require(threshold >= 0) { "threshold $threshold: must be at least 0" }
        require(tagThreshold > 0) { "tag_threshold $tagThreshold: must be greater than 0" }
        require(maxPeople >= 1) { "max_people $maxPeople: must be at least 1" }
    }
}
