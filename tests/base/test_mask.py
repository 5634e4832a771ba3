"""What must never be shown, is not (P11)."""

from __future__ import annotations

import pytest

from gristmill.base.settings.mask import SHORTEST, is_secret, masked, masked_text, remember


@pytest.mark.parametrize(
    "key",
    "password PASSWORD mysql_password mailPassword passwd pwd passphrase secret secret_key clientSecret app_secret token"
    " sas_token session_token accessToken api_key apiKey ES_APIKEY access_key private_key http_app_key signing_key"
    " credentials Authorization cookie sas".split(),
)
def test_names_of_secrets_are_known(key: str) -> None:
    assert is_secret(key)


@pytest.mark.parametrize(
    "key",
    "tokens chunk_token_num max_tokens token_count tokenizer key keys keyword monkey message disaster passage_prefix"
    " passage secretary token_url authorization_url password_type host".split(),
)
def test_ordinary_names_are_shown(key: str) -> None:
    assert not is_secret(key)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("postgresql://root:pw@db:5432/x failed", "postgresql://***@db:5432/x failed"),
        ("redis://:pw@cache", "redis://***@cache"),
        ("see https://example.org/a@b", "see https://example.org/a@b"),
        ("GET /c?sv=1&sig=abc%3D&x=2", "GET /c?sv=1&sig=***&x=2"),
        ("Authorization: Bearer sk-0123456789", "Authorization: Bearer ***"),
        ('{"api_key": "sk-1", "model": "m"}', '{"api_key": "***", "model": "m"}'),
        ("password=hunter2;host=db", "password=***;host=db"),
        ("access_token='abc' expired", "access_token='***' expired"),
        ("unexpected token: }", "unexpected token: }"),
        ("bearer of news", "bearer of news"),
    ],
)
def test_credentials_inside_of_texts_are_masked(text: str, expected: str) -> None:
    assert masked_text(text) == expected


def test_a_known_secret_is_masked_wherever_it_turns_up() -> None:
    remember(["hunter22", "hunter22-longer", "short"[: SHORTEST - 1]])
    assert masked_text("login hunter22-longer, then hunter22; short") == "login ***, then ***; short"


def test_plain_data_is_masked_to_any_depth_and_keeps_its_shape() -> None:
    value = {
        "a": [{"password": "x", "port": 1}],
        "credentials": {"user": "u", "parts": ["p", 2]},
        "api_key": "",
        "secret": None,
        "encrypt_password": True,
        "pin_secret": 0,
    }
    assert masked(value) == {
        "a": [{"password": "***", "port": 1}],
        "credentials": {"user": "***", "parts": ["***", "***"]},
        "api_key": "",
        "secret": None,
        "encrypt_password": True,
        "pin_secret": "***",
    }


def test_objects_are_told_by_their_masked_text() -> None:
    assert masked(ConnectionError("no postgres://u:pw@db")) == "ConnectionError('no postgres://***@db')"
    assert masked({"tokens": 3, "at": 1.5}) == {"tokens": 3, "at": 1.5}
