"""The test vectors that lie beside the repository, and what becomes of their tests where they do not."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import pytest

VECTORS = Path(__file__).parents[3] / "shared" / "vectors"
CONFORMANCE = VECTORS / "sigstore-conformance"
MISSING = "the shared test vectors are not beside this repository (../shared/vectors)"

T = TypeVar("T")


def needed() -> None:
    """Skip the running test where the vectors are missing; fail it in CI."""
    if not VECTORS.is_dir():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(MISSING)


def or_skipped(cases: Sequence[T]) -> Sequence[T]:
    """Return the cases for `parametrize`; where the vectors are missing, one that is skipped, or a failure in CI."""
    if VECTORS.is_dir():
        return cases
    if os.environ.get("CI"):
        pytest.fail(MISSING, pytrace=False)
    return [pytest.param(None, marks=pytest.mark.skip(reason=MISSING), id="none")]
