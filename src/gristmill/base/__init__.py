"""What everything else stands on: errors, registries, settings, clock, ids, logs, meters, token counts."""
