<?php

// PHP 7.2 or later, with the extensions openssl and json.
final class WxgateVerifier
{
    const CACHE_SECONDS = 300; // how long fetched keys are used
    const RETRY_SECONDS = 5;   // fetch at most once in this time
    const LEEWAY_SECONDS = 5;  // between the gateway's clock and ours

    private $jwksUrl;
    private $issuer;
    private $audience;
    private $cacheFile; // in a directory that nobody but the shop can write to

    public function __construct(string $jwksUrl, string $issuer, string $audience, string $cacheFile)
    {
        $this->jwksUrl = $jwksUrl;
        $this->issuer = $issuer;
        $this->audience = $audience;
        $this->cacheFile = $cacheFile;
    }

    /** Returns the claims of $_SERVER['HTTP_X_USER_ASSERTION'], or throws. */
    public function verify(string $assertion): array
    {
        if (strlen($assertion) > 8192 || !preg_match('/\A([\w-]+\.[\w-]+)\.([\w-]+)\z/', $assertion, $parts)) {
            throw new RuntimeException('malformed');
        }
        list(, $signed, $signature) = $parts;
        list($header, $claims) = array_map(function ($part) {
            return json_decode(self::decode($part), true);
        }, explode('.', $signed));
        if (!is_array($header) || !is_array($claims)) {
            throw new RuntimeException('malformed');
        }
        if (($header['typ'] ?? null) !== 'wxgate-assertion+jwt' || ($header['alg'] ?? null) !== 'ES256') {
            throw new RuntimeException('wrong type or algorithm');
        }
        if (!$this->isSigned($signed, self::decode($signature), $header)) {
            throw new RuntimeException('not signed by the gateway');
        }
        if (($claims['iss'] ?? null) !== $this->issuer || ($claims['aud'] ?? null) !== $this->audience) {
            throw new RuntimeException('wrong issuer or audience');
        }
        $now = time();
        if (!is_int($claims['exp'] ?? null) || $claims['exp'] <= $now - self::LEEWAY_SECONDS
            || !is_int($claims['iat'] ?? null) || $claims['iat'] > $now + self::LEEWAY_SECONDS) {
            throw new RuntimeException('expired or not yet valid');
        }
        if (!is_string($claims['sub'] ?? null) || $claims['sub'] === '') {
            throw new RuntimeException('no subject');
        }
        return $claims;
    }

    private function isSigned(string $signed, string $signature, array $header): bool
    {
        $key = $this->key($header['kid'] ?? null);
        return $key !== null && strlen($signature) === 64
            && openssl_verify($signed, self::toDer($signature), $key, OPENSSL_ALGO_SHA256) === 1;
    }

    /** Returns the PEM of the key named $kid, null if the gateway has none. */
    private function key($kid)
    {
        if (!is_string($kid)) {
            return null;
        }
        $cache = $this->readCache();
        if ($this->isDue($cache, $kid)) {
            $lock = fopen($this->cacheFile . '.lock', 'c');
            flock($lock, LOCK_EX); // one process fetches, the others wait for it
            $cache = $this->readCache();
            if ($this->isDue($cache, $kid)) {
                $cache = $this->fetch($cache);
                $new = tempnam(dirname($this->cacheFile), 'jwks');
                file_put_contents($new, json_encode($cache));
                rename($new, $this->cacheFile);
            }
            fclose($lock);
        }
        return $cache['keys'][$kid] ?? null;
    }

    private function readCache(): array
    {
        $cache = is_file($this->cacheFile) ? json_decode(file_get_contents($this->cacheFile), true) : null;
        return $cache ?: ['tried' => 0, 'fetched' => 0, 'keys' => []];
    }

    private function isDue(array $cache, string $kid): bool
    {
        return time() - $cache['tried'] >= self::RETRY_SECONDS
            && (!isset($cache['keys'][$kid]) || time() - $cache['fetched'] >= self::CACHE_SECONDS);
    }

    /** Returns the cache with fresh keys; if the gateway cannot be reached, with the ones it had. */
    private function fetch(array $cache): array
    {
        $cache['tried'] = time();
        $body = @file_get_contents($this->jwksUrl, false, stream_context_create(['http' => ['timeout' => 3]]));
        $set = json_decode((string) $body, true);
        if (!is_array($set['keys'] ?? null)) {
            error_log('wxgate: cannot fetch ' . $this->jwksUrl);
            return $cache;
        }
        $cache['fetched'] = time();
        $cache['keys'] = [];
        foreach ($set['keys'] as $jwk) {
            if ($jwk['kty'] === 'EC' && $jwk['crv'] === 'P-256' && $jwk['alg'] === 'ES256') {
                $cache['keys'][$jwk['kid']] = self::toPem($jwk);
            }
        }
        return $cache;
    }

    private static function decode(string $base64url): string
    {
        return (string) base64_decode(strtr($base64url, '-_', '+/'));
    }

    /** RFC 5480: what precedes the point of every P-256 key is always the same. */
    private static function toPem(array $jwk): string
    {
        $der = hex2bin('3059301306072a8648ce3d020106082a8648ce3d03010703420004')
            . self::decode($jwk['x']) . self::decode($jwk['y']);
        return "-----BEGIN PUBLIC KEY-----\n" . chunk_split(base64_encode($der), 64, "\n") . "-----END PUBLIC KEY-----\n";
    }

    /** A JWT has the two numbers of a signature side by side, OpenSSL wants them as DER. */
    private static function toDer(string $signature): string
    {
        $numbers = '';
        foreach (str_split($signature, 32) as $number) {
            $number = ltrim($number, "\0");
            if ($number === '' || ord($number[0]) > 127) {
                $number = "\0" . $number; // or it would be negative
            }
            $numbers .= "\x02" . chr(strlen($number)) . $number;
        }
        return "\x30" . chr(strlen($numbers)) . $numbers;
    }
}

// To try it: php WxgateVerifier.php <jwks url> <issuer> <audience>, one assertion per line.
if (PHP_SAPI === 'cli' && realpath($_SERVER['argv'][0]) === __FILE__) {
    list(, $jwksUrl, $issuer, $audience) = $_SERVER['argv'];
    $verifier = new WxgateVerifier($jwksUrl, $issuer, $audience, tempnam(sys_get_temp_dir(), 'wxgate'));
    while (($line = fgets(STDIN)) !== false) {
        try {
            $claims = $verifier->verify(rtrim($line, "\n"));
            echo "ok {$claims['sub']} {$claims['kind']}\n";
        } catch (RuntimeException $e) {
            echo "refused {$e->getMessage()}\n";
        }
    }
}
