"""What all tests share: reproducible Hypothesis runs, and state that no test may leave behind."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

# One test process for each core: BLAS threads of several would wait for each other's cores. Set
# before NumPy is loaded, which reads it once.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import hypothesis
import pytest

from kinone import ops, source

ops.load_all()  # so that no test depends on what another one has made use of

hypothesis.settings.register_profile(
    "default",
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.register_profile(
    "thorough",
    parent=hypothesis.settings.get_profile("default"),
    max_examples=2000,
    derandomize=False,
)
hypothesis.settings.load_profile("default")


@pytest.fixture(autouse=True)
def no_trace_left_running() -> Iterator[None]:
    """Whatever a test does, and however it fails, no trace and no inherited line is left over."""
    yield
    assert source._state.inherited is None


@pytest.fixture
def shared_data() -> Callable[[str], Path]:
    """The path of a file of real data, which is no part of the repository; skips where it is not.

    It is looked for in the folder `KINONE_DATA`, or in `shared/data` beside the repository.
    """

    def find(name: str) -> Path:
        beside = Path(__file__).parents[2] / "shared" / "data"
        path = Path(os.environ.get("KINONE_DATA", beside)) / name
        if not path.exists():
            pytest.skip(f"there is no {name}: set KINONE_DATA to the folder of the data")
        return path

    return find
