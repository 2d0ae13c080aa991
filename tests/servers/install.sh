#!/usr/bin/env bash
# Installs the servers that the tests marked `servers` start: PostgreSQL and Redis from Debian's packages, and
# Azurite, which speaks as Azure's blob storage does, by npm into the folder given. An S3 server comes by pip.
# They are only installed, and started by the tests on ports of their own; Debian's own instances are stopped again.
set -euo pipefail
missing=()
ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || command -v initdb >/dev/null || missing+=(postgresql)
command -v redis-server >/dev/null || missing+=(redis-server)
command -v npm >/dev/null || missing+=(npm)
if [ ${#missing[@]} = 0 ]; then
    :
elif [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${missing[@]}" >/dev/null
    service postgresql stop >/dev/null 2>&1 || true
    service redis-server stop >/dev/null 2>&1 || true
else
    echo "Install ${missing[*]} first: as root on Debian or Ubuntu this script does so." >&2
    exit 1
fi
[ -x "$1/node_modules/.bin/azurite-blob" ] || npm install --silent --no-fund --no-audit --prefix "$1" azurite@3
