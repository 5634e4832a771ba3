"""What a broker on a real server, and a worker on it, live through."""
