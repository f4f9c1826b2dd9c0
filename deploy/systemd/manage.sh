#!/bin/sh
# Runs manage.py as root with the variables and secrets of the units: deploy/systemd/manage.sh create_account NAME
set -eu
export DEBUG=0 STORAGE_URL=file:///var/lib/zekron/objects
# systemd takes a value as it is, and a shell would run what follows a "&" in an address.
while IFS= read -r line || [ -n "$line" ]; do
    case $line in
        \#* | \;*) continue ;;
        *=*) name=${line%%=*} value=${line#*=} ;;
        *) continue ;;
    esac
    case $value in
        \"*\") value=${value#\"} value=${value%\"} ;;
        \'*\') value=${value#\'} value=${value%\'} ;;
    esac
    export "$name=$value"
done < /etc/zekron/environment
for file in /etc/zekron/secrets/*; do
    export "$(basename "$file" | tr '[:lower:]' '[:upper:]')_FILE=$file"
done
cd /opt/zekron
exec .venv/bin/python manage.py "$@"
