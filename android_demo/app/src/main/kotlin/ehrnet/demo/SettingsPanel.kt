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
    private val model = view.findViewById<Spinner>(R.id.model)
    private val gpu = view.findViewById<Switch>(R.id.gpu)
    private val threads = view.findViewById<SeekBar>(R.id.threads)
    private val smooth = view.findViewById<Switch>(R.id.smooth)
    private val score = view.findViewById<SeekBar>(R.id.min_score)
    private var names = emptyList<String>()

    init {
        view.findViewById<View>(R.id.open_model).setOnClickListener { onOpen() }
        threads.max = Settings.MOST_THREADS - 1
        refresh(settings.model)
        gpu.setOnCheckedChangeListener { _, on -> change(reopen = true) { settings.device = if (on) Device.GPU else Device.CPU } }
        smooth.setOnCheckedChangeListener { _, on -> change(reopen = false) { settings.smooth = on } }
        threads.setOnSeekBarChangeListener(Slider(reopen = true) { settings.threads = it + 1 })
        score.setOnSeekBarChangeListener(Slider(reopen = false) { settings.minScore = it / 100f })
        model.onItemSelectedListener = object : AdapterView.OnItemSelectedListener {
            override fun onItemSelected(parent: AdapterView<*>, item: View?, position: Int, id: Long) {
                val name = names[position]
                if (name != (settings.model ?: names.first())) change(reopen = true) { settings.model = name }
            }

            override fun onNothingSelected(parent: AdapterView<*>) = Unit
        }
    }

    /** Shows or hides the panel. */
    fun toggle() {
        view.visibility = if (view.visibility == View.VISIBLE) View.GONE else View.VISIBLE
    }

    /** Shows the settings as they are, with [chosen] of the models there are. */
    fun refresh(chosen: String?) {
        names = models.names()
        model.adapter = ArrayAdapter(view.context, android.R.layout.simple_spinner_dropdown_item, names)
        model.setSelection(names.indexOf(chosen).coerceAtLeast(0))
        gpu.isChecked = settings.device == Device.GPU
        smooth.isChecked = settings.smooth
        threads.progress = settings.threads - 1
        score.progress = (settings.minScore * 100).roundToInt()
        label()
    }

    private fun change(reopen: Boolean, store: () -> Unit) {
        store()
        label()
        onChange(reopen)
    }

    private fun label() {
        val context = view.context
        view.findViewById<TextView>(R.id.threads_label).text = context.getString(R.string.threads, settings.threads)
        view.findViewById<TextView>(R.id.min_score_label).text = context.getString(R.string.min_score, settings.minScore)
    }

    /** Stores a slider's value while it is dragged, if that is cheap, else when it is let go. */
    private inner class Slider(private val reopen: Boolean, private val store: (Int) -> Unit) : SeekBar.OnSeekBarChangeListener {
        override fun onProgressChanged(bar: SeekBar, progress: Int, fromUser: Boolean) {
            if (fromUser && !reopen) change(reopen) { store(progress) }
        }

        override fun onStartTrackingTouch(bar: SeekBar) = Unit

        override fun onStopTrackingTouch(bar: SeekBar) {
            if (reopen) change(reopen) { store(bar.progress) }
        }
    }
}
