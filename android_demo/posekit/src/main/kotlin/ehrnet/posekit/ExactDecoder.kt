package ehrnet.posekit

import kotlin.math.round
import kotlin.math.sqrt

/**
 * Finds the people in a picture's maps as the reference does (HigherHRNet's `lib/core/group.py`, MIT; method: Newell et
 * al., "Associative Embedding", 2017): candidates, optimal grouping by tag, adjustment by a quarter of a cell,
 * refinement. The twin of `ehrnet_tf.decoding.decode`, whose results it equals to the rounding of 32-bit floats.
 *
 * @param settings the decoder's settings.
 * @param grouping the K keypoint indices in the order in which candidates are grouped.
 * @throws IllegalArgumentException [grouping] does not hold each of 0 to K - 1 once.
 */
class ExactDecoder(private val settings: DecoderSettings, grouping: IntArray) {
    private val grouping = checkedGrouping(grouping)

    /**
     * Finds the people.
     *
     * @param heatmaps (H, W, K).
     * @param tags (H, W, K·T), T numbers a keypoint.
     * @return the people in the order in which they were opened, x and y in cells of the maps.
     * @throws IllegalArgumentException maps that do not belong together or hold NaN or infinity.
     */
    fun decode(heatmaps: Maps, tags: Maps): List<Pose> {
        val dimensions = tagDimensions(heatmaps, tags, grouping.size)
        require(heatmaps.height == tags.height && heatmaps.width == tags.width) {
            "heatmaps ${heatmaps.shape}, tags ${tags.shape}: give maps of one size"
        }
        heatmaps.requireFinite("heatmaps")
        tags.requireFinite("tags")
        val planes = Planes(heatmaps)
        val candidates = findCandidates(planes, dimensions)
        val groups = OptimalGrouping(settings, grouping, tags.values, dimensions)
        groups.group(candidates)

        val step = if (settings.adjust) 0.25f else 0f
        val poses = List(groups.people) { FloatArray(3 * grouping.size) }
        for ((keypoint, found) in candidates.withIndex()) {
            for (i in 0 until found.size) planes.place(poses[found.owners[i]], keypoint, found.cells[i], step)
        }
        val scores = poses.map(::meanScore)
        if (settings.refine && poses.isNotEmpty()) {
            val means = meanTags(candidates, tags.values, poses.size, dimensions)
            Refinement(planes, tags.values, dimensions, means).refine(poses)
        }
        return poses.zip(scores) { pose, score -> Pose(pose, score) }
    }

    /** The highest local maxima of every keypoint, at most `maxPeople`. */
    private fun findCandidates(planes: Planes, dimensions: Int): Array<Candidates> {
        val maps = planes.maps
        val most = settings.maxPeople
        val withNext = if (most < Int.MAX_VALUE) most + 1 else most // tells whether the last one has an equal
        val candidates = Array(maps.channels) { Candidates(withNext) }
        for (cell in maps.values.indices) {
            val heat = maps.values[cell]
            if (heat > settings.threshold && planes.isHighest(cell, settings.nmsKernel)) {
                candidates[cell % maps.channels].add(cell, cell * dimensions, heat)
            }
        }
        for ((keypoint, found) in candidates.withIndex()) {
            val tied = (1 until found.size).any { found.heats[it] == found.heats[it - 1] }
            if (tied && maps.height.toLong() * maps.width >= 64L * most) {
                found.clear()
                for (cell in planes.highestInHeapOrder(keypoint, settings.nmsKernel, most)) {
                    val heat = maps.values[cell]
                    if (heat > settings.threshold) found.add(cell, cell * dimensions, heat)
                }
            }
            found.keep(most)
        }
        return candidates
    }

    private fun meanTags(candidates: Array<Candidates>, tags: FloatArray, people: Int, dimensions: Int): FloatArray {
        val means = FloatArray(people * dimensions)
        val joints = IntArray(people)
        for (found in candidates) {
            for (i in 0 until found.size) {
                val person = found.owners[i]
                joints[person]++
                for (t in 0 until dimensions) means[person * dimensions + t] += tags[found.tags[i] + t]
            }
        }
        for (i in means.indices) means[i] /= joints[i / dimensions].toFloat()
        return means
    }
}

/** The heat-maps' planes, one a keypoint, by the indices of their values. */
private class Planes(val maps: Maps) {
    private val count = maps.channels
    private val row = maps.width * count

    /** Whether a cell equals the maximum of the [kernel]-sided window around it; there is nothing beyond the edges. */
    fun isHighest(cell: Int, kernel: Int): Boolean {
        val heat = maps.values[cell]
        val reach = kernel / 2
        val y = cell / row
        val x = cell % row / count
        val first = maxOf(x - reach, 0) - x
        val last = minOf(x + reach, maps.width - 1) - x
        for (dy in maxOf(y - reach, 0) - y..minOf(y + reach, maps.height - 1) - y) {
            for (dx in first..last) if (maps.values[cell + dy * row + dx * count] > heat) return false
        }
        return true
    }

    /** The [most] highest of a plane in which all but local maxima are 0, equal ones in the reference's order. */
    fun highestInHeapOrder(keypoint: Int, kernel: Int, most: Int): IntArray {
        val heap = HeapOrder(most)
        for (cell in keypoint until maps.values.size step count) {
            val heat = maps.values[cell]
            if (heat > heap.lowest || 0 > heap.lowest) heap.offer(if (isHighest(cell, kernel)) heat else 0f, cell)
        }
        return heap.drain()
    }

    /** Sets a pose's keypoint to a cell's centre, moved [step] cells in x and y towards the higher neighbours. */
    fun place(pose: FloatArray, keypoint: Int, cell: Int, step: Float) {
        val y = cell / row
        val x = cell % row / count
        val right = maps.values[if (x < maps.width - 1) cell + count else cell]
        val left = maps.values[if (x > 0) cell - count else cell]
        val below = maps.values[if (y < maps.height - 1) cell + row else cell]
        val above = maps.values[if (y > 0) cell - row else cell]
        pose[3 * keypoint] = x + 0.5f + if (right > left) step else -step
        pose[3 * keypoint + 1] = y + 0.5f + if (below > above) step else -step
        pose[3 * keypoint + 2] = maps.values[cell]
    }
}

/**
 * Looks in the whole map for the keypoints that people lack: the cell with the highest heat - round(distance of its tag
 * to the person's mean tag), if the heat there is positive.
 */
private class Refinement(
    private val planes: Planes,
    private val tags: FloatArray,
    private val dimensions: Int,
    private val means: FloatArray,
) {
    private val count = planes.maps.channels

    fun refine(poses: List<FloatArray>) {
        val lacking = Array(count) { keypoint ->
            poses.indices.filter { poses[it][3 * keypoint + 2] <= 0 }.map(::Search).toTypedArray()
        }
        if (lacking.all { it.isEmpty() }) return
        // What a cell's heat must exceed to be of interest to anyone.
        val floors = FloatArray(count) {
            if (lacking[it].isEmpty()) Float.POSITIVE_INFINITY else Float.NEGATIVE_INFINITY
        }
        val values = planes.maps.values
        var cell = 0
        while (cell < values.size) {
            for (keypoint in 0 until count) {
                if (values[cell] > floors[keypoint]) floors[keypoint] = offer(lacking[keypoint], values[cell], cell)
                cell++
            }
        }
        for (keypoint in 0 until count) {
            for (search in lacking[keypoint]) {
                val found = if (search.cell >= 0) search.cell else keypoint // all distances overflow: the first cell
                if (values[found] > 0) planes.place(poses[search.person], keypoint, found, 0.25f)
            }
        }
    }

    private fun offer(lacking: Array<Search>, heat: Float, cell: Int): Float {
        var floor = Float.POSITIVE_INFINITY
        for (search in lacking) {
            if (heat > search.highest) { // no distance is negative
                val value = heat - round(distance(cell, search.person))
                if (value > search.highest) {
                    search.highest = value
                    search.cell = cell
                }
            }
            floor = minOf(floor, search.highest)
        }
        return floor
    }

    private fun distance(cell: Int, person: Int): Float {
        var sum = 0f
        for (t in 0 until dimensions) {
            val difference = tags[cell * dimensions + t] - means[person * dimensions + t]
            sum += difference * difference
        }
        return sqrt(sum)
    }

    private class Search(val person: Int) {
        var cell = -1
        var highest = Float.NEGATIVE_INFINITY
    }
}
