"""Deterministic simulation: the production code of a whole cluster in one thread, with one seed deciding everything."""
