"""Where a run computes, and with which packages."""

import platform

import numpy as np
import recbole
import torch

from recbole_diffusion.base.ranks import current_ranks


def environment(device: torch.device) -> dict[str, str | int]:
    """What results to the last bit hang on: device, threads, ranks if several, and versions."""
    size = current_ranks().size
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return {
        "device": f"{device.type} {name}",
        "threads": torch.get_num_threads(),
        **({"ranks": size} if size > 1 else {}),
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "recbole": recbole.__version__,
    }
