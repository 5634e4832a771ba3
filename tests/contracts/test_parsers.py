"""The parser contract over every registered parser."""

from __future__ import annotations

import io

import pytest

from gristmill.parsers import PAGED, PARSERS
from gristmill.parsers.detect import detect
from gristmill.ports.parser import Parser, Source
from gristmill.testing.parsers import FakeOcr, ParserContract
from samples import SAMPLES

EVERY = [(parser, name) for parser, files in SAMPLES.items() for name in files]


class TestParsers(ParserContract):
    @pytest.fixture(autouse=True)
    def ocr(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The engine takes seconds; what it finds is tested where it is used for real."""
        fake = FakeOcr()
        monkeypatch.setattr("gristmill.parsers.ocr.engine", lambda: fake)

    @pytest.fixture(params=EVERY, ids=[file for _, file in EVERY])
    def case(self, request: pytest.FixtureRequest) -> tuple[str, str]:
        name, file = request.param
        return name, file

    @pytest.fixture
    def parser(self, case: tuple[str, str]) -> Parser:
        return PARSERS.load(case[0])()

    @pytest.fixture
    def sample(self, case: tuple[str, str]) -> Source:
        name, file = case
        return Source(file, SAMPLES[name][file]())


def test_every_parser_has_a_sample() -> None:
    assert set(SAMPLES) == set(PARSERS.builtin)


def test_which_parsers_read_page_by_page_is_known_without_importing_them() -> None:
    assert {name for name in PARSERS.builtin if PARSERS.load(name).unit == "page"} == PAGED


@pytest.mark.parametrize(("name", "file"), EVERY, ids=[file for _, file in EVERY])
def test_every_sample_is_detected(name: str, file: str) -> None:
    assert detect(file, io.BytesIO(SAMPLES[name][file]())) == name
