"""Pages in a headless Chromium."""

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
MARKS = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium"),
]
# Chromium's number of each scheme.
SCHEMES = {"light": 1, "dark": 0}


def visited(url: str, scheme: str, profile: Path, milliseconds: int) -> tuple[dict[str, Any], str]:
    """What a page's script leaves in ``data-found``, and the browser's log.

    Args:
        url: Of the page.
        scheme: One of ``SCHEMES``.
        profile: Folder of the browser's own.
        milliseconds: Of virtual time that scripts have.
    """
    done = subprocess.run(
        [
            str(CHROMIUM),
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            f"--user-data-dir={profile}",
            f"--blink-settings=preferredColorScheme={SCHEMES[scheme]}",
            f"--virtual-time-budget={milliseconds}",
            "--enable-logging=stderr",
            "--dump-dom",
            url,
        ],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    found = re.search(r'data-found="(.*?)"', done.stdout)
    assert found is not None, done.stderr[-2000:]
    return json.loads(unescape(found[1])), done.stderr


def has_scheme(found: dict[str, Any], scheme: str) -> bool:
    """Whether the colours ``paper`` and ``ink`` of a page are those of a scheme."""
    paper, ink = (
        sum(map(int, re.findall(r"\d+", found[name])[:3])) / 3 for name in ("paper", "ink")
    )
    return (paper < 60 and ink > 200) if scheme == "dark" else (paper > 240 and ink < 60)
