"""What may be asked."""

from __future__ import annotations

import msgspec
import pytest

from gristmill.base.errors import QueryError, SettingsError
from gristmill.search.query import DEPTH, MAX_QUERY, MAX_TERMS, SearchRequest, understand

ASKED = SearchRequest(tenant="t", datasets=("d",), query="What is a lease?")


def test_a_question_becomes_text_terms_and_depth() -> None:
    query = understand(msgspec.structs.replace(ASKED, query="  What is\n a Ｌease? "))
    assert query.text == "What is a Lease?"
    assert query.terms == ("lease",)
    assert query.depth == DEPTH


def test_more_hits_than_the_usual_depth_are_looked_for_where_more_are_wanted() -> None:
    assert understand(msgspec.structs.replace(ASKED, top_k=200)).depth == 200


def test_a_page_of_text_may_be_asked_but_not_a_book() -> None:
    page = " ".join(f"word{number}" for number in range(2000))
    assert len(understand(msgspec.structs.replace(ASKED, query=page)).terms) == MAX_TERMS
    with pytest.raises(QueryError, match="shorten"):
        understand(msgspec.structs.replace(ASKED, query="x" * (MAX_QUERY + 1)))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"query": " \n\u3000"}, "empty"),
        ({"datasets": ()}, "no dataset"),
        ({"top_k": 0}, "top_k is 0"),
        ({"top_k": 1_001}, "top_k is 1001"),
        ({"vector_weight": 1.5}, r"vector_weight is 1\.5"),
        ({"vector_weight": float("nan")}, "vector_weight is nan"),
        ({"threshold": -0.1}, r"threshold is -0\.1"),
        ({"legs": "arms"}, "legs is 'arms'"),
    ],
)
def test_a_wrong_request_is_named(change: dict[str, object], says: str) -> None:
    with pytest.raises(QueryError, match=says) as caught:
        understand(msgspec.structs.replace(ASKED, **change))
    assert isinstance(caught.value, SettingsError)  # so the command line ends with "usage"
