"""Freed memory stays with the process."""

import os
import platform
import subprocess
import sys

import pytest

from common.files import ROOT

PROGRAM = """
import resource, sys
import numpy as np
from training.memory import keep_freed_memory

def resident_mb():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize() / 2**20

if sys.argv[1] == "keep":
    assert keep_freed_memory()
block = np.ones(64 << 17)  # 64 MB
before = resident_mb()
del block
print(before - resident_mb())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a switch of glibc alone")
@pytest.mark.parametrize("what", ["keep", "give back"])
def test_freed_blocks_stay_with_the_process_that_asks_for_it(what):
    plain = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, what],
        capture_output=True, text=True, check=True, cwd=ROOT, env=plain,
    )  # fmt: skip
    freed_mb = float(run.stdout)
    assert freed_mb < 8 if what == "keep" else freed_mb > 56
