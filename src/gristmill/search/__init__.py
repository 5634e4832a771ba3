"""Questions to chunks: tokens, the query, the fusion of both legs, and the service that joins them."""
