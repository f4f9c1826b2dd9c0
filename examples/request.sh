#!/usr/bin/env bash
# One request in as few lines as possible. Needs curl 7.71 or newer and jq 1.6.
set -euo pipefail

url=http://localhost:8000
request='{"prompt": "A serene mountain landscape at golden hour", "size": "1024x1024"}' # <request>
# <sources>
sources=() # <names>
for name in "${sources[@]}"; do
  request=$(jq --rawfile data <(base64 < "$name") '.images += [{data: $data}]' <<< "$request")
done
# </sources>

# curl sends the same key with every retry, so an image whose response was lost is not paid for twice.
reply=$(curl "$url/v1/generate" \
  --header "Authorization: Bearer ${ZEKRON_API_KEY:?set it to your API key}" \
  --header "Content-Type: application/json" \
  --header "Idempotency-Key: $(uuidgen 2> /dev/null || cat /proc/sys/kernel/random/uuid)" \
  --data-binary @- --no-progress-meter --max-time 150 --retry 4 --retry-all-errors <<< "$request")

index=0
jq --raw-output 'if .success then .data else error(.error.message) end | (.images // [.])[].image.b64_json' <<< "$reply" |
  while read -r image; do
    base64 --decode <<< "$image" > "image-$index.png"
    index=$((index + 1))
  done
