<?php
// Paint a part of an image in two variants:  php variants.php "A red boat" photo.jpg mask.png variant
// The mask is a PNG of the image's size, transparent where to paint.
// Needs PHP 8.2 or newer with its curl extension.
declare(strict_types=1);

const MAX_ATTEMPTS = 5;
const RETRY_STATUSES = [429, 502, 503, 504];

define('URL', getenv('ZEKRON_URL') ?: 'http://localhost:8000');
define('API_KEY', getenv('ZEKRON_API_KEY') ?: fail('Set ZEKRON_API_KEY to your API key.'));
$prompt = $argv[1] ?? 'Add a rainbow in the sky';
$source = $argv[2] ?? 'image.png';
$maskFile = $argv[3] ?? 'mask.png';
$name = $argv[4] ?? 'variant';

// The second image has the next seed.
$wanted = ['size' => 'auto', 'n' => 2, 'seed' => 7, 'output_format' => 'webp', 'output_compression' => 80];
$made = generate(['prompt' => $prompt, 'images' => [read($source)], 'mask' => read($maskFile)] + $wanted);
foreach ($made['images'] as $each) {
    $file = "$name-{$each['index']}.webp";
    if (file_put_contents($file, base64_decode($each['image']['b64_json'])) === false) {
        fail("Could not write $file.");
    }
    echo "$file: seed {$each['seed']}\n";
}
echo "cost {$made['total_cost']} USD, remaining balance {$made['remaining_balance']} USD\n";

/** Return a file as a request takes it. */
function read(string $file): array
{
    $content = @file_get_contents($file);
    return ['data' => $content === false ? fail("Could not read $file.") : base64_encode($content)];
}

/** Generate images and return the response's `data`, which has the files as base64. */
function generate(array $request): array
{
    $text = post(json_encode($request, JSON_THROW_ON_ERROR));
    $reply = json_decode($text, true) ?? fail("The response is not JSON: $text");
    if (!$reply['success']) {
        fail("{$reply['error']['message']} ({$reply['error']['code']})");
    }
    return $reply['data'];
}

/** Post the request, and retry a failure that may pass after the time in Retry-After. */
function post(string $body): string
{
    $curl = curl_init(URL . '/v1/generate');
    curl_setopt_array($curl, [
        CURLOPT_RETURNTRANSFER => true,
        CURLOPT_TIMEOUT => 150,
        CURLOPT_POSTFIELDS => $body,
        CURLOPT_HTTPHEADER => [
            'Authorization: Bearer ' . API_KEY,
            'Content-Type: application/json',
            // Every attempt sends the same key, so an image whose response was lost is not paid for twice.
            'Idempotency-Key: ' . uuid(),
        ],
    ]);
    for ($attempt = 1; ; $attempt++) {
        $text = curl_exec($curl);
        $isRetryable = $text === false || in_array(curl_getinfo($curl, CURLINFO_RESPONSE_CODE), RETRY_STATUSES, true);
        if ($attempt === MAX_ATTEMPTS || !$isRetryable) {
            return $text === false ? fail('No response: ' . curl_error($curl)) : $text;
        }
        $waitSeconds = curl_getinfo($curl, CURLINFO_RETRY_AFTER) ?: 2 ** ($attempt - 1);
        fwrite(STDERR, "Retrying in $waitSeconds s.\n");
        sleep($waitSeconds);
    }
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
