"""Features of more rows than fit into memory; only tasks import this folder."""
