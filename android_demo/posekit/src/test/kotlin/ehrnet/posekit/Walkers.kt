package ehrnet.posekit

import java.util.Random
import kotlin.math.PI
import kotlin.math.sin

/** Made-up people who move through pictures of 640 x 480; which pose is whose is known. */
class Walkers(private val people: List<Walker>, private val noise: Double = 1.5, seed: Long = 0) {
    private val random = Random(seed)

    /** Who is seen at a time, if only a keypoint, by their numbers, and their poses, in an order that tells nothing. */
    fun at(seconds: Double): List<Pair<Int, Pose>> =
        people.indices.filter { people[it].seen(seconds) }.shuffled(random).map { it to pose(people[it], seconds) }
            .filter { (_, pose) -> pose.box() != null }

    private fun pose(walker: Walker, seconds: Double): Pose {
        val keypoints = FloatArray(3 * SHAPE.size)
        for ((k, place) in SHAPE.withIndex()) {
            if (random.nextDouble() < walker.missing) continue
            val limbs = if (k >= 7) 0.04 * sin(2 * PI * 1.5 * seconds + k) else 0.0 // arms and legs swing
            keypoints[3 * k] = (walker.x(seconds) + walker.height * (place.first + limbs) + jitter()).toFloat()
            keypoints[3 * k + 1] = (walker.y(seconds) + walker.height * place.second + jitter()).toFloat()
            keypoints[3 * k + 2] = 0.8f
        }
        return Pose(keypoints, 0.7f)
    }

    private fun jitter() = noise * random.nextGaussian()

    companion object {
        val SIGMAS = floatArrayOf(
            .026f, .025f, .025f, .035f, .035f, .079f, .079f, .072f, .072f,
            .062f, .062f, .107f, .107f, .087f, .087f, .089f, .089f,
        )

        /** COCO's keypoints of an upright person of height 1, about the middle. */
        private val SHAPE = listOf(
            0.0 to -.42, .02 to -.44, -.02 to -.44, .04 to -.43, -.04 to -.43,
            .11 to -.3, -.11 to -.3, .14 to -.13, -.14 to -.13, .15 to .0, -.15 to .0,
            .07 to .02, -.07 to .02, .07 to .24, -.07 to .24, .07 to .46, -.07 to .46,
        )
    }
}

/**
 * @property height pixels.
 * @property x of the middle at a time, pixels.
 * @property missing the share of keypoints that are not found.
 */
class Walker(
    val height: Double,
    val x: (Double) -> Double,
    val y: (Double) -> Double,
    val missing: Double = 0.1,
    val seen: (Double) -> Boolean = { true },
)

/** What a tracker made of a sequence. */
class TrackingScore(
    /** How often a person got another id than the last time. */
    val switches: Int,
    /** Ids given. */
    val ids: Int,
    /** Ids that more than one person had. */
    val shared: Int,
)

/** Runs a tracker over a sequence. */
fun score(walkers: Walkers, times: List<Double>, update: (List<Pose>, Double) -> List<Pose>): TrackingScore {
    val last = HashMap<Int, Int>()
    val owners = HashMap<Int, MutableSet<Int>>()
    var switches = 0
    for (seconds in times) {
        val truth = walkers.at(seconds)
        val poses = update(truth.map { it.second }, seconds)
        for ((who, pose) in truth.map { it.first }.zip(poses)) {
            val before = last.put(who, pose.id)
            if (before != null && before != pose.id) switches++
            owners.getOrPut(pose.id) { mutableSetOf() } += who
        }
    }
    return TrackingScore(switches, owners.size, owners.values.count { it.size > 1 })
}

/** The baseline: the nearest centre in the last picture that showed the person, within half a person's size. */
class NearestCentre {
    private class Known(val id: Int, val x: Double, val y: Double, val size: Double, val seen: Double)

    private val known = ArrayList<Known>()
    private var nextId = 0

    fun update(poses: List<Pose>, seconds: Double): List<Pose> {
        known.removeAll { seconds - it.seen > 1 }
        val places = poses.map { pose ->
            val present = (0 until pose.size).filter { pose.score(it) > 0 }
            val y = present.map { pose.y(it) }
            Triple(present.map { pose.x(it).toDouble() }.average(), y.average(), (y.max() - y.min()).toDouble())
        }
        val cost = Array(poses.size) { i ->
            DoubleArray(known.size) { t ->
                val distance = Math.hypot(places[i].first - known[t].x, places[i].second - known[t].y)
                if (distance < known[t].size / 2) distance - 1e6 else 0.0
            }
        }
        val chosen = assign(cost).mapIndexed { i, t -> if (t >= 0 && cost[i][t] < 0) known[t].id else nextId++ }
        known.removeAll { it.id in chosen }
        for ((i, id) in chosen.withIndex()) {
            known += Known(id, places[i].first, places[i].second, places[i].third, seconds)
        }
        return poses.mapIndexed { i, pose -> Pose(pose.keypoints, pose.score, chosen[i]) }
    }
}
