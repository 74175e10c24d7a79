#!/usr/bin/env bash
# Start a server with embedded defaults, run the audit like a new user, and stop the server. `--small` needs no downloads.
#   usage: run.sh PYTHON [--small]      PYTHON: an interpreter with the packages that the audit imports
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
python=$1; shift
dyff="$root/.venv/bin/dyff"
build="$root/build/toxicity"
export DYFF_DATA_DIR="$build/data" DYFF_CONFIG_FILE="$here/settings.yaml"
mkdir -p "$build"

echo "Starting dyff serve --role all --data-dir $DYFF_DATA_DIR"
DYFF_LOGS__FORMAT=text "$dyff" serve --role all --port 0 >"$build/server.out" 2>"$build/server.log" &
server=$!
stop() { kill -TERM "$server" 2>/dev/null && wait "$server" || true; }
trap stop EXIT
for _ in $(seq 150); do
  grep -q '^Dyff is ready' "$build/server.out" && break
  kill -0 "$server" 2>/dev/null || { cat "$build/server.log" >&2; exit 1; }
  sleep 0.1
done
cat "$build/server.out"

# Follow the banner: create an account, and a token for it.
account=$("$dyff" account list | "$root/.venv/bin/python" -c 'import json, sys
print(next((each["id"] for each in map(json.loads, sys.stdin) if each["name"] == "auditor"), ""))')
[ -n "$account" ] || account=$("$dyff" account create --name auditor)
DYFF_API_TOKEN=$("$dyff" token create --account "$account")
DYFF_API_ENDPOINT="$(sed -n 's/^ *API *//p' "$build/server.out")"
export DYFF_API_TOKEN DYFF_API_ENDPOINT

# The safety case needs the environment of analyses.
[ -x "$root/.venv-analysis/bin/python" ] && set -- --case "$@"
"$python" "$here/audit.py" --account "$account" --out "$build" "$@"
