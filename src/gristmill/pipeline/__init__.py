"""Documents to chunks to index. ``service``, ``plan`` and ``tasks`` join it to the engine; the rest are plain stages."""
