#!/usr/bin/env bash
# Create an image from a prompt:  ./create.sh "A lighthouse in fog" lighthouse.png
# Needs curl 7.71 or newer and jq 1.6.
set -euo pipefail

url=${ZEKRON_URL:-http://localhost:8000}
api_key=${ZEKRON_API_KEY:?set it to your API key}
prompt=${1:-A serene mountain landscape at golden hour}
file=${2:-image.png}

# curl sends the same key with every retry, so an image whose response was lost is not paid for twice.
idempotency_key=$(uuidgen 2> /dev/null || cat /proc/sys/kernel/random/uuid)
reply=$(mktemp)
trap 'rm -f "$reply"' EXIT

# --retry waits for the time in Retry-After. --retry-all-errors also retries after a lost connection.
jq --null-input --arg prompt "$prompt" '{prompt: $prompt, size: "1024x1024"}' |
  curl "$url/v1/generate" \
    --header "Authorization: Bearer $api_key" \
    --header "Content-Type: application/json" \
    --header "Idempotency-Key: $idempotency_key" \
    --data-binary @- --output "$reply" --no-progress-meter \
    --max-time 150 --retry 4 --retry-all-errors

if ! jq --exit-status .success "$reply" > /dev/null 2>&1; then
  jq --raw-output '.error | "\(.message) (\(.code))"' "$reply" >&2 || cat "$reply" >&2
  exit 1
fi
jq --raw-output .data.image.b64_json "$reply" | base64 --decode > "$file"
jq --raw-output --arg file "$file" \
  '.data | "\($file): cost \(.cost) USD, remaining balance \(.remaining_balance) USD"' "$reply"
