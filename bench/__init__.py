"""The benchmark: etcdpy against etcd on one machine, through the public HTTP API only.

`python -m bench` runs the whole table, `python -m bench --quick` a small one; docs/performance.md says how and why.
Nothing here imports the product: it is started as a program, as etcd is.
"""
