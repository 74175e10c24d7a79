#!/usr/bin/env bash
# Start a server with embedded defaults, run the audit like a new user, and keep the server until Ctrl-C.
#   usage: run.sh PYTHON [--small] [--once] ...   PYTHON: an interpreter with the packages that the audit imports
# With --once, where CI is set, or where the input is no terminal, it stops the server when the audit is done. Other flags are the audit's.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
python=$1; shift
keep=yes name=demo flags=()
if [ ! -t 0 ] || [ -n "${CI:-}" ]; then keep=; fi
for each in "$@"; do
  case "$each" in
    --once) keep= ;;
    --small) name=demo-small; flags+=("$each") ;;
    *) flags+=("$each") ;;
  esac
done
dyff="$root/.venv/bin/dyff"
build="${DEMO_BUILD:-$root/build}/$name" # DEMO_BUILD: the tests have a directory of their own
export DYFF_DATA_DIR="$build/data" DYFF_CONFIG_FILE="$here/settings.yaml"
mkdir -p "$build"

echo "Starting dyff serve --role all --data-dir $DYFF_DATA_DIR"
DYFF_LOGS__FORMAT=text "$dyff" serve --role all --port 0 >"$build/server.out" 2>"$build/server.log" &
server=$! audit=
stop() {
  for each in $audit $server; do # they run in the background, where Ctrl-C does not reach them
    kill -TERM "$each" 2>/dev/null || true
    while kill -0 "$each" 2>/dev/null; do wait "$each" || true; done
  done
}
trap stop EXIT
trap 'echo; echo "Stopped before the audit was done."; exit 130' INT
trap 'exit 143' TERM
for _ in $(seq 600); do
  grep -q '^Dyff is ready' "$build/server.out" && break
  kill -0 "$server" 2>/dev/null || { cat "$build/server.log" >&2; exit 1; }
  sleep 0.1
done

# Follow the banner: create an account, and a token for it.
account=$("$dyff" account list | "$root/.venv/bin/python" -c 'import json, sys
print(next((each["id"] for each in map(json.loads, sys.stdin) if each["name"] == "auditor"), ""))')
[ -n "$account" ] || account=$("$dyff" account create --name auditor)
DYFF_API_TOKEN=$("$dyff" token create --account "$account")
DYFF_API_ENDPOINT="$(sed -n 's/^ *API *//p' "$build/server.out")"
export DYFF_API_TOKEN DYFF_API_ENDPOINT

"$python" "$here/audit.py" --account "$account" --out "$build" ${flags[@]+"${flags[@]}"} &
audit=$!
wait "$audit"
audit=
[ -n "$keep" ] || exit 0

echo
echo "console     ${DYFF_API_ENDPOINT%/v0}/  has all of this to browse. A token to sign in with:"
echo "            $dyff token create --account auditor --data-dir $DYFF_DATA_DIR"
echo
echo "The server keeps running, so that you can read the pages. Press Ctrl-C to stop it."
trap 'asked=yes' INT TERM
asked=
wait "$server" || true
if [ -z "$asked" ]; then tail -5 "$build/server.log" >&2; echo "The server has ended; its log is $build/server.log" >&2; exit 1; fi
stop
echo "Stopped. The pages are also files: $build/pages"
