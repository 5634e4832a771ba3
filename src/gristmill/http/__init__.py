"""The server: requests over HTTP, answered from what the services know."""
