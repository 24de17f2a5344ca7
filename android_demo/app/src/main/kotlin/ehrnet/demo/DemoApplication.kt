package ehrnet.demo

import android.app.Application
import ehrnet.posekit.ModelFileException

/** What all activities share. */
open class DemoApplication : Application() {
    val settings by lazy { Settings(this) }
    val models by lazy { Models(this) }
    protected open val opener: NetworkOpener = LiteRtNetwork.Opener()
    private var warning: String? = null
    private var trials = 0 // networks that are being opened on the GPU: every activity may open one

    /** A driver that took the app down while it tried the GPU is not tried again until the user says so. */
    override fun onCreate() {
        super.onCreate()
        if (!settings.gpuOnTrial) return
        settings.gpuOnTrial = false
        settings.device = Device.CPU
        warning = getString(R.string.gpu_crashed)
    }

    /** What the user must be told of this start, once; null: nothing. On the main thread. */
    fun takeWarning(): String? = warning.also { warning = null }

    /** The model that was chosen, or the first there is; null if there is none. */
    fun chosenModel(): String? = models.chosen(settings.model)

    /**
     * Opens a model as the settings say; on the thread that will run it.
     *
     * @param name one of [Models.names]; null: there is none.
     * @throws ModelFileException it cannot be run.
     */
    fun openNetwork(name: String?): Network {
        val device = settings.device
        if (name == null) throw ModelFileException(getString(R.string.no_model))
        if (device == Device.CPU) return opener.open(models.content(name), name, device, settings.threads)
        countTrials(1)
        try {
            return opener.open(models.content(name), name, device, settings.threads)
        } finally {
            countTrials(-1)
        }
    }

    @Synchronized
    private fun countTrials(more: Int) {
        trials += more
        settings.gpuOnTrial = trials > 0
    }
}
