"""The registry client: reads from the configured registries and no others, and trusts nothing but digests."""
