<?php
// Submit an image without waiting, and watch its events:  php watch.php "A lighthouse in fog" lighthouse.png
// Needs PHP 8.2 or newer with its curl extension.
declare(strict_types=1);

const MAX_ATTEMPTS = 5;
const RETRY_STATUSES = [429, 502, 503, 504];

define('URL', getenv('ZEKRON_URL') ?: 'http://localhost:8000');
define('API_KEY', getenv('ZEKRON_API_KEY') ?: fail('Set ZEKRON_API_KEY to your API key.'));
$prompt = $argv[1] ?? 'A serene mountain landscape at golden hour';
$file = $argv[2] ?? 'image.png';

$generation = watch(submit(['prompt' => $prompt, 'size' => '1024x1024']));
if ($generation['error']) {
    fail("{$generation['error']['message']} ({$generation['error']['code']})");
}
if (file_put_contents($file, call("/v1/images/{$generation['token']}")) === false) {
    fail("Could not write $file.");
}
echo "$file: cost {$generation['cost']} USD\n";

/** Submit the request and return the id of its generation. */
function submit(array $request): int
{
    $body = json_encode([...$request, 'async' => true], JSON_THROW_ON_ERROR);
    // Every attempt sends the same key, so a request whose response was lost makes no second image.
    $headers = ['Content-Type: application/json', 'Idempotency-Key: ' . uuid()];
    return data(call('/v1/generate', [CURLOPT_POSTFIELDS => $body], $headers))['id'];
}

/** Print the events, and return the generation that the last one has. */
function watch(int $id): array
{
    $generation = null;
    $rest = '';
    $read = function ($curl, string $chunk) use (&$generation, &$rest): int {
        $frames = explode("\n\n", $rest . $chunk);
        $rest = array_pop($frames);
        foreach ($frames as $frame) {
            // Here each event is written as three lines, and a comment comes every 15 seconds.
            if (!preg_match('/^event: (.*)\ndata: (.*)$/m', $frame, $found)) {
                continue;
            }
            [, $event, $data] = $found;
            if (in_array($event, ['completed', 'failed', 'cancelled'], true)) {
                $generation = json_decode($data, true);
            } else {
                fwrite(STDERR, "$event: $data\n");
            }
        }
        return strlen($chunk);
    };
    while (true) {
        // The first event is the present state, so a new stream misses nothing.
        $rest = '';
        call("/v1/generations/$id/events", [CURLOPT_WRITEFUNCTION => $read, CURLOPT_TIMEOUT => 300]);
        if ($generation) {
            return $generation;
        }
        sleep(2);
    }
}

/** Send a request and return its response. Retry a failure that may pass after the time in Retry-After. */
function call(string $path, array $options = [], array $headers = []): string
{
    $curl = curl_init(URL . $path);
    // PHP applies them in their order, and CURLOPT_WRITEFUNCTION must come after CURLOPT_RETURNTRANSFER.
    curl_setopt_array($curl, array_replace([
        CURLOPT_RETURNTRANSFER => true,
        CURLOPT_TIMEOUT => 90,
        CURLOPT_HTTPHEADER => ['Authorization: Bearer ' . API_KEY, ...$headers],
    ], $options));
    for ($attempt = 1; ; $attempt++) {
        $text = curl_exec($curl);
        $status = curl_getinfo($curl, CURLINFO_RESPONSE_CODE);
        if ($text !== false && $status < 400) {
            return (string) $text;
        }
        if ($attempt === MAX_ATTEMPTS || $text !== false && !in_array($status, RETRY_STATUSES, true)) {
            $error = json_decode((string) $text, true)['error'] ?? null;
            fail($error ? "{$error['message']} ({$error['code']})" : 'No response: ' . (curl_error($curl) ?: $status));
        }
        $waitSeconds = curl_getinfo($curl, CURLINFO_RETRY_AFTER) ?: 2 ** ($attempt - 1);
        fwrite(STDERR, "Retrying in $waitSeconds s.\n");
        sleep($waitSeconds);
    }
}

/** Return the `data` of a response in JSON. */
function data(string $text): array
{
    return json_decode($text, true)['data'] ?? fail("The response is not JSON: $text");
}

/** Return a random UUID (RFC 9562, version 4). */
function uuid(): string
{
    $bytes = random_bytes(16);
    $bytes[6] = chr(ord($bytes[6]) & 0x0f | 0x40);
    $bytes[8] = chr(ord($bytes[8]) & 0x3f | 0x80);
    return vsprintf('%s%s-%s-%s-%s-%s%s%s', str_split(bin2hex($bytes), 4));
}

function fail(string $message): never
{
    fwrite(STDERR, "$message\n");
    exit(1);
}
