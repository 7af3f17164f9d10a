"""How kernels are compiled."""

from __future__ import annotations

import subprocess
import sys


def test_who_multiplies_matrices_in_kernels_of_their_own_still_can() -> None:
    code = (
        "import sys, kseg_core.kernels._jit; assert 'scipy.linalg' not in sys.modules\n"
        "import numba, numpy as np\n"
        "product = numba.njit(lambda a: np.dot(a, a))(2.0 * np.eye(3))\n"
        "assert product.tolist() == (4.0 * np.eye(3)).tolist()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
