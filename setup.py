"""Packaging. `configs/` and `converters/` stay top-level folders and are installed inside the package."""

from pathlib import Path

from setuptools import find_namespace_packages, setup

TRAIN = ["tensorflow>=2.16", "keras>=3.5", "pycocotools>=2.0.8", "tensorboard", "matplotlib", "safetensors"]
# tensorflow 2.16 is the first whose Keras is Keras 3; numpy 2 needs pycocotools 2.0.8.
PYTORCH = ["torch>=2.5"]  # to read and write .pth files; 2.5: safe_globals
ONNX = ["tf2onnx>=1.16", "onnx", "onnxruntime"]
OPENVINO = [*ONNX, "openvino>=2024.4", "nncf>=2.13"]  # OpenVINO files are made by way of ONNX; nncf makes integers
# tf_keras of TensorFlow's own minor version; tensorflow-model-optimization imports distutils, which setuptools has.
QAT = ["tf_keras>=2.16", "tensorflow-model-optimization>=0.8", "setuptools"]
VIDEO = ["av>=12"]  # to write H.264 with the original's sound
DOCS = ["mkdocs-material>=9.5", "mkdocstrings[python]>=0.26", "mkdocs-jupyter>=0.25", "nbclient", "ipykernel"]
JAX = ["jax>=0.5"]  # to train on several machines; a GPU needs jax[cuda12]
DEV = [
    *TRAIN,
    *QAT,
    *OPENVINO,
    *JAX,
    *VIDEO,
    *DOCS,
    "pytest",
    "pytest-xdist>=3.7",
    "hypothesis",
    "ruff",
    "vermin",
    "pillow",
    "pandas",
]
# What runs a .tflite file. JetPack 5's Python is 3.8, for which there is only the older package.
TFLITE = [
    "ai-edge-litert; python_version >= '3.9'",
    "tflite-runtime; python_version < '3.9' and sys_platform == 'linux'",
]

setup(
    name="ehrnet-tf",
    version="0.1.0",
    description="EfficientHRNet for TensorFlow and Keras: multi-person pose estimation, trained, quantised, deployed",
    long_description=Path("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.8",  # to run models; all else needs TensorFlow, and with it 3.10
    packages=[
        *find_namespace_packages(include=["ehrnet_tf", "ehrnet_tf.*"]),
        "ehrnet_tf.configs",
        "ehrnet_tf.converters",
        "ehrnet_tf.converters.jetson",
    ],
    package_dir={"ehrnet_tf.configs": "configs", "ehrnet_tf.converters": "converters"},
    package_data={"ehrnet_tf.configs": ["*.yaml", "*/*.yaml"], "ehrnet_tf.report": ["*.css"]},
    install_requires=["numpy", "scipy", "opencv-python-headless", "pyyaml", "tqdm", *TFLITE],
    extras_require={
        "train": TRAIN,
        "qat": [*TRAIN, *QAT],
        "onnx": ONNX,
        "openvino": OPENVINO,
        "pytorch": PYTORCH,
        "jax": JAX,
        "video": VIDEO,
        "docs": DOCS,
        "all": [*TRAIN, *QAT, *OPENVINO, *PYTORCH, *JAX, *VIDEO],
        "dev": DEV,
    },
    entry_points={"console_scripts": ["ehrnet = ehrnet_tf.cli:main"]},
    classifiers=[
        "License :: OSI Approved :: Apache Software License",
        "Programming Language :: Python :: 3.8",
        "Programming Language :: Python :: 3.9",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Image Recognition",
    ],
)
