#!/usr/bin/env bash
# Submit an image without waiting, and poll until it is made:  ./submit.sh "A lighthouse in fog" lighthouse.png
# Needs curl 7.71 or newer and jq 1.6.
set -euo pipefail

url=${ZEKRON_URL:-http://localhost:8000}
api_key=${ZEKRON_API_KEY:?set it to your API key}
prompt=${1:-A serene mountain landscape at golden hour}
file=${2:-image.png}

reply=$(mktemp)
trap 'rm -f "$reply"' EXIT

# Write the response to $reply, or end with the error's message.
# --retry waits for the time in Retry-After. --retry-all-errors also retries after a lost connection.
call() {
  curl "$url$1" "${@:2}" \
    --header "Authorization: Bearer $api_key" --output "$reply" --no-progress-meter \
    --max-time 90 --retry 4 --retry-all-errors
  if ! jq --exit-status .success "$reply" > /dev/null 2>&1; then
    jq --raw-output '.error | "\(.message) (\(.code))"' "$reply" >&2 || cat "$reply" >&2
    exit 1
  fi
}

# curl sends the same key with every retry, so a request whose response was lost makes no second image.
idempotency_key=$(uuidgen 2> /dev/null || cat /proc/sys/kernel/random/uuid)
call /v1/generate \
  --header "Content-Type: application/json" --header "Idempotency-Key: $idempotency_key" \
  --data "$(jq --null-input --arg prompt "$prompt" '{prompt: $prompt, size: "1024x1024", async: true}')"
id=$(jq .data.id "$reply")

# Each request waits for the end, but no longer than 30 seconds.
status=queued
while [[ $status == queued || $status == running ]]; do
  call "/v1/generations/$id?wait=30"
  status=$(jq --raw-output .data.status "$reply")
done

if [[ $status != completed ]]; then
  jq --raw-output '.data.error | "\(.message) (\(.code))"' "$reply" >&2
  exit 1
fi
curl "$url/v1/images/$(jq --raw-output .data.token "$reply")" \
  --header "Authorization: Bearer $api_key" --output "$file" --no-progress-meter --fail \
  --max-time 90 --retry 4 --retry-all-errors
jq --raw-output --arg file "$file" '.data | "\($file): cost \(.cost) USD"' "$reply"
