"""Settings shared by the tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from kmsenvelope import Kms, LocalKms
from kmsenvelope.emulator.server import Emulator
from kmsenvelope.testing import connect

settings.register_profile("dev", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", parent=settings.get_profile("dev"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "dev")


@pytest.fixture(scope="session", params=["local", "tencent"])
def kms(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kms]:
    """A KMS with the keys ``demo`` and ``other``: the embedded one, and the real SDK over a socket."""
    if request.param == "local":
        store: Path = tmp_path_factory.mktemp("kms") / "keys.db"
        with LocalKms(store) as kms:
            yield with_keys(kms)
    else:
        with Emulator() as emulator, connect(emulator) as kms:
            yield with_keys(kms)


def with_keys(kms: Kms) -> Kms:
    for alias in ("demo", "other"):
        kms.create_key(alias)
    return kms
