"""The two SQLite files of the state directory: `capture.db` and `uplink.db`, one writer each."""
