"""Digest against the published vectors."""

import hashlib

import pytest

from sip.errors import RemoteProtocolError
from sip.ua.digest import Challenge, Credentials, challenges
from sip.ua.grammar import parse_params, unquote
from sip.ua.message import Headers, Response

# RFC 7616, 3.9.1
RFC7616 = (
    'Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm={}, '
    'nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", '
    'opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"'
)


def fields(value: str) -> dict[str, str]:
    return {k: unquote(v or "") for k, v in parse_params(value.removeprefix("Digest "), ",").items()}


@pytest.mark.parametrize(
    "algorithm, response",
    [
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ],
)
def test_vectors_of_rfc_7616(algorithm: str, response: str) -> None:
    challenge = Challenge.parse(RFC7616.format(algorithm))
    assert challenge is not None
    cnonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"
    value = Credentials("Mufasa", "Circle of Life").answer(challenge, "GET", "/dir/index.html", cnonce)
    assert fields(value) == {
        "username": "Mufasa",
        "realm": "http-auth@example.org",
        "uri": "/dir/index.html",
        "algorithm": algorithm,
        "nonce": challenge.nonce,
        "nc": "00000001",
        "cnonce": cnonce,
        "qop": "auth",
        "response": response,
        "opaque": challenge.opaque,
    }
    # Quoting matters to peers: RFC 7616, 3.4.
    assert "qop=auth," in value and "nc=00000001," in value and f"algorithm={algorithm}" in value


def test_vector_of_rfc_2617() -> None:
    challenge = Challenge.parse(
        'Digest realm="testrealm@host.com", qop="auth,auth-int", '
        'nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", opaque="5ccc069c403ebaf9f0171e9517f40e41"'
    )
    assert challenge is not None
    value = Credentials("Mufasa", "Circle Of Life").answer(challenge, "GET", "/dir/index.html", "0a4f113b")
    assert fields(value)["response"] == "6629fae49393a05397450978507c4ef1"


def test_vector_of_rfc_8760_sha_512_256() -> None:
    """RFC 7616, 3.9.2 in its corrected form (erratum 4897), the algorithm that RFC 8760 brings to SIP."""
    challenge = Challenge.parse(
        'Digest realm="api@example.org", qop="auth", algorithm=SHA-512-256, '
        'nonce="5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK", '
        'opaque="HRPCssKJSGjCrkzDg8OhwpzCiGPChXYjwrI2QmXDnsOS"'
    )
    assert challenge is not None
    cnonce = "NTg6RKcb9boFIAS3KrFK9BGeh+iDa/sm6jUMp2wds69v"
    credentials = Credentials("J\u00e4s\u00f8n Doe", "Secret, or not?")
    value = credentials.answer(challenge, "GET", "/doe.json", cnonce)
    expected = "3798d4131c277846293534c3edc11bd8a5e4cdcbff78b05db9d95eeb1cec68a5"
    assert fields(value)["response"] == expected


def test_without_qop_the_old_form_of_rfc_2069_is_used() -> None:
    challenge = Challenge.parse('Digest realm="r", nonce="n"')
    assert challenge is not None
    answer = fields(Credentials("u", "p").answer(challenge, "REGISTER", "sip:r", "c"))

    # H(H(u:r:p):n:H(REGISTER:sip:r)), by md5sum
    def h(text: str) -> str:
        return hashlib.md5(text.encode()).hexdigest()

    assert answer["response"] == h(f"{h('u:r:p')}:n:{h('REGISTER:sip:r')}")
    assert "qop" not in answer and "nc" not in answer


def test_a_nonce_used_again_counts_up_and_a_new_one_starts_at_one() -> None:
    credentials = Credentials("u", "p")
    counts = []
    for nonce in ("a", "a", "b"):
        challenge = Challenge("r", nonce, qop=frozenset({"auth"}))
        counts.append(fields(credentials.answer(challenge, "INVITE", "sip:x", "c"))["nc"])
    assert counts == ["00000001", "00000002", "00000001"]


def test_of_several_challenges_the_first_known_one_of_each_realm_counts() -> None:
    headers = Headers(
        [
            ("Proxy-Authenticate", 'Digest realm="r", nonce="1", algorithm=SHA3-999'),
            ("Proxy-Authenticate", 'Digest realm="r", nonce="2", qop="auth-int"'),
            ("Proxy-Authenticate", "Bearer x"),
            ("Proxy-Authenticate", 'Digest realm="r", nonce="3", algorithm=sha-256, stale=TRUE'),
            ("Proxy-Authenticate", 'Digest realm="r", nonce="4", algorithm=MD5'),
            ("Proxy-Authenticate", 'Digest realm="other, \\"quoted\\"", nonce="5"'),
        ]
    )
    found = challenges(Response(headers, b"", 407))
    assert [(c.realm, c.nonce, c.algorithm, c.stale, c.header) for c in found] == [
        ("r", "3", "SHA-256", True, "Proxy-Authorization"),
        ('other, "quoted"', "5", "MD5", False, "Proxy-Authorization"),
    ]


@pytest.mark.parametrize("value", ['Digest realm="r"', 'Digest nonce="n"', "Digest"])
def test_a_challenge_without_its_parts_is_refused(value: str) -> None:
    with pytest.raises(RemoteProtocolError):
        Challenge.parse(value)


def test_a_challenge_that_cannot_be_read_is_left_out() -> None:
    good = 'Digest realm="r", nonce="n"'
    headers = Headers([("WWW-Authenticate", 'Digest realm="r"'), ("WWW-Authenticate", good)])
    assert [c.nonce for c in challenges(Response(headers, b"", 401))] == ["n"]


def test_a_realm_in_another_encoding_is_answered_byte_by_byte() -> None:
    realm = b"B\xfcro".decode("utf-8", "surrogateescape")  # Latin-1, as the wire brings it
    challenge = Challenge.parse(f'Digest realm="{realm}", nonce="n"')
    assert challenge is not None
    answer = fields(Credentials("u", "p").answer(challenge, "REGISTER", "sip:r", "c"))
    ha1 = hashlib.md5(b"u:B\xfcro:p").hexdigest()
    ha2 = hashlib.md5(b"REGISTER:sip:r").hexdigest()
    assert answer["response"] == hashlib.md5(f"{ha1}:n:{ha2}".encode()).hexdigest()


def test_the_password_is_not_in_the_repr() -> None:
    assert "secret" not in repr(Credentials("u", "secret"))
