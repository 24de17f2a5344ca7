package ehrnet.demo

import android.app.Activity
import android.app.AlertDialog
import android.content.ActivityNotFoundException
import android.content.Intent
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

    /** Whether something else has its place. */
    var covered = false
        set(value) {
            field = value
            update()
        }

    /** Shows what is wrong with [cause], or, with null, that nothing is any longer. */
    operator fun set(cause: Cause, notice: Notice?) {
        known[cause.ordinal] = notice
        update()
    }

    private fun update() {
        val first = known.firstNotNullOfOrNull { it }
        view.visibility = if (first == null || covered) View.GONE else View.VISIBLE
        if (first == null) return
        view.findViewById<TextView>(R.id.notice_text).text = first.message
        view.findViewById<Button>(R.id.notice_action).apply {
            setText(first.action)
            setOnClickListener { first.act() }
        }
    }
}

/** Tells what happened once, in full: Android 12 and newer cut a toast to two lines. */
internal fun Activity.tell(message: String) {
    AlertDialog.Builder(this).setMessage(message).setPositiveButton(android.R.string.ok, null).show()
}

/** Starts an activity of the system's, for a result if there is a [code]; says [unable], a text, where there is none. */
internal fun Activity.tryStart(intent: Intent, unable: Int, code: Int = -1) {
    try {
        startActivityForResult(intent, code)
    } catch (_: ActivityNotFoundException) {
        tell(getString(unable))
    }
}
