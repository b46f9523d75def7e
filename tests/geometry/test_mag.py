"""Mag: three powers of two with names."""

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given
from strategies import mag_factors, mags, powers_of_two

from wkgpu.errors import WkgpuError
from wkgpu.geometry import Mag, Vec3Int, VecInt


@given(mag_factors)
@pytest.mark.covers("Mag")
def test_all_forms_are_one_mag(factors):
    mag = Mag(factors)
    forms = [
        list(factors),
        np.array(factors),
        Vec3Int(factors),
        VecInt(factors, axes="xyz"),
        "-".join(map(str, factors)),
    ]
    for form in forms:
        assert Mag(form) == mag == form
        assert hash(Mag(form)) == hash(mag) == hash(factors)
    assert (mag.x, mag.y, mag.z) == tuple(mag) == mag.to_tuple() == factors
    assert mag.to_list() == list(factors)
    assert mag.to_vec3_int() == factors
    assert np.array_equal(mag.to_np(), factors)
    assert 2**mag.max_dim_log2 == mag.max_dim == max(factors)
    assert mag.is_isotropic == (len(set(factors)) == 1)


@given(powers_of_two)
def test_one_factor_serves_all_axes(factor):
    assert Mag(factor) == Mag(str(factor)) == Mag(np.int64(factor)) == Mag((factor,) * 3) == factor
    assert Mag(factor).to_layer_name() == str(factor)


@given(mags)
def test_print_and_parse(mag):
    assert Mag(str(mag)) == Mag(mag.to_layer_name()) == Mag(mag.to_long_layer_name()) == mag
    assert repr(mag) == f"Mag({mag})"
    assert Mag(mag) is mag


@given(mags, mags)
def test_order_is_that_of_the_largest_factor(a, b):
    assert (a < b) == (b > a) == (a.max_dim < b.max_dim)
    assert (a <= b) == (b >= a) == (not a > b)
    assert (a < str(b)) == (a < b.to_list()) == (a < b)


@given(mags, powers_of_two)
def test_factors_multiply_and_divide(mag, factor):
    assert mag * factor // factor == mag
    assert mag * Mag(factor) == mag * (factor, factor, factor) == mag * factor


def test_equality_with_what_is_no_mag():
    assert Mag(8) != 3
    assert Mag(8) != "abc"
    assert Mag(8) != None  # noqa: E711
    assert Mag(8) not in [None, 0, "", (1, 2)]


@given(mags)
def test_mags_are_immutable_and_travel(mag):
    for name in ("x", "max_dim", "anything"):
        with pytest.raises(AttributeError):
            setattr(mag, name, 3)
    copies = [pickle.loads(pickle.dumps(mag, protocol)) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)]
    assert all(other == mag for other in [*copies, copy.copy(mag), copy.deepcopy(mag)])


@pytest.mark.parametrize(
    ("mag", "error"),
    [
        (3, AssertionError),
        ((2, 2, 3), AssertionError),
        ([2, 2], AssertionError),
        ([], AssertionError),
        (0, ValueError),
        (-2, ValueError),
        ((2, 2, 0), ValueError),
        ("2-2", ValueError),
        ("abc", ValueError),
        ("", ValueError),
        ("-2", ValueError),
        (2.0, ValueError),
        (None, ValueError),
        ((None, 1, 1), TypeError),
        ([float("inf"), 1, 1], ValueError),
        ("9" * 5000, ValueError),
    ],
)
def test_errors_name_the_value(mag, error):
    with pytest.raises(error) as caught:
        Mag(mag)
    assert isinstance(caught.value, WkgpuError)
    assert str(mag).strip("[]()")[:90] in str(caught.value)


def test_results_that_are_no_mag():
    with pytest.raises(AssertionError):
        Mag(8) * 3
    with pytest.raises(ValueError, match="at least 1"):
        Mag(8) // 16
