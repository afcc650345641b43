"""Put events into thingsboard-gateway's SQLite storage by its own code; run by the interpreter that has it installed.

PYTHON thingsboard_fill.py DIRECTORY < one message a line
"""

import logging
import sqlite3
import sys
import time
from threading import Event

from thingsboard_gateway.storage.sqlite.sqlite_event_storage import SQLiteEventStorage  # type: ignore[import-not-found]
from thingsboard_gateway.tb_utility.tb_logger import TbLogger  # type: ignore[import-not-found]

logging.setLoggerClass(TbLogger)
storage = SQLiteEventStorage({"data_file_path": sys.argv[1]}, logging.getLogger("storage"), Event())
messages = sys.stdin.read().splitlines()
for message in messages:
    assert storage.put(message)
committed = sqlite3.connect(f"{sys.argv[1]}data.db")  # its own connection sees what is not committed yet
while committed.execute("SELECT count(*) FROM messages").fetchone() != (len(messages),):
    time.sleep(0.1)
committed.close()
storage.stop()
