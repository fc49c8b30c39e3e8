# Python 3.9 or later, with PyJWT 2.4 or later and cryptography.
import json
import logging
import re
import sys
import threading
import time
import urllib.request

import jwt

CACHE_SECONDS = 300  # how long fetched keys are used
RETRY_SECONDS = 5  # fetch at most once in this time
LEEWAY_SECONDS = 5  # between the gateway's clock and ours


class WxgateVerifier:
    def __init__(self, jwks_url, issuer, audience):
        self.jwks_url, self.issuer, self.audience = jwks_url, issuer, audience
        self._lock = threading.Lock()
        self._keys = {}
        self._fetched = self._tried = float("-inf")

    def verify(self, assertion):
        """Returns the claims of the header X-User-Assertion, or raises jwt.InvalidTokenError."""
        if len(assertion) > 8192 or not re.fullmatch(r"[\w-]+\.[\w-]+\.[\w-]+", assertion, re.ASCII):
            raise jwt.InvalidTokenError("malformed")
        header = jwt.get_unverified_header(assertion)
        if header.get("typ") != "wxgate-assertion+jwt":
            raise jwt.InvalidTokenError("wrong type")
        claims = jwt.decode(
            assertion,
            self._key(header.get("kid")),
            algorithms=["ES256"],
            issuer=self.issuer,
            audience=self.audience,
            leeway=LEEWAY_SECONDS,
            options={"require": ["iss", "aud", "sub", "iat", "exp"]},
        )
        if not isinstance(claims["sub"], str) or not claims["sub"]:
            raise jwt.InvalidTokenError("no subject")
        return claims

    def _key(self, kid):
        with self._lock:
            now = time.monotonic()
            due = kid not in self._keys or now - self._fetched >= CACHE_SECONDS
            if due and now - self._tried >= RETRY_SECONDS:
                self._tried = now
                self._fetch()
            if kid not in self._keys:
                raise jwt.InvalidTokenError("unknown key")
            return self._keys[kid]

    def _fetch(self):
        """Fetches the keys; if the gateway cannot be reached, those at hand go on being used."""
        try:
            with urllib.request.urlopen(self.jwks_url, timeout=3) as response:
                keys = json.load(response)["keys"]
            self._keys = {jwk["kid"]: jwt.PyJWK(jwk).key for jwk in keys if jwk["alg"] == "ES256"}
            self._fetched = time.monotonic()
        except (OSError, ValueError, TypeError, LookupError, jwt.PyJWTError) as error:
            logging.warning("wxgate: cannot fetch %s: %s", self.jwks_url, error)


# To try it: python3 wxgate_verifier.py <jwks url> <issuer> <audience>, one assertion per line.
if __name__ == "__main__":
    verifier = WxgateVerifier(*sys.argv[1:])
    for line in sys.stdin:
        try:
            claims = verifier.verify(line.rstrip("\n"))
            print("ok", claims["sub"], claims["kind"], flush=True)
        except jwt.InvalidTokenError as error:
            print("refused", error, flush=True)
