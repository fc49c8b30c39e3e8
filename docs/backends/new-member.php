<?php

// POST /wxgate/new: makes the user id of a new member, for the same key always the same.
declare(strict_types=1);

/** Says whether the gateway has signed the body a moment ago (standardwebhooks.com). */
function isSigned(string $body, string $secret): bool
{
    $id = $_SERVER['HTTP_WEBHOOK_ID'] ?? '';
    $time = $_SERVER['HTTP_WEBHOOK_TIMESTAMP'] ?? '';
    $key = base64_decode(substr($secret, strlen('whsec_')), true);
    if ($key === false || strlen($key) < 24) {
        throw new RuntimeException('HOOK_SECRET is not set');
    }
    $expected = 'v1,' . base64_encode(hash_hmac('sha256', "$id.$time.$body", $key, true));
    $signed = false;
    foreach (explode(' ', $_SERVER['HTTP_WEBHOOK_SIGNATURE'] ?? '') as $signature) {
        $signed = hash_equals($expected, $signature) || $signed;
    }
    return $signed && abs(time() - (int) $time) <= 300;
}

ini_set('display_errors', '0'); // an error is a 500, and the gateway asks again
$body = file_get_contents('php://input');
if (!isSigned($body, (string) getenv('HOOK_SECRET'))) {
    http_response_code(401);
    exit;
}
$newcomer = json_decode($body, true, 8, JSON_THROW_ON_ERROR);
$db = new PDO(getenv('SHOP_DSN'), getenv('SHOP_DB_USER'), getenv('SHOP_DB_PASSWORD'), [PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION]);
$db->prepare('INSERT INTO users (wxgate_key, phone) VALUES (?, ?) ON DUPLICATE KEY UPDATE id = LAST_INSERT_ID(id)')
    ->execute([$newcomer['idempotency_key'], $newcomer['phone'] ?? null]);
header('Content-Type: application/json');
echo json_encode(['user_id' => $db->lastInsertId()]);
