"""VecInt and Vec3Int: tuples with arithmetic and named axes."""

import copy
import pickle
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from strategies import coordinates, triples, vec3_ints, vec_ints

from wkgpu.errors import NumberError, WkgpuError
from wkgpu.geometry import Mag, Vec3Int, VecInt

any_vector = vec3_ints() | vec_ints()


@st.composite
def pairs(draw):
    first = draw(any_vector)
    return first, first._like([draw(coordinates) for _ in first])


@given(pairs())
def test_sums_and_differences_undo_each_other(vectors):
    a, b = vectors
    assert a + b - b == a
    assert a - a == a * 0
    assert -a == 0 - a
    assert a - b == -(b - a)
    assert a + b == b + a
    assert type(a + b) is type(a)
    assert (a + b).axes == a.axes


@given(pairs())
@pytest.mark.covers("VecInt")
def test_division_with_rest(vectors):
    a, b = vectors
    assume(all(b))
    assert a // b * b + a % b == a
    assert a.ceildiv(b) == -(-a // b)
    assert all(0 <= up - down <= 1 for up, down in zip(a.ceildiv(b), a // b, strict=True))


@given(pairs())
def test_pairwise_extremes(vectors):
    a, b = vectors
    assert a.pairmax(b) + a.pairmin(b) == a + b
    assert a.pairmax(b) == a - (a - b).pairmin(0)


@given(any_vector, coordinates)
def test_a_number_serves_all_axes(vector, number):
    assert vector + number == vector + [number] * len(vector) == number + vector
    assert vector * number == vector * np.int64(number) == number * vector
    assert number - vector == -(vector - number)


def test_a_tuple_on_the_left_is_added_not_joined():
    assert (1, 2, 3) + Vec3Int(1, 1, 1) == Vec3Int(2, 3, 4)  # noqa: RUF005
    assert (9, 9, 9) - Vec3Int(1, 2, 3) == Vec3Int(8, 7, 6)
    assert 2 * Vec3Int(1, 2, 3) == Vec3Int(2, 4, 6)
    assert isinstance(np.array([1, 2, 3]) + Vec3Int(1, 2, 3), np.ndarray)


@given(any_vector)
def test_a_vector_is_a_tuple(vector):
    plain = vector.to_tuple()
    assert type(plain) is tuple
    assert vector == plain
    assert hash(vector) == hash(plain)
    assert {vector: 1}[plain] == 1
    assert vector.to_list() == list(vector)
    assert vector[1:] == plain[1:]
    assert list(reversed(vector)) == list(reversed(plain))
    assert np.array_equal(vector.to_np(), np.array(plain))
    assert vector.prod() == np.prod(np.array(plain, dtype=object))
    assert vector.is_uniform() == (len(set(plain)) == 1)
    assert vector.is_positive() == (min(plain) >= 0)
    assert vector.is_positive(strictly_positive=True) == (min(plain) >= 1)


@given(any_vector)
def test_print_and_parse(vector):
    assert VecInt.from_str(repr(vec := VecInt(vector.to_tuple(), axes=vector.axes))) == vec
    assert VecInt.from_str(repr(vec)).axes == vec.axes
    assert eval(repr(vector)) == vector
    named = ", ".join(f"{axis}={component}" for axis, component in zip(vector.axes, vector, strict=True))
    assert VecInt.from_str(named) == vector


@given(vec3_ints())
def test_print_and_parse_xyz(vector):
    for text in (str(vector), vector.to_uri_str(), str(vector.to_tuple()), str(vector.to_list())):
        assert Vec3Int.from_str(text) == vector
    assert Vec3Int(vector.to_uri_str()) == vector


@given(any_vector)
def test_components_by_name(vector):
    for position, axis in enumerate(vector.axes):
        assert vector[axis] == vector.get(axis) == vector[position]
        changed = vector.with_replaced(axis, 7)
        assert changed == vector.with_replaced(position, 7) == vector.with_replaced(position - len(vector), 7)
        assert changed[axis] == 7
        assert changed.with_replaced(axis, vector[axis]) == vector
        if axis in ("x", "y", "z", "c"):
            assert getattr(vector, axis) == vector[axis]
            assert getattr(vector, f"with_{axis}")(7) == changed
    assert vector.get("missing", 3) == 3


@given(vec_ints(), st.data())
def test_moveaxis_is_that_of_numpy(vector, data):
    positions = st.integers(-len(vector), len(vector) - 1)
    source, target = data.draw(positions), data.draw(positions)
    moved = vector.moveaxis(source, target)
    assert moved.axes == tuple(_numpy_moveaxis(vector.axes, source, target))
    assert all(moved[axis] == vector[axis] for axis in vector.axes)


def _numpy_moveaxis(names, source, target):
    """Learn the order of the axes from the shape of an array, each axis of another length."""
    lengths = range(1, len(names) + 1)
    return [names[length - 1] for length in np.moveaxis(np.empty(lengths), source, target).shape]


def test_moveaxis_of_several_axes():
    vector = VecInt(1, 2, 3, 4, axes="txyz")
    assert vector.moveaxis([0, 1], [2, 3]).axes == ("y", "z", "t", "x")
    with pytest.raises(ValueError, match="repeated"):
        vector.moveaxis([0, 0], [1, 2])
    with pytest.raises(ValueError, match="repeated"):
        vector.moveaxis([0, 1], [2, -2])
    with pytest.raises(IndexError):
        vector.moveaxis(9, 0)


@given(triples())
@pytest.mark.covers("Vec3Int")
def test_all_forms_of_three_integers(numbers):
    x, y, z = numbers
    vector = Vec3Int(x, y, z)
    forms = [numbers, list(numbers), np.array(numbers), iter(numbers), (np.int64(x), y, z), vector]
    assert all(Vec3Int(form) == vector for form in forms)
    assert Vec3Int(z=z, y=y, x=x) == vector
    assert Vec3Int((z, y, x), ("z", "y", "x")) == Vec3Int(z, y, x, axes="zyx") == vector
    assert Vec3Int(VecInt(numbers, axes="xyz")) == vector
    assert Vec3Int.from_xyz(*numbers) == Vec3Int.from_vec_or_int(numbers) == vector
    assert all(type(component) is int for form in forms[:3] for component in Vec3Int(form))
    assert vector.xyz is vector


def test_full_vectors():
    assert Vec3Int.full(3) == Vec3Int.from_vec_or_int(3) == Vec3Int.from_vec_or_int(np.uint8(3)) == (3, 3, 3)
    assert Vec3Int.zeros() + 1 == Vec3Int.ones()
    assert VecInt.zeros(("t", "x")) + 1 == VecInt.ones(("t", "x"))
    assert VecInt.full(2, ("t",)).axes == ("t",)


def test_xyz_of_a_longer_vector():
    vector = VecInt(1, 2, 3, 4, axes=("t", "z", "y", "x"))
    assert vector.xyz == Vec3Int(4, 3, 2)
    assert vector.with_xyz((7, 8, 9)) == (1, 9, 8, 7)
    with pytest.raises(KeyError, match="'z'"):
        _ = VecInt(x=1, y=2).xyz


@given(any_vector)
def test_vectors_are_immutable_and_travel(vector):
    for name in ("axes", "x", "anything"):
        with pytest.raises(AttributeError):
            setattr(vector, name, 3)
    with pytest.raises(AttributeError):
        del vector.axes
    with pytest.raises(TypeError):
        vector[0] = 3
    copies = [pickle.loads(pickle.dumps(vector, protocol)) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)]
    for other in [*copies, copy.copy(vector), copy.deepcopy(vector)]:
        assert other == vector
        assert other.axes == vector.axes
        assert type(other) is type(vector)


@pytest.mark.parametrize(
    ("make", "error", "named"),
    [
        (lambda: Vec3Int(1, 2), AssertionError, "(1, 2)"),
        (lambda: Vec3Int(), AssertionError, "()"),
        (lambda: Vec3Int(1, 2, 3, 4), AssertionError, "(1, 2, 3, 4)"),
        (lambda: Vec3Int(7), AssertionError, "7"),
        (lambda: Vec3Int(None), AssertionError, "None"),
        (lambda: Vec3Int(x=1, y=2), AssertionError, "x=1, y=2"),
        (lambda: Vec3Int(1, 2, 3, axes=("x", "y")), AssertionError, "('x', 'y')"),
        (lambda: Vec3Int(None, 1, 2), TypeError, "None"),
        (lambda: Vec3Int(("a", 1, 2)), ValueError, "'a'"),
        (lambda: Vec3Int((float("inf"), 1, 2)), OverflowError, "inf"),
        (lambda: Vec3Int(np.array([1, 2, 3.5])), NumberError, "3.5"),
        (lambda: Vec3Int((Fraction(7, 2), 2, 3)), WkgpuError, "Fraction(7, 2)"),
        (lambda: VecInt((number for number in (1, 2.5)), axes="xy"), ValueError, "2.5"),
        (lambda: VecInt(x=1.5), ValueError, "1.5"),
        (lambda: Vec3Int(1, 2, 3).with_x(1.5), ValueError, "1.5"),
        (lambda: Vec3Int(1, 2, 3) // (1, 1, 1.5), ValueError, "1.5"),
        (lambda: Vec3Int((None, 1, 2)), WkgpuError, "None"),
        (lambda: Vec3Int.from_vec3_float((float("nan"), 1, 2)), WkgpuError, "nan"),
        (lambda: Mag((1.5, 1, 1)), WkgpuError, "1.5"),
        (lambda: Vec3Int("1,2"), ValueError, "'1,2'"),
        (lambda: Vec3Int.from_str("a,b,c"), ValueError, "'a,b,c'"),
        (lambda: VecInt(1, 2, 3), AssertionError, "axes"),
        (lambda: VecInt(1, 2, axes="xyz"), AssertionError, "(1, 2)"),
        (lambda: VecInt(1, 2, axes="xx"), AssertionError, "('x', 'x')"),
        (lambda: VecInt(1, x=2), AssertionError, "{'x': 2}"),
        (lambda: VecInt.from_str("1,2,3"), ValueError, "'1,2,3'"),
        (lambda: Vec3Int(1, 2, 3) - (1, 2), AssertionError, "(1, 2)"),
        (lambda: Vec3Int(1, 2, 3) + VecInt(1, 2, axes="xy"), ValueError, "VecInt(1,2"),
        (lambda: Vec3Int(1, 2, 3) * 1.5, AssertionError, "1.5"),
        (lambda: Vec3Int(1, 2, 3) + "abc", AssertionError, "'abc'"),
        (lambda: Vec3Int(1, 2, 3) + None, TypeError, "None"),
        (lambda: Vec3Int(1, 2, 3).c, KeyError, "'c'"),
        (lambda: Vec3Int(1, 2, 3)["q"], KeyError, "'q'"),
        (lambda: Vec3Int(1, 2, 3).with_replaced("q", 1), ValueError, "'q'"),
        (lambda: Vec3Int(1, 2, 3).with_replaced(3, 1), AssertionError, "3"),
    ],
)
def test_errors_name_the_value(make, error, named):
    with pytest.raises(error) as caught:
        make()
    assert named in str(caught.value)


def test_a_mag_is_an_operand():
    assert Vec3Int(5, 6, 7) // Mag((2, 2, 1)) == (2, 3, 7)
    assert Vec3Int(2, 2, 1) == Mag("2-2-1")


@pytest.mark.parametrize("function", [np.prod, np.sum, np.max, np.min, np.any, np.all, np.mean, np.cumsum, np.argmax])
def test_functions_of_numpy(function):
    for vector in (Vec3Int(4, 5, 6), VecInt(4, 5, axes="tx"), Vec3Int(0, 0, 1)):
        expected = function(np.array(vector.to_tuple()))
        np.testing.assert_array_equal(function(vector), expected)
        for keywords in ({"axis": 0}, {"axis": -1}, {"axis": 0, "keepdims": True}):
            if function is not np.cumsum or "keepdims" not in keywords:
                np.testing.assert_array_equal(function(vector, **keywords), function(vector.to_np(), **keywords))
    if function is np.prod:
        assert type(np.prod(Vec3Int(1 << 40, 1 << 40, 1 << 40))) is int
        assert np.prod(Vec3Int(1, 2, 3), dtype="float32").dtype == np.float32
        out = np.zeros((), np.int64)
        assert np.prod(Vec3Int(1, 2, 3), out=out) is out
        assert out == np.prod(Vec3Int(1, 1, 1), initial=6)
