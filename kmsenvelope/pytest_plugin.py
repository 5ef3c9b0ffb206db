"""The pytest plugin: fixtures with the emulator, a client of it, and a fake without a socket."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .emulator.server import Emulator
    from .kms.tencent import TencentKms
    from .testing import FakeKms


@pytest.fixture(scope="session")
def kms_emulator_server() -> Iterator[Emulator]:
    """One running emulator for the whole session; tests use ``kms_emulator``."""
    from .emulator.server import Emulator

    with Emulator() as emulator:
        yield emulator


@pytest.fixture
def kms_emulator(kms_emulator_server: Emulator) -> Emulator:
    """The emulator, reset: no keys, no faults, no calls, real time."""
    kms_emulator_server.reset()
    return kms_emulator_server


@pytest.fixture
def tencent_kms(kms_emulator: Emulator) -> Iterator[TencentKms]:
    """A ``TencentKms`` over the real SDK and a socket, connected to ``kms_emulator``."""
    from .testing import connect

    with connect(kms_emulator) as kms:
        yield kms


@pytest.fixture
def fake_kms() -> Iterator[FakeKms]:
    """A ``FakeKms``: in memory, no socket, no extra needed."""
    from .testing import FakeKms

    with FakeKms() as kms:
        yield kms
