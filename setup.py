"""Packaging. `configs/` and `converters/` stay top-level folders and are installed inside the package."""

from pathlib import Path

from setuptools import find_namespace_packages, setup

TRAIN = ["tensorflow>=2.16", "keras>=3.5", "pycocotools>=2.0.8", "tensorboard", "matplotlib", "safetensors"]
# tensorflow 2.16 is the first whose Keras is Keras 3; numpy 2 needs pycocotools 2.0.8.
PYTORCH = ["torch>=2.5"]  # to read and write .pth files; 2.5: safe_globals
ONNX = ["tf2onnx>=1.16", "onnx", "onnxruntime"]
# tf_keras of TensorFlow's own minor version; tensorflow-model-optimization imports distutils, which setuptools has.
QAT = ["tf_keras>=2.16", "tensorflow-model-optimization>=0.8", "setuptools"]
JAX = ["jax>=0.5"]  # to train on several machines; a GPU needs jax[cuda12]
DEV = [*TRAIN, *QAT, *ONNX, *JAX, "pytest", "pytest-xdist", "hypothesis", "ruff", "pillow"]

setup(
    name="ehrnet-tf",
    version="0.1.0",
    description="EfficientHRNet for TensorFlow and Keras: multi-person pose estimation, trained, quantised, deployed",
    long_description=Path("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=[
        *find_namespace_packages(include=["ehrnet_tf", "ehrnet_tf.*"]),
        "ehrnet_tf.configs",
        "ehrnet_tf.converters",
    ],
    package_dir={"ehrnet_tf.configs": "configs", "ehrnet_tf.converters": "converters"},
    package_data={"ehrnet_tf.configs": ["*.yaml", "*/*.yaml"]},
    install_requires=["numpy", "scipy", "opencv-python-headless", "pyyaml", "tqdm", "ai-edge-litert"],
    extras_require={"train": TRAIN, "qat": [*TRAIN, *QAT], "onnx": ONNX, "pytorch": PYTORCH, "jax": JAX, "dev": DEV},
    entry_points={"console_scripts": ["ehrnet = ehrnet_tf.cli:main"]},
    classifiers=[
        "License :: OSI Approved :: Apache Software License",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Topic :: Scientific/Engineering :: Image Recognition",
    ],
)
