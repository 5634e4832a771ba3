"""Parameters of methods, as commands take them: ``--set KEY=VALUE``."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import click

from gristmill.base.errors import SettingsError

parameters_option = click.option(
    "--set", "parameters", multiple=True, metavar="KEY=VALUE", help="A parameter of the method; repeatable."
)


def parser_config(given: Iterable[str]) -> dict[str, Any]:
    """Names with their values: JSON where it is that, else texts. Raises SettingsError for what is no such pair."""
    return dict(map(_parameter, given))


def _parameter(given: str) -> tuple[str, Any]:
    key, sign, value = given.partition("=")
    if not sign or not key:
        raise SettingsError(f"--set {given}: it is KEY=VALUE")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value
