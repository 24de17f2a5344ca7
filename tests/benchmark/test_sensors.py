"""Sensors in trees of files as the boards have them, and a monitor with a clock of its own."""

import os
import threading

import pytest

from ehrnet_tf.benchmark import sensors as module
from ehrnet_tf.benchmark.sensors import Monitor, Reading, Sensors, read_text, total
from ehrnet_tf.errors import UsageError


def write(folder, **files):
    """Writes name → content into a folder; kernel files end in a line break."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_text(f"{content}\n")
    return folder


def link(path, to):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(os.path.relpath(to, path.parent), target_is_directory=True)


def zones(root, **temperatures):
    for number, (name, temperature) in enumerate(temperatures.items()):
        folder = root / f"sys/devices/virtual/thermal/thermal_zone{number}"
        write(folder, type=name.replace("_", "-"), temp=temperature)
        link(root / f"sys/class/thermal/thermal_zone{number}", folder)


def cluster(root, cpus, khz):
    folder = write(root / f"sys/devices/system/cpu/cpufreq/policy{cpus[0]}", scaling_cur_freq=khz)
    for cpu in cpus:
        link(root / f"sys/devices/system/cpu/cpu{cpu}/cpufreq", folder)


def ina3221(root, chip, hwmon, bus, rails):
    """The chip of JetPack 5 and 6 under its driver and its class: channel → (label, mV, mA)."""
    device = root / f"sys/devices/platform/{bus}/{chip}"
    folder = write(device / f"hwmon/{hwmon}", name="ina3221", in7_label="sum of shunt voltages", in7_input=999)
    for channel, (label, millivolts, milliamperes) in rails.items():
        write(folder, **{f"in{channel}_label": label, f"in{channel}_input": millivolts})
        write(folder, **{f"curr{channel}_input": milliamperes})
    link(root / f"sys/bus/i2c/drivers/ina3221/{chip}", device)
    link(root / f"sys/class/hwmon/{hwmon}", folder)
    return folder


@pytest.fixture
def orin_nx(tmp_path):
    """JetPack 6."""
    rails = {1: ("VDD_IN", 5040, 1856), 2: ("VDD_CPU_GPU_CV", 5040, 512), 3: ("VDD_SOC", 5040, 400)}
    ina3221(tmp_path, "1-0040", "hwmon1", "bus@0/c240000.i2c/i2c-1", rails)
    gpu = write(tmp_path / "sys/devices/platform/bus@0/17000000.gpu", load=437)
    write(gpu / "devfreq/17000000.gpu", cur_freq=918000000)
    link(tmp_path / "sys/devices/platform/gpu.0", gpu)
    link(tmp_path / "sys/class/devfreq/17000000.gpu", gpu / "devfreq/17000000.gpu")
    encoder = write(tmp_path / "sys/devices/platform/bus@0/13e00000.host1x/154c0000.nvenc/devfreq/154c0000.nvenc")
    write(encoder, cur_freq=115200000)
    link(tmp_path / "sys/class/devfreq/154c0000.nvenc", encoder)
    cluster(tmp_path, range(4), 1984000)
    cluster(tmp_path, range(4, 8), 729600)
    write(tmp_path / "sys/kernel/debug/bpmp/debug/clk/emc", rate=3199000000)
    zones(tmp_path, cpu_thermal=50125, gpu_thermal=48000, cv0_thermal=-256000, tj_thermal=50125)
    write(tmp_path / "sys/class/hwmon/hwmon2", name="soctherm_oc", oc1_event_cnt=0, oc2_event_cnt=0, oc3_event_cnt=7)
    write(tmp_path / "sys/class/thermal/cooling_device0", type="cpu-throttle-alert", cur_state=0)
    write(tmp_path / "sys/class/thermal/cooling_device1", type="pwm-fan", cur_state=3)
    return tmp_path


@pytest.fixture
def xavier_nx(tmp_path):
    """JetPack 5."""
    rails = {1: ("VDD_IN", 4960, 1000), 2: ("VDD_CPU_GPU_CV", 4960, 200), 3: ("VDD_SOC", 4960, 150)}
    ina3221(tmp_path, "7-0040", "hwmon6", "c240000.i2c/i2c-7", rails)
    gpu = write(tmp_path / "sys/devices/17000000.gv11b", load=0)
    write(gpu / "devfreq/17000000.gv11b", cur_freq=114750000)
    link(tmp_path / "sys/devices/gpu.0", gpu)
    link(tmp_path / "sys/devices/platform/gpu.0", gpu)
    link(tmp_path / "sys/class/devfreq/17000000.gv11b", gpu / "devfreq/17000000.gv11b")
    cluster(tmp_path, range(2), 1190400)
    zones(tmp_path, AUX_therm=40000, CPU_therm=41500, PMIC_Die=100000)
    return tmp_path


@pytest.fixture
def nano(tmp_path):
    """JetPack 4."""
    device = tmp_path / "sys/devices/7000c400.i2c/i2c-6/6-0040"
    folder = write(device / "iio:device0", name="ina3221x")
    for channel, (label, milliwatts) in enumerate([("POM_5V_IN", 2562), ("POM_5V_GPU", 82), ("POM_5V_CPU", 535)]):
        write(folder, **{f"rail_name_{channel}": label, f"in_power{channel}_input": milliwatts})
        write(folder, **{f"in_power{channel}_trigger_input": milliwatts})
    link(device / "iio_device", folder)  # its name before
    link(tmp_path / "sys/bus/i2c/drivers/ina3221x/6-0040", device)
    gpu = write(tmp_path / "sys/devices/57000000.gpu", load=1000)
    write(gpu / "devfreq/57000000.gpu", cur_freq=921600000)
    link(tmp_path / "sys/devices/gpu.0", gpu)
    cluster(tmp_path, range(4), 1479000)
    write(tmp_path / "sys/kernel/debug/clk/emc", clk_rate=1600000000)
    zones(tmp_path, AO_therm=41500, CPU_therm=34000, GPU_therm=31000, PLL_therm=31500, PMIC_Die=100000)
    return tmp_path


@pytest.fixture
def raspberry_pi_5(tmp_path):
    write(tmp_path / "sys/devices/platform/soc/soc:firmware", get_throttled="50005")
    cluster(tmp_path, range(4), 2400000)
    zones(tmp_path, cpu_thermal=65300)
    inner = tmp_path / "sys/devices/virtual/thermal/thermal_zone0/hwmon0"
    link(tmp_path / "sys/class/hwmon/hwmon0", write(inner, name="cpu_thermal", temp1_input=65300))
    converter = tmp_path / "sys/devices/platform/axi/1000120000.pcie/1f000c8000.adc/hwmon/hwmon1"
    link(tmp_path / "sys/class/hwmon/hwmon1", write(converter, name="rp1_adc", temp1_input=51234, in1_input=1474))
    volts = tmp_path / "sys/devices/platform/soc/soc:firmware/raspberrypi-hwmon/hwmon/hwmon2"
    link(tmp_path / "sys/class/hwmon/hwmon2", write(volts, name="rpi_volt", in0_lcrit_alarm=0))
    return tmp_path


def test_orin_nx(orin_nx):
    reading = Sensors(orin_nx).read()
    assert reading.power == pytest.approx({"VDD_IN": 9.35424, "VDD_CPU_GPU_CV": 2.58048, "VDD_SOC": 2.016}, abs=1e-9)
    assert total(reading.power) == pytest.approx(9.35424, abs=1e-9)
    assert reading.clocks == {"gpu": 918, "cpu0": 1984, "cpu4": 729.6, "emc": 3199}
    assert reading.temperatures == {"cpu-thermal": 50.125, "gpu-thermal": 48, "tj-thermal": 50.125}
    assert reading.gpu_load == 0.437
    assert reading.throttled == ()
    assert reading.happened == {"under-voltage": 0, "average over-current": 0, "over-current": 7}


def test_orin_that_is_too_hot(orin_nx):
    write(orin_nx / "sys/class/thermal/cooling_device0", cur_state=1)
    assert Sensors(orin_nx).read().throttled == ("cpu-throttle-alert",)


def test_xavier_nx(xavier_nx):
    reading = Sensors(str(xavier_nx)).read()
    assert reading.power == pytest.approx({"VDD_IN": 4.96, "VDD_CPU_GPU_CV": 0.992, "VDD_SOC": 0.744}, abs=1e-9)
    assert total(reading.power) == pytest.approx(4.96, abs=1e-9)
    assert reading.clocks == {"gpu": 114.75, "cpu0": 1190.4}
    assert reading.temperatures == {"AUX-therm": 40, "CPU-therm": 41.5}
    assert reading.gpu_load == 0
    assert reading.throttled is None
    assert reading.happened == {}


def test_nano(nano):
    reading = Sensors(nano).read()
    assert reading.power == pytest.approx({"POM_5V_IN": 2.562, "POM_5V_GPU": 0.082, "POM_5V_CPU": 0.535}, abs=1e-9)
    assert total(reading.power) == pytest.approx(2.562, abs=1e-9)
    assert reading.clocks == {"gpu": 921.6, "cpu0": 1479, "emc": 1600}
    assert reading.temperatures == {"AO-therm": 41.5, "CPU-therm": 34, "GPU-therm": 31, "PLL-therm": 31.5}
    assert reading.gpu_load == 1


def test_raspberry_pi(raspberry_pi_5):
    reading = Sensors(raspberry_pi_5).read()
    assert (reading.power, total(reading.power)) == ({}, None)
    assert reading.clocks == {"cpu0": 2400}
    assert reading.temperatures == {"cpu-thermal": 65.3, "rp1_adc temp1": 51.234}
    assert reading.throttled == ("throttled", "under-voltage")
    expected = {"under-voltage": 1, "frequency capped": 0, "throttled": 1, "soft temperature limit": 0}
    assert reading.happened == expected


@pytest.mark.parametrize(
    ("bits", "now", "before"),
    [
        ("0", (), set()),
        ("0x0", (), set()),
        ("a", ("frequency capped", "soft temperature limit"), set()),
        ("80000", (), {"soft temperature limit"}),
        ("20004", ("throttled",), {"frequency capped"}),
    ],
)
def test_raspberry_pi_bits(bits, now, before, tmp_path):
    write(tmp_path / "sys/devices/platform/soc@107c000000/soc@107c000000:firmware", get_throttled=bits)
    reading = Sensors(tmp_path).read()
    assert reading.throttled == now
    assert {name for name, count in reading.happened.items() if count} == before


@pytest.mark.parametrize(("alarm", "expected"), [(0, ()), (1, ("under-voltage",))])
def test_raspberry_pi_without_get_throttled(alarm, expected, raspberry_pi_5):
    (raspberry_pi_5 / "sys/devices/platform/soc/soc:firmware/get_throttled").unlink()
    write(raspberry_pi_5 / "sys/class/hwmon/hwmon2", in0_lcrit_alarm=alarm)
    reading = Sensors(raspberry_pi_5).read()
    assert (reading.throttled, reading.happened) == (expected, {})


def test_nothing_there(tmp_path):
    assert Sensors(tmp_path).read() == Reading()
    assert Reading() == Reading({}, {}, {}, None, None, {})


def test_this_machine():
    assert isinstance(Sensors().read(), Reading)


def test_agx_orin_adds_its_inputs_up(tmp_path):
    rails = {1: ("VDD_GPU_SOC", 19000, 200), 2: ("VDD_CPU_CV", 19000, 100), 3: ("VIN_SYS_5V0", 4968, 1000)}
    ina3221(tmp_path, "1-0040", "hwmon3", "bus@0/c240000.i2c/i2c-1", rails)
    rails = {1: ("NC", 0, 0), 2: ("VDDQ_VDD2_1V8AO", 4968, 100), 3: ("NC", 0, 0)}
    ina3221(tmp_path, "1-0041", "hwmon4", "bus@0/c240000.i2c/i2c-1", rails)
    power = Sensors(tmp_path).read().power
    assert list(power) == ["VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0", "VDDQ_VDD2_1V8AO"]
    assert total(power) == pytest.approx(3.8 + 1.9 + 4.968, abs=1e-9)


@pytest.mark.parametrize(
    ("power", "expected"),
    [
        ({}, None),
        ({"VDD_SOC": 1.0}, None),
        ({"VDD_IN": 6.0, "VDD_SYS_GPU": 1.0, "VDD_MUX": 9.0}, 6.0),
        ({"GPU": 1.0, "CPU": 2.0, "SOC": 3.0, "CV": 4.0, "VDDRQ": 5.0, "SYS5V": 6.0}, 21.0),
        ({"GPU": 1.0, "CPU": 2.0, "SOC": 3.0, "CV": 4.0, "VDDRQ": 5.0}, None),
        ({"VDD_GPU_SOC": 1.0, "VDD_CPU_CV": 2.0}, None),
    ],
)
def test_total(power, expected):
    assert total(power) == expected


def test_other_chips(tmp_path):
    chip = tmp_path / "sys/class/hwmon"
    write(chip / "hwmon0", name="amdgpu", power1_input=35000000, power1_label="PPT", temp1_input=47000)
    write(chip / "hwmon2", name="nvme", temp1_input=40850, temp1_label="Composite")
    write(chip / "hwmon10", name="nvme", temp1_input=38850, temp1_label="Composite")
    write(chip / "hwmon11", name="ina3221", in2_input=5000, curr2_input=100)  # no labels in the device tree
    for zone in (0, 1):
        write(tmp_path / f"sys/class/thermal/thermal_zone{zone}", type="acpitz", temp=20000 + zone)
    reading = Sensors(tmp_path).read()
    assert reading.power == pytest.approx({"amdgpu PPT": 35.0, "hwmon11 in2": 0.5}, abs=1e-9)
    assert reading.temperatures == {
        "acpitz": 20.0,
        "acpitz 2": 20.001,
        "amdgpu temp1": 47.0,
        "nvme Composite": 40.85,
        "nvme Composite 2": 38.85,
    }


@pytest.mark.parametrize("content", ["", "garbage", "<unknown>", "nan", "1.5.2"])
def test_garbage_is_left_out(content, orin_nx):
    found = Sensors(orin_nx)
    write(orin_nx / "sys/class/hwmon/hwmon1", curr1_input=content)
    write(orin_nx / "sys/devices/system/cpu/cpufreq/policy0", scaling_cur_freq=content)
    write(orin_nx / "sys/class/thermal/thermal_zone0", temp=content)
    write(orin_nx / "sys/devices/platform/gpu.0", load=content)
    write(orin_nx / "sys/class/hwmon/hwmon2", oc3_event_cnt=content)
    reading = found.read()
    assert list(reading.power) == ["VDD_CPU_GPU_CV", "VDD_SOC"]
    assert total(reading.power) is None
    assert list(reading.clocks) == ["gpu", "cpu4", "emc"]
    assert list(reading.temperatures) == ["gpu-thermal", "tj-thermal"]
    assert reading.gpu_load is None
    assert list(reading.happened) == ["under-voltage", "average over-current"]


def test_folders_and_vanished_files_are_left_out(orin_nx):
    found = Sensors(orin_nx)
    current, clock = orin_nx / "sys/class/hwmon/hwmon1/curr2_input", orin_nx / "sys/class/devfreq/17000000.gpu/cur_freq"
    current.unlink()
    current.mkdir()
    clock.unlink()
    reading = found.read()
    assert list(reading.power) == ["VDD_IN", "VDD_SOC"]
    assert "gpu" not in reading.clocks


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes")
def test_a_sensor_that_says_again_is_left_out(orin_nx):
    zone = orin_nx / "sys/class/thermal/thermal_zone1/temp"
    zone.unlink()
    os.mkfifo(zone)
    keep = os.open(zone, os.O_RDWR)  # someone who could write but does not: EAGAIN
    try:
        assert list(Sensors(orin_nx).read().temperatures) == ["cpu-thermal", "tj-thermal"]
    finally:
        os.close(keep)


@pytest.mark.parametrize("error", [PermissionError, BlockingIOError, OSError(22, "Invalid argument"), OSError(61, "")])
def test_errors_of_the_kernel_are_left_out(error, nano, monkeypatch):
    found, real = Sensors(nano), os.read
    emc = os.stat(nano / "sys/kernel/debug/clk/emc/clk_rate").st_ino

    def read(file, size):
        if os.fstat(file).st_ino == emc:
            raise error
        return real(file, size)

    monkeypatch.setattr(module.os, "read", read)
    assert list(found.read().clocks) == ["gpu", "cpu0"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_permissions(nano):
    (nano / "sys/kernel/debug/clk/emc/clk_rate").chmod(0)
    assert list(Sensors(nano).read().clocks) == ["gpu", "cpu0"]


def test_read_text(tmp_path):
    (tmp_path / "model").write_bytes(b"NVIDIA Jetson Nano\0")
    (tmp_path / "long").write_text("0123456789" * 20000)
    assert read_text(str(tmp_path / "model")) == "NVIDIA Jetson Nano"
    assert len(read_text(str(tmp_path / "long"))) == 200000
    assert read_text(str(tmp_path / "none")) is None
    assert read_text(str(tmp_path)) is None


class Script:
    """Sensors that give readings one after the other, the last again and again, and the clock to them."""

    def __init__(self, *samples):
        self.samples = list(samples)
        self.at = -1

    def clock(self):
        self.at = min(self.at + 1, len(self.samples) - 1)
        return self.samples[self.at][0]

    def read(self):
        return self.samples[self.at][1]


def watched(*samples):
    monitor = Monitor(Script())
    monitor.samples = list(samples)
    return monitor


def sensor_threads():
    return [thread for thread in threading.enumerate() if thread.name == "sensors"]


def test_energy_is_weighted_by_time():
    power = [{"VDD_IN": 4.0, "VDD_SOC": 1.0}, {"VDD_IN": 6.0}, {"VDD_IN": 10.0, "VDD_SOC": 3.0}]
    monitor = watched((10.0, Reading(power[0])), (11.0, Reading(power[1])), (14.0, Reading(power[2])))
    summary = monitor.summary()
    assert (summary["seconds"], summary["samples"]) == (4.0, 3)
    whole = {"mean": 29 / 4, "peak": 10, "energy": 29}  # 1 s of 5 W, 3 s of 8 W
    assert summary["total"] == pytest.approx(whole, abs=1e-12)
    assert summary["power"]["VDD_IN"] == pytest.approx(whole, abs=1e-12)
    assert summary["power"]["VDD_SOC"] == pytest.approx({"mean": 2, "peak": 3, "energy": 8}, abs=1e-12)
    assert monitor.energy_per(58) == pytest.approx(0.5, abs=1e-12)


def test_summary_of_the_rest():
    monitor = watched(
        (0.0, Reading({}, {"gpu": 900, "cpu0": 1000}, {"cpu": 50}, 0.5, (), {"over-current": 7})),
        (1.0, Reading({}, {"gpu": 300}, {"cpu": 61.5, "gpu": 40}, 1.0, ("cpu-throttle-alert",), {"over-current": 7})),
        (2.0, Reading({}, {"gpu": 600}, {"cpu": 60}, None, (), {"over-current": 9})),
    )
    assert monitor.summary() == {
        "seconds": 2.0,
        "samples": 3,
        "power": {},
        "total": None,
        "clocks": {"gpu": {"min": 300, "mean": 600}, "cpu0": {"min": 1000, "mean": 1000}},
        "temperatures": {"cpu": 61.5, "gpu": 40},
        "gpu_load": 0.75,
        "throttled": ["cpu-throttle-alert", "over-current"],
    }
    assert monitor.energy_per(5) is None


def test_what_happened_before_the_block_does_not_count():
    happened = {"under-voltage": 1}
    monitor = watched((0.0, Reading(throttled=(), happened=happened)), (1.0, Reading(throttled=(), happened=happened)))
    assert monitor.summary()["throttled"] == []


def test_nothing_known():
    empty = {"power": {}, "total": None, "clocks": {}, "temperatures": {}, "gpu_load": None, "throttled": None}
    assert watched().summary() == {"seconds": 0.0, "samples": 0, **empty}
    assert watched((0.0, Reading()), (2.0, Reading())).summary() == {"seconds": 2.0, "samples": 2, **empty}
    assert watched().energy_per(1) is None


def test_a_short_block_has_its_ends():
    script = Script((5.0, Reading({"VDD_IN": 3.0})), (5.5, Reading({"VDD_IN": 5.0})))
    with Monitor(script, interval=60, clock=script.clock) as monitor:
        assert len(sensor_threads()) == 1
        assert sensor_threads()[0].daemon
    assert sensor_threads() == []
    assert monitor.summary()["total"] == pytest.approx({"mean": 4, "peak": 5, "energy": 2}, abs=1e-12)
    assert monitor.energy_per(4) == pytest.approx(0.5, abs=1e-12)


def test_a_block_without_length():
    monitor = watched((1.0, Reading({"VDD_IN": 3.0})), (1.0, Reading({"VDD_IN": 5.0})))
    assert monitor.summary()["total"] == {"mean": 5.0, "peak": 5.0, "energy": 0.0}


class Counting:
    def __init__(self, enough):
        self.count, self.enough, self.reached = 0, enough, threading.Event()

    def read(self):
        self.count += 1
        if self.count >= self.enough:
            self.reached.set()
        return Reading({"VDD_IN": 2.0})


def test_the_thread_samples_in_between():
    counting = Counting(5)
    with Monitor(counting, interval=0.001) as monitor:
        assert counting.reached.wait(20)
    moments = [moment for moment, _ in monitor.samples]
    assert len(moments) >= 6
    assert moments == sorted(moments)
    assert monitor.summary()["total"]["mean"] == pytest.approx(2, abs=1e-9)
    count = counting.count
    threading.Event().wait(0.02)
    assert counting.count == count


def test_errors_pass_through_and_the_thread_ends():
    monitor = Monitor(Counting(1), interval=0.01)
    with pytest.raises(KeyError, match="inside"), monitor:
        raise KeyError("inside")
    assert sensor_threads() == []
    assert len(monitor.samples) >= 2


def test_a_monitor_can_be_used_again():
    monitor = Monitor(Counting(1), interval=60)
    for _ in range(2):
        with monitor:
            pass
        assert len(monitor.samples) == 2


def test_unusable_arguments():
    for interval in (0, -1, float("nan")):
        with pytest.raises(UsageError, match="give seconds above 0"):
            Monitor(Counting(1), interval=interval)
    for count in (0, -3):
        with pytest.raises(UsageError, match="give a count above 0"):
            watched().energy_per(count)
