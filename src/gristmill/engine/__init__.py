"""A durable task engine. It has never heard of a document."""
