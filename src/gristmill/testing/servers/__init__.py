"""Real servers for tests, on loopback, in folders of their own, gone with the process that started them.

    with RedisServer("valkey-9") as server:
        broker = open_broker(server.url)

Every server can be stopped, killed, paused and started again on the same port, with its data or without.
One that this machine has not got raises ``ServerMissing``, which says what to install.
"""

from gristmill.testing.servers.cluster import RedisCluster
from gristmill.testing.servers.mariadb import MariaServer
from gristmill.testing.servers.postgres import PostgresServer
from gristmill.testing.servers.process import Server, ServerFailed, ServerMissing, free_port
from gristmill.testing.servers.programs import REDIS_KINDS, redis_program
from gristmill.testing.servers.redis import RedisServer, ReplyError
from gristmill.testing.servers.sentinel import RedisSentinel

__all__ = [
    "REDIS_KINDS",
    "MariaServer",
    "PostgresServer",
    "RedisCluster",
    "RedisSentinel",
    "RedisServer",
    "ReplyError",
    "Server",
    "ServerFailed",
    "ServerMissing",
    "free_port",
    "redis_program",
]
