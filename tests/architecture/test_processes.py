"""What is trained for the tests is trained once, not once for each of the processes that share them."""

import os

import pytest


@pytest.mark.skipif("PYTEST_XDIST_WORKER" not in os.environ, reason="one process only")
def test_tests_of_one_file_stay_in_one_process(request):
    """pytest and pytest-xdist have to know each other's ways; where they do not, groups are silently forgotten."""
    assert request.node.nodeid.endswith(f"@{__file__}")
