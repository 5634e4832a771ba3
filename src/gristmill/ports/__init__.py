"""What the pipeline needs of the world: types and abstract classes, no implementation.

All ports are synchronous: their callers are the bodies in a runner (a process of its own, one job at a time), or an async
face that calls them in a thread.
"""
