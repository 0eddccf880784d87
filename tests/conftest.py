"""For every test: one thread, and the helpers beside this file importable, also from processes that tests start."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

torch.set_num_threads(1)
if (here := str(Path(__file__).parent)) not in sys.path:
    sys.path.insert(0, here)
