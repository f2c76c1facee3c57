"""NumPy's own tests, as NumPy installs them, with the calls traced: see `numpy_suite.py`."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).parent

# About memory: views, writing into a result, the order of axes in memory, out=, subclasses.
MEMORY = (
    "test_memory_layout_persistence test_cmplx test_tile_one_repetition_on_array_gh4679 "
    "TestMayShareMemory test_writeable test_subclasses test_einsum_views test_output_order "
    "TestLikeFuncs TestAsType test_reshape_copy_arg TestCopy test_broadcast test_fix test_generic "
    "test_precision test_array_wrap_array_priority test_scalar_q "
    "test_quantile_scalar_nan TestSlidingWindowView"
)
# About what a function is, which the stand-in is not: its signature, its pickle; about objects.
IDENTITY = (
    "test_ufunc_docstring test_ufunc_arg TestUFuncInspectSignature TestCreationFuncs test_pickle "
    "test_ufunc_types test_vecmatvec_identity test_unary_PyUFunc test_isin_mixed_dtype "
    "test_array_equal test_array_equiv test_params test_dunder_signature"
)
# About warnings: what NumPy says of slices of nothing but NaN, Kinone leaves unsaid.
WARNINGS = "test_allnans test_ddof_too_big test_empty test_tol_warnings"
# About the wording of an error, arguments NumPy has deprecated, or results that Kinone leaves out.
WORDING = (
    "test_errors test_mode test_isin_errors test_convolve_empty test_division_int_reduce "
    "test_polyfit test_clip_min_max_args test_zero_dimensional_interpolation_point test_scalar"
)
# Corners that differ still.
CORNERS = (
    "test_axes_argument test_keepdims_argument test_addition_reduce_negative_zero TestHistogram2d "
    "TestHistogramdd test_fweights test_inf_zeroes_err test_non_finite_half_inf_f "
    "TestNanFunctions_MinMax::test_where TestGeomspace test_nep50_isclose"
)
KNOWN = " ".join((MEMORY, IDENTITY, WARNINGS, WORDING, CORNERS)).split()
FILES = (
    "fft.tests.test_pocketfft fft.tests.test_helper lib.tests.test_arraypad "
    "lib.tests.test_arraysetops lib.tests.test_function_base lib.tests.test_histograms "
    "lib.tests.test_index_tricks lib.tests.test_nanfunctions lib.tests.test_polynomial "
    "lib.tests.test_shape_base lib.tests.test_stride_tricks lib.tests.test_twodim_base "
    "lib.tests.test_type_check lib.tests.test_ufunclike _core.tests.test_einsum "
    "_core.tests.test_function_base _core.tests.test_half _core.tests.test_numeric "
    "_core.tests.test_ufunc _core.tests.test_umath _core.tests.test_umath_complex"
)


@pytest.mark.slow
@pytest.mark.oracle
@pytest.mark.skipif(not np.__version__.startswith("2.4."), reason="the lists are for NumPy 2.4")
@pytest.mark.parametrize("name", FILES.split())
def test_file(name: str, tmp_path: Path) -> None:
    """No test of the file fails but those of the lists above."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parent.parent)]),
        "PYTEST_ADDOPTS": "",
    }
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "--tb=line", "-rfE", "-W", "ignore"),
            *("-p", "numpy_suite", "-p", "no:cacheprovider", "--pyargs", f"numpy.{name}"),
        ],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    if "no tests ran" in done.stdout or "not found" in done.stderr:
        pytest.skip("this NumPy came without its tests")
    assert re.search(r"\d+ passed", done.stdout), done.stdout[-2000:] + done.stderr[-2000:]
    assert int(re.search(r"traced calls: (\d+)", done.stdout)[1]) > 0  # type: ignore[index]
    failed = re.findall(r"^(?:FAILED|ERROR) (\S+)(.*)", done.stdout, re.MULTILINE)
    news = [place + text for place, text in failed if not any(known in place for known in KNOWN)]
    assert not news
