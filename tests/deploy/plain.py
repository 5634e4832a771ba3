"""Writes deploy/kubernetes/gristmill.yaml: what the chart makes of its own values, for those who have no Helm.

PYTHONPATH=tests python -m deploy.plain
"""

from __future__ import annotations

from typing import Any

from deploy.reading import DEPLOY

PLAIN = DEPLOY / "kubernetes" / "gristmill.yaml"
HEAD = """\
# What `helm template gristmill deploy/helm/gristmill` prints, to be applied without Helm; `make manifests` writes it anew.
# PostgreSQL and Valkey are called postgres and valkey here. Make the secret first:
#   kubectl create secret generic gristmill --from-literal=POSTGRES_PASSWORD=... --from-literal=REDIS_PASSWORD=...
"""


def plain(helm: Any) -> str:
    """The manifests, in the order in which they may be applied."""
    with helm.Chart.load(DEPLOY / "helm" / "gristmill") as chart:
        files: dict[str, str] = chart.render({}, name="gristmill", namespace="default")
    made = {name.rpartition("/")[2]: text.strip() for name, text in files.items() if name.endswith(".yaml")}
    first = [name for name in ("config.yaml", "serviceaccount.yaml", "home.yaml") if name in made]
    texts = [made[name].removeprefix("---\n") for name in [*first, *sorted(set(made) - set(first))] if made[name]]
    return HEAD + "".join(f"---\n{text}\n" for text in texts)


if __name__ == "__main__":
    import helm_python

    PLAIN.write_text(plain(helm_python), encoding="utf-8")
