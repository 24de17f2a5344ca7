package ehrnet.demo

import android.content.Context
import android.content.SharedPreferences

/** What the user chose; kept from one start to the next. */
class Settings(context: Context) {
    private val stored: SharedPreferences = context.getSharedPreferences("settings", Context.MODE_PRIVATE)

    /** A name among [Models.names], or null: the first. */
    var model: String?
        get() = stored.getString("model", null)
        set(value) = stored.edit().putString("model", value).apply()

    var device: Device
        get() = if (stored.getBoolean("gpu", true)) Device.GPU else Device.CPU
        set(value) = stored.edit().putBoolean("gpu", value == Device.GPU).apply()

    /** CPU threads, 1 to [MOST_THREADS]. */
    var threads: Int
        get() = stored.getInt("threads", DEFAULT_THREADS).coerceIn(1, MOST_THREADS)
        set(value) = stored.edit().putInt("threads", value).apply()

    var facing: Facing
        get() = if (stored.getBoolean("front", false)) Facing.FRONT else Facing.BACK
        set(value) = stored.edit().putBoolean("front", value == Facing.FRONT).apply()

    var smooth: Boolean
        get() = stored.getBoolean("smooth", true)
        set(value) = stored.edit().putBoolean("smooth", value).apply()

    /** People with a lower score are not shown, 0 to 1. */
    var minScore: Float
        get() = stored.getFloat("score", DEFAULT_SCORE).coerceIn(0f, 1f)
        set(value) = stored.edit().putFloat("score", value).apply()

    /**
     * True from before a network is opened on the GPU until it has run there. Still true at a start, it tells that a
     * driver took the app down with it.
     */
    var gpuOnTrial: Boolean
        get() = stored.getBoolean("gpuOnTrial", false)
        @android.annotation.SuppressLint("ApplySharedPref") // it must be on the disk before the driver is called
        set(value) {
            stored.edit().putBoolean("gpuOnTrial", value).commit()
        }

    val options: Options get() = Options(minScore, smooth)

    companion object {
        const val MOST_THREADS = 8
        const val DEFAULT_THREADS = 4
        const val DEFAULT_SCORE = 0.2f // as in ehrnet_tf.PoseEstimator
    }
}
