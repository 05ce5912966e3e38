"""Addresses to listen on: which are taken, and which of them need TLS."""

import pytest

from tendhost.server.domain.access.listen import Security, listener_of


@pytest.mark.parametrize(
    ("text", "security", "address"),
    [
        ("127.0.0.1:0", Security.PLAIN, "127.0.0.1:0"),
        ("127.8.9.1:50051", Security.PLAIN, "127.8.9.1:50051"),
        ("[::1]:50051", Security.PLAIN, "[::1]:50051"),
        ("localhost:1", Security.PLAIN, "localhost:1"),
        ("unix:/run/x.sock", Security.SOCKET, "unix:/run/x.sock"),
        ("unix:///run/x.sock", Security.SOCKET, "unix:/run/x.sock"),
        ("unix:/run/a b\u00e9.sock", Security.SOCKET, "unix:/run/a b\u00e9.sock"),
        ("unix:/" + "x" * 106, Security.SOCKET, "unix:/" + "x" * 106),
        ("0.0.0.0:50051", Security.TLS, "0.0.0.0:50051"),
        ("[::]:50051", Security.TLS, "[::]:50051"),
        ("192.0.2.1:50051", Security.TLS, "192.0.2.1:50051"),
        ("example.org:50051", Security.TLS, "example.org:50051"),
        ("localhost.example.org:1", Security.TLS, "localhost.example.org:1"),
        ("tls://127.0.0.1:50051", Security.TLS, "127.0.0.1:50051"),
        ("mtls://0.0.0.0:50052", Security.MUTUAL_TLS, "0.0.0.0:50052"),
    ],
)
def test_address__is_plain_on_this_machine_only(text: str, security: Security, address: str):
    listener = listener_of(text)
    assert (listener.security, listener.address) == (security, address)


@pytest.mark.parametrize(
    "text",
    [
        *(":50051", "127.0.0.1", "127.0.0.1:", "127.0.0.1:http", "127.0.0.1:65536", "", "unix:"),
        *("127.0.0.1:-1", "127.0.0.1:\u0661", "::1:50051", "tls://", "mtls://:1", "50051"),
        *("unix-abstract:50551", "tls://unix-abstract:1", "tls://unix:1", "mtls://unix:7", "dns:5"),
        *(
            "unix:x.sock",
            "unix:@x",
            "unix://x",
            "unix://host/x",
            "unix:////x",
            "unix:/run/",
            "unix:/",
        ),
        *(
            "unix:/a%20b",
            "unix:/a?b",
            "unix:/a#b",
            "unix:/a\n",
            "unix:/a\x00b",
            "unix:/" + "x" * 107,
        ),
        *("tls://a..b:1", "mtls://.a:1", "tls://" + "x" * 64 + ":1", "\u00e9" * 60 + ".org:1"),
        *("unix:/" + "\u00e9" * 54, "[localhost]:1", "[127.0.0.1]:1"),
        *("ipv4:127", "ipv6:1", "vsock:2", "dns:///127.0.0.1:5", "tls:///run/x:1"),
    ],
)
def test_text__that_is_no_address_is_refused(text: str):
    with pytest.raises(ValueError, match=r".*"):
        listener_of(text)
