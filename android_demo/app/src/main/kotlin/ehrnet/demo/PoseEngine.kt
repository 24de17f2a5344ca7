package ehrnet.demo

import android.os.Handler
import android.os.HandlerThread
import android.os.Message
import ehrnet.posekit.KeypointSet
import ehrnet.posekit.PictureFitter
import ehrnet.posekit.Pose
import ehrnet.posekit.PoseDecoder
import ehrnet.posekit.PoseSmoother
import ehrnet.posekit.Tracker
import java.io.Closeable
import java.util.concurrent.atomic.AtomicReference

/**
 * What of the poses is shown.
 *
 * @property track whether people get ids, by which they are known from frame to frame; of no use for a single picture.
 * @property smooth whether keypoints are smoothed over time, which needs [track].
 */
data class Options(val minScore: Float, val smooth: Boolean, val track: Boolean = true)

/** What the engine tells, on its own thread. */
interface EngineListener {
    /** A network is ready. */
    fun onReady(network: Network)

    /** The people in a frame, which belongs to the listener from here on. */
    fun onPoses(frame: Frame, poses: List<Pose>, keypoints: KeypointSet)

    /** Something failed, as [message] says to people; frames are dropped until another network is opened. */
    fun onFailure(message: String)

    /** A frame that was not looked at, because a newer one came or there is no network. */
    fun onDropped(frame: Frame)
}

/**
 * Frames in, people out, on a thread of its own: fit, network, decode, track, smooth. The newest frame wins.
 *
 * @param stages where the times are counted.
 */
class PoseEngine(private val stages: Stages, private val listener: EngineListener) : Closeable {
    @Volatile
    var options = Options(minScore = 0.2f, smooth = true)

    private val thread = HandlerThread("poses").apply { start() }
    private val handler = Handler(thread.looper)
    private val newest = AtomicReference<Frame>()
    private val process = Runnable { newest.getAndSet(null)?.let(::look) }
    @Volatile private var running: Running? = null

    /** Whether a network runs; without one, frames wait while one is opened, and are dropped otherwise. */
    val ready: Boolean get() = running != null

    /** Closes the network that runs and opens another; one that was to be opened before, but is not yet, is left out. */
    fun open(open: () -> Network) {
        handler.removeCallbacksAndMessages(OPEN)
        val opened = Runnable {
            closeNetwork()
            attempt {
                running = Running(open())
                stages.reset()
                listener.onReady(running!!.network)
            }
        }
        handler.sendMessage(Message.obtain(handler, opened).apply { obj = OPEN })
    }

    /** Looks for people in a frame, unless a newer one comes first. */
    fun submit(frame: Frame) {
        val waiting = newest.getAndSet(frame)
        if (waiting != null) listener.onDropped(waiting) else handler.post(process)
    }

    /** Ends the thread after what it is doing, of which the listener may still hear. */
    override fun close() {
        handler.removeCallbacksAndMessages(null)
        handler.post(::closeNetwork)
        thread.quitSafely()
    }

    private fun look(frame: Frame) {
        val running = running ?: return listener.onDropped(frame)
        val done = attempt {
            val poses = running.poses(frame, options)
            listener.onPoses(frame, poses, running.network.metadata.keypoints)
        }
        if (!done) {
            closeNetwork()
            listener.onDropped(frame)
        }
    }

    private fun attempt(step: () -> Unit): Boolean {
        try {
            step()
            return true
        } catch (error: Exception) {
            listener.onFailure(error.firstLine())
        } catch (error: OutOfMemoryError) {
            listener.onFailure("not enough memory for this model; choose a smaller one")
        }
        return false
    }

    private fun closeNetwork() {
        running?.network?.close()
        running = null
    }

    /** A network with what belongs to it: decoder, tracks, smoothing. */
    private inner class Running(val network: Network) {
        private val metadata = network.metadata
        private val decoder = PoseDecoder(metadata)
        private val tracker = Tracker(metadata.keypoints.sigmas)
        private val smoother = PoseSmoother()
        private var fitter: PictureFitter? = null

        fun poses(frame: Frame, options: Options): List<Pose> {
            val fitter = fitterFor(frame)
            stages.measure(Stage.PREPROCESS) { fitter.fit(frame.pixels, network.input) }
            val outputs = stages.measure(Stage.NETWORK) { network.run() }
            return stages.measure(Stage.DECODE) {
                val found = decoder.decode(outputs, fitter.box).filter { it.score >= options.minScore }
                if (!options.track) return@measure found
                val tracked = tracker.update(found, frame.seconds)
                if (options.smooth) smoother.smooth(tracked, frame.seconds) else tracked
            }
        }

        private fun fitterFor(frame: Frame): PictureFitter {
            val box = fitter?.box
            if (box == null || box.imageWidth != frame.width || box.imageHeight != frame.height) {
                fitter = PictureFitter(frame.width, frame.height, metadata.inputWidth, metadata.inputHeight)
            }
            return fitter!!
        }
    }

    private companion object {
        val OPEN = Any()
    }
}
