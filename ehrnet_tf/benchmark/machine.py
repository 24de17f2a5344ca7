"""What a measurement was made on: processor, board, system and the versions of packages.

Needs the standard library only, and Python 3.8. What cannot be found out is left out.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re

from ehrnet_tf.benchmark.sensors import read_text

# (implementer, part) of /proc/cpuinfo. Source: util-linux, sys-utils/lscpu-arm.c; Arm, MIDR_EL1.
ARM_CORES = {
    (0x41, 0xC07): "Cortex-A7",
    (0x41, 0xC09): "Cortex-A9",
    (0x41, 0xC0F): "Cortex-A15",
    (0x41, 0xD03): "Cortex-A53",
    (0x41, 0xD04): "Cortex-A35",
    (0x41, 0xD05): "Cortex-A55",
    (0x41, 0xD07): "Cortex-A57",
    (0x41, 0xD08): "Cortex-A72",
    (0x41, 0xD09): "Cortex-A73",
    (0x41, 0xD0A): "Cortex-A75",
    (0x41, 0xD0B): "Cortex-A76",
    (0x41, 0xD0C): "Neoverse-N1",
    (0x41, 0xD0D): "Cortex-A77",
    (0x41, 0xD40): "Neoverse-V1",
    (0x41, 0xD41): "Cortex-A78",
    (0x41, 0xD42): "Cortex-A78AE",
    (0x41, 0xD44): "Cortex-X1",
    (0x41, 0xD49): "Neoverse-N2",
    (0x41, 0xD4F): "Neoverse-V2",
    (0x4E, 0x000): "Denver",
    (0x4E, 0x003): "Denver 2",
    (0x4E, 0x004): "Carmel",
}
# Major version of L4T (Jetson Linux) → JetPack.
JETPACKS = {32: "JetPack 4", 34: "JetPack 5", 35: "JetPack 5", 36: "JetPack 6", 38: "JetPack 7", 39: "JetPack 7"}
# Packages that are one thing under several names; the first that is installed counts.
ALIASES = {
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino"),
    "opencv": (
        "opencv-python-headless",
        "opencv-python",
        "opencv-contrib-python-headless",
        "opencv-contrib-python",
        "opencv",
    ),
    "tensorflow": ("tensorflow", "tensorflow-cpu", "tensorflow-aarch64"),
    "tensorrt": ("tensorrt", "tensorrt-cu13", "tensorrt-cu12", "tensorrt-cu11"),
}
PACKAGES = (
    *("ai-edge-litert", "tflite-runtime", "onnxruntime", "openvino", "tensorrt", "tensorflow", "keras"),
    *("numpy", "opencv"),
)


def describe(root: str | os.PathLike = "/") -> dict[str, str | int | float]:
    """The machine, as a table of results should name it.

    Args:
      root: where the file system begins.

    Returns:
      cpu: model or, on ARM, the kinds of cores; cores: CPUs that this process may use, a fraction where a control group
      allows one; memory_gib; system: distribution and kernel; machine: architecture; python. Where there are such:
      board; l4t, jetpack (Jetson); governor of the first CPU; nvpmodel: power mode (Jetson).
    """
    root = os.fspath(root)
    found: dict[str, str | int | float | None] = {
        "cpu": _cpu(root),
        "cores": _cores(root),
        "memory_gib": _memory_gib(root),
        "system": _system(root),
        "machine": platform.machine(),
        "board": _text(root, "proc/device-tree/model"),
        **_l4t(root),
        "governor": _text(root, "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "nvpmodel": _nvpmodel(root),
        "python": platform.python_version(),
    }
    return {key: value for key, value in found.items() if value}


def versions(*packages: str) -> dict[str, str]:
    """Package → installed version, of those that are installed; by default of the runtimes (`PACKAGES`).

    "opencv", "onnxruntime", "tensorflow" and "tensorrt" stand for any of the packages that hold them.
    """
    found = {}
    for package in packages or PACKAGES:
        for name in ALIASES.get(package, (package,)):
            try:
                found[package] = importlib.metadata.version(name)
                break
            except importlib.metadata.PackageNotFoundError:
                continue
    return found


def memory(root: str | os.PathLike = "/") -> dict[str, float]:
    """This process's memory in RAM, MiB: "resident" now and "peak" since it was started; {} where there is no /proc."""
    status = _text(os.fspath(root), "proc/self/status") or ""
    sizes = re.findall(r"^Vm(RSS|HWM):\s*(\d+) kB", status, re.MULTILINE)
    return {{"RSS": "resident", "HWM": "peak"}[name]: int(kib) / 1024 for name, kib in sizes}


def _text(root: str, *parts: str) -> str | None:
    return read_text(os.path.join(root, *parts)) or None


def _cpu(root: str) -> str:
    lines = (_text(root, "proc/cpuinfo") or "").splitlines()
    fields = [(key.strip(), value.strip()) for key, _, value in (line.partition(":") for line in lines)]
    implementer, counts = "", {}
    for key, value in fields:
        if key == "CPU implementer":
            implementer = value
        elif key == "CPU part":
            core = _arm_core(implementer, value)
            counts[core] = counts.get(core, 0) + 1
    if counts:  # before the model name: that is "ARMv8 Processor rev 1 (v8l)" on Jetson
        return " + ".join(f"{count}x {core}" for core, count in counts.items())
    named = next((value for key, value in fields if key == "model name" and value), "")
    return named or platform.processor() or platform.machine()


def _arm_core(implementer: str, part: str) -> str:
    try:
        return ARM_CORES[int(implementer, 16), int(part, 16)]
    except (KeyError, ValueError):
        return f"ARM {implementer} {part}"


def _cores(root: str) -> int | float:
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    limit = min(_quotas(root), default=cores)
    return cores if limit >= cores else int(limit) if limit == int(limit) else round(limit, 2)


def _quotas(root: str) -> list[float]:
    """The CPU limits of this process's control groups and the groups around them, CPUs; versions 2 and 1."""
    quotas = []
    for line in (_text(root, "proc/self/cgroup") or "0::/").splitlines():
        controllers, _, group = line.partition(":")[2].partition(":")
        if controllers and "cpu" not in controllers.split(","):
            continue
        parts = [part for part in group.split("/") if part and part != ".."]
        for depth in range(len(parts) + 1):
            folder = ("sys/fs/cgroup", controllers, *parts[:depth])
            if controllers:
                limit = [_text(root, *folder, f"cpu.cfs_{name}_us") or "" for name in ("quota", "period")]
            else:
                limit = (_text(root, *folder, "cpu.max") or "").split()
            if len(limit) == 2 and limit[0].isdigit() and limit[1].isdigit() and int(limit[1]):  # no limit: max or -1
                quotas.append(int(limit[0]) / int(limit[1]))
    return [quota for quota in quotas if quota > 0]


def _memory_gib(root: str) -> float | None:
    found = re.search(r"^MemTotal:\s*(\d+) kB", _text(root, "proc/meminfo") or "", re.MULTILINE)
    return round(int(found.group(1)) / 2**20, 2) if found else None


def _system(root: str) -> str:
    release = _text(root, "etc/os-release") or _text(root, "usr/lib/os-release") or ""
    named = re.search(r"^PRETTY_NAME=[\"']?(.*?)[\"']?\s*$", release, re.MULTILINE)
    kernel = _text(root, "proc/sys/kernel/osrelease") or platform.release()
    return ", ".join(([named.group(1)] if named else []) + [f"{platform.system()} {kernel}"])


def _l4t(root: str) -> dict[str, str | None]:
    """From "# R36 (release), REVISION: 4.0, GCID: ...": L4T 36.4.0, JetPack 6."""
    found = re.search(r"R(\d+) \(release\), REVISION: ([\d.]+)", _text(root, "etc/nv_tegra_release") or "")
    if not found:
        return {}
    return {"l4t": f"L4T {found.group(1)}.{found.group(2)}", "jetpack": JETPACKS.get(int(found.group(1)))}


def _nvpmodel(root: str) -> str | None:
    """The power mode, with its name where /etc/nvpmodel.conf says it: "MAXN (mode 0)"."""
    mode = re.search(r"pmode:(\d+)", _text(root, "var/lib/nvpmodel/status") or "")
    if not mode:
        return None
    number = int(mode.group(1))
    pattern = rf"<\s*POWER_MODEL\s+ID={number}\s+NAME=([^\s>]+)"
    named = re.search(pattern, _text(root, "etc/nvpmodel.conf") or "")
    return f"{named.group(1)} (mode {number})" if named else f"mode {number}"
