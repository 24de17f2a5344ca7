package ehrnet.demo

import android.view.View
import android.widget.AdapterView
import android.widget.ArrayAdapter
import android.widget.SeekBar
import android.widget.Spinner
import android.widget.Switch
import android.widget.TextView
import kotlin.math.roundToInt

/**
 * The switches: what is chosen goes into the settings at once.
 *
 * @param view the inflated `settings` layout, or what holds it.
 * @param onChange told of every change; true: the network must be opened anew.
 * @param onOpen told that the user wants to open a model from storage.
 */
class SettingsPanel(
    private val view: View,
    private val settings: Settings,
    private val models: Models,
    private val onChange: (Boolean) -> Unit,
    onOpen: () -> Unit,
) {
    /** Whether the panel is seen. */
    val isOpen: Boolean get() = view.visibility == View.VISIBLE

    private val model = view.findViewById<Spinner>(R.id.model)
    private val remove = view.findViewById<View>(R.id.remove_model)
    private val gpu = view.findViewById<Switch>(R.id.gpu)
    private val threads = view.findViewById<SeekBar>(R.id.threads)
    private val smooth = view.findViewById<Switch>(R.id.smooth)
    private val score = view.findViewById<SeekBar>(R.id.min_score)
    private var names = emptyList<String>()

    init {
        view.findViewById<View>(R.id.open_model).setOnClickListener { onOpen() }
        threads.max = Settings.MOST_THREADS - 1
        refresh()
        remove.setOnClickListener { removeModel() }
        gpu.setOnCheckedChangeListener { _, on -> change(reopen = true) { settings.device = if (on) Device.GPU else Device.CPU } }
        smooth.setOnCheckedChangeListener { _, on -> change(reopen = false) { settings.smooth = on } }
        threads.setOnSeekBarChangeListener(Slider(reopen = true) { settings.threads = it + 1 })
        score.setOnSeekBarChangeListener(Slider(reopen = false) { settings.minScore = it / 100f })
        model.onItemSelectedListener = object : AdapterView.OnItemSelectedListener {
            override fun onItemSelected(parent: AdapterView<*>, item: View?, position: Int, id: Long) {
                val name = names.getOrNull(position) ?: return // of a model that was removed meanwhile
                remove.isEnabled = models.isOpened(name)
                if (name != models.chosen(settings.model)) change(reopen = true) { settings.model = name }
            }

            override fun onNothingSelected(parent: AdapterView<*>) = Unit
        }
    }

    /** Shows or hides the panel. */
    fun toggle() {
        view.visibility = if (isOpen) View.GONE else View.VISIBLE
    }

    /** Shows the models there are, and the settings as they are. */
    fun refresh() {
        val chosen = models.chosen(settings.model)
        names = models.names()
        model.adapter = ArrayAdapter(view.context, android.R.layout.simple_spinner_dropdown_item, names)
        model.setSelection(names.indexOf(chosen).coerceAtLeast(0))
        remove.isEnabled = chosen != null && models.isOpened(chosen)
        gpu.isChecked = settings.device == Device.GPU
        smooth.isChecked = settings.smooth
        threads.progress = settings.threads - 1
        score.progress = (settings.minScore * 100).roundToInt()
        label()
    }

    private fun removeModel() {
        models.remove(names[model.selectedItemPosition])
        settings.model = null
        refresh()
        onChange(true)
    }

    private fun change(reopen: Boolean, store: () -> Unit) {
        store()
        onChange(reopen)
    }

    private fun label() {
        val context = view.context
        view.findViewById<TextView>(R.id.threads_label).text = context.getString(R.string.threads, threads.progress + 1)
        view.findViewById<TextView>(R.id.min_score_label).text = context.getString(R.string.min_score, score.progress / 100f)
    }

    /**
     * Stores a slider's value at once, by whatever it is moved: finger, keys, a screen reader. Only where the network must be
     * opened anew a finger must let go first.
     */
    private inner class Slider(private val reopen: Boolean, private val store: (Int) -> Unit) : SeekBar.OnSeekBarChangeListener {
        private var touchedAt: Int? = null

        override fun onProgressChanged(bar: SeekBar, progress: Int, fromUser: Boolean) {
            label()
            if (fromUser && (!reopen || touchedAt == null)) change(reopen) { store(progress) }
        }

        override fun onStartTrackingTouch(bar: SeekBar) {
            touchedAt = bar.progress
        }

        override fun onStopTrackingTouch(bar: SeekBar) {
            if (reopen && bar.progress != touchedAt) change(reopen) { store(bar.progress) }
            touchedAt = null
        }
    }
}
