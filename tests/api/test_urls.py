"""Which hosts are this machine: by their address, not by their spelling."""

from __future__ import annotations

import re
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_crux.api.urls import base_url, is_loopback, may_be_loopback

LOOPBACK = [
    "127.0.0.1",
    "127.1",
    "127.255.255.254",
    "0x7f.1",
    "0X7F000001",
    "017700000001",
    "2130706433",
    "0.0.0.0",
    "0",
    "localhost",
    "LOCALHOST",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::FFFF:7f00:1]",
    "[::ffff:0.0.0.0]",
]
ELSEWHERE = ["128.1", "10.0.0.1", "1.127", "0.1", "3232235777", "[::2]", "[::ffff:10.0.0.1]", "127.0.0.1.example"]
NO_ADDRESSES = [
    "127.0.0.256",
    "127.0.0.0.1",
    "127.",
    "127..1",
    "0x",
    "08.1",
    "4294967296",
    "1e3",
    "a",
    "127.\N{ARABIC-INDIC DIGIT ONE}",
]
UNCERTAIN = ["localhost.", "127.0.0.1.", "a.localhost", "ip6-localhost", "localhost.localdomain"]


@pytest.mark.parametrize("host", LOOPBACK)
def test_http_is_allowed_to_every_address_of_this_machine(host: str) -> None:
    assert re.fullmatch(r"http://(127[\d.]+|0\.0\.0\.0|localhost|\[::1?\]):8000", base_url(host=f"http://{host}:8000"))


@pytest.mark.parametrize(
    ("host", "url"),
    [("127.1", "https://127.0.0.1"), ("[0::1]:8443", "https://[::1]:8443"), ("3232235777", "https://192.168.1.1")],
)
def test_an_address_gets_its_usual_spelling(host: str, url: str) -> None:
    assert base_url(host=host) == url


@pytest.mark.parametrize("host", [*ELSEWHERE, *NO_ADDRESSES, *UNCERTAIN])
def test_http_is_not_allowed_to_what_may_be_another_machine(host: str) -> None:
    with pytest.raises(ValueError, match=r"would receive the token unencrypted|cannot be parsed"):
        base_url(host=f"http://{host}:8000")


def test_a_file_may_not_be_where_a_name_may_lead_to_this_machine() -> None:
    hosts = [*LOOPBACK, *UNCERTAIN]
    assert [host for host in hosts if not may_be_loopback(host.strip("[]"))] == []
    assert [host for host in [*ELSEWHERE, *NO_ADDRESSES] if may_be_loopback(host.strip("[]"))] == []


_NUMBERS = st.one_of(
    st.integers(0, 2**33).map(str), st.integers(0, 300).map(oct), st.integers(0, 2**32).map(hex), st.just("127")
)
_SPELLINGS = st.lists(_NUMBERS, min_size=1, max_size=5).map(".".join).map(lambda text: text.replace("0o", "0"))


@given(_SPELLINGS | st.text("0123456789abcdefxX.", max_size=15))
def test_addresses_are_read_as_the_c_library_reads_them(host: str) -> None:
    try:
        address = socket.inet_aton(host)
    except OSError:
        assert not is_loopback(host)
        return
    assert is_loopback(host) == (address[0] == 127 or address == bytes(4))
