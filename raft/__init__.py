"""Raft consensus as a value machine: messages, ticks and proposals go in, one `Ready` comes out."""
