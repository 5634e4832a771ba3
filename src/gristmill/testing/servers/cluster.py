"""Three nodes that share the slots."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from itertools import pairwise
from types import TracebackType
from typing import Self

from gristmill.testing.servers.process import ServerFailed
from gristmill.testing.servers.redis import RedisServer
from gristmill.testing.servers.waiting import until

_SLOTS = 16384


class RedisCluster:
    """A cluster of ``nodes`` masters, each with its share of the slots, formed without redis-cli."""

    def __init__(self, kind: str = "valkey-9", *, nodes: int = 3, config: Sequence[str] = ()) -> None:
        lines = (
            "cluster-enabled yes",
            "cluster-config-file nodes.conf",
            "cluster-node-timeout 1000",
            "cluster-require-full-coverage no",
            *config,
        )
        self.nodes = [RedisServer(kind, config=lines) for _ in range(nodes)]
        self.name = f"{kind} cluster"

    @property
    def url(self) -> str:
        """All nodes, database 0 (a cluster has no other)."""
        return f"redis+cluster://{','.join(f'127.0.0.1:{node.port}' for node in self.nodes)}/0"

    @property
    def running(self) -> bool:
        """Whether all nodes run."""
        return all(node.running for node in self.nodes)

    def start(self) -> None:
        """Start the nodes; the first time, give each its slots and let them meet."""
        new = self.nodes[0].port == 0
        for node in self.nodes:
            node.start()
        if new:
            self._form()
        self.wait_ready()

    def wait_ready(self) -> None:
        """Return when every node knows every other and all slots are served."""
        until(lambda: all(self._agreed(node) for node in self.nodes), f"the {self.name} did not agree")

    def stop(self, *, keep_data: bool = True) -> None:
        """Stop all nodes."""
        for node in self.nodes:
            node.stop(keep_data=keep_data)

    def kill(self) -> None:
        """Kill all nodes."""
        for node in self.nodes:
            node.kill()

    def pause(self) -> None:
        """Pause all nodes."""
        for node in self.nodes:
            node.pause()

    def resume(self) -> None:
        """Resume all nodes."""
        for node in self.nodes:
            node.resume()

    def restart(self, *, keep_data: bool = True, kill: bool = False) -> None:
        """Restart all nodes; without their data they are formed anew, on the same ports."""
        for node in self.nodes:
            if kill:
                node.kill()
            node.stop(keep_data=keep_data)
        if not keep_data:
            for node in self.nodes:
                shutil.rmtree(node.folder / "data", ignore_errors=True)
        for node in self.nodes:
            node.start()
        if not keep_data:
            self._form()
        self.wait_ready()

    def close(self) -> None:
        """End all nodes and remove all they had."""
        with ExitStack() as stack:
            for node in self.nodes:
                stack.callback(node.close)

    def owner(self, key: str) -> RedisServer:
        """The node that serves this key now."""
        slot = self.slot(key)
        for first, last, owner, *_ in self.nodes[0].command("CLUSTER", "SLOTS"):
            if first <= slot <= last:
                return next(node for node in self.nodes if node.port == owner[1])
        raise ServerFailed(f"nobody serves slot {slot}")

    def slot(self, key: str) -> int:
        """The slot of this key."""
        return int(self.nodes[0].command("CLUSTER", "KEYSLOT", key))

    def begin_migration(self, slot: int, source: RedisServer, target: RedisServer) -> None:
        """From here on the source answers ASK for what it has not got any more."""
        target.command("CLUSTER", "SETSLOT", slot, "IMPORTING", self._id(source))
        source.command("CLUSTER", "SETSLOT", slot, "MIGRATING", self._id(target))

    def move_keys(self, slot: int, source: RedisServer, target: RedisServer) -> int:
        """Move what is in the slot now; how many keys that were."""
        moved = 0
        while keys := source.command("CLUSTER", "GETKEYSINSLOT", slot, 100):
            source.command("MIGRATE", "127.0.0.1", target.port, "", 0, 60000, "KEYS", *keys)
            moved += len(keys)
        return moved

    def end_migration(self, slot: int, target: RedisServer) -> None:
        """From here on the others answer MOVED."""
        for node in [target, *(node for node in self.nodes if node is not target)]:
            node.command("CLUSTER", "SETSLOT", slot, "NODE", self._id(target))

    def _id(self, node: RedisServer) -> str:
        return str(node.command("CLUSTER", "MYID").decode())

    def _form(self) -> None:
        count = len(self.nodes)
        bounds = [_SLOTS * number // count for number in range(count + 1)]
        for number, (node, (first, after)) in enumerate(zip(self.nodes, pairwise(bounds), strict=True), 1):
            node.command("CLUSTER", "ADDSLOTS", *range(first, after))
            node.command("CLUSTER", "SET-CONFIG-EPOCH", number)
        for node in self.nodes[1:]:
            node.command("CLUSTER", "MEET", "127.0.0.1", self.nodes[0].port)

    def _agreed(self, node: RedisServer) -> bool:
        said = node.command("CLUSTER", "INFO").decode()
        known = f"cluster_known_nodes:{len(self.nodes)}" in said and f"cluster_slots_ok:{_SLOTS}" in said
        if not known or "cluster_state:ok" not in said:
            return False
        return len(node.command("CLUSTER", "SLOTS")) >= len(self.nodes)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
