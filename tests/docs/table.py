"""What stands for what when the pages' commands are run, and which of them cannot be run here, with the reasons.

A new page needs an entry here only where it names a thing or a program that no page had before.
"""

# ---- names of the pages, and what is there under these names

DATASETS = {"data", "DATA", "COCO", "coco_mini", "SYNTHETIC", "SIXTEEN", "DIR", "demo_output/data", "demo/data"}
CARDS = {"cards"}  # data sets of the keypoint set `corners`
CLASSES = {"CLASSES", "PARTS"}  # folders of class folders
SHARDS = {"SHARDS"}
PICTURES = {"photos", "pictures", "PICTURES", "folder"}
RUNS = {"demo_output/run", "demo/run"}  # and runs/ANYTHING
STORIES = {  # pages whose steps go on from each other, and what else than data and pictures they take for granted
    "docs/keypoints.md": set(),
    "docs/own-data.md": set(),
    "docs/start.md": set(),
}
ASSUMED = {"estimator": {"docs/drawing.md", "docs/video.md"}}  # names in Python, and who need not make them
KEYPOINTS = {"mine.yaml"}  # the page's own ```yaml block, else `corners`

AS_IT_IS = "docs/models/"  # what lies there is in the repository

RENAMED = {  # words of a page that stand for any of a kind, and what cannot be made here
    "FILE": "a.tflite",
    "MODEL": "a.tflite",
    "MODEL.tflite": "a.tflite",
    "FORMAT": "tflite",
    "PRECISION": "float16",
    "COMMAND": "train",
    "RUN": "runs/run",
    "checkpoint.pth": "checkpoint.npz",  # PyTorch is not among the packages that tests need
    "weights.pth": "weights.npz",
    "BACKBONE": "runs/b/best.keras",
}

# The command that makes what a page takes for granted; other names with one of the suffixes are copies.
MADE_BY = {
    "runs/a": "ehrnet train --config h-4 --data data --out runs/a train.batch_size=16",
    "a.tflite": "ehrnet export runs/a/best.keras --precision int8 --calibration data --out a.tflite",
    "a.onnx": "ehrnet export runs/a/best.keras --format onnx --out a.onnx",
    "a.xml": "ehrnet export runs/a/best.keras --format openvino --precision bfloat16 --out a.xml",
    "a.engine": "ehrnet export a.onnx --format tensorrt --precision float16 --out a.engine",
    "walk.jsonl": "ehrnet predict a.tflite walk.mp4 --out drawings --json walk.jsonl",
    "poses.json": "ehrnet predict a.tflite photo.jpg --out drawings --json poses.json",
    "SHARDS": "ehrnet make-shards data --out SHARDS",
    "people.tflite": (
        "ehrnet export runs/a/best.keras --graph poses --precision int8 --calibration data --out people.tflite"
    ),
}
COPIES = {
    ".keras": ("runs/a/best.keras",),
    ".tflite": ("a.tflite",),
    ".onnx": ("a.onnx",),
    ".xml": ("a.xml", "a.bin"),
    ".engine": ("a.engine",),
    ".plan": ("a.engine",),
    ".jsonl": ("walk.jsonl",),
    ".json": ("poses.json",),
}
OUTPUTS = {"--out", "--json", "--csv", "--plot", "--results", "--coco", "--sheet", "--files", "--speed-csv", "-w"}
# The word after one of these is what the command makes; so are these words of a command, and all of make-data's:
WRITTEN = {"body_parts.py": {"PARTS"}}

# ---- what makes commands quick: appended to their arguments

_ONE_STEP = ["train.epochs=1", "train.steps_per_epoch=1", "train.batch_size=2", "train.validate_every=1"]
_STILL = "train.learning_rate=1e-6"  # the stand-in sees people as it is
SMALL = {
    "make-data": ["--train", "4", "--val", "2", "--size", "64"],
    "train": ["model.input_size=64", *_ONE_STEP, _STILL],
    "pretrain": ["model.variant=B-10", "model.input_size=32", "train.epochs=1", "train.batch_size=2"],
    "quantize": [
        "quantize.epochs=1",
        "quantize.steps_per_epoch=1",
        "quantize.calibration=4",
        "quantize.learning_rate=1e-6",
        "train.batch_size=2",
    ],
    "check-data": ["--limit", "2"],
    "export": ["--calibration-size", "4"],
    "predict": ["--frames", "3"],
    "benchmark": ["--rounds", "1", "--warm-up", "0"],
    "report": ["--rounds", "1", "--pictures", "1"],
    "demo": ["model.input_size=64", *_ONE_STEP, _STILL],
    "import-pytorch": ["--input-size", "64"],
}
EAGER = {"train", "pretrain", "quantize", "eval", "demo"}  # without tracing graphs that run once
SOURCES = {"draw": ["walk.mp4", "photo.jpg"]}  # what the files that a command reads name
RESUMED = ["train.epochs=2"]  # after SMALL's one epoch there is one to go on with
VARIANTS = {"import-pytorch": {"H-2": "H-4"}}  # of the checkpoint that is made here

# ---- what is not run

PARSED = [  # commands of ehrnet whose arguments are parsed, with their configuration: a pattern, and the reason
    (r"ehrnet models", "builds every variant that it names; tests/test_cli.py runs it for a few"),
    (r"quantize\.graph=poses", "dear; tests/quantization/test_finetune.py does it"),
    (r"--out runs/h-2 ", "dear; README has the same command for H-4"),
    (r"eval h0\.keras", "dear: a whole network; the line that makes it runs"),
    (
        r"export .*--licence",
        "dear; README has the same command without a licence, tests/converters/test_export.py gives one",
    ),
    (r"--people 30", "dear; README has the same command, where 30 is the default"),
    (r"import-pytorch .*--model H-2", "dear; the line above it runs, and tests/test_cli.py names a variant"),
    (r"--format tf-trt", "needs a TensorFlow built with TensorRT; tests/converters/test_tf_trt.py has a stand-in"),
    (r"--process \d/\d", "several processes wait for each other; tests/training/test_devices.py runs them"),
    (r"KERAS_BACKEND=jax", "a process has one backend; tests/training/test_devices.py trains by JAX"),
]
ENVIRONMENT = {"KERAS_BACKEND", "EHRNET_MODEL", "EHRNET_PICTURES"}  # variables that something reads

SCRIPT_FOLDERS = ("benchmarks/", "docs/figures/", "docs/models/")
BENCHMARKS = {  # scripts in them that are run, with what makes them quick; of others the arguments are parsed
    "choosing.py": [],
    "body_parts.py": ["--train", "2", "--val", "1"],
    "data_faults.py": [],
    "drawing.py": ["--rounds", "1"],
    "perfect_maps.py": ["--limit", "1", "--size", "64"],
    "tracking.py": ["--seeds", "1", "--rounds", "0"],
    "who_is_found.py": ["--pictures", "82"],  # the last one has a crowd
}
PARSED_BENCHMARKS = {
    "android_decoder.py": "compiles Kotlin",
    "decoder_accuracy.py": "compiles a graph for every one of its methods",
    "decoding.py": "compiles a graph for every size",
    "draw.py": "builds nine networks; tests/docs/test_figures.py draws every figure",
    "imports.py": "starts Python anew for every figure",
    "initialisation.py": "trains twelve whole networks",
    "input_pipeline.py": "starts processes and reads for minutes",
    "quantization.py": "trains and converts for minutes",
    "runtimes.py": "converts every model to every format",
    "training_choices.py": "trains for hours",
    "training_step.py": "traces whole networks",
    "variants.py": "exports every variant",
    "video.py": "draws a video of hours",
}
SCRIPTS = {  # others of this repository, which write into it
    "tests/android/record.py",
    "tests/android/record_geometry.py",
    "tests/android/record_models.py",
    "tests/android/record_tracks.py",
}
MODULES = {  # of Python's own, by -m: why they are not run, their options
    "venv": ("makes an environment", {"--system-site-packages"}),
    "http.server": ("serves until it is stopped", {"--directory", "--bind"}),
}
PACKAGES = {  # of others, that the pages have people install
    "ai-edge-litert",
    "jax",
    "numpy",
    "onnxruntime",
    "opencv-python",
    "opencv-python-headless",
    "openvino",
    "pandas",
    "pyyaml",
    "scipy",
    "tensorflow",
    "tqdm",
}
ELSEWHERE = {  # programs that are not run at all
    ".": "an environment of the reader's",
    "./gradlew": "needs the Android SDK",
    "adb": "needs a phone",
    "scp": "needs another machine",
    "sudo": "changes the machine",
    "trtexec": "a Jetson's",
    "/usr/src/tensorrt/bin/trtexec": "a Jetson's",
    "vcgencmd": "a Raspberry Pi's",
    "uname": "only shown",
    "kill": "ends processes",
}
OPTIONS = {  # of other programs, in running text without the program: whose they are
    "--calib": "trtexec",
    "--list-formats-ext": "v4l2-ctl",
    "--no-deps": "pip",
    "--system-site-packages": "venv",
}
OTHERS_NAMES = {"data.astronaut": "scikit-image", "model.fit": "Keras"}  # that begin like a section or a subpackage
FILES = {"csv", "js", "json", "keras", "log", "md", "npz", "png", "py", "yaml"}  # endings of files' names
# Pages whose tables of symptoms quote messages, and the messages in them that others say:
MESSAGES = {
    "docs/jetson.md": {"Missing scale and zero-point for tensor"},
    "docs/quantisation.md": set(),
    "docs/raspberry-pi.md": {"numpy.core.multiarray failed to import"},
    "docs/troubleshooting.md": {"import cv2"},
}

# Indented blocks that are no commands, by how their first line begins.
TEXTS = {
    "README.md": ["ehrnet_tf/      models"],
    "docs/data.md": ["DATA/annotations/"],
    "docs/own-data.md": ["data/annotations/"],
    "docs/quantisation.md": ["                 "],
    "docs/training.md": ["epoch 2 of 4:"],
    "web_demo/README.md": ["Cross-Origin-Opener-Policy"],
}
# Fences that are not run:
LANGUAGES = {"json", "yaml", "markdown", "js", "javascript", "kotlin", "text", "html", "toml", "groovy", "http"}

# ---- Python blocks

CODE = [  # what is replaced in them, so that they are quick
    ('ehrnet_tf.EfficientHRNet("H0", tags_on_both_stages=True)', "whole()"),
    ("checkpoint.pth", "checkpoint.npz"),
    ("train.batch_size=16", "train.batch_size=2"),
    ("model.input_size=256", "model.input_size=64"),
    ("input_size=256", "input_size=64"),
]
