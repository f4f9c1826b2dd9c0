<?php
// One request in as few lines as possible. Needs PHP 8.2 or newer with its curl extension.
$request = ['prompt' => 'A serene mountain landscape at golden hour', 'size' => '1024x1024']; // <request>
// <sources>
$sources = []; // <names>
$request['images'] = array_map(fn ($name) => ['data' => base64_encode(file_get_contents($name))], $sources);
// </sources>

$curl = curl_init('http://localhost:8000/v1/generate');
curl_setopt_array($curl, [
    CURLOPT_RETURNTRANSFER => true,
    CURLOPT_TIMEOUT => 150,
    CURLOPT_POSTFIELDS => json_encode($request, JSON_THROW_ON_ERROR),
    CURLOPT_HTTPHEADER => [
        'Authorization: Bearer ' . getenv('ZEKRON_API_KEY'),
        'Content-Type: application/json',
        // Send the same key with a retry, so that an image whose response was lost is not paid for twice.
        'Idempotency-Key: ' . bin2hex(random_bytes(16)),
    ],
]);
$reply = json_decode(curl_exec($curl), true);
if (!$reply['success']) {
    exit($reply['error']['message'] . "\n");
}
foreach ($reply['data']['images'] ?? [$reply['data']] as $index => $each) {
    file_put_contents("image-$index.png", base64_decode($each['image']['b64_json']));
}
