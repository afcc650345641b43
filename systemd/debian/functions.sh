# For preinst and postinst (debian/rules puts it into both). What DPKG_ROOT is for: dpkg(1), --root.
ROOT="${DPKG_ROOT:-}"
OPT="$ROOT/opt/touchpoint"
STATE="$ROOT/var/lib/touchpoint"
KEPT="$ROOT/var/lib/touchpoint-kept"
# The version that did not get ready. apt configures it again whenever it is called: that must not stop the gateway.
REFUSED="$OPT/refused"
READY_SECONDS="${TOUCHPOINT_READY_SECONDS:-300}"
# The uplink first: capture takes what customers do only once the rest is known to work.
HALVES="touchpoint-uplink.service touchpoint-capture.service"
VERSION="@VERSION@"
OURS="# From the version before, which runs because a newer one did not get ready. Gone with the next that does."

say() {
  echo "touchpoint-gateway: $*" >&2
}

systemd_runs() {
  [ -d "$ROOT/run/systemd/system" ]
}

# The version that runs, or did; dpkg may think of another one that never got ready.
current_version() {
  readlink "$OPT/current" || true
}

# Stop both halves, and keep the environment, the units and the data of the version that runs until the new one has shown
# that it works. dpkg removes its files before that. Should the power fail meanwhile, touchpoint-recover.service puts it
# back at the next boot, with this very script.
keep() {
  [ ! -d "$KEPT/complete" ] || return 0
  rm -rf "$KEPT"
  install -d -m 0700 "$KEPT" "$KEPT/data" || return 1
  : > "$KEPT/running"
  current_version > "$KEPT/version" || return 1
  cp "$0" "$KEPT/recover" || return 1
  if systemd_runs; then
    for half in $HALVES; do
      case "$(systemctl is-active "$half" || true)" in
        active | activating | reloading) echo "$half" >> "$KEPT/running" ;;
      esac
    done
    systemctl stop $HALVES
  fi
  old=$(cat "$KEPT/version")
  if [ -n "$old" ] && [ -d "$OPT/$old" ]; then
    cp -al "$OPT/$old" "$KEPT/environment" 2> /dev/null || {
      rm -rf "$KEPT/environment"
      cp -a "$OPT/$old" "$KEPT/environment" || return 1
    }
  fi
  for file in "$STATE"/capture.db "$STATE"/capture.db-wal "$STATE"/uplink.db "$STATE"/uplink.db-wal; do
    [ ! -f "$file" ] || cp -a --reflink=auto "$file" "$KEPT/data/" || return 1
  done
  sync
  mkdir "$KEPT/complete"
  sync
}

# Point /opt/touchpoint/current to version $1, at once: whoever looks sees the old one or the new one.
switch_to() {
  ln -sfn "$1" "$OPT/.next"
  mv -T "$OPT/.next" "$OPT/current"
}

# The schema of database $1, as it is with its write-ahead log; looked up in a copy.
schema() {
  rm -rf "$KEPT/look"
  mkdir "$KEPT/look"
  for suffix in "" -wal; do
    [ ! -f "$1$suffix" ] || cp --reflink=auto "$1$suffix" "$KEPT/look/database$suffix"
  done
  python3 -c 'import sqlite3, sys
print(sqlite3.connect(sys.argv[1]).execute("PRAGMA user_version").fetchone()[0])' "$KEPT/look/database" || echo unknown
}

# Give a database back that the new version has brought up to date, for the old one could not read it. One that both can
# read stays: it may hold more by now.
restore() {
  for file in capture.db uplink.db; do
    [ -f "$KEPT/data/$file" ] || continue
    if [ "$(schema "$STATE/$file")" != "$(schema "$KEPT/data/$file")" ]; then
      rm -f "$STATE/$file" "$STATE/$file-wal" "$STATE/$file-shm"
      cp -a --reflink=auto "$KEPT/data/$file"* "$STATE/"
    fi
  done
}

# Make the kept version the current one again, with its units in front of the package's.
put_back() {
  old=$(cat "$KEPT/version")
  rm -rf "$OPT/$old"
  cp -a "$KEPT/environment" "$OPT/$old"
  for unit in "$OPT/$old"/units/touchpoint*; do
    { echo "$OURS"; cat "$unit"; } > "$ROOT/etc/systemd/system/${unit##*/}"
  done
  restore
  switch_to "$old"
}

forget_kept() {
  rm -rf "$KEPT"
}

# Start what ran before, each until it says READY.
start_again() {
  systemd_runs || return 0
  systemctl daemon-reload
  while read -r half; do
    systemctl reset-failed "$half" 2> /dev/null || true
    timeout "$READY_SECONDS" systemctl start "$half" < /dev/null || return 1
  done < "$KEPT/running"
}

# At boot, after a power cut within an upgrade (touchpoint-recover.service).
if [ "${1:-}" = recover ]; then
  put_back
  sync
  forget_kept
  ! systemd_runs || systemctl daemon-reload
  exit 0
fi
