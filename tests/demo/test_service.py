"""The service behind the demo's tools."""

from __future__ import annotations

import http.client
import json

import pytest

from otel_tools.demo.service import Behaviour, Service


def _get(service, path, timeout=10.0):
    connection = http.client.HTTPConnection(service.url.removeprefix("http://"), timeout=timeout)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, json.load(response)
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("path", "part"),
    [
        ("/search?q=shoes", "Returns"),
        ("/orders/1042", "in transit"),
        ("/inventory/trail-42", "available"),
        ("/preferences/u-7", "tone"),
    ],
)
def test_every_endpoint_answers(path, part):
    """With something a tool would give back."""
    with Service() as service:
        status, document = _get(service, path)
    assert status == 200
    assert part in json.dumps(document)


def test_an_endpoint_can_be_made_to_fail_and_to_recover():
    """The others go on."""
    with Service() as service:
        service.behave(search=Behaviour.FAIL)
        assert _get(service, "/search")[0] == 503
        assert _get(service, "/orders/1")[0] == 200
        service.behave(search=Behaviour.SLOW)
        assert _get(service, "/search")[0] == 200
        assert _get(service, "/nonsense")[0] == 404


def test_an_endpoint_that_hangs_is_let_go_at_the_end():
    """A client gives up, and ending the service does not wait for the endpoint."""
    with Service() as service:
        service.behave(inventory=Behaviour.HANG)
        with pytest.raises(TimeoutError):
            _get(service, "/inventory/x", timeout=0.05)
    assert service.closing.is_set()
