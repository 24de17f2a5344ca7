package ehrnet.demo

import android.Manifest.permission.CAMERA
import android.app.Activity
import android.content.Intent
import android.content.pm.PackageManager.PERMISSION_GRANTED
import android.hardware.display.DisplayManager
import android.net.Uri
import android.os.Bundle
import android.os.Handler
import android.os.Looper
import android.os.SystemClock
import android.provider.Settings.ACTION_APPLICATION_DETAILS_SETTINGS
import android.view.Surface
import android.view.View
import android.widget.TextView
import ehrnet.posekit.KeypointSet
import ehrnet.posekit.Pose
import kotlin.concurrent.thread

/** The camera's picture with the people in it, what it costs, and the switches. */
class MainActivity : Activity(), CameraListener, EngineListener {
    private val app get() = application as DemoApplication
    private val main = Handler(Looper.getMainLooper())
    private val stages = Stages()
    private lateinit var engine: PoseEngine
    private lateinit var poseView: PoseView
    private lateinit var panel: SettingsPanel
    private lateinit var notices: Notices

    @Volatile internal var camera: Camera? = null
        private set
    private var asked = false // for the camera, since this activity began
    private val frames = FrameMaker()

    @Volatile private var model = "" // the file that was opened last
    private var running: String? = null // the network, for the figures
    private var shortSide = DEFAULT_SHORT_SIDE
    private var people = 0

    override fun onCreate(state: Bundle?) {
        super.onCreate(state)
        asked = state?.getBoolean(ASKED) ?: false
        setContentView(R.layout.main)
        poseView = findViewById(R.id.poses)
        notices = Notices(findViewById(R.id.notice))
        poseView.onDrawn = { stages.add(Stage.DRAW, it) }
        app.takeWarning()?.let(::tell)
        engine = PoseEngine(stages, this)
        engine.options = app.settings.options
        panel = SettingsPanel(findViewById(R.id.panel), app.settings, app.models, ::onSetting, ::chooseModel)
        findViewById<View>(R.id.settings).setOnClickListener {
            panel.toggle()
            notices.covered = panel.isOpen
        }
        findViewById<View>(R.id.switch_camera).setOnClickListener { switchCamera() }
        findViewById<View>(R.id.open_picture).setOnClickListener { choose("image/*", OPEN_PICTURE) }
        getSystemService(DisplayManager::class.java).registerDisplayListener(turned, main)
        openModel()
    }

    override fun onResume() {
        super.onResume()
        main.post(figures)
        when {
            checkSelfPermission(CAMERA) == PERMISSION_GRANTED -> startCamera()
            asked -> explainPermission()
            else -> askForCamera()
        }
    }

    override fun onPause() {
        main.removeCallbacks(figures)
        stopCamera()
        super.onPause()
    }

    override fun onDestroy() {
        getSystemService(DisplayManager::class.java).unregisterDisplayListener(turned)
        engine.close()
        super.onDestroy()
    }

    override fun onSaveInstanceState(state: Bundle) {
        super.onSaveInstanceState(state)
        state.putBoolean(ASKED, asked)
    }

    override fun onRequestPermissionsResult(code: Int, permissions: Array<out String>, results: IntArray) {
        if (checkSelfPermission(CAMERA) != PERMISSION_GRANTED) explainPermission() // else onResume starts the camera
    }

    override fun onActivityResult(code: Int, result: Int, data: Intent?) {
        val uri = data?.data ?: return
        when (code) {
            OPEN_PICTURE -> startActivity(Intent(this, PictureActivity::class.java).setData(uri))
            OPEN_MODEL -> addModel(uri)
        }
    }

    // Camera: on its thread.

    override fun onImage(camera: Camera, image: CameraImage, rotation: Int, mirrored: Boolean) {
        if (camera !== this.camera) return
        val start = System.nanoTime()
        val frame = frames.make(image, rotation, mirrored) ?: return
        stages.add(Stage.CAMERA, System.nanoTime() - start)
        if (engine.ready) engine.submit(frame) else show(frame, emptyList(), null)
    }

    override fun onCameraFailure(camera: Camera, message: String) = onMain {
        if (camera !== this.camera) return@onMain
        stopCamera()
        notices[Cause.CAMERA] = Notice(message, R.string.retry, ::startCamera)
    }

    // Engine: on its thread.

    override fun onReady(network: Network) {
        val metadata = network.metadata
        val kind = listOfNotNull(metadata.variant, metadata.precision).joinToString(" ")
        val runs = getString(R.string.runs, model, kind, metadata.inputWidth, metadata.inputHeight, network.runsOn)
        val note = network.note
        onMain {
            running = if (note == null) runs else "$runs\n$note"
            notices[Cause.MODEL] = null
            useShortSide(maxOf(DEFAULT_SHORT_SIDE, minOf(metadata.inputWidth, metadata.inputHeight)))
        }
    }

    override fun onPoses(frame: Frame, poses: List<Pose>, keypoints: KeypointSet) {
        stages.frame(SystemClock.elapsedRealtimeNanos())
        show(frame, poses, keypoints)
    }

    override fun onFailure(message: String) = onMain {
        running = null
        notices[Cause.MODEL] = Notice(message, R.string.open_model, ::chooseModel)
    }

    override fun onDropped(frame: Frame) = frames.recycle(frame)

    private fun show(frame: Frame, poses: List<Pose>, keypoints: KeypointSet?) = onMain {
        people = poses.size
        poseView.show(frame, poses, keypoints)?.let(frames::recycle)
    }

    // The rest: on the main thread.

    private fun openModel() {
        val name = app.chosenModel()
        model = name.orEmpty()
        running = name?.let { getString(R.string.loading, it) }
        engine.open { app.openNetwork(name) }
    }

    private fun addModel(uri: Uri) {
        thread(name = "copy") {
            try {
                val name = app.models.add(uri)
                onMain {
                    app.settings.model = name
                    panel.refresh()
                    openModel()
                }
            } catch (error: Exception) {
                onMain { tell(error.firstLine()) }
            }
        }
    }

    private fun onSetting(reopen: Boolean) {
        engine.options = app.settings.options
        if (reopen) openModel()
    }

    private fun switchCamera() {
        app.settings.facing = if (app.settings.facing == Facing.BACK) Facing.FRONT else Facing.BACK
        restartCamera()
    }

    private fun useShortSide(side: Int) {
        if (side == shortSide) return
        shortSide = side
        restartCamera()
    }

    private fun restartCamera() {
        if (camera == null) return
        stopCamera()
        startCamera()
    }

    private fun startCamera() {
        if (camera != null) return
        notices[Cause.CAMERA] = null
        stages.reset() // the time without a camera is none of the network's
        camera = Camera(this, app.settings.facing, shortSide, displayRotation(), this)
    }

    private fun stopCamera() {
        camera?.close()
        camera = null
    }

    private fun askForCamera() {
        asked = true
        requestPermissions(arrayOf(CAMERA), ASK_FOR_CAMERA)
    }

    private fun explainPermission() {
        notices[Cause.CAMERA] = Notice(getString(R.string.no_permission), R.string.allow) {
            if (shouldShowRequestPermissionRationale(CAMERA)) {
                askForCamera()
            } else { // refused for good: only the system's settings help
                val details = Intent(ACTION_APPLICATION_DETAILS_SETTINGS, Uri.fromParts("package", packageName, null))
                tryStart(details, R.string.no_settings)
            }
        }
    }

    private fun chooseModel() = choose("*/*", OPEN_MODEL)

    private fun choose(type: String, code: Int) {
        val intent = Intent(Intent.ACTION_OPEN_DOCUMENT).addCategory(Intent.CATEGORY_OPENABLE).setType(type)
        tryStart(intent, R.string.no_chooser, code)
    }

    private fun onMain(act: () -> Unit) {
        main.post { if (!isDestroyed) act() }
    }

    private val figures = object : Runnable {
        override fun run() {
            val times = listOf(Stage.CAMERA, Stage.PREPROCESS, Stage.NETWORK, Stage.DECODE, Stage.DRAW)
                .map { stages.milliseconds(it) }.toTypedArray()
            val now = SystemClock.elapsedRealtimeNanos()
            val seen = if (stages.stalled(now)) 0 else people
            val found = resources.getQuantityString(R.plurals.people, seen, seen)
            findViewById<TextView>(R.id.figures).text =
                getString(R.string.figures, stages.framesPerSecond(now), found, *times, running.orEmpty())
            main.postDelayed(this, FIGURES_EVERY)
        }
    }

    private val turned = object : DisplayManager.DisplayListener {
        override fun onDisplayChanged(id: Int) {
            camera?.displayRotation = displayRotation()
        }

        override fun onDisplayAdded(id: Int) = Unit

        override fun onDisplayRemoved(id: Int) = Unit
    }

    private fun displayRotation(): Int {
        val display = getSystemService(DisplayManager::class.java).getDisplay(android.view.Display.DEFAULT_DISPLAY)
        return when (display.rotation) {
            Surface.ROTATION_90 -> 90
            Surface.ROTATION_180 -> 180
            Surface.ROTATION_270 -> 270
            else -> 0
        }
    }

    private companion object {
        const val ASKED = "asked"
        const val ASK_FOR_CAMERA = 1
        const val OPEN_PICTURE = 2
        const val OPEN_MODEL = 3
        const val FIGURES_EVERY = 250L // milliseconds
        const val DEFAULT_SHORT_SIDE = 480 // of the camera's pictures: every camera has 640 x 480
    }
}
