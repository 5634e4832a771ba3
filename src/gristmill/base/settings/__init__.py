"""Configuration: read once, frozen, typed; every wrong key or value is named with its file and line.

In this order, the later over the earlier: defaults; ``service_conf.yaml``; ``local.service_conf.yaml`` beside it (deep
merge); environment variables. This package is the only reader of the environment.
"""

from __future__ import annotations

from gristmill.base.settings.load import load_settings
from gristmill.base.settings.model import Settings
from gristmill.base.settings.models import EmbeddingModel

__all__ = ["EmbeddingModel", "Settings", "load_settings"]
