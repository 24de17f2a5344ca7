package ehrnet.demo

import android.view.View
import android.widget.Button
import android.widget.TextView

/** What may keep people from being found; the first is told first. */
enum class Cause { MODEL, CAMERA }

/** What is wrong, and a button that helps: its text, and what it does. */
class Notice(val message: String, val action: Int, val act: () -> Unit)

/** The notice in the middle of the screen, for as long as something is wrong. */
class Notices(private val view: View) {
    private val known = arrayOfNulls<Notice>(Cause.entries.size)

    /** Shows what is wrong with [cause], or, with null, that nothing is any longer. */
    operator fun set(cause: Cause, notice: Notice?) {
        known[cause.ordinal] = notice
        val first = known.firstNotNullOfOrNull { it }
        view.visibility = if (first == null) View.GONE else View.VISIBLE
        if (first == null) return
        view.findViewById<TextView>(R.id.notice_text).text = first.message
        view.findViewById<Button>(R.id.notice_action).apply {
            setText(first.action)
            setOnClickListener { first.act() }
        }
    }
}
