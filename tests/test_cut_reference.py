"""The arrays of tests/data are what the script beside them cuts from the full ones."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest

DATA = Path(__file__).resolve().parent / "data"
CUT = runpy.run_path(str(DATA / "cut_reference.py"))


def test_every_cut_has_its_arrays_and_all_are_small() -> None:
    assert sorted(path.stem for path in DATA.glob("*.npz")) == sorted(CUT["CUTS"])
    assert sum(path.stat().st_size for path in DATA.glob("*.npz")) < 1_200_000


@pytest.mark.parametrize("name", CUT["CUTS"])
def test_arrays_are_cut_from_the_full_ones(shared: Path, name: str) -> None:
    expected = CUT["cut"](shared / "reference", name)
    with np.load(DATA / f"{name}.npz") as found:
        assert set(found.files) == set(expected)
        for key in found.files:
            assert found[key].dtype == expected[key].dtype
            if "/temporal/" in key:  # some are solved for, which rounds a little differently on other machines
                np.testing.assert_allclose(found[key], expected[key], rtol=1e-3, atol=1e-4)
            else:
                np.testing.assert_array_equal(found[key], expected[key])
