"""The hierarchical store: directories and files, data only in leaves, one index, watches."""
