"""A broker in Valkey or Redis: streams and scripts, on one server, under Sentinel or on a Cluster."""
