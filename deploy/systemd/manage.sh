#!/bin/sh
# Runs manage.py as root with the variables and secrets of the units: deploy/systemd/manage.sh create_account NAME
set -eu
export DEBUG=0 STORAGE_URL=file:///var/lib/zekron/objects
set -a
. /etc/zekron/environment
set +a
for file in /etc/zekron/secrets/*; do
    export "$(basename "$file" | tr '[:lower:]' '[:upper:]')_FILE=$file"
done
cd /opt/zekron
exec .venv/bin/python manage.py "$@"
