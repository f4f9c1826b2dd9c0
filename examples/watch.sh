#!/usr/bin/env bash
# Submit an image without waiting, and watch its events:  ./watch.sh "A lighthouse in fog" lighthouse.png
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

# Print the events. The first one is the present state, so a new stream misses nothing.
generation=
while [[ -z $generation ]]; do
  while IFS= read -r line; do
    case $line in
      "event: "*) event=${line#event: } ;;
      "data: "*)
        case $event in
          completed | failed | cancelled) generation=${line#data: } ;;
          *) echo "$event: ${line#data: }" >&2 ;;
        esac
        ;;
    esac
  done < <(curl "$url/v1/generations/$id/events" --header "Authorization: Bearer $api_key" \
    --no-buffer --no-progress-meter --fail --max-time 300 --retry 4 --retry-connrefused)
  # Status 22 of curl is a refusal. After any other one, or when the service closed the stream, another one is opened.
  status=0
  wait $! || status=$?
  ((status != 22)) || exit 1
  [[ -n $generation ]] || sleep 2
done

if jq --exit-status .error <<< "$generation" > /dev/null; then
  jq --raw-output '.error | "\(.message) (\(.code))"' <<< "$generation" >&2
  exit 1
fi
curl "$url/v1/images/$(jq --raw-output .token <<< "$generation")" \
  --header "Authorization: Bearer $api_key" --output "$file" --no-progress-meter --fail \
  --max-time 90 --retry 4 --retry-all-errors
jq --raw-output --arg file "$file" '"\($file): cost \(.cost) USD"' <<< "$generation"
