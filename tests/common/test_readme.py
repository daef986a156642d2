"""The README's example is run as it stands."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_example_in_python_runs_without_flower_ray_and_torch() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(blocks) == 1
    ask = "import sys\nprint([m for m in ('flwr', 'ray', 'torch') if m in sys.modules])\n"
    done = subprocess.run(
        [sys.executable, "-c", blocks[0] + ask],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
        cwd=ROOT,
    )
    lines = done.stdout.splitlines()
    assert lines[0].startswith("['melanoma' 'nevus' 'other']")
    assert lines[-1] == "[]"
    assert done.stderr == ""
