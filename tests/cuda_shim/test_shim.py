"""What the shim shows of kernels: results that depend on the order of lanes, and lanes that diverge."""

import subprocess

import pytest

from . import building


@pytest.fixture(scope="module", params=["switched", "portable"])
def shim(request, tmp_path_factory):
    """Runs a kernel of `shim_program.cpp`, with both kinds of fibers."""
    macros = {"PORTABLE_FIBERS": 1} if request.param == "portable" else {}
    target = tmp_path_factory.mktemp("shim") / "program"
    try:
        program = building.build(building.HERE / "shim_program.cpp", target, **macros)
    except building.CannotBuildError as error:
        pytest.skip(str(error))

    def run(kernel):
        done = subprocess.run([program, kernel], capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, [list(map(int, line.split())) for line in done.stdout.splitlines()], done.stderr

    return run


def test_lanes_exchange_values(shim):
    squares = [(31 - lane) ** 2 for lane in range(32)]
    assert shim("collectives") == (0, [squares, squares], "")


def test_a_missing_barrier_shows_in_the_order_of_lanes(shim):
    neighbours = [(lane + 1) % 32 + 100 for lane in range(32)]
    assert shim("barrier") == (0, [neighbours, neighbours], "")
    _, (ascending, descending), _ = shim("no-barrier")
    assert ascending[:31] == [0] * 31
    assert descending[:31] == neighbours[:31]


@pytest.mark.parametrize("kernel", ["diverging", "ending"])
def test_lanes_that_diverge_end_the_process(shim, kernel):
    status, results, said = shim(kernel)
    assert status < 0
    assert results == []
    assert said.startswith("Lanes diverge: ")
