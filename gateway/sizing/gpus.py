"""The GPUs, with the memory that software sees, which is less than what is sold.

A plan that counts 80 GiB on an H100 is 0.8 GiB wrong before it begins. Sizes marked measured
come from logs of engines; the others are the vendor's, less what the driver and ECC keep.

Sources: vendors' data sheets (bandwidth, compute, capability); vLLM's start-up logs (memory).
"""

import difflib
import re
from dataclasses import dataclass, replace

from gateway.errors import PlanInvalid

_MEASURED = "memory as torch reported it in engine logs; bandwidth and compute: data sheet"
_SHEET = "data sheet; memory less what driver and ECC keep (±1 %)"


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU. `capability`: CUDA's, (9, 0); None is AMD's.

    `tflops`: dense bf16 (fp16 where there is no bf16). `multiprocessors`: some buffers are one
    for each. `has_link`: its siblings are reached by NVLink or XGMI, not only PCIe.
    """

    name: str
    memory_gib: float
    bandwidth_gb_s: float
    capability: tuple[int, int] | None
    tflops: float
    multiprocessors: int
    has_link: bool
    source: str = _SHEET

    @property
    def is_cuda(self) -> bool:
        return self.capability is not None

    def at_least(self, major: int, minor: int = 0) -> bool:
        """Whether it is a CUDA GPU of this capability or a newer one."""
        return self.capability is not None and self.capability >= (major, minor)


GPUS: tuple[Gpu, ...] = (
    Gpu("T4", 14.7, 320, (7, 5), 65, 40, False),
    Gpu("V100-16GB", 15.77, 900, (7, 0), 125, 80, True, _MEASURED),
    Gpu("V100-32GB", 31.73, 900, (7, 0), 125, 80, True),
    Gpu("RTX-2080-Ti", 10.57, 616, (7, 5), 54, 68, False),
    Gpu("RTX-3060", 11.63, 360, (8, 6), 51, 28, False),
    Gpu("RTX-3080", 9.65, 760, (8, 6), 60, 68, False),
    Gpu("RTX-3090", 23.58, 936, (8, 6), 71, 82, False, _MEASURED),
    Gpu("A10", 22.06, 600, (8, 6), 125, 72, False),
    Gpu("A10G", 22.06, 600, (8, 6), 70, 80, False),
    Gpu("A16", 14.54, 200, (8, 6), 18, 10, False),
    Gpu("A2", 14.54, 200, (8, 6), 18, 10, False),
    Gpu("A30", 23.5, 933, (8, 0), 165, 56, True),
    Gpu("A40", 44.43, 696, (8, 6), 150, 84, False),
    Gpu("RTX-A6000", 47.53, 768, (8, 6), 155, 84, False, _MEASURED),
    Gpu("RTX-A5000", 23.57, 768, (8, 6), 111, 64, False),
    Gpu("RTX-A4000", 15.73, 448, (8, 6), 77, 48, False),
    Gpu("A100-40GB", 39.38, 1555, (8, 0), 312, 108, True, _MEASURED),
    Gpu("A100-80GB", 79.2, 2039, (8, 0), 312, 108, True),
    Gpu("L4", 22.03, 300, (8, 9), 121, 58, False),
    Gpu("L40", 44.4, 864, (8, 9), 181, 142, False),
    Gpu("L40S", 44.4, 864, (8, 9), 362, 142, False),
    Gpu("RTX-4060-Ti-16GB", 15.6, 288, (8, 9), 44, 34, False),
    Gpu("RTX-4070-Ti-Super", 15.6, 672, (8, 9), 88, 66, False),
    Gpu("RTX-4080", 15.6, 717, (8, 9), 97, 76, False),
    Gpu("RTX-4090", 23.6, 1008, (8, 9), 165, 128, False),
    Gpu("RTX-6000-Ada", 47.4, 960, (8, 9), 182, 142, False),
    Gpu("H100", 79.19, 3350, (9, 0), 989, 132, True, _MEASURED),
    Gpu("H100-PCIe", 79.2, 2000, (9, 0), 756, 114, False),
    Gpu("H100-NVL", 93.1, 3900, (9, 0), 835, 132, True),
    Gpu("H20", 95.1, 4000, (9, 0), 148, 78, True),
    Gpu("H200", 139.8, 4800, (9, 0), 989, 132, True, _MEASURED),
    Gpu("H200-NVL", 139.8, 4800, (9, 0), 835, 132, True),
    Gpu("GH200-96GB", 94.5, 4000, (9, 0), 989, 132, True),
    Gpu("GH200-144GB", 139.8, 4900, (9, 0), 989, 132, True),
    Gpu("B200", 178.4, 8000, (10, 0), 2250, 148, True),
    Gpu("GB200", 184.3, 8000, (10, 0), 2500, 152, True),
    Gpu("B300", 267.7, 8000, (10, 3), 2250, 148, True),
    Gpu("GB300", 276.6, 8000, (10, 3), 2500, 152, True),
    Gpu("RTX-5070-Ti", 15.5, 896, (12, 0), 88, 70, False),
    Gpu("RTX-5080", 15.5, 960, (12, 0), 113, 84, False),
    Gpu("RTX-5090", 31.36, 1792, (12, 0), 210, 170, False),
    Gpu("RTX-PRO-6000", 94.97, 1792, (12, 0), 250, 188, False),
    Gpu("GB10", 119.6, 273, (12, 1), 62, 48, False),
    Gpu("MI210", 63.98, 1638, None, 181, 104, True),
    Gpu("MI250X", 63.98, 1638, None, 191, 110, True),
    Gpu("MI300X", 191.5, 5300, None, 1307, 304, True),
    Gpu("MI325X", 255.5, 6000, None, 1307, 304, True),
    Gpu("MI355X", 287.5, 8000, None, 2500, 256, True),
)

# names that people and drivers use, in the form of `_plain`
_OTHER_NAMES = {
    "a100": "A100-80GB",
    "a100sxm": "A100-80GB",
    "a100sxm480gb": "A100-80GB",
    "a10080gbpcie": "A100-80GB",
    "a100pcie80gb": "A100-80GB",
    "a100sxm440gb": "A100-40GB",
    "a100pcie40gb": "A100-40GB",
    "v100": "V100-32GB",
    "v100sxm232gb": "V100-32GB",
    "v100sxm216gb": "V100-16GB",
    "a6000": "RTX-A6000",
    "a5000": "RTX-A5000",
    "a4000": "RTX-A4000",
    "6000ada": "RTX-6000-Ada",
    "rtx6000adageneration": "RTX-6000-Ada",
    "4090": "RTX-4090",
    "5090": "RTX-5090",
    "3090": "RTX-3090",
    "h100sxm": "H100",
    "h100sxm5": "H100",
    "h10080gb": "H100",
    "h10080gbhbm3": "H100",
    "h100sxm580gb": "H100",
    "h100pcie80gb": "H100-PCIe",
    "h100nvl94gb": "H100-NVL",
    "h200sxm": "H200",
    "h200141gb": "H200",
    "gh200": "GH200-96GB",
    "gh200480gb": "GH200-96GB",
    "b200sxm": "B200",
    "rtxpro6000blackwell": "RTX-PRO-6000",
    "rtxpro6000blackwellserveredition": "RTX-PRO-6000",
    "rtxpro6000blackwellworkstationedition": "RTX-PRO-6000",
    "rtxpro6000bw": "RTX-PRO-6000",
    "pro6000": "RTX-PRO-6000",
    "dgxspark": "GB10",
    "spark": "GB10",
}


def _plain(name: str) -> str:
    letters = re.sub(r"[^a-z0-9]", "", name.lower())
    for prefix in ("nvidia", "amd", "instinct", "geforce", "tesla"):
        letters = letters.removeprefix(prefix)
    return letters


_BY_NAME = {_plain(gpu.name): gpu for gpu in GPUS}
_BY_NAME |= {plain: _BY_NAME[_plain(name)] for plain, name in _OTHER_NAMES.items()}


def find_gpu(name: str, memory_gib: float | None = None) -> Gpu:
    """The GPU of this name, with the memory that is given in place of the table's.

    One that is not in the table needs its memory, and is taken for a recent one without NVLink.
    Raises PlanInvalid.
    """
    found = _known(name)
    if found is not None:
        return found if memory_gib is None else replace(found, memory_gib=memory_gib)
    if memory_gib is not None:
        return Gpu(name, memory_gib, 0, (9, 0), 0, 132, False, "--gpu-memory-gib; all else assumed")
    near = difflib.get_close_matches(_plain(name), _BY_NAME, n=1, cutoff=0.5)
    hint = "".join(f", did you mean {_BY_NAME[one].name}?" for one in near)
    known = ", ".join(gpu.name for gpu in GPUS)
    raise PlanInvalid(
        f'GPU "{name}" is not known{hint}; known: {known}; for another give --gpu-memory-gib'
    )


def is_same_gpu(wanted: str, found: str) -> bool:
    """Whether a name that was asked for and one that a driver tells mean the same GPU."""
    known = _known(found)
    return _known(wanted) is known if known is not None else _plain(wanted) == _plain(found)


def _known(name: str) -> Gpu | None:
    plain = _plain(name)
    return _BY_NAME.get(plain) or _BY_NAME.get(plain + "b")  # 40G is 40 GB
