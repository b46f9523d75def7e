"""Where real data are, which do not belong to the repository."""

import os
from pathlib import Path

REAL_DATA = Path(os.environ.get("WKGPU_TEST_DATA") or Path(__file__).parents[2] / "shared" / "data")
