"""The section fetch: documents from URLs."""

from __future__ import annotations

from ipaddress import ip_network

from pydantic import Field, field_validator

from gristmill.base.settings.source import Section


class Fetch(Section):
    """Documents from http and https URLs (`ingest URL`). Links and pictures in documents are never fetched."""

    enabled: bool = Field(False, description="Whether documents are fetched from URLs at all.")
    hosts: str = Field(
        "", description="Only from these hosts, with commas; `.example.org` means all below it. Empty: from any."
    )
    private: str = Field(
        "",
        description="Networks that may be reached although they are not public, as `10.1.0.0/16`, with commas. All others of"
        " that kind are refused, also by a redirect.",
    )
    timeout: float = Field(60.0, gt=0, le=3600, description="Seconds for one document, redirects included.")
    redirects: int = Field(5, ge=0, le=20, description="Redirects that are followed, each checked like the first URL.")

    @field_validator("private")
    @classmethod
    def _networks(cls, given: str) -> str:
        for one in listed(given):
            try:
                ip_network(one)
            except ValueError as exc:
                raise ValueError(f"must be networks with commas between them, as 10.1.0.0/16: {exc}") from exc
        return given


def listed(given: str) -> list[str]:
    """What stands between the commas."""
    return [one.strip() for one in given.split(",") if one.strip()]
