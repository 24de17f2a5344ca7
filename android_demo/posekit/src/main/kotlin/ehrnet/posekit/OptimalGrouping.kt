package ehrnet.posekit

import kotlin.math.abs
import kotlin.math.round
import kotlin.math.sqrt

/**
 * Gives candidates to people by their tags, keypoint by keypoint: the assignment with the least sum of rounded tag
 * distances (times 100) less heats; pairs that are not closer than `tagThreshold` are dropped. Candidates that nobody
 * takes open people.
 *
 * @param grouping the K keypoint indices in the order of the visit.
 * @param tags the maps' values, that the candidates' `tags` point to.
 * @param dimensions T.
 */
internal class OptimalGrouping(
    private val settings: DecoderSettings,
    private val grouping: IntArray,
    private val tags: FloatArray,
    private val dimensions: Int,
) {
    /** How many people there are. */
    var people = 0
        private set

    private var sums = DoubleArray(32 * dimensions)
    private var joints = IntArray(32)

    /** Sets the owners of all candidates, and [people]. */
    fun group(candidates: Array<Candidates>) {
        for (keypoint in grouping) {
            val found = candidates[keypoint]
            val owners = found.owners
            owners.fill(NOBODY, 0, found.size)
            assignKnown(found)
            for (new in 0 until found.size) {
                if (owners[new] == NOBODY) owners[new] = open()
                joints[owners[new]]++
                for (t in 0 until dimensions) sums[owners[new] * dimensions + t] += tags[found.tags[new] + t].toDouble()
            }
        }
    }

    private fun assignKnown(found: Candidates) {
        val known = minOf(people, settings.maxPeople)
        if (known == 0 || found.size == 0) return
        val distances = Array(found.size) { new -> DoubleArray(known) { distance(found.tags[new], it) } }
        val cost = Array(found.size) { new ->
            DoubleArray(maxOf(known, found.size)) { person ->
                if (person < known) round(distances[new][person]) * ROUND - found.heats[new] else NEVER
            }
        }
        assign(cost).forEachIndexed { new, person ->
            if (person in 0 until known && distances[new][person] < settings.tagThreshold) found.owners[new] = person
        }
    }

    private fun distance(at: Int, person: Int): Double {
        if (dimensions == 1) return abs(tags[at] - sums[person] / joints[person])
        var sum = 0.0
        for (t in 0 until dimensions) {
            val difference = tags[at + t] - sums[person * dimensions + t] / joints[person]
            sum += difference * difference
        }
        return sqrt(sum)
    }

    private fun open(): Int {
        if (people == joints.size) {
            joints = joints.copyOf(2 * people)
            sums = sums.copyOf(2 * people * dimensions)
        }
        return people++
    }

    private companion object {
        const val NOBODY = -1

        /** Cost of one step of the rounded tag distance. */
        const val ROUND = 100.0

        /** Cost of a column that stands for "no person". */
        const val NEVER = 1e10
    }
}
