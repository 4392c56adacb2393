"""What the package asks of the libraries beneath it when it is imported."""

import os
import re
import subprocess
import sys

import pytest


@pytest.mark.parametrize("own", [None, "ACTIVE"])
def test_waiting_threads_sleep_unless_the_user_says_otherwise(own: str | None) -> None:
    """As PyTorch's OpenMP has read it, which it does once."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "GOMP_"))}
    environment |= {"OMP_DISPLAY_ENV": "VERBOSE"} | ({"OMP_WAIT_POLICY": own} if own else {})
    program = "import recbole_diffusion, torch"
    end = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    policies = set(re.findall(r"OMP_WAIT_POLICY\s*=\s*'(\w+)'", end.stderr))
    assert policies == {own or "PASSIVE"}
    spins = set(re.findall(r"GOMP_SPINCOUNT\s*=\s*'(\w+)'", end.stderr))
    assert ("10000" in spins) == (own is None)
