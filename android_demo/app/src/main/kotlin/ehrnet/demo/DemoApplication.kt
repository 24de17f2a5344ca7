package ehrnet.demo

import android.app.Application

/** What all activities share. */
open class DemoApplication : Application() {
    val settings by lazy { Settings(this) }
    val models by lazy { Models(this) }
    protected open val opener: NetworkOpener = LiteRtNetwork.Opener()

    /** The model that was chosen, or the first there is; null if there is none. */
    fun chosenModel(): String? = models.names().let { names -> settings.model?.takeIf { it in names } ?: names.firstOrNull() }

    /**
     * Opens a model as the settings say; on the thread that will run it.
     *
     * A driver that takes the app down while it tries the GPU is not tried at the next start.
     *
     * @throws ehrnet.posekit.ModelFileException it cannot be run.
     */
    fun openNetwork(name: String): Network {
        val device = settings.device
        settings.gpuOnTrial = device == Device.GPU
        try {
            return opener.open(models.content(name), name, device, settings.threads)
        } finally {
            settings.gpuOnTrial = false
        }
    }
}
