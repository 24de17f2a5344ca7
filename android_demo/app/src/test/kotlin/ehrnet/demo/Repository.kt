package ehrnet.demo

import java.io.File

/** The files of this repository that the tests read. */
object Repository {
    val root: File = generateSequence(File("").absoluteFile) { it.parentFile }
        .firstOrNull { File(it, "tests/golden").isDirectory }
        ?: error("${File("").absolutePath}: not inside the repository")

    val golden = File(root, "tests/golden/android")

    /** A Python with LiteRT: that of `make env`, or $EHRNET_PYTHON; null if there is none. */
    val python: File? = File(System.getenv("EHRNET_PYTHON") ?: File(root, ".venv/bin/python").path).takeIf { it.canExecute() }

    /** Where pictures to look at are written; in version control are those in docs/images. */
    val screens = File(root, "android_demo/app/target/screens").apply { mkdirs() }
}
