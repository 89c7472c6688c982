#!/bin/sh
# Starts a master and slaves over _FTPROOT, opens the client in _CLIENTROOT, and stops what it started when the client
# leaves. Ends with the client's status. Commands come from stdin where that is no terminal.
#
# BIN_DIR      where the three programs are                      (target/release)
# RUN_DIR      where keys and logs go                            (target/run)
# MASTER_PORT  the master's port; 0 lets the system choose       (2121)
# SLAVE_PORTS  a slave for each                                  (2122 2123)
set -eu

top=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
cd "$top"
bin=${BIN_DIR:-target/release}
run=${RUN_DIR:-target/run}
master_port=${MASTER_PORT:-2121}
slave_ports=${SLAVE_PORTS:-2122 2123}
root=${FTP_ROOT:-_FTPROOT}
client_root=${CLIENT_ROOT:-_CLIENTROOT}

mkdir -p "$run"
bin=$(CDPATH='' cd -- "$bin" && pwd)
run=$(CDPATH='' cd -- "$run" && pwd)
logs=$(mktemp -d "$run/logs.XXXXXX")
pids=

say() {
    printf '%s\n' "run: $*" >&2
}

# Ends the servers that this script started, slaves first, and waits until they are gone.
stop_all() {
    for pid in $pids; do
        kill -TERM "$pid" 2>/dev/null || :
    done
    for pid in $pids; do
        tries=0
        while kill -0 "$pid" 2>/dev/null; do
            tries=$((tries + 1))
            [ "$tries" -ne 50 ] || kill -KILL "$pid" 2>/dev/null || :
            sleep 0.1
        done
    done
    pids=
}

finish() {
    status=$?
    trap - EXIT
    trap '' INT TERM HUP
    stop_all
    [ "$status" -ne 0 ] || rm -rf "$logs"
    exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP

# A server gets a session of its own, so that Ctrl-C reaches the client alone.
start() {
    name=$1
    shift
    : >"$logs/$name"
    if command -v setsid >/dev/null 2>&1; then
        setsid "$@" </dev/null >"$logs/$name" 2>&1 &
    else
        "$@" </dev/null >"$logs/$name" 2>&1 &
    fi
    pid=$!
    pids="$pid $pids"
    tries=0
    until address=$(sed -n 's/.*listening on \([^ ]*\).*/\1/p' "$logs/$name" | head -n 1) && [ -n "$address" ]; do
        tries=$((tries + 1))
        if ! kill -0 "$pid" 2>/dev/null; then
            cat "$logs/$name" >&2
            say "$name did not start; where a port is taken, choose others:" \
                "make run MASTER_PORT=12121 SLAVE_PORTS='12122 12123'"
            exit 1
        elif [ "$tries" -ge 100 ]; then
            cat "$logs/$name" >&2
            say "$name is not ready after 10 seconds"
            exit 1
        fi
        sleep 0.1
    done
}

start ftpmaster "$bin/ftpmaster" --port "$master_port" --state "$run/state"
master=$address
slaves=0
for port in $slave_ports; do
    slaves=$((slaves + 1))
    start "ftpslave-$slaves" "$bin/ftpslave" --root "$root" --master "$master" --state "$run/state" --grace 2 "$port"
done

tries=0
until [ "$("$bin/ftpclient" --json "$master" slaves </dev/null 2>"$logs/ftpclient" | grep -c '"state": *"up"')" -ge "$slaves" ]; do
    tries=$((tries + 1))
    if [ "$tries" -ge 50 ]; then
        cat "$logs"/* >&2
        say "the slaves are not known to the master after 10 seconds"
        exit 1
    fi
    sleep 0.2
done

say "master at $master, $slaves slaves over $root, logs in $logs"
cd "$client_root"
trap : INT # the client decides what Ctrl-C means
status=0
"$bin/ftpclient" "$master" || status=$?
exit "$status"
