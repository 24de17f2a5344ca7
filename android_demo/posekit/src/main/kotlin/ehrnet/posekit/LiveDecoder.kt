package ehrnet.posekit

import kotlin.math.abs
import kotlin.math.round
import kotlin.math.sqrt

/**
 * Finds the people in a picture's maps, fast: the twin of `ehrnet_tf.decoding.decode_live`, whose results it equals to
 * the rounding of 32-bit floats.
 *
 * Candidates are the cells that exceed the threshold and equal the maximum of the window around them (of touching equal
 * ones, the first); they are grouped greedily by their tags; a grouped keypoint lies where a quadratic, fitted to the
 * logarithms of the 3x3 cells round the peak, has its maximum. A keypoint that a person lacks is looked for in the
 * cells of the person's own tag that exceed the threshold, for the first `maxPeople` people.
 *
 * Keeps its buffers between calls: one decoder, one thread at a time.
 *
 * @param settings the decoder's settings.
 * @param grouping the K keypoint indices in the order in which candidates are grouped.
 * @throws IllegalArgumentException [grouping] does not hold each of 0 to K - 1 once.
 */
class LiveDecoder(private val settings: DecoderSettings, grouping: IntArray) {
    private val count = grouping.size
    private val greedy = GreedyGrouping(settings, checkedGrouping(grouping))
    private val hot = Array(count) { HotCells() }
    private val candidates = Array(count) { Candidates(settings.maxPeople) }
    private val peak = PeakFit()
    private val window = FloatArray(9)
    private var tagRows = IntArray(0)
    private var tagColumns = IntArray(0)
    private var means = FloatArray(0)

    // The maps of the call.
    private var values = window
    private var width = 0
    private var top = 0
    private var left = 0
    private var bottom = 0
    private var right = 0
    private var tagsFinite = true

    /**
     * Finds the people.
     *
     * @param heatmaps (H, W, K), stage 2's.
     * @param tags (h, w, K·T), stage 1's, T numbers a keypoint; may be coarser than the heat-maps.
     * @param region the cells of [heatmaps] that lie in the picture, the others count as empty; null: all.
     * @return the people in the order in which they were opened, x and y in cells of [heatmaps].
     * @throws IllegalArgumentException maps that do not belong together or hold NaN or infinity (tags: under cells that
     *   exceed the threshold), a region that is not in the maps.
     */
    fun decode(heatmaps: Maps, tags: Maps, region: Region? = null): List<Pose> {
        val dimensions = tagDimensions(heatmaps, tags, count)
        open(heatmaps, tags, region ?: Region(0, 0, heatmaps.height, heatmaps.width))
        scan(heatmaps, tags.values, dimensions)
        greedy.group(candidates, tags.values, dimensions)
        val keypoints = Array(greedy.people) { FloatArray(3 * count) }
        place(keypoints)
        val scores = FloatArray(keypoints.size) { meanScore(keypoints[it]) }
        if (settings.refine && keypoints.isNotEmpty()) {
            sumTags(keypoints.size, tags.values, dimensions)
            for (person in 0 until minOf(keypoints.size, settings.maxPeople)) {
                refine(keypoints[person], person * dimensions, tags.values, dimensions)
            }
        }
        return List(keypoints.size) { Pose(keypoints[it], scores[it]) }
    }

    private fun open(heatmaps: Maps, tags: Maps, region: Region) {
        region.requireWithin(heatmaps)
        values = heatmaps.values
        width = heatmaps.width
        top = region.top
        left = region.left
        bottom = region.bottom
        right = region.right
        if (tagRows.size != heatmaps.height) tagRows = IntArray(heatmaps.height)
        if (tagColumns.size != width) tagColumns = IntArray(width)
        for (y in tagRows.indices) tagRows[y] = nearest(y, heatmaps.height, tags.height) * tags.width * tags.channels
        for (x in tagColumns.indices) tagColumns[x] = nearest(x, width, tags.width) * tags.channels
        for (keypoint in 0 until count) {
            hot[keypoint].clear()
            candidates[keypoint].clear()
        }
    }

    /** The index, of [to] cells, of the one under the centre of cell [index] of [from]. */
    private fun nearest(index: Int, from: Int, to: Int): Int = ((2L * index + 1) * to / (2L * from)).toInt()

    /** Finds hot cells and candidates. */
    private fun scan(heatmaps: Maps, tags: FloatArray, dimensions: Int) {
        val values = values
        val threshold = settings.threshold
        val usual = minOf(threshold, Float.MAX_VALUE)
        val row = width * count
        var finite = true
        tagsFinite = true
        for (y in 0 until heatmaps.height) {
            val begin = y * row
            for (cell in begin until begin + row) {
                val heat = values[cell]
                if (abs(heat) <= usual) continue // most cells, and none that is NaN or infinite
                if (!heat.isFinite()) finite = false
                if (heat > threshold) visit(cell, y, heat, tags, dimensions)
            }
        }
        requireFinite(finite, "heatmaps")
        requireFinite(tagsFinite, "tags")
    }

    /** Keeps a cell whose heat exceeds the threshold. */
    private fun visit(cell: Int, y: Int, heat: Float, tags: FloatArray, dimensions: Int) {
        val pixel = cell / count
        val x = pixel - y * width
        if (y < top || y >= bottom || x < left || x >= right) return
        val keypoint = cell - pixel * count
        val tag = tagRows[y] + tagColumns[x] + keypoint * dimensions
        for (t in 0 until dimensions) if (!tags[tag + t].isFinite()) tagsFinite = false
        hot[keypoint].add(cell, tag)
        if (isPeak(cell, y, x, heat)) candidates[keypoint].add(cell, tag, heat)
    }

    private fun isPeak(cell: Int, y: Int, x: Int, heat: Float): Boolean {
        if (settings.nmsKernel == 1) return true
        val row = width * count
        // Of the touching cells, the earlier ones must be lower.
        if (x > left && values[cell - count] >= heat || x < right - 1 && values[cell + count] > heat) return false
        if (y > top) {
            if (values[cell - row] >= heat) return false
            if (x > left && values[cell - row - count] >= heat) return false
            if (x < right - 1 && values[cell - row + count] >= heat) return false
        }
        if (y < bottom - 1 && values[cell + row] > heat) return false
        val reach = settings.nmsKernel / 2
        val first = maxOf(x - reach, left) - x
        val last = minOf(x + reach, right - 1) - x
        for (dy in maxOf(y - reach, top) - y..minOf(y + reach, bottom - 1) - y) {
            for (dx in first..last) if (values[cell + dy * row + dx * count] > heat) return false
        }
        return true
    }

    /** Writes the candidates into their owners' [keypoints]. */
    private fun place(keypoints: Array<FloatArray>) {
        for (keypoint in 0 until count) {
            val found = candidates[keypoint]
            for (i in 0 until found.size) {
                var x = found.cells[i] / count % width + 0.5f
                var y = found.cells[i] / count / width + 0.5f
                if (settings.adjust) {
                    readWindow(found.cells[i])
                    peak.fit(window)
                    x += peak.x
                    y += peak.y
                }
                val person = keypoints[found.owners[i]]
                person[3 * keypoint] = x
                person[3 * keypoint + 1] = y
                person[3 * keypoint + 2] = found.heats[i]
            }
        }
    }

    /** Reads the 3x3 heats round a cell; what lies beyond the region is taken from its edge. */
    private fun readWindow(cell: Int) {
        val pixel = cell / count
        val keypoint = cell - pixel * count
        val y = pixel / width
        val x = pixel - y * width
        var at = 0
        for (dy in -1..1) {
            val row = (y + dy).coerceIn(top, bottom - 1) * width
            for (dx in -1..1) {
                window[at++] = values[(row + (x + dx).coerceIn(left, right - 1)) * count + keypoint]
            }
        }
    }

    /** Makes [means] the people's mean tags. */
    private fun sumTags(people: Int, tags: FloatArray, dimensions: Int) {
        if (means.size < people * (dimensions + 1)) means = FloatArray(people * (dimensions + 1))
        means.fill(0f)
        val joints = people * dimensions
        for (found in candidates) {
            for (i in 0 until found.size) {
                val person = found.owners[i]
                for (t in 0 until dimensions) means[person * dimensions + t] += tags[found.tags[i] + t]
                means[joints + person]++
            }
        }
        for (i in 0 until joints) means[i] /= means[joints + i / dimensions]
    }

    /** Gives a person the keypoints that it lacks: the cell with the highest positive heat - round(tag distance). */
    private fun refine(keypoints: FloatArray, mean: Int, tags: FloatArray, dimensions: Int) {
        for (keypoint in 0 until count) {
            if (keypoints[3 * keypoint + 2] > 0) continue
            val cells = hot[keypoint]
            var best = -1
            var highest = 0f
            for (i in 0 until cells.size) {
                val heat = values[cells.cells[i]]
                if (heat <= highest) continue // no distance is negative
                val value = heat - round(distance(tags, cells.tags[i], mean, dimensions))
                if (value > highest) {
                    highest = value
                    best = cells.cells[i]
                }
            }
            if (best >= 0) placeFound(keypoints, keypoint, best)
        }
    }

    private fun distance(tags: FloatArray, at: Int, mean: Int, dimensions: Int): Float {
        if (dimensions == 1) return abs(tags[at] - means[mean])
        var sum = 0f
        for (t in 0 until dimensions) {
            val difference = tags[at + t] - means[mean + t]
            sum += difference * difference
        }
        return sqrt(sum)
    }

    /** A quarter of a cell from the cell's centre, towards the higher neighbours. */
    private fun placeFound(keypoints: FloatArray, keypoint: Int, cell: Int) {
        readWindow(cell)
        keypoints[3 * keypoint] = cell / count % width + if (window[5] > window[3]) 0.75f else 0.25f
        keypoints[3 * keypoint + 1] = cell / count / width + if (window[7] > window[1]) 0.75f else 0.25f
        keypoints[3 * keypoint + 2] = window[4]
    }
}
