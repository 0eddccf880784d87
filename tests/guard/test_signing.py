"""Signatures: the vectors of RFC 9421, and everything about a request that may not change."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bottega.serve.signing import (
    BadSignature,
    Nonces,
    Signed,
    base_of,
    check_request,
    content_digest,
    jwk,
    public_bytes,
    sign,
    sign_request,
    sign_response,
    verify_response,
)

DATE = "Tue, 20 Apr 2021 02:07:55 GMT"


def test_rfc_9421_hmac_vector():
    """Appendix B.2.5."""
    secret = base64.b64decode("uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ==")  # fmt: skip
    params = '("date" "@authority" "content-type");created=1618884473;keyid="test-shared-secret"'
    headers = {"date": DATE, "content-type": "application/json"}
    base = base_of(("date", "@authority", "content-type"), params, {"@authority": "example.com"}, headers)
    assert base64.b64encode(sign(base, "hmac-sha256", secret)) == b"pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtE8="


def test_rfc_9421_ed25519_vector():
    """Appendix B.2.6."""
    pem = b"-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ+DYvh6SEqVTm50DFtMDoQikTmiCqirVv9mWG9qfSnF\n-----END PRIVATE KEY-----\n"  # fmt: skip
    key = serialization.load_pem_private_key(pem, None)
    raw = key.private_bytes(serialization.Encoding.Raw, serialization.PrivateFormat.Raw, serialization.NoEncryption())
    covered = ("date", "@method", "@path", "@authority", "content-type", "content-length")
    params = '("date" "@method" "@path" "@authority" "content-type" "content-length");created=1618884473;keyid="test-key-ed25519"'
    headers = {"date": DATE, "content-type": "application/json", "content-length": "18"}
    base = base_of(covered, params, {"@method": "POST", "@path": "/foo", "@authority": "example.com"}, headers)
    expected = b"wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw=="
    assert base64.b64encode(sign(base, "ed25519", raw)) == expected


@pytest.fixture(params=["ed25519", "hmac-sha256"])
def pair(request):
    secret = bytes(range(32))
    public = public_bytes(Ed25519PrivateKey.from_private_bytes(secret)) if request.param == "ed25519" else secret
    return request.param, base64.b64encode(secret).decode(), public


def _check(pair, made, method="POST", path="/v1/x", query="a=1", body=b"{}", now=1000.0, headers=None):
    alg, _, public = pair
    check_request(Signed.of(made), alg, public, method, path, query, {**made, **(headers or {})}, body, now)


def _made(pair, **more):
    alg, secret, _ = pair
    return sign_request("POST", "http://h/v1/x?a=1", b"{}", key="k", secret=secret, alg=alg, created=1000, **more)


def test_an_honest_request_holds(pair):
    _check(pair, _made(pair))
    alg, secret, public = pair
    made = sign_request("GET", "http://h/v1/x", b"", key="k", secret=secret, alg=alg, created=1000)
    check_request(Signed.of(made), alg, public, "GET", "/v1/x", "", made, b"", 1000)


@pytest.mark.parametrize("change", [{"method": "PUT"}, {"path": "/v1/y"}, {"query": "a=2"}, {"query": ""}, {"body": b"{} "}, {"body": b""}])  # fmt: skip
def test_nothing_of_it_may_change(pair, change):
    with pytest.raises(BadSignature):
        _check(pair, _made(pair), **change)


@pytest.mark.parametrize(
    ("old", "new"),
    [("created=1000", "created=1001"), ('keyid="k"', 'keyid="l"'), ('"@query" ', ""), ('"@path"', '"@method"'), (";nonce=", ";nonse="), ("sig=(", "sog=(")],
)  # fmt: skip
def test_nor_what_is_signed(pair, old, new):
    made = _made(pair)
    assert old in made["signature-input"]
    made["signature-input"] = made["signature-input"].replace(old, new)
    with pytest.raises(BadSignature):
        _check(pair, made)


@pytest.mark.parametrize("bad", ["", "x", "sig=()", 'sig=("@method");created=x;keyid="k"', 'sig=("@method" "@method");created=1;keyid="k"', "sig=" + "(" * 10_000, 'sig=("@method");created=99999999999999999999;keyid="k"'])  # fmt: skip
def test_what_cannot_be_read(bad):
    with pytest.raises(BadSignature):
        Signed.of({"signature-input": bad, "signature": "sig=:AAAA:"})


@pytest.mark.parametrize(("now", "said"), [(1301.0, "301 seconds behind"), (699.0, "301 seconds ahead of")])
def test_clock_skew_is_named(pair, now, said):
    _check(pair, _made(pair), now=1300.0)
    _check(pair, _made(pair), now=700.0)
    with pytest.raises(BadSignature, match=said) as refused:
        _check(pair, _made(pair), now=now)
    assert refused.value.code == "clock_skew"


def test_a_short_nonce_is_refused(pair):
    with pytest.raises(BadSignature, match="nonce"):
        _check(pair, _made(pair, nonce="short"))


def test_a_nonce_counts_once_for_each_key_and_is_forgotten_after_its_window(state):
    nonces = Nonces(state)
    nonces.take("k", "n" * 10, 1000.0)
    nonces.take("l", "n" * 10, 1000.0)
    with pytest.raises(BadSignature, match="came before") as refused:
        Nonces(state).take("k", "n" * 10, 1300.0)  # another server on the same state, or this one after a restart
    assert refused.value.code == "replayed"
    nonces._count = 0
    nonces.take("k", "n" * 10, 1000.0 + 602)  # by then the time of the signature itself is refused


def test_responses():
    key = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    made = {**sign_response(key, 200, "r1", content_digest(b"body"), 1000.0), "x-request-id": "r1"}
    verify_response(public_bytes(key), 200, made, b"body")
    for status, headers, body in [(201, made, b"body"), (200, made, b"bodi"), (200, made | {"x-request-id": "r2"}, b"body"), (200, {}, b"body")]:  # fmt: skip
        with pytest.raises(BadSignature):
            verify_response(public_bytes(key), status, headers, body)
    with pytest.raises(BadSignature):
        verify_response(public_bytes(Ed25519PrivateKey.generate()), 200, made, b"body")


def test_jwk_of_rfc_8037():
    """Appendix A.1 to A.3: the key and its thumbprint."""
    d = base64.urlsafe_b64decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=")
    made = jwk(Ed25519PrivateKey.from_private_bytes(d))
    assert made["x"] == "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
    assert made["kid"] == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
