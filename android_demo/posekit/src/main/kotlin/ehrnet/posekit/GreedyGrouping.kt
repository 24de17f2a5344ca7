package ehrnet.posekit

import kotlin.math.abs
import kotlin.math.round
import kotlin.math.sqrt

/**
 * Gives candidates to people by their tags, keypoint by keypoint: of the pairs of candidate and person that are closer
 * than `tagThreshold`, the one of the least cost first. A pair costs its rounded tag distance (times [ROUND]) less the
 * candidate's heat. Candidates that nobody takes open people.
 */
internal class GreedyGrouping(private val settings: DecoderSettings, private val grouping: IntArray) {
    /** How many people there are. */
    var people = 0
        private set

    private var means = DoubleArray(64) // T numbers a person: the mean of the tags so far
    private var joints = IntArray(64)

    // Pairs of one keypoint.
    private var pairs = 0
    private var costs = DoubleArray(64)
    private var news = IntArray(64)
    private var persons = IntArray(64)

    /**
     * Sets the owners of all candidates, and [people].
     *
     * @param candidates those of each of K keypoints.
     * @param tags the maps' values, that the candidates' `tags` point to.
     * @param dimensions T.
     */
    fun group(candidates: Array<Candidates>, tags: FloatArray, dimensions: Int) {
        people = 0
        for (keypoint in grouping) {
            val found = candidates[keypoint]
            found.owners.fill(NOBODY, 0, found.size)
            collectPairs(found, tags, dimensions)
            acceptPairs(found)
            for (new in 0 until found.size) {
                if (found.owners[new] == NOBODY) {
                    found.owners[new] = open(dimensions)
                }
                join(found.owners[new], tags, found.tags[new], dimensions)
            }
        }
    }

    private fun collectPairs(found: Candidates, tags: FloatArray, dimensions: Int) {
        pairs = 0
        for (person in 0 until minOf(people, settings.maxPeople)) {
            for (new in 0 until found.size) {
                val distance = distance(tags, found.tags[new], person, dimensions)
                if (distance >= settings.tagThreshold) continue
                if (pairs == costs.size) growPairs()
                costs[pairs] = round(distance) * ROUND + person * EARLIER - found.heats[new]
                news[pairs] = new
                persons[pairs] = person
                pairs++
            }
        }
    }

    private fun distance(tags: FloatArray, at: Int, person: Int, dimensions: Int): Double {
        if (dimensions == 1) return abs(tags[at] - means[person])
        var sum = 0.0
        for (t in 0 until dimensions) {
            val difference = tags[at + t] - means[person * dimensions + t]
            sum += difference * difference
        }
        return sqrt(sum)
    }

    /** Takes the cheapest pair and drops those that share its candidate or person, until none is left. */
    private fun acceptPairs(found: Candidates) {
        while (pairs > 0) {
            var best = 0
            for (pair in 1 until pairs) if (precedes(pair, best)) best = pair
            val new = news[best]
            val person = persons[best]
            found.owners[new] = person
            var kept = 0
            for (pair in 0 until pairs) {
                if (news[pair] == new || persons[pair] == person) continue
                costs[kept] = costs[pair]
                news[kept] = news[pair]
                persons[kept] = persons[pair]
                kept++
            }
            pairs = kept
        }
    }

    private fun precedes(pair: Int, other: Int): Boolean = when {
        costs[pair] != costs[other] -> costs[pair] < costs[other]
        news[pair] != news[other] -> news[pair] < news[other]
        else -> persons[pair] < persons[other]
    }

    private fun open(dimensions: Int): Int {
        if (people == joints.size) joints = joints.copyOf(2 * people)
        if ((people + 1) * dimensions > means.size) means = means.copyOf(2 * (people + 1) * dimensions)
        joints[people] = 0
        means.fill(0.0, people * dimensions, (people + 1) * dimensions)
        return people++
    }

    private fun join(person: Int, tags: FloatArray, at: Int, dimensions: Int) {
        joints[person]++
        for (t in 0 until dimensions) {
            val mean = person * dimensions + t
            means[mean] += (tags[at + t] - means[mean]) / joints[person]
        }
    }

    private fun growPairs() {
        costs = costs.copyOf(2 * pairs)
        news = news.copyOf(2 * pairs)
        persons = persons.copyOf(2 * pairs)
    }

    private companion object {
        const val NOBODY = -1

        /** Cost of one step of the rounded tag distance: more than any heat. */
        const val ROUND = 4.0

        /** Cost of a person for each one opened before: of people with equal tags, the first gets the joint. */
        const val EARLIER = 1e-3
    }
}
