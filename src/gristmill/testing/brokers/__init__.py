"""The contract of brokers, and a machine that tries every order of steps.

Subclass ``BrokerContract`` in a test module and give it a ``make_broker`` fixture: a callable that takes a Clock and
returns a fresh, unopened broker. Have ``BrokerMachine`` run by ``check``, with an opener of your broker.
"""

from gristmill.testing.brokers.contract import BrokerContract
from gristmill.testing.brokers.machine import BrokerMachine, check

__all__ = ["BrokerContract", "BrokerMachine", "check"]
