# For preinst and postinst (debian/rules puts it into both). What DPKG_ROOT is for: dpkg(1), --root.
ROOT="${DPKG_ROOT:-}"
OPT="$ROOT/opt/touchpoint"
STATE="$ROOT/var/lib/touchpoint"
KEPT="$ROOT/var/lib/touchpoint-kept"
READY_SECONDS="${TOUCHPOINT_READY_SECONDS:-300}"
# The uplink first: capture takes what customers do only once the rest is known to work.
HALVES="touchpoint-uplink.service touchpoint-capture.service"
VERSION="@VERSION@"

say() {
  echo "touchpoint-gateway: $*" >&2
}

systemd_runs() {
  [ -d "$ROOT/run/systemd/system" ]
}

# Stop both halves, and keep the environment, the units and the data of version $1 until the new one has shown that it
# works. dpkg removes the files of the old version before that.
keep() {
  [ ! -d "$KEPT/complete" ] || return 0
  rm -rf "$KEPT"
  install -d -m 0700 "$KEPT" "$KEPT/data" || return 1
  : > "$KEPT/running"
  if systemd_runs; then
    for half in $HALVES; do
      case "$(systemctl is-active "$half" || true)" in
        active | activating | reloading) echo "$half" >> "$KEPT/running" ;;
      esac
    done
    systemctl stop $HALVES
  fi
  if [ -d "$OPT/$1" ]; then
    cp -al "$OPT/$1" "$KEPT/environment" 2> /dev/null || {
      rm -rf "$KEPT/environment"
      cp -a "$OPT/$1" "$KEPT/environment" || return 1
    }
  fi
  for file in "$STATE"/capture.db "$STATE"/capture.db-wal "$STATE"/uplink.db "$STATE"/uplink.db-wal; do
    [ ! -f "$file" ] || cp -a --reflink=auto "$file" "$KEPT/data/" || return 1
  done
  mkdir "$KEPT/complete"
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
