"""What a machine is called, from trees of files as the boards have them."""

import importlib.metadata
import os
import platform

import pytest

from ehrnet_tf.benchmark.machine import describe, memory, versions


def write(root, **files):
    """Writes path (with "__" for "/") → content."""
    for path, content in files.items():
        file = root / path.replace("__", "/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode())
    return root


def arm(*cores, model_name=""):
    """/proc/cpuinfo of cores, each (implementer, part)."""
    entries = [
        f"processor\t: {number}\n{model_name}BogoMIPS\t: 62.50\nCPU implementer\t: {implementer}\n"
        f"CPU architecture: 8\nCPU variant\t: 0x0\nCPU part\t: {part}\nCPU revision\t: 1\n"
        for number, (implementer, part) in enumerate(cores)
    ]
    return "\n".join(entries)


X86 = """processor\t: 0
vendor_id\t: GenuineIntel
model name\t: Intel(R) Core(TM) i7-8550U CPU @ 1.80GHz
flags\t\t: fpu vme

processor\t: 1
model name\t: Intel(R) Core(TM) i7-8550U CPU @ 1.80GHz
"""
NVPMODEL = """< POWER_MODEL ID=0 NAME=MAXN >
CPU_ONLINE CORE_0 1
< POWER_MODEL ID=2 NAME=15W >
"""


def test_orin_nx(tmp_path):
    write(
        tmp_path,
        proc__cpuinfo=arm(*[("0x41", "0xd42")] * 8, model_name="model name\t: ARMv8 Processor rev 1 (v8l)\n"),
        proc__meminfo="MemTotal:       16052328 kB\nMemFree:         1000 kB\n",
        etc__nv_tegra_release="# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64, "
        "DATE: Wed Jan  8 01:49:37 UTC 2025\n# KERNEL_VARIANT: oot\n",
        var__lib__nvpmodel__status="pmode:0002",
        proc__sys__kernel__osrelease="5.15.148-tegra\n",
    )
    write(tmp_path, **{"proc__device-tree__model": "NVIDIA Jetson Orin NX Engineering Reference Developer Kit\0"})
    write(tmp_path, **{"etc__os-release": 'NAME="Ubuntu"\nPRETTY_NAME="Ubuntu 22.04.5 LTS"\nID=ubuntu\n'})
    write(tmp_path, **{"etc__nvpmodel.conf": NVPMODEL})
    write(tmp_path, sys__devices__system__cpu__cpu0__cpufreq__scaling_governor="schedutil\n")
    assert describe(tmp_path) == {
        "cpu": "8x Cortex-A78AE",
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": 15.31,
        "system": f"Ubuntu 22.04.5 LTS, {platform.system()} 5.15.148-tegra",
        "machine": platform.machine(),
        "board": "NVIDIA Jetson Orin NX Engineering Reference Developer Kit",
        "l4t": "L4T 36.4.3",
        "jetpack": "JetPack 6",
        "governor": "schedutil",
        "nvpmodel": "15W (mode 2)",
        "python": platform.python_version(),
    }


@pytest.mark.parametrize(
    ("release", "l4t", "jetpack"),
    [
        ("# R36 (release), REVISION: 4.0, GCID: 37537400, BOARD: generic", "L4T 36.4.0", "JetPack 6"),
        ("# R35 (release), REVISION: 4.1, GCID: 33958178, BOARD: t186ref", "L4T 35.4.1", "JetPack 5"),
        ("# R32 (release), REVISION: 7.1, GCID: 29818004, BOARD: t210ref", "L4T 32.7.1", "JetPack 4"),
        ("# R21 (release), REVISION: 8.0", "L4T 21.8.0", None),
        ("garbage", None, None),
    ],
)
def test_jetson_linux(release, l4t, jetpack, tmp_path):
    found = describe(write(tmp_path, etc__nv_tegra_release=release))
    assert (found.get("l4t"), found.get("jetpack")) == (l4t, jetpack)


@pytest.mark.parametrize(
    ("cores", "expected"),
    [
        ([("0x4e", "0x003")] * 2 + [("0x41", "0xd07")] * 4, "2x Denver 2 + 4x Cortex-A57"),  # TX2
        ([("0x4e", "0x004")] * 6, "6x Carmel"),  # Xavier NX
        ([("0x41", "0xd07")] * 4, "4x Cortex-A57"),  # Nano
        ([("0x41", "0xd03")] * 4, "4x Cortex-A53"),  # Raspberry Pi 3
        ([("0x41", "0xd08")] * 4, "4x Cortex-A72"),  # Raspberry Pi 4
        ([("0x41", "0xd0b")] * 4, "4x Cortex-A76"),  # Raspberry Pi 5
        ([("0x41", "0xfff")], "1x ARM 0x41 0xfff"),
        ([("0x41", "what")], "1x ARM 0x41 what"),
    ],
)
def test_arm_cores(cores, expected, tmp_path):
    assert describe(write(tmp_path, proc__cpuinfo=arm(*cores)))["cpu"] == expected


def test_x86(tmp_path):
    assert describe(write(tmp_path, proc__cpuinfo=X86))["cpu"] == "Intel(R) Core(TM) i7-8550U CPU @ 1.80GHz"


def test_many_processors(tmp_path):
    assert describe(write(tmp_path, proc__cpuinfo=arm(*[("0x41", "0xd0c")] * 900)))["cpu"] == "900x Neoverse-N1"


def test_raspberry_pi(tmp_path):
    write(tmp_path, **{"proc__device-tree__model": "Raspberry Pi 5 Model B Rev 1.0\0"})
    write(tmp_path, **{"usr__lib__os-release": "PRETTY_NAME='Debian GNU/Linux 12 (bookworm)'\n"})
    found = describe(write(tmp_path, proc__sys__kernel__osrelease="6.12.25+rpt-rpi-2712\n"))
    assert found["board"] == "Raspberry Pi 5 Model B Rev 1.0"
    assert found["system"] == f"Debian GNU/Linux 12 (bookworm), {platform.system()} 6.12.25+rpt-rpi-2712"
    assert not {"l4t", "jetpack", "nvpmodel", "governor"} & set(found)


def test_nothing_there(tmp_path):
    found = describe(tmp_path)
    assert set(found) == {"cpu", "cores", "system", "machine", "python"}
    assert found["system"] == f"{platform.system()} {platform.release()}"


def test_folders_instead_of_files(tmp_path):
    for path in ("proc/cpuinfo", "proc/meminfo", "etc/os-release", "etc/nv_tegra_release", "proc/self/cgroup"):
        (tmp_path / path).mkdir(parents=True)
    assert set(describe(tmp_path)) == {"cpu", "cores", "system", "machine", "python"}


def test_this_machine():
    found = describe()
    assert 0 < found["cores"] <= os.cpu_count()
    assert all(isinstance(value, (str, int, float)) for value in found.values())


@pytest.mark.parametrize(
    ("status", "expected"), [("pmode:0000", "MAXN (mode 0)"), ("pmode:0008 fmode:quiet", "mode 8"), ("broken", None)]
)
def test_nvpmodel(status, expected, tmp_path):
    write(tmp_path, **{"etc__nvpmodel.conf": NVPMODEL, "var__lib__nvpmodel__status": status})
    assert describe(tmp_path).get("nvpmodel") == expected


@pytest.fixture
def eight_cpus(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)


@pytest.mark.parametrize(
    ("limit", "expected"),
    [("max 100000", 8), ("200000 100000", 2), ("150000 100000", 1.5), ("1600000 100000", 8), ("", 8), ("1 0", 8)],
)
def test_limit_of_a_container(limit, expected, eight_cpus, tmp_path):
    write(tmp_path, proc__self__cgroup="0::/\n")
    write(tmp_path, **{"sys__fs__cgroup__cpu.max": limit})
    cores = describe(tmp_path)["cores"]
    assert cores == expected
    assert isinstance(cores, type(expected))


def test_limit_of_a_group_around(eight_cpus, tmp_path):
    write(tmp_path, proc__self__cgroup="0::/user.slice/user-1000.slice/session.scope\n")
    write(tmp_path, **{"sys__fs__cgroup__user.slice__user-1000.slice__cpu.max": "300000 100000"})
    write(tmp_path, **{"sys__fs__cgroup__user.slice__cpu.max": "max 100000"})
    assert describe(tmp_path)["cores"] == 3


@pytest.mark.parametrize(("quota", "expected"), [("-1", 8), ("400000", 4)])
def test_limit_of_control_groups_1(quota, expected, eight_cpus, tmp_path):
    write(tmp_path, proc__self__cgroup="5:memory:/docker/1\n4:cpu,cpuacct:/docker/1\n0::/\n")
    folder = "sys__fs__cgroup__cpu,cpuacct__docker__1"
    write(tmp_path, **{f"{folder}__cpu.cfs_quota_us": quota, f"{folder}__cpu.cfs_period_us": "100000"})
    assert describe(tmp_path)["cores"] == expected


def test_versions(monkeypatch):
    installed = {"numpy": "1.26.4", "opencv-contrib-python": "4.11.0.86", "onnxruntime-gpu": "1.19.0"}

    def version(name):
        if name not in installed:
            raise importlib.metadata.PackageNotFoundError(name)
        return installed[name]

    monkeypatch.setattr(importlib.metadata, "version", version)
    assert versions("numpy", "opencv", "onnxruntime", "keras") == {
        "numpy": "1.26.4",
        "opencv": "4.11.0.86",
        "onnxruntime": "1.19.0",
    }
    assert versions() == {"onnxruntime": "1.19.0", "numpy": "1.26.4", "opencv": "4.11.0.86"}


def test_versions_here():
    assert versions("pytest") == {"pytest": pytest.__version__}
    assert versions("no-such-package-here") == {}


def test_memory(tmp_path):
    write(tmp_path, proc__self__status="Name:\tpython\nVmPeak:\t  9999 kB\nVmHWM:\t  204800 kB\nVmRSS:\t  102400 kB\n")
    assert memory(tmp_path) == {"resident": 100.0, "peak": 200.0}
    assert memory(tmp_path / "elsewhere") == {}


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="no /proc")
def test_memory_here():
    assert 1 < memory()["resident"] <= memory()["peak"]
