"""What all tests share: reproducible Hypothesis runs, and state that no test may leave behind."""

from __future__ import annotations

from collections.abc import Iterator

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
