"""One real service for all tests over HTTP."""

import pytest

from tests.load.http import Pages
from tests.load.service import served

LIMITS = ("--image-mib", "4", "--model-mib", "4")


@pytest.fixture(scope="package")
def service(tmp_path_factory):
    with served(tmp_path_factory.mktemp("service"), "--log-format", "json", *LIMITS) as found:
        yield found


@pytest.fixture(scope="package")
def pages(service):
    return Pages.read(service.address)
