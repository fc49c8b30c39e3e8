package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/wxgate/wxgate/internal/assertion"
)

// eachRuntime runs test in every language at once.
func eachRuntime(t *testing.T, test func(t *testing.T, r runtime)) {
	for _, r := range runtimes() {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			test(t, r)
		})
	}
}

func TestVerifiersAcceptWhatTheGatewaySigns(t *testing.T) {
	eachRuntime(t, func(t *testing.T, r runtime) {
		g := newGateway(t, assertion.ES256, assertion.RS256, assertion.EdDSA)
		v := r.start(t, g.jwksURL())
		member := assertion.Claims{
			Subject: "0198c0de-0000-7000-8000-000000000001", Kind: "member", PhoneVerified: true,
			Previous: []string{"1000000009"}, AMR: []string{"wechat"}, Channel: "h5", AppID: "wx1111111111111111",
		}
		now := time.Now()
		v.want(g.guest(t), "ok 1000000001 guest", "a guest")
		v.want(g.sign(t, assertion.ES256, member, now), "ok "+member.Subject+" member", "a member")
		v.want(g.sign(t, assertion.ES256, member, now.Add(-4*time.Minute)), "ok "+member.Subject+" member", "signed four minutes ago")
		v.want(g.sign(t, assertion.ES256, member, now.Add(5*time.Second)), "ok "+member.Subject+" member", "a gateway whose clock is 5 s ahead")

		current, next := g.keys(t, assertion.ES256)[0], g.keys(t, assertion.ES256)[1]
		real := g.guest(t)
		header, claims := decode(t, real, 0), decode(t, real, 1)
		v.want(forge(t, header.with(object{"kid": next.id}), claims, jwt.SigningMethodES256, next.private),
			"ok 1000000001 guest", "the published next key")
		// The refusals of the next test mean something only if its way of
		// making tokens is right.
		v.want(forge(t, header, claims, jwt.SigningMethodES256, current.private), "ok 1000000001 guest", "a token made by hand")
		if fetches, _ := g.counted(); fetches != 1 {
			t.Errorf("%d fetches of the JWKS, want 1", fetches)
		}
	})
}

// No algorithm, key id, URL or embedded key from a token is trusted. All
// verifiers must agree on every forgery.
func TestVerifiersRefuseForgeries(t *testing.T) {
	eachRuntime(t, func(t *testing.T, r runtime) {
		g := newGateway(t, assertion.ES256, assertion.RS256, assertion.EdDSA)
		v := r.start(t, g.jwksURL())
		for _, forgeries := range []map[string]string{
			notTokens(t, g), wrongAlgorithms(t, g), wrongKeys(t, g), wrongSignatures(t, g), wrongClaims(t, g),
		} {
			for _, name := range slices.Sorted(maps.Keys(forgeries)) {
				v.want(forgeries[name], "refused", name)
			}
		}
		v.want(g.guest(t), "ok 1000000001 guest", "a real assertion after all that")
		if _, strays := g.counted(); len(strays) > 0 {
			t.Errorf("URLs of a token were fetched: %v", strays)
		}
	})
}

func notTokens(t *testing.T, g *gateway) map[string]string {
	real := g.guest(t)
	return map[string]string{
		"no header":                            "",
		"a word":                               "assertion",
		"two parts":                            real[:strings.LastIndex(real, ".")],
		"an empty signature":                   real[:strings.LastIndex(real, ".")+1],
		"four parts":                           real + ".e30",
		"a space in front":                     " " + real,
		"a scheme in front":                    "Bearer " + real,
		"a character no token has":             real + "!",
		"padding":                              real + "==",
		"nothing but dots":                     "..",
		"JSON that is none":                    encode([]byte("{")) + "." + encode([]byte("{}")) + ".AAAA",
		"JSON that is no object":               encode([]byte("null")) + "." + encode([]byte("[]")) + ".AAAA",
		"longer than a header should be":       strings.Repeat("A", 9000) + "." + real,
		"the header sent twice":                real + "\t" + g.guest(t),
		"the header sent twice, joined":        real + ", " + g.guest(t),
		"the header sent twice, one is empty":  real + ", ",
		"the header sent twice, joined closer": "," + real,
	}
}

func wrongAlgorithms(t *testing.T, g *gateway) map[string]string {
	real := g.guest(t)
	header, claims := decode(t, real, 0), decode(t, real, 1)
	public := g.keys(t, assertion.ES256)[0].private.(*ecdsa.PrivateKey).PublicKey
	der, err := x509.MarshalPKIXPublicKey(&public)
	if err != nil {
		t.Fatal(err)
	}
	point, err := public.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, edKey := g.keys(t, assertion.RS256)[0], g.keys(t, assertion.EdDSA)[0]
	hs256 := header.with(object{"alg": "HS256"})
	forgeries := map[string]string{
		"HS256 with the public key as PEM": forge(t, hs256, claims, jwt.SigningMethodHS256,
			pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})),
		"HS256 with the public key as DER":      forge(t, hs256, claims, jwt.SigningMethodHS256, der),
		"HS256 with the public key's point":     forge(t, hs256, claims, jwt.SigningMethodHS256, point),
		"HS256 with the JWK":                    forge(t, hs256, claims, jwt.SigningMethodHS256, jwkOf(t, g.jwks, header["kid"])),
		"HS256 with the JWKS":                   forge(t, hs256, claims, jwt.SigningMethodHS256, []byte(g.jwks)),
		"HS256 with an empty key":               forge(t, hs256, claims, jwt.SigningMethodHS256, []byte{}),
		"RS256, though the gateway has the key": g.sign(t, assertion.RS256, assertion.Claims{Subject: "1", Kind: "guest"}, time.Now()),
		"EdDSA, though the gateway has the key": g.sign(t, assertion.EdDSA, assertion.Claims{Subject: "1", Kind: "guest"}, time.Now()),
		"RS256 under the name ES256":            forge(t, header.with(object{"kid": rsaKey.id}), claims, jwt.SigningMethodRS256, rsaKey.private),
		"EdDSA under the name ES256":            forge(t, header.with(object{"kid": edKey.id}), claims, jwt.SigningMethodEdDSA, edKey.private),
		"ES256 under the name ES384": forge(t, header.with(object{"alg": "ES384"}), claims,
			jwt.SigningMethodES256, g.keys(t, assertion.ES256)[0].private),
		"no alg": forge(t, header.with(object{"alg": nil}), claims, jwt.SigningMethodES256, g.keys(t, assertion.ES256)[0].private),
		"a list of alg": forge(t, header.with(object{"alg": []string{"ES256"}}), claims,
			jwt.SigningMethodES256, g.keys(t, assertion.ES256)[0].private),
	}
	for _, none := range []string{"none", "None", "NONE", "nOnE", ""} {
		token := unsigned(t, header.with(object{"alg": none}), claims)
		forgeries[fmt.Sprintf("alg %q without a signature", none)] = token + "."
		forgeries[fmt.Sprintf("alg %q with the signature of another", none)] = token + real[strings.LastIndex(real, "."):]
		forgeries[fmt.Sprintf("alg %q with a signature of one byte", none)] = token + ".AA"
	}
	return forgeries
}

// jwkOf returns the JWK named kid as it stands in the JWKS.
func jwkOf(t *testing.T, jwks string, kid any) []byte {
	t.Helper()
	var set struct{ Keys []json.RawMessage }
	if err := json.Unmarshal([]byte(jwks), &set); err != nil {
		t.Fatal(err)
	}
	at := slices.IndexFunc(set.Keys, func(raw json.RawMessage) bool { return bytes.Contains(raw, []byte(kid.(string))) })
	return set.Keys[at]
}

func wrongKeys(t *testing.T, g *gateway) map[string]string {
	real := g.guest(t)
	header, claims := decode(t, real, 0), decode(t, real, 1)
	mine, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := mine.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	jwk := object{"kty": "EC", "crv": "P-256", "alg": "ES256", "kid": "mine", "x": encode(point[1:33]), "y": encode(point[33:])}
	next := g.keys(t, assertion.ES256)[1]
	forgeries := map[string]string{
		"the next key under the current key's id": forge(t, header, claims, jwt.SigningMethodES256, next.private),
	}
	for name, change := range map[string]object{
		"the kid of the gateway": {},
		"an unknown kid":         {"kid": "mine"},
		"no kid":                 {"kid": nil},
		"an empty kid":           {"kid": ""},
		"a kid that is a number": {"kid": 1},
		"a kid that is a list":   {"kid": []any{header["kid"]}},
		"a kid that is an object": {"kid": object{
			"kid": header["kid"]}},
		"the kid __proto__":             {"kid": "__proto__"},
		"a kid that is a path":          {"kid": "../../../../dev/null"},
		"an embedded jwk":               {"jwk": jwk},
		"an embedded jwk, kid to match": {"jwk": jwk, "kid": "mine"},
		"a jku":                         {"jku": g.URL + "/mine/jwks.json", "kid": "mine"},
		"a jku beside a real kid":       {"jku": g.URL + "/mine/jwks.json"},
		"an x5u":                        {"x5u": g.URL + "/mine/cert.pem", "kid": "mine"},
		"an x5c":                        {"x5c": []string{base64.StdEncoding.EncodeToString(point)}, "kid": "mine"},
	} {
		forgeries["a stranger's key with "+name] = forge(t, header.with(change), claims, jwt.SigningMethodES256, mine)
	}
	return forgeries
}

func wrongSignatures(t *testing.T, g *gateway) map[string]string {
	real := g.guest(t)
	header, claims := decode(t, real, 0), decode(t, real, 1)
	signed := unsigned(t, header, claims)
	order := elliptic.P256().Params().N
	signature, err := base64.RawURLEncoding.DecodeString(real[strings.LastIndex(real, ".")+1:])
	if err != nil {
		t.Fatal(err)
	}
	r, s := new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])
	der, err := asn1.Marshal(struct{ R, S *big.Int }{r, s})
	if err != nil {
		t.Fatal(err)
	}
	pair := func(r, s *big.Int) string {
		raw := make([]byte, 64)
		r.FillBytes(raw[:32])
		s.FillBytes(raw[32:])
		return signed + "." + encode(raw)
	}
	zero, one := big.NewInt(0), big.NewInt(1)
	body := real[:strings.LastIndex(real, ".")]
	return map[string]string{
		"r and s are zero (CVE-2022-21449)":     pair(zero, zero),
		"r is zero":                             pair(zero, one),
		"s is zero":                             pair(one, zero),
		"r and s are the order":                 pair(order, order),
		"r and s are one":                       pair(one, one),
		"a signature in DER":                    body + "." + encode(der),
		"a signature of one byte":               body + ".AA",
		"a byte missing":                        body + "." + encode(signature[:63]),
		"a byte more":                           body + "." + encode(append(signature, 0)),
		"the signature of another token":        body + g.guest(t)[strings.LastIndex(real, "."):],
		"another user under a real signature":   unsigned(t, header, claims.with(object{"sub": "1000000002"})) + real[strings.LastIndex(real, "."):],
		"another header under a real signature": unsigned(t, header.with(object{"x": 1}), claims) + real[strings.LastIndex(real, "."):],
	}
}

func wrongClaims(t *testing.T, g *gateway) map[string]string {
	real := g.guest(t)
	header, claims := decode(t, real, 0), decode(t, real, 1)
	current := g.keys(t, assertion.ES256)[0]
	forgeries := map[string]string{
		"expired an hour ago": g.sign(t, assertion.ES256, assertion.Claims{Subject: "1", Kind: "guest"}, time.Now().Add(-time.Hour)),
		"signed in an hour":   g.sign(t, assertion.ES256, assertion.Claims{Subject: "1", Kind: "guest"}, time.Now().Add(time.Hour)),
	}
	for name, change := range map[string]object{
		"another JWT's typ":                {"typ": "JWT"},
		"an access token's typ":            {"typ": "at+jwt"},
		"no typ":                           {"typ": nil},
		"typ in capitals":                  {"typ": "WXGATE-ASSERTION+JWT"},
		"a typ that is this one in a list": {"typ": []string{"wxgate-assertion+jwt"}},
	} {
		forgeries[name] = forge(t, header.with(change), claims, jwt.SigningMethodES256, current.private)
	}
	now := time.Now().Unix()
	for name, change := range map[string]object{
		"another issuer":              {"iss": "https://evil.example.com"},
		"an issuer with more":         {"iss": issuer + ".evil.example"},
		"an issuer with a slash":      {"iss": issuer + "/"},
		"no issuer":                   {"iss": nil},
		"another audience":            {"aud": "another-shop"},
		"an audience with more":       {"aud": audience + "-2"},
		"no audience":                 {"aud": nil},
		"no audiences":                {"aud": []string{}},
		"expired a minute ago":        {"exp": now - 60},
		"no exp":                      {"exp": nil},
		"issued in a minute":          {"iat": now + 60},
		"no iat":                      {"iat": nil},
		"no subject":                  {"sub": nil},
		"an empty subject":            {"sub": ""},
		"a subject that is a number":  {"sub": 1000000001},
		"a subject that is true":      {"sub": true},
		"an exp that is a word":       {"exp": "tomorrow"},
		"an exp that is true":         {"exp": true},
		"an iat that is a word":       {"iat": "yesterday"},
		"an issuer that is a number":  {"iss": 1},
		"an audience that is a truth": {"aud": true},
	} {
		forgeries[name] = forge(t, header, claims.with(change), jwt.SigningMethodES256, current.private)
	}
	return forgeries
}

// A stranger who can reach the shop must not be able to make it fetch at will.
func TestVerifiersFetchSeldomWhateverStrangersSend(t *testing.T) {
	eachRuntime(t, func(t *testing.T, r runtime) {
		g := newGateway(t, assertion.ES256)
		v := r.start(t, g.jwksURL())
		start := time.Now()
		real := g.guest(t)
		signature := real[strings.LastIndex(real, "."):]
		for i := range 300 {
			header := decode(t, real, 0).with(object{"kid": fmt.Sprint("unknown", i)})
			v.want(unsigned(t, header, decode(t, real, 1))+signature, "refused", "an unknown kid")
		}
		v.want(real, "ok 1000000001 guest", "a real assertion")
		allowed := 2 + int(time.Since(start)/(5*time.Second))
		if fetches, _ := g.counted(); fetches > allowed {
			t.Errorf("%d fetches for 300 unknown keys, want at most one in 5 s, %d", fetches, allowed)
		}
	})
}

// The life of a shop that runs for months: keys come and go, the gateway too.
func TestVerifiersFollowTheGateway(t *testing.T) {
	eachRuntime(t, func(t *testing.T, r runtime) {
		first, second := newGateway(t, assertion.ES256), newGateway(t, assertion.ES256)
		oldKeys, newKeys := first.jwks, second.jwks
		v := r.start(t, first.jwksURL(), r.withTimes("2", "0")...)
		const ok = "ok 1000000001 guest"

		first.publish(http.StatusServiceUnavailable, `{"type":"urn:wxgate:problem:unavailable"}`)
		v.want(first.guest(t), "refused", "no key was ever fetched")
		first.publish(http.StatusOK, oldKeys)
		v.want(first.guest(t), ok, "the gateway is back")
		v.want(second.guest(t), "refused", "a key that is not published")

		first.publish(http.StatusOK, strings.TrimSuffix(oldKeys, "]}")+","+strings.TrimPrefix(newKeys, `{"keys":[`))
		v.want(second.guest(t), ok, "a key that has just been published")
		v.want(first.guest(t), ok, "the previous key")

		time.Sleep(2100 * time.Millisecond)
		for _, body := range []string{"<html>502 Bad Gateway</html>", `{"type":"urn:wxgate:problem:unavailable"}`, "", "[]", `{"keys":null}`} {
			first.publish(http.StatusOK, body)
			v.want(first.guest(t), ok, fmt.Sprintf("the gateway publishes %q: the keys at hand go on", body))
		}
		first.publish(http.StatusOK, newKeys)
		v.want(first.guest(t), "refused", "the previous key is no longer published")
		v.want(second.guest(t), ok, "the current key")
	})
}
