#!/bin/sh
# Makes the secrets of a new service as files in a folder, and leaves those alone that exist:
#
#   deploy/make_secrets.sh deploy/secrets
#
# DATABASE_HOST and REDIS_HOST name the servers. Write other addresses or passwords into database_url and redis_url.
set -eu
folder=${1:?the folder of the secrets}
mkdir -p "$folder"
# Only the owner enters the folder. Compose mounts the files as they are, and the user of a container must read them.
chmod 0700 "$folder"
umask 0022

make() {
    [ -s "$folder/$1" ] || printf '%s\n' "$2" > "$folder/$1"
}

make secret_key "$(openssl rand -base64 48)"
make master_keys "first:$(openssl rand -base64 32)"
make provenance_keys "first:$(openssl rand -base64 32)"
make metrics_token "$(openssl rand -hex 32)"
make postgres_password "$(openssl rand -hex 24)"
make grafana_password "$(openssl rand -hex 12)"
make database_url "postgres://zekron:$(cat "$folder/postgres_password")@${DATABASE_HOST:-postgres}/zekron"
make redis_url "redis://${REDIS_HOST:-valkey}:6379/0"
