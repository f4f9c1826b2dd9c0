#!/usr/bin/env bash
# Paint a part of an image in two variants:  ./variants.sh "A red boat" photo.jpg mask.png variant
# Needs curl 7.71 or newer and jq 1.6.
set -euo pipefail

url=${ZEKRON_URL:-http://localhost:8000}
api_key=${ZEKRON_API_KEY:?set it to your API key}
prompt=${1:-Add a rainbow in the sky}
source_file=${2:-image.png}
mask_file=${3:-mask.png}
name=${4:-variant}

# curl sends the same key with every retry, so an image whose response was lost is not paid for twice.
idempotency_key=$(uuidgen 2> /dev/null || cat /proc/sys/kernel/random/uuid)
request=$(mktemp)
reply=$(mktemp)
trap 'rm -f "$request" "$reply"' EXIT

# The mask is a PNG of the image's size, transparent where to paint. The second image has the next seed.
{ base64 < "$source_file"; echo :; base64 < "$mask_file"; } |
  jq --raw-input --slurp --arg prompt "$prompt" \
    'split(":") | {prompt: $prompt, images: [{data: .[0]}], mask: {data: .[1]},
      size: "auto", n: 2, seed: 7, output_format: "webp", output_compression: 80}' > "$request"

# --retry waits for the time in Retry-After. --retry-all-errors also retries after a lost connection.
curl "$url/v1/generate" \
  --header "Authorization: Bearer $api_key" \
  --header "Content-Type: application/json" \
  --header "Idempotency-Key: $idempotency_key" \
  --data-binary "@$request" --output "$reply" --no-progress-meter \
  --max-time 150 --retry 4 --retry-all-errors

if ! jq --exit-status .success "$reply" > /dev/null 2>&1; then
  jq --raw-output '.error | "\(.message) (\(.code))"' "$reply" >&2 || cat "$reply" >&2
  exit 1
fi
jq --raw-output '.data.images[] | "\(.index) \(.seed) \(.image.b64_json)"' "$reply" |
  while read -r index seed content; do
    base64 --decode <<< "$content" > "$name-$index.webp"
    echo "$name-$index.webp: seed $seed"
  done
jq --raw-output '.data | "cost \(.total_cost) USD, remaining balance \(.remaining_balance) USD"' "$reply"
