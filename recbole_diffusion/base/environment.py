"""Where a run computes, and with which packages."""

import platform

import numpy as np
import recbole
import torch


def environment(device: torch.device) -> dict[str, str | int]:
    """What results to the last bit hang on: device, threads and versions."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return {
        "device": f"{device.type} {name}",
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "recbole": recbole.__version__,
    }
