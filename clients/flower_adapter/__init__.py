"""All that fedssl uses of what Flower keeps private: no other package imports it or names it.

Each file is one such use. Written for Flower 1.39; `tests/clients/flower_adapter` tests each, and
`test_flower_version.py` there says which file a new version of Flower breaks, and runs first.
"""
