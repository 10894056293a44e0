"""Fixtures: one `weir dev` for the tests that only need an endpoint."""

import uuid

import pytest

import fleet


@pytest.fixture(scope="session")
def weir():
    with fleet.Weir() as running:
        yield running


@pytest.fixture
def db(weir):
    return weir.client()


@pytest.fixture
def table_name():
    return f"t-{uuid.uuid4().hex[:12]}"
