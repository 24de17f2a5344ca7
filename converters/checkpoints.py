"""State dicts in files: .npz and .safetensors without PyTorch, anything else (.pth, .pt, .pth.tar) by PyTorch."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ehrnet_tf.errors import MissingExtraError, ModelFileError, UsageError
from ehrnet_tf.files import atomic_path

SUFFIXES = (".pth", ".pt", ".npz", ".safetensors")
_MORE_SUFFIXES = (".tar", ".bin", ".ckpt")  # PyTorch files as well, by custom


def read_checkpoint(path: str | os.PathLike) -> Mapping:
    """What a checkpoint file holds: entry name → array (a PyTorch tensor where PyTorch read it), perhaps wrapped.

    Nothing is unpickled unrestricted.

    Raises:
      ModelFileError: no such file, or it cannot be read.
      MissingExtraError: the package that reads this format is not installed.
    """
    path = Path(path)
    if not path.is_file():
        raise ModelFileError(f"{path}: no such checkpoint file")
    if path.suffix not in (*SUFFIXES, *_MORE_SUFFIXES):
        raise ModelFileError(f"{path}: not a kind of checkpoint that is read; accepted are {', '.join(SUFFIXES)}")
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as file:
                return dict(file)
        if path.suffix == ".safetensors":
            return _safetensors().load_file(path)
        content = _torch_load(path)
    except MissingExtraError:
        raise
    except Exception as error:  # each reader has its own
        if foreign := re.search(r"GLOBAL (\S+)", str(error)):
            raise ModelFileError(
                f"{path}: holds Python objects beside tensors ({foreign[1]}), which are not loaded; "
                "in PyTorch, save its state_dict alone"
            ) from error
        raise ModelFileError(f"{path}: cannot be read as a {path.suffix} checkpoint; copy it again") from error
    if not isinstance(content, Mapping):
        raise ModelFileError(f"{path}: holds a {type(content).__name__}, not a state dict")
    return content


def write_checkpoint(path: str | os.PathLike, state_dict: Mapping[str, np.ndarray]) -> None:
    """Writes a state dict as .npz, .safetensors or .pth, all of it or nothing.

    Raises:
      UsageError: another suffix.
      MissingExtraError: the package that writes this format is not installed.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise UsageError(f"{path}: a PyTorch state dict is written as one of {', '.join(SUFFIXES)}")
    with atomic_path(path) as temporary:
        if path.suffix == ".npz":
            np.savez(temporary, **state_dict)
        elif path.suffix == ".safetensors":
            _safetensors().save_file(dict(state_dict), temporary)
        else:
            torch = _torch()
            torch.save({key: torch.from_numpy(np.array(value)) for key, value in state_dict.items()}, temporary)


def _torch_load(path: Path):
    torch = _torch()
    # Numbers and names that went through NumPy are as harmless as Python's own.
    harmless = [
        np.dtype,
        np.float64(0).__reduce__()[0],
        *{type(np.dtype(kind)) for kind in ("f4", "f8", "i4", "i8", "U")},
    ]
    with torch.serialization.safe_globals(harmless):
        return torch.load(path, map_location="cpu", weights_only=True)


def _torch():
    try:
        import torch
    except ModuleNotFoundError as error:
        raise MissingExtraError("torch", "pytorch") from error
    return torch


def _safetensors():
    try:
        import safetensors.numpy
    except ModuleNotFoundError as error:
        raise MissingExtraError("safetensors", "train") from error
    return safetensors.numpy
