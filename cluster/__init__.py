"""Makes a raft run: write-ahead log, snapshots, transport, membership, and the one task that owns the `RawNode`."""
