package ehrnet.posekit

/**
 * A network's outputs to people in pixels of the picture; the twin of `PoseEstimator.decode` in Python.
 *
 * What the maps show outside the picture was never trained and counts as empty. One decoder, one thread at a time.
 *
 * @param metadata the model's.
 * A keypoint that was not found is 0 in all three numbers, with either decoder; Python's exact decoder leaves its place at the
 * corner of the input instead (its score is 0, too).
 *
 * @param exact whether maps are decoded as for measuring AP, by [project] and [ExactDecoder] at the input's resolution,
 *   instead of by [LiveDecoder]; of no effect on the graph POSES, whose decoder is inside.
 */
class PoseDecoder(private val metadata: ModelMetadata, private val exact: Boolean = false) {
    private val count = metadata.keypoints.size
    private val height = metadata.inputHeight
    private val width = metadata.inputWidth
    private val live = LiveDecoder(metadata.decoder, metadata.keypoints.grouping)
    private val slow = ExactDecoder(metadata.decoder, metadata.keypoints.grouping)

    /**
     * Finds the people.
     *
     * @param outputs the network's, by name, see [ModelMetadata.Graph]; others are not looked at. Not changed.
     * @param box where the picture lies in the network's input.
     * @return the people in pixels of the picture, those of low score too; keypoints may lie a little outside.
     * @throws IllegalArgumentException an output is missing, of the wrong size, or holds NaN or infinity.
     */
    fun decode(outputs: Map<String, FloatArray>, box: Letterbox): List<Pose> = when {
        metadata.graph == ModelMetadata.Graph.POSES -> read(outputs, box)
        exact -> decodeExact(outputs, box)
        else -> decodeLive(outputs, box)
    }

    private fun decodeLive(outputs: Map<String, FloatArray>, box: Letterbox): List<Pose> {
        val heatmaps = maps(outputs, "heatmaps_2", FINE)
        val region = box.region(heatmaps.height, heatmaps.width, FINE.toDouble())
        return live.decode(heatmaps, maps(outputs, "tags", COARSE), region).map { toPicture(it, FINE, box) }
    }

    private fun decodeExact(outputs: Map<String, FloatArray>, box: Letterbox): List<Pose> {
        val first = maps(outputs, "heatmaps_4", COARSE)
        val second = maps(outputs, "heatmaps_2", FINE)
        val (heatmaps, tags) = project(first, second, maps(outputs, "tags", COARSE), height, width)
        heatmaps.clearOutside(box.region(height, width, 1.0))
        return slow.decode(heatmaps, tags).map { toPicture(it, 1, box) }
    }

    private fun read(outputs: Map<String, FloatArray>, box: Letterbox): List<Pose> {
        val scores = output(outputs, "scores")
        val keypoints = output(outputs, "keypoints")
        require(keypoints.size == scores.size * count * 3) {
            "keypoints: ${keypoints.size} numbers, not ${scores.size} x $count x 3 for ${scores.size} scores"
        }
        require(scores.all { it.isFinite() } && keypoints.all { it.isFinite() }) {
            "keypoints, scores: hold NaN or infinity (has the model diverged?)"
        }
        return scores.indices.filter { scores[it] > 0 }.map { person ->
            val own = keypoints.copyOfRange(person * count * 3, (person + 1) * count * 3)
            toPicture(Pose(own, scores[person]), 1, box)
        }
    }

    private fun maps(outputs: Map<String, FloatArray>, name: String, stride: Int): Maps {
        val values = output(outputs, name)
        val rows = height / stride
        val columns = width / stride
        require(values.size == rows * columns * count) {
            "$name: ${values.size} numbers, not $rows x $columns x $count for an input of $height x $width"
        }
        return Maps(rows, columns, count, values)
    }

    private fun output(outputs: Map<String, FloatArray>, name: String): FloatArray =
        requireNotNull(outputs[name]) {
            "the network gives no $name but ${outputs.keys.sorted()}; the graph ${metadata.graph} has it"
        }

    /** @param stride input pixels for one unit of the pose's coordinates. */
    private fun toPicture(pose: Pose, stride: Int, box: Letterbox): Pose {
        val keypoints = FloatArray(pose.keypoints.size)
        for (k in 0 until pose.size) {
            if (pose.score(k) <= 0) continue
            keypoints[3 * k] = box.toImageX(pose.x(k).toDouble() * stride).toFloat()
            keypoints[3 * k + 1] = box.toImageY(pose.y(k).toDouble() * stride).toFloat()
            keypoints[3 * k + 2] = pose.score(k)
        }
        return Pose(keypoints, pose.score)
    }

    private companion object {
        // Input pixels a cell.
        const val FINE = 2
        const val COARSE = 4
    }
}
