"""/sys and /proc trees of boards, written by hand after what the kernel's drivers show; not recorded."""

from pathlib import Path


def write(root: Path, files: dict[str, str]) -> Path:
    """Each file with its text, as the kernel writes it."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


PI_4 = {
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
    "sys/class/thermal/thermal_zone0/temp": "61835\n",
    "sys/devices/platform/soc/soc:firmware/get_throttled": "50005\n",
    "sys/class/hwmon/hwmon0/name": "cpu_thermal\n",
    "sys/class/hwmon/hwmon0/temp1_input": "61835\n",
    "sys/class/hwmon/hwmon1/name": "rpi_volt\n",
    "sys/class/hwmon/hwmon1/in0_lcrit_alarm": "1\n",
}
PI_5 = {
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
    "sys/class/thermal/thermal_zone0/temp": "48250\n",
    "sys/class/hwmon/hwmon0/name": "cpu_thermal\n",
    "sys/class/hwmon/hwmon1/name": "rp1_adc\n",
    "sys/class/hwmon/hwmon1/in1_input": "1475\n",
    "sys/class/hwmon/hwmon2/name": "rpi_volt\n",
    "sys/class/hwmon/hwmon2/in0_lcrit_alarm": "0\n",
    "sys/class/hwmon/hwmon3/name": "pwmfan\n",
}
UPS_HAT = {
    "sys/class/hwmon/hwmon4/name": "ina219\n",
    "sys/class/hwmon/hwmon4/in0_input": "3\n",
    "sys/class/hwmon/hwmon4/in1_input": "5032\n",
    "sys/class/power_supply/battery/type": "Battery\n",
    "sys/class/power_supply/battery/capacity": "17\n",
    "sys/class/power_supply/battery/voltage_now": "3712000\n",
}
LAPTOP = {
    "sys/class/thermal/thermal_zone0/type": "acpitz\n",
    "sys/class/thermal/thermal_zone0/temp": "27800\n",
    "sys/class/thermal/thermal_zone1/type": "x86_pkg_temp\n",
    "sys/class/thermal/thermal_zone1/temp": "52000\n",
    "sys/class/thermal/thermal_zone2/type": "iwlwifi_1\n",
    "sys/class/thermal/thermal_zone2/temp": "-274000\n",
    "sys/class/power_supply/AC/type": "Mains\n",
    "sys/class/power_supply/AC/online": "0\n",
    "sys/class/power_supply/BAT0/type": "Battery\n",
    "sys/class/power_supply/BAT0/capacity": "83\n",
    "sys/class/power_supply/BAT0/voltage_now": "12345000\n",
    "sys/class/power_supply/hidpp_battery_0/type": "Battery\n",
    "sys/class/power_supply/hidpp_battery_0/scope": "Device\n",
    "sys/class/power_supply/hidpp_battery_0/capacity": "5\n",
}
