"""What an operations team runs on our signals, rendered from one table: rules, dashboards, runbooks.

Nothing here opens a connection, and an instrumented program imports none of it.
"""
