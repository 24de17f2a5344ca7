"""Power, clocks and temperatures of the machine, read from sysfs: Jetson, Raspberry Pi and ordinary Linux.

Needs the standard library only, and Python 3.8. What a machine does not have, or does not let this user read, is left
out; nothing here raises for it.

Sources: NVIDIA Jetson Linux Developer Guide, "Platform Power and Performance" (rails, over-current events); kernel
documentation of hwmon, cpufreq, devfreq and thermal; Raspberry Pi documentation, `vcgencmd get_throttled` (bits).
"""

from __future__ import annotations

import dataclasses
import glob
import os
import re
import threading
import time
from collections.abc import Callable, Iterable

from ehrnet_tf.errors import UsageError

# The rails that add up to the whole module's input, by board; see `total`.
TOTALS = (
    ("VDD_IN",),  # TX1, TX2, Xavier NX, Orin Nano, Orin NX
    ("POM_5V_IN",),  # Nano
    ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"),  # AGX Orin: VIN_SYS_5V0 holds VDDQ_VDD2_1V8AO
    ("GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"),  # AGX Xavier
)
THROTTLE_BITS = ("under-voltage", "frequency capped", "throttled", "soft temperature limit")  # Raspberry Pi, bits 0..3
OVER_CURRENT = {"1": "under-voltage", "2": "average over-current", "3": "over-current"}  # Orin, oc<n>_event_cnt
COLDEST = -200.0  # degrees C; a Jetson's zone without power reads -256

Inputs = dict  # name → (files whose numbers are multiplied, what to divide the product by)


@dataclasses.dataclass(frozen=True)
class Reading:
    """What the sensors say at one moment.

    Attributes:
      power: rail → watts.
      clocks: "gpu", "emc" (memory), "cpu0", ... → MHz; CPUs that share a clock stand under the first of them.
      temperatures: zone → degrees C.
      gpu_load: 0..1, or None.
      throttled: what limits the machine now, () for nothing; None where it does not say. A Raspberry Pi with a kernel
        from 6.12 on tells of under-voltage only.
      happened: cause → times it limited the machine since it was started; a Raspberry Pi says 0 or 1.
    """

    power: dict[str, float] = dataclasses.field(default_factory=dict)
    clocks: dict[str, float] = dataclasses.field(default_factory=dict)
    temperatures: dict[str, float] = dataclasses.field(default_factory=dict)
    gpu_load: float | None = None
    throttled: tuple[str, ...] | None = None
    happened: dict[str, int] = dataclasses.field(default_factory=dict)


def total(power: dict[str, float]) -> float | None:
    """The whole module's input power, W, from the power by rail; None where the rails do not tell.

    The rail that measures the input, where the board has one (its other rails are parts of it); the sum of the input
    rails on AGX boards. The carrier board is not in it. Never the sum of part of the rails: one that is missing gives
    None.
    """
    for rails in TOTALS:
        if all(rail in power for rail in rails):
            return sum(power[rail] for rail in rails)
    return None


class Sensors:
    """The sensors of this machine; which there are is found once, here.

    Args:
      root: where the file system begins.
    """

    def __init__(self, root: str | os.PathLike = "/"):
        self._root = os.fspath(root)
        self._power = self._find_rails()
        self._clocks = self._find_clocks()
        self._temperatures = self._find_temperatures()
        self._loads = self._files(
            "sys/devices/gpu.0/load", "sys/devices/platform/gpu.0/load", "sys/class/devfreq/*.g*/device/load"
        )
        self._throttled = self._files("sys/devices/platform/soc*/soc*firmware/get_throttled")
        volts = self._files("sys/class/hwmon/hwmon*/in0_lcrit_alarm")
        self._alarms = [("under-voltage", file) for file in volts if _name(file) == "rpi_volt"]
        for file in self._files("sys/class/thermal/cooling_device*/cur_state"):
            kind = read_text(_beside(file, "type")) or ""
            if re.search("throttle|cpufreq|devfreq", kind):  # not fans
                self._alarms.append((kind, file))
        self._events = self._files("sys/class/hwmon/hwmon*/oc*_event_cnt")

    def read(self) -> Reading:
        """Reads all sensors now; a few milliseconds where they are behind I2C (INA3221)."""
        temperatures = {zone: value for zone, value in _values(self._temperatures).items() if value > COLDEST}
        load = next((value for value in map(_number, self._loads) if value is not None), None)
        throttled, happened = self._limits()
        load = None if load is None else load / 1000
        return Reading(_values(self._power), _values(self._clocks), temperatures, load, throttled, happened)

    def _limits(self) -> tuple[tuple[str, ...] | None, dict[str, int]]:
        states = [(name, _number(file)) for name, file in self._alarms]
        happened = {}
        bits = next((value for value in (_number(file, 16) for file in self._throttled) if value is not None), None)
        if bits is not None:
            states += [(name, bits >> bit & 1) for bit, name in enumerate(THROTTLE_BITS)]
            happened = {name: bits >> 16 + bit & 1 for bit, name in enumerate(THROTTLE_BITS)}
        for file in self._events:
            count, number = _number(file), re.sub(r"\D", "", os.path.basename(file))
            if count is not None:
                happened[OVER_CURRENT.get(number, f"over-current {number}")] = count
        known = any(value is not None for _, value in states)
        now = {name for name, value in states if value is not None and value > 0}
        return tuple(sorted(now)) if known else None, happened

    def _find_rails(self) -> Inputs:
        """INA3221 under hwmon (JetPack 5, 6; mV, mA) and iio (JetPack 4; mW), then other chips' power (µW)."""
        rails: Inputs = {}
        folders = self._files("sys/bus/i2c/drivers/ina3221/*/hwmon/hwmon*", "sys/class/hwmon/hwmon*")
        for folder in folders:
            if read_text(f"{folder}/name") != "ina3221":
                continue
            for channel in "123":  # in4 to in7 are shunt voltages and their sum
                label = read_text(f"{folder}/in{channel}_label") or f"{os.path.basename(folder)} in{channel}"
                files = (f"{folder}/in{channel}_input", f"{folder}/curr{channel}_input")
                if label != "NC" and all(map(os.path.exists, files)):
                    rails.setdefault(label, (files, 1e6))
        for file in self._files("sys/bus/i2c/drivers/ina3221x/*/iio*device*/in_power*_input"):
            channel = re.sub(r"\D", "", os.path.basename(file))
            label = read_text(_beside(file, f"rail_name_{channel}"))
            if label and label != "NC":
                rails.setdefault(label, ((file,), 1e3))
        for file in self._files("sys/class/hwmon/hwmon*/power*_input"):
            rails.setdefault(_label(file), ((file,), 1e6))
        return rails

    def _find_clocks(self) -> Inputs:
        clocks: Inputs = {}
        gpus = self._files("sys/devices/gpu.0/devfreq/*/cur_freq", "sys/class/devfreq/*/cur_freq")
        for file in gpus:  # 17000000.gpu, 57000000.gpu, 17000000.ga10b, .gv11b, .gp10b
            if re.search(r"gpu|\.g[abmpv]\d+b$", os.path.basename(os.path.dirname(file))):
                clocks.setdefault("gpu", ((file,), 1e6))
        for file in self._files("sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_cur_freq"):
            clocks[file.split(os.sep)[-3]] = ((file,), 1e3)
        for file in self._files("sys/kernel/debug/bpmp/debug/clk/emc/rate", "sys/kernel/debug/clk/emc/clk_rate"):
            clocks.setdefault("emc", ((file,), 1e6))  # for root only
        return clocks

    def _find_temperatures(self) -> Inputs:
        zones: Inputs = {}
        for file in self._files("sys/class/thermal/thermal_zone*/temp"):
            name = read_text(_beside(file, "type")) or os.path.basename(os.path.dirname(file))
            if name != "PMIC-Die":  # a dummy on Jetson, always 100
                zones[_unused(name, zones)] = ((file,), 1e3)
        for file in self._files("sys/class/hwmon/hwmon*/temp*_input"):
            if "thermal_zone" not in os.path.realpath(file):  # those are above already
                zones[_unused(_label(file), zones)] = ((file,), 1e3)
        return zones

    def _files(self, *patterns: str) -> list[str]:
        """What matches below the root, in order of number, each file once whatever links lead to it."""
        found: dict[str, str] = {}
        for pattern in patterns:
            matches = glob.glob(os.path.join(glob.escape(self._root), pattern))
            for path in sorted(matches, key=lambda p: [int(s) if s.isdecimal() else s for s in re.split(r"(\d+)", p)]):
                found.setdefault(os.path.realpath(path), path)
        return list(found.values())


class Monitor:
    """Reads sensors in the background while a block runs.

        with Monitor() as monitor:
            work()
        monitor.summary()

    A reading is also taken at the block's begin and end.

    Args:
      sensors: what to read; by default this machine's.
      interval: seconds from reading to reading; longer where a reading takes over a tenth of it.
      clock: seconds from any moment on.

    Attributes:
      samples: the clock and what was read, in order of time; some 2 kB each.

    Raises:
      UsageError: the interval is not above 0.
    """

    def __init__(
        self, sensors: Sensors | None = None, interval: float = 0.1, clock: Callable[[], float] = time.perf_counter
    ):
        if not interval > 0:
            raise UsageError(f"interval {interval}: give seconds above 0")
        self.sensors = sensors or Sensors()
        self.interval = interval
        self.samples: list[tuple[float, Reading]] = []
        self._clock = clock
        self._stop = threading.Event()

    def __enter__(self) -> Monitor:
        self.samples = []
        self._stop.clear()
        self._sample()
        self._thread = threading.Thread(target=self._run, name="sensors", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error) -> None:
        self._stop.set()
        self._thread.join()
        self._sample()

    def summary(self) -> dict:
        """What was measured in the block.

        Returns:
          seconds (first to last reading), samples; power: rail → {"mean", "peak"} W and "energy" J; total: the same of
          the whole module, or None; clocks: name → {"min", "mean"} MHz; temperatures: zone → peak, degrees C; gpu_load:
          mean 0..1, or None; throttled: what limited the machine in the block, sorted, or None where unknown. Energy is
          the integral by the trapezoidal rule, mean power the energy over the time; other means are over readings.
        """
        readings = [reading for _, reading in self.samples]
        loads = [reading.gpu_load for reading in readings if reading.gpu_load is not None]
        rails = _gather(reading.power for reading in readings)
        clocks = _gather(reading.clocks for reading in readings)
        return {
            "seconds": self.samples[-1][0] - self.samples[0][0] if readings else 0.0,
            "samples": len(readings),
            "power": {rail: self._power(lambda power, rail=rail: power.get(rail)) for rail in rails},
            "total": self._power(total),
            "clocks": {name: {"min": min(mhz), "mean": sum(mhz) / len(mhz)} for name, mhz in clocks.items()},
            "temperatures": {zone: max(c) for zone, c in _gather(r.temperatures for r in readings).items()},
            "gpu_load": sum(loads) / len(loads) if loads else None,
            "throttled": _limited(readings),
        }

    def energy_per(self, count: int) -> float | None:
        """The whole module's energy by picture, J; None where its power is unknown.

        Args:
          count: pictures that the block worked on.

        Raises:
          UsageError: the count is not above 0.
        """
        if not count > 0:
            raise UsageError(f"{count} pictures: give a count above 0")
        whole = self._power(total)
        return None if whole is None else whole["energy"] / count

    def _run(self) -> None:
        spent = 0.0
        while not self._stop.wait(max(self.interval - spent, 9 * spent)):
            begin = time.perf_counter()
            self._sample()
            spent = time.perf_counter() - begin

    def _sample(self) -> None:
        moment = self._clock()
        self.samples.append((moment, self.sensors.read()))

    def _power(self, watts_of: Callable[[dict[str, float]], float | None]) -> dict[str, float] | None:
        values = [(moment, watts_of(reading.power)) for moment, reading in self.samples]
        values = [(moment, watts) for moment, watts in values if watts is not None]
        if not values:
            return None
        energy, (begin, last) = 0.0, values[0]
        before = begin
        for moment, watts in values[1:]:
            energy += (moment - before) * (last + watts) / 2
            before, last = moment, watts
        mean = energy / (before - begin) if before > begin else last
        return {"mean": mean, "peak": max(watts for _, watts in values), "energy": energy}


def read_text(path: str) -> str | None:
    """A small file's text without blanks and NULs at its ends; None if it cannot be read.

    Without open(), whose read() raises TypeError where a sensor answers EAGAIN.
    """
    content = b""
    try:
        file = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        try:
            while block := os.read(file, 1 << 16):
                content += block
        finally:
            os.close(file)
    except OSError:
        return None
    return content.decode(errors="replace").strip("\0 \t\r\n")


def _number(path: str, base: int = 10) -> int | None:
    try:
        return int(read_text(path) or "", base)
    except ValueError:
        return None


def _values(inputs: Inputs) -> dict[str, float]:
    """Name → value of the inputs that can be read."""
    values = {}
    for name, (files, divisor) in inputs.items():
        product: int | None = 1
        for file in files:
            number = _number(file)
            product = None if product is None or number is None else product * number
        if product is not None:
            values[name] = product / divisor
    return values


def _beside(file: str, name: str) -> str:
    return os.path.join(os.path.dirname(file), name)


def _name(file: str) -> str:
    """The chip that a file of a hwmon folder belongs to."""
    return read_text(_beside(file, "name")) or os.path.basename(os.path.dirname(file))


def _label(file: str) -> str:
    """What a hwmon input measures: chip and label, or chip and input."""
    sensor = os.path.basename(file)[: -len("_input")]
    return f"{_name(file)} {read_text(_beside(file, sensor + '_label')) or sensor}"


def _unused(name: str, names: Inputs) -> str:
    """The name, numbered from the second on."""
    tries = [name] + [f"{name} {number}" for number in range(2, len(names) + 2)]
    return next(candidate for candidate in tries if candidate not in names)


def _gather(readings: Iterable[dict[str, float]]) -> dict[str, list[float]]:
    gathered: dict[str, list[float]] = {}
    for reading in readings:
        for name, value in reading.items():
            gathered.setdefault(name, []).append(value)
    return gathered


def _limited(readings: list[Reading]) -> list[str] | None:
    """What limited the machine at a reading, or between the first and the last by the counts."""
    known = [reading.throttled for reading in readings if reading.throttled is not None]
    counts = _gather(reading.happened for reading in readings)
    if not known and not counts:
        return None
    between = {name for name, values in counts.items() if values[-1] > values[0]}
    return sorted(between.union(*known))
