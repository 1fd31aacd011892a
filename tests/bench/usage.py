"""What a process and its children have used: CPU from /proc/PID/stat, memory from its status.

CPU of children that ended and were waited for counts for their parent, so that nothing is lost
between two readings. The kernel counts in ticks of 10 ms: measure over seconds.
"""

import os
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Cpu:
    """Seconds of CPU time."""

    user_s: float
    system_s: float

    def since(self, before: "Cpu") -> "Cpu":
        return Cpu(self.user_s - before.user_s, self.system_s - before.system_s)

    def each_us(self, count: int) -> "CpuEach":
        """Divided by what was done in that time."""
        count = max(count, 1)
        return CpuEach(self.user_s * 1e6 / count, self.system_s * 1e6 / count)


@dataclass(frozen=True, slots=True)
class CpuEach:
    """Microseconds of CPU time for one of something."""

    user_us: float
    system_us: float

    @property
    def total_us(self) -> float:
        return self.user_us + self.system_us


def family(pid: int) -> tuple[int, ...]:
    """A process, its children and theirs."""
    children: dict[int, list[int]] = {}
    for entry in _PROC.iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [pid]
    for one in found:
        found.extend(children.get(one, ()))
    return tuple(found)


def cpu(pid: int) -> Cpu:
    """What a process and its children have used until now."""
    ticks_per_s = os.sysconf("SC_CLK_TCK")
    user = system = 0
    for one in family(pid):
        if fields := _stat(one):
            user += int(fields[11]) + int(fields[13])
            system += int(fields[12]) + int(fields[14])
    return Cpu(user / ticks_per_s, system / ticks_per_s)


def rss_mb(pids: tuple[int, ...]) -> float:
    """Resident memory of these processes now; pages they share count for each."""
    kilobytes = 0
    for pid in pids:
        try:
            lines = (_PROC / str(pid) / "status").read_text().splitlines()
        except OSError:
            continue
        kilobytes += sum(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))
    return kilobytes / 1024


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the name: state, parent, ...; none if it is gone."""
    try:
        return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
