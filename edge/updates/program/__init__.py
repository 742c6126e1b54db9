"""A new program: root's own updater, which trusts nothing in the daemon's folder."""
