<?php

// POST /hooks/wxgate: hears of each event, some more than once, and gives a user what his old ids did.
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

ini_set('display_errors', '0'); // an error is a 500, and the gateway sends the event again
$body = file_get_contents('php://input');
if (!isSigned($body, (string) getenv('HOOK_SECRET'))) {
    http_response_code(401);
    exit;
}
$event = json_decode($body, true, 16, JSON_THROW_ON_ERROR);
if (in_array($event['type'], ['wxgate.user.merged', 'wxgate.user.merge_settled'], true)) {
    $db = new PDO(getenv('SHOP_DSN'), getenv('SHOP_DB_USER'), getenv('SHOP_DB_PASSWORD'), [PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION]);
    $aliases = $event['data']['aliases'];
    $marks = implode(',', array_fill(0, count($aliases), '?'));
    $db->beginTransaction();
    foreach (['orders', 'addresses', 'coupons'] as $table) { // every table that has a user_id
        $db->prepare("UPDATE $table SET user_id = ? WHERE user_id IN ($marks)")->execute(array_merge([$event['data']['to']], $aliases));
    }
    $db->commit();
}
http_response_code(204);
