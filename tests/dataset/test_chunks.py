"""Views chunk by chunk: the chunks of the WEBKNOSSOS library, on every executor and device."""

from __future__ import annotations

import threading
import warnings
from functools import partial

import numpy as np
import pytest
from datasets import read
from hypothesis import example, given, settings
from hypothesis import strategies as st
from operations.test_jobs import KINDS, executors  # noqa: F401  a fixture

import wkgpu as wk
from wkgpu.errors import FormatError, ReadOnlyError, RegionError, ShapeError
from wkgpu.operations import comparison
from wkgpu.operations.chunk_shapes import ChunkBoxes, comparison_shape

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:webknossos")
MAGS = ("1", "2-2-1", "2")


@pytest.fixture(params=KINDS)
def executor(request, executors):  # noqa: F811
    return executors(request.param)


@pytest.fixture
def other_mag(layer, mag_view):
    """A mag that is coarser than `mag_view`."""
    return layer.add_mag("2", chunk_shape=8, shard_shape=16)


# ---- Like the WEBKNOSSOS library


@pytest.fixture(scope="module")
def both(webknossos, tmp_path_factory):
    """The same layer opened with both libraries, and their executor that works in this process."""
    import cluster_tools

    path = tmp_path_factory.mktemp("chunks") / "dataset"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = webknossos.Dataset(path, voxel_size=(1, 1, 1))
        box = webknossos.BoundingBox((0, 0, 0), (128, 128, 128))
        layer = dataset.add_layer("color", "color", dtype_per_channel="uint8", data_format="wkw", bounding_box=box)
        for mag, shard in zip(MAGS, (32, 16, 8), strict=True):
            layer.add_mag(mag, chunk_shape=(8, 8, 8), shard_shape=(shard,) * 3)
    ours = wk.Dataset.open(path).get_layer("color")
    with cluster_tools.get_executor("sequential") as executor:
        yield layer, ours, executor


corners = st.tuples(*[st.integers(0, 12).map(lambda value: 4 * value)] * 3)
extents = st.tuples(*[st.integers(1, 16).map(lambda value: 4 * value)] * 3)
shapes = st.tuples(*[st.sampled_from([8, 16, 32, 48, 64])] * 3) | st.sampled_from(
    [(32, 32, 32), (64, 64, 64), (24, 32, 32), (0, 32, 32), (-32, 32, 32)]
)
regions = st.tuples(st.sampled_from(MAGS), corners, extents, st.booleans())


def part(layer, region):
    mag, corner, extent, read_only = region
    return layer.get_mag(mag).get_view(absolute_offset=corner, size=extent, read_only=read_only)


def described(view):
    return view.bounding_box.topleft.to_tuple(), view.bounding_box.size.to_tuple(), view.read_only, view.mag.to_tuple()


def outcome(function):
    try:
        return function(), None
    except Exception as error:
        return None, error


def assert_same_outcome(ours, theirs):
    (mine, my_error), (other, other_error) = outcome(ours), outcome(theirs)
    assert mine == other
    if other_error is not None:
        assert isinstance(my_error, type(other_error)), f"{my_error!r} is no {other_error!r}"
        assert isinstance(my_error, wk.WkgpuError)


# In Mag(1): multiples of all mags, and not, and such that are no multiples of the alignments.
chunkings = st.tuples(*[st.sampled_from([4, 12, 16, 24, 30, 60])] * 3)
alignments = st.none() | st.tuples(*[st.sampled_from([1, 2, 4, 12])] * 3) | st.just((7, 7, 7))


@given(region=regions, shape=chunkings, alignment=alignments, read_only=st.none() | st.booleans())
@settings(max_examples=60)
@example(region=("2", (0, 0, 0), (8, 8, 8), False), shape=(3, 3, 3), alignment=None, read_only=None)
@pytest.mark.covers("View.chunk")
def test_chunk(both, region, shape, alignment, read_only):
    theirs, ours, _ = both
    keywords = {"chunk_border_alignments": alignment, "read_only": read_only}
    assert_same_outcome(
        lambda: [described(chunk) for chunk in part(ours, region).chunk(shape, **keywords)],
        lambda: [described(chunk) for chunk in part(theirs, region).chunk(shape, **keywords)],
    )


def chunks_of(view, executor, **keywords):
    chunks, numbered = [], []
    view.map_chunk(lambda chunk: chunks.append(described(chunk)), executor=executor, **keywords)
    view.for_each_chunk(
        lambda arguments: numbered.append((described(arguments[0]), arguments[1])), executor=executor, **keywords
    )
    assert numbered == [(chunk, number) for number, chunk in enumerate(chunks)]
    return chunks


@given(region=regions, shape=shapes | st.none())
@settings(max_examples=60)
@pytest.mark.covers("View.map_chunk", "View.for_each_chunk")
def test_map_chunk_and_for_each_chunk(both, region, shape):
    theirs, ours, executor = both
    assert_same_outcome(
        lambda: chunks_of(part(ours, region), None, chunk_shape=shape),
        lambda: chunks_of(part(theirs, region), executor, chunk_shape=shape),
    )


def pairs_of(source, target, executor, **keywords):
    pairs = []
    source.for_zipped_chunks(
        lambda arguments: pairs.append((*map(described, arguments[:2]), arguments[2])),
        target,
        executor=executor,
        **keywords,
    )
    return pairs


def match(pairs, source, target, source_shape, target_shape):
    """Whether the chunks of all pairs are at the same places of the views, where chunk shapes match each other."""
    for (topleft, size, *_), (target_topleft, target_size, *_), _ in pairs:
        for axis in range(3):
            first = topleft[axis] - source.bounding_box.topleft[axis]
            target_first = target_topleft[axis] - target.bounding_box.topleft[axis]
            if first * target_shape[axis] != target_first * source_shape[axis]:
                return False
            if size[axis] * target_shape[axis] != target_size[axis] * source_shape[axis]:
                return False
    return True


@given(
    source_region=regions,
    target_region=regions,
    same_size=st.booleans(),
    source_shape=shapes,
    factors=st.tuples(*[st.sampled_from([1, 1, 2])] * 3),
)
@settings(max_examples=80)
@example(("1", (0, 0, 0), (64, 64, 64), False), ("1", (64, 0, 16), (64, 64, 64), False), True, (32, 32, 32), (1, 1, 1))
@pytest.mark.covers("View.for_zipped_chunks")
def test_for_zipped_chunks(both, source_region, target_region, same_size, source_shape, factors):
    theirs, ours, executor = both
    target_shape = tuple(length * factor for length, factor in zip(source_shape, factors, strict=True))
    if same_size:
        size = tuple(length * factor for length, factor in zip(source_region[2], factors, strict=True))
        target_region = (target_region[0], target_region[1], size, True)
    keywords = {"source_chunk_shape": source_shape, "target_chunk_shape": target_shape}
    source, target = part(ours, source_region), part(ours, target_region)
    pairs, error = outcome(lambda: pairs_of(source, target, None, **keywords))
    their_pairs, their_error = outcome(
        lambda: pairs_of(part(theirs, source_region), part(theirs, target_region), executor, **keywords)
    )
    if their_error is not None:
        assert isinstance(error, type(their_error)), f"{error!r} is no {their_error!r}"
        assert isinstance(error, ShapeError)
    elif match(their_pairs, source, target, source_shape, target_shape):
        # It may pair less than there is, where the grids of both views lie differently.
        volume = sum(np.prod(size) for _, (_, size, *_), _ in their_pairs)
        assert pairs == their_pairs or volume != target.bounding_box.volume()
    if error is None:  # and where theirs do not match, ours do
        assert match(pairs, source, target, source_shape, target_shape)
        assert sum(np.prod(size) for _, (_, size, *_), _ in pairs) == target.bounding_box.volume()
    elif their_error is None:
        assert not match(their_pairs, source, target, source_shape, target_shape) or "matches no whole" in str(error)


@given(source=regions, target=regions)
@settings(max_examples=30)
def test_default_chunks_of_two_views(both, source, target):
    theirs, ours, executor = both
    target = (target[0], source[1], source[2], target[3])
    assert_same_outcome(
        lambda: pairs_of(part(ours, source), part(ours, target), None),
        lambda: pairs_of(part(theirs, source), part(theirs, target), executor),
    )


def test_one_chunk_shape_of_two(both):
    theirs, ours, executor = both
    for keywords in ({"source_chunk_shape": (32, 32, 32)}, {"target_chunk_shape": (32, 32, 32)}):
        mine, other = ours.get_mag(1), theirs.get_mag(1)
        assert_same_outcome(
            partial(pairs_of, mine, mine, None, **keywords), partial(pairs_of, other, other, executor, **keywords)
        )


@given(
    region=regions,
    shift=st.tuples(*[st.integers(0, 4).map(lambda value: 4 * value)] * 3),
    voxel=st.none() | st.integers(0, 10**6),
    larger=st.booleans(),
)
@settings(max_examples=15)
@pytest.mark.covers("View.content_is_equal")
def test_content_is_equal(both, region, shift, voxel, larger):
    theirs, ours, executor = both
    mag, corner, extent, _ = region
    place = tuple(first + step for first, step in zip(corner, shift, strict=True))
    data = np.random.default_rng(0).integers(0, 255, tuple(np.array(extent) // wk.Mag(mag).to_tuple()), dtype="uint8")
    part(ours, (mag, corner, extent, False)).write(data)
    copy = ours.get_mag(mag).get_view(absolute_offset=place, size=extent)
    if voxel is not None:
        before = copy.read()
        before[:, *np.unravel_index(voxel % data.size, data.shape)] += 1
        copy.write(before)
    expected = np.array_equal(part(ours, region).read(), copy.read()) and not larger
    size = (extent[0] + 4, *extent[1:]) if larger else extent
    one, other = part(ours, region), ours.get_mag(mag).get_view(absolute_offset=place, size=size)
    assert one.content_is_equal(other) is expected
    assert one.content_is_equal(other, chunk_shape=(8, 16, 32)) is expected
    their_other = theirs.get_mag(mag).get_view(absolute_offset=place, size=size)
    their_answer, error = outcome(lambda: part(theirs, region).content_is_equal(their_other, executor=executor))
    if error is None:  # it fails where the views lie differently in their shards
        assert their_answer is expected


# ---- What the functions get, on every executor and device


def brighten(arguments):
    chunk, number = arguments
    chunk.write(np.full(chunk.read().shape, number + 1, "uint8"))


def brightest(chunk):
    return int(chunk.read().max())


def halve(arguments):
    source, target, _ = arguments
    target.write(np.ascontiguousarray(source.read()[:, ::2, ::2, ::2]))


def test_chunks_write_and_read(mag_view, executor):
    mag_view.for_each_chunk(brighten, executor=executor)
    boxes = list(mag_view.bounding_box.chunk((32, 32, 32), (32, 32, 32)))
    assert len(boxes) == 8
    for number, box in enumerate(boxes):
        assert (mag_view.read(absolute_bounding_box=box) == number + 1).all()
    assert mag_view.map_chunk(brightest, executor=executor) == list(range(1, 9))


def test_zipped_chunks_write_what_they_read(mag_view, other_mag, volume, executor):
    mag_view.for_zipped_chunks(halve, other_mag, executor=executor)
    np.testing.assert_array_equal(other_mag.read()[0], volume[::2, ::2, ::2])


def test_equality(mag_view, dataset, volume, executor):
    copy = dataset.add_layer("copy", "color", dtype="uint8").add_mag(1, chunk_shape=16, shard_shape=16)
    copy.write(volume, absolute_offset=(4, 8, 12))
    assert mag_view.content_is_equal(copy, executor=executor)
    assert copy.content_is_equal(mag_view, chunk_shape=(9, 10, 11), executor=executor)
    copy.write(volume[-1:, -1:, -1:] + 1, absolute_offset=(43, 43, 43))
    assert not mag_view.content_is_equal(copy, executor=executor)


def fail_in_the_middle(chunk):
    if chunk.bounding_box.topleft == (4, 32, 32):
        raise ArithmeticError("too dark")


def test_a_failure_names_its_box(mag_view, executor):
    with pytest.raises(ArithmeticError, match="too dark") as caught:
        mag_view.map_chunk(fail_in_the_middle, executor=executor)
    box = wk.BoundingBox((4, 32, 32), (28, 12, 12))
    assert caught.value.__notes__ == [f"While processing chunk 3, {box} (in Mag(1))."]


def test_on_every_device(device, mag_view, other_mag, volume, executors):  # noqa: F811
    threads = executors("threads")

    def copy_half(arguments):
        source, target, _ = arguments
        assert source.device == target.device == device
        target.write(source.read()[:, ::2, ::2, ::2])

    mag_view.for_zipped_chunks(copy_half, other_mag, executor=threads)
    np.testing.assert_array_equal(read(other_mag)[0], volume[::2, ::2, ::2])
    assert max(mag_view.map_chunk(lambda chunk: int(chunk.read().max()), executor=threads)) == volume.max()
    assert mag_view.content_is_equal(mag_view, executor=threads)
    assert mag_view.content_is_equal(mag_view.to("cpu"), chunk_shape=(16, 16, 16))
    assert mag_view.to("cpu").content_is_equal(mag_view)
    last = mag_view.get_view(absolute_offset=(43, 43, 43), size=(1, 1, 1))
    same = mag_view.get_view(absolute_offset=(42, 43, 43), size=(1, 1, 1))
    assert last.content_is_equal(same) is bool(volume[-1, -1, -1] == volume[-2, -1, -1])


# ---- Equality


def test_views_of_other_shapes_or_voxels_differ(dataset, mag_view, other_mag):
    def made(name, dtype, channels):
        layer = dataset.add_layer(name, "color", dtype=dtype, num_channels=channels)
        layer.bounding_box = mag_view.bounding_box
        return layer.add_mag(1, chunk_shape=8, shard_shape=32)

    empty = made("empty", "uint8", 1)
    assert not empty.content_is_equal(mag_view)
    assert not empty.content_is_equal(other_mag)
    assert not empty.content_is_equal(made("wide", "uint16", 1))
    assert not empty.content_is_equal(made("colourful", "uint8", 3))
    assert not empty.content_is_equal(empty.get_view(relative_offset=(0, 0, 0), size=(8, 8, 8)))
    assert empty.content_is_equal(made("hollow", "uint8", 1))


def test_nan_equals_nothing(dataset):
    mag = dataset.add_layer("floats", "color", dtype="float32").add_mag(1, chunk_shape=8, shard_shape=8)
    mag.write(np.full((4, 4, 4), np.nan, "float32"), absolute_offset=(0, 0, 0))
    assert not mag.content_is_equal(mag)
    mag.write(np.full((4, 4, 4), -0.0, "float32"), absolute_offset=(0, 0, 0))
    assert mag.content_is_equal(mag)


def test_an_empty_layer(layer):
    mag = layer.add_mag(1, chunk_shape=8, shard_shape=8)
    assert mag.content_is_equal(mag)
    assert mag.map_chunk(brightest) == []
    assert list(mag.chunk((8, 8, 8))) == []
    mag.for_zipped_chunks(halve, mag)


def test_the_first_difference_ends_it(mag_view, monkeypatch):
    copy = mag_view.get_view(absolute_offset=(4, 8, 12), size=(36, 36, 32))
    shifted = mag_view.get_view(absolute_offset=(8, 8, 12), size=(36, 36, 32))
    compared, lock = [], threading.Lock()
    original = comparison.boxes_are_equal

    def counting(one, other, engine, toplefts, shape):
        with lock:
            compared.append(toplefts)
        return original(one, other, engine, toplefts, shape)

    monkeypatch.setattr(comparison, "boxes_are_equal", counting)
    assert not copy.content_is_equal(shifted, chunk_shape=(8, 8, 8))
    assert compared == [((4, 8, 12), (8, 8, 12))]


@pytest.mark.parametrize("chunk_shape", [None, (1 << 20, 1 << 20, 1 << 20)])
def test_what_neither_has_stored_is_not_compared(dataset, mag_view, monkeypatch, chunk_shape):
    """Whether it is skipped before or within a job; and what one of them has alone is seen, wherever it lies."""
    other = dataset.add_layer("copy", "color").add_mag(1, chunk_shape=8, shard_shape=16)
    other.write(mag_view.read(), absolute_offset=(4, 8, 12))
    box = wk.BoundingBox((0, 0, 0), (1 << 20, 1 << 20, 1 << 20))
    other.layer.bounding_box = mag_view.layer.bounding_box = box
    shapes, original = [], comparison.boxes_are_equal
    monkeypatch.setattr(comparison, "boxes_are_equal", lambda *a: shapes.append(a[-1]) or original(*a))
    assert mag_view.content_is_equal(other, chunk_shape=chunk_shape)
    assert 1 <= len(shapes) <= 27
    shifted = mag_view.get_view(absolute_offset=(8, 0, 0), size=(1 << 19, 1 << 19, 1 << 19), read_only=True)
    assert not shifted.content_is_equal(other.get_view(absolute_offset=(0, 0, 0), size=shifted.bounding_box.size))
    for far in (other, mag_view):
        far.write(np.ones((1, 1, 1), "uint8"), absolute_offset=(1 << 19, 70_000, 5))
        assert mag_view.content_is_equal(other, chunk_shape=chunk_shape) is (far is mag_view)


def test_chunks_of_a_huge_view_come_one_by_one(mag_view):
    """Of a box with a digit too many, as well."""
    view = mag_view.get_view(absolute_offset=(4, 32, 32), size=(1 << 20,) * 3, read_only=True)
    assert next(view.chunk((64, 64, 64))).bounding_box.size == (64, 64, 64)
    with pytest.raises(ArithmeticError, match="too dark") as caught:
        view.map_chunk(fail_in_the_middle, (16, 16, 16))
    assert "While processing chunk 0, BoundingBox(topleft=(4, 32, 32), size=(12, 16, 16))" in caught.value.__notes__[0]
    with pytest.raises(ShapeError, match="choose larger ones"):
        mag_view.get_view(absolute_offset=(0, 0, 0), size=(1 << 30,) * 3, read_only=True).chunk((1, 1, 1))


@given(
    st.tuples(*[st.integers(0, 9)] * 3), st.tuples(*[st.integers(0, 9)] * 3), st.sampled_from([1, 2, 4]), st.booleans()
)
def test_boxes_of_chunks(corner, size, step, aligned):
    box, shape, alignments = wk.BoundingBox(corner, size), (4, 8, 4), (step,) * 3 if aligned else None
    boxes = ChunkBoxes(box, shape, alignments)
    assert list(boxes) == list(box.chunk(shape, alignments))
    assert boxes[1:] == list(boxes)[1:]
    assert not len(boxes) or boxes[-1] == list(boxes)[-1]


def test_damage_is_an_error_and_no_difference(mag_view):
    file = next(mag_view.path.rglob("x*.wkw"))
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(FormatError) as caught:
        mag_view.content_is_equal(mag_view)
    assert "While processing chunk" in caught.value.__notes__[0]


def test_comparisons_fit_memory(dataset):
    layer = dataset.add_layer("large", "color", dtype="uint16", num_channels=3)
    mag = layer.add_mag("2-2-1", chunk_shape=32, shard_shape=1024)
    shape = comparison_shape(mag._array.spec)
    assert shape == (256, 256, 128)
    assert np.prod(shape) * 6 <= 1 << 26
    assert comparison_shape(layer.add_mag(1, chunk_shape=32, shard_shape=64)._array.spec) == (64, 64, 64)
    assert comparison_shape(layer.add_mag(4, chunk_shape=512, shard_shape=512)._array.spec) == (512, 512, 512)


# ---- Errors


def test_shapes_that_are_none(mag_view):
    for shape in ((0, 8, 8), (-8, 8, 8), (8, 8), "chunks"):
        with pytest.raises(ShapeError):
            mag_view.chunk(shape)
        with pytest.raises(ShapeError):
            mag_view.for_each_chunk(brighten, shape)
        with pytest.raises(ShapeError):
            mag_view.content_is_equal(mag_view, chunk_shape=shape)
    mag2 = mag_view.layer.add_mag(2)
    with pytest.raises(ShapeError, match=r"\(8, 8, 9\), in Mag\(1\), must be a multiple of mag 2"):
        mag2.content_is_equal(mag2, chunk_shape=(8, 8, 9))


def test_messages_say_what_to_do(mag_view, other_mag):
    with pytest.raises(ShapeError, match=r"\(16, 16, 16\) must be a multiple of the shards .* \(32, 32, 32\) in Mag"):
        mag_view.map_chunk(brightest, (16, 16, 16))
    with pytest.raises(ShapeError, match=r"\(4, 4, 4\) must be a multiple of the chunks .* \(8, 8, 8\) in Mag"):
        mag_view.get_view(read_only=True).map_chunk(brightest, (4, 4, 4))
    with pytest.raises(ShapeError, match=r"sizes of the views, \(40, 36, 32\) and \(40, 36, 32\).*\(32, 32, 32\)"):
        mag_view.for_zipped_chunks(halve, mag_view, (32, 32, 32), (64, 64, 64))
    with pytest.raises(ShapeError, match="give both or none"):
        mag_view.for_zipped_chunks(halve, other_mag, (32, 32, 32))
    with pytest.raises(ReadOnlyError):
        list(mag_view.get_view(read_only=True).chunk((8, 8, 8), read_only=False))
    with pytest.raises(RegionError, match="multiples of mag 2"):
        list(other_mag.chunk((3, 3, 3)))


# ---- Earlier generations


@pytest.fixture
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def test_arguments_of_today(no_warnings, mag_view, other_mag):
    shape = (32, 32, 32)
    for view in mag_view.chunk(chunk_shape=shape, chunk_border_alignments=shape, read_only=True):
        assert view.read_only
    mag_view.for_each_chunk(func_per_chunk=brighten, chunk_shape=shape, executor=None, progress_desc="Today")
    assert mag_view.map_chunk(func_per_chunk=brightest, chunk_shape=shape, executor=None, progress_desc="Today")
    mag_view.for_zipped_chunks(
        func_per_chunk=halve, target_view=other_mag, source_chunk_shape=shape, target_chunk_shape=shape,
        executor=None, progress_desc="Today",
    )  # fmt: skip
    assert mag_view.content_is_equal(other=mag_view, executor=None, progress_desc="Today", chunk_shape=shape)


def test_arguments_by_position(no_warnings, mag_view, other_mag):
    shape = (32, 32, 32)
    assert len(list(mag_view.chunk(shape, shape, True))) == 8
    mag_view.for_each_chunk(brighten, shape, None, "By position")
    assert len(mag_view.map_chunk(brightest, shape, None, "By position")) == 8
    mag_view.for_zipped_chunks(halve, other_mag, shape, shape, None, "By position")
    assert mag_view.content_is_equal(mag_view, None, None)


def test_names_of_earlier_generations(mag_view, other_mag):
    with pytest.warns(DeprecationWarning, match="is deprecated; use") as caught:
        mag_view.for_each_chunk(work_on_chunk=brighten, chunk_size=(32, 32, 32))
    assert [str(warning.message).partition("(): ")[2] for warning in caught] == [
        "work_on_chunk is deprecated; use func_per_chunk.",
        "chunk_size is deprecated; use chunk_shape.",
    ]
    assert {warning.filename for warning in caught} == {__file__}
    with pytest.warns(DeprecationWarning, match="chunk_size is deprecated"):
        assert len(mag_view.map_chunk(brightest, chunk_size=(64, 64, 64))) == 1
    with pytest.warns(DeprecationWarning, match="chunk_size is deprecated"):
        mag_view.for_zipped_chunks(
            halve, other_mag, source_chunk_size=(64, 64, 64), target_chunk_size=(64, 64, 64), executor=None
        )
    with pytest.warns(DeprecationWarning, match="args is deprecated; use executor"):
        assert mag_view.content_is_equal(mag_view, object())
