// Go 1.25 or later, with github.com/golang-jwt/jwt/v5.
package main

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const (
	cacheTime = 300 * time.Second // how long fetched keys are used
	retryTime = 5 * time.Second   // fetch at most once in this time
	leeway    = 5 * time.Second   // between the gateway's clock and ours
)

// Claims is what an assertion says of a user.
type Claims struct {
	jwt.RegisteredClaims // Subject is the user id

	Kind     string   `json:"kind"`
	Previous []string `json:"previous"`
}

// Verifier checks assertions. Its methods may be called by many goroutines.
type Verifier struct {
	JWKSURL, Issuer, Audience string

	mu             sync.Mutex
	keys           map[string]*ecdsa.PublicKey
	fetched, tried time.Time
}

// Verify returns the claims of r.Header.Values("X-User-Assertion").
func (v *Verifier) Verify(values []string) (*Claims, error) {
	if len(values) != 1 || len(values[0]) > 8192 {
		return nil, errors.New("not exactly one assertion")
	}
	claims := &Claims{}
	_, err := jwt.ParseWithClaims(values[0], claims, v.keyOf,
		jwt.WithValidMethods([]string{"ES256"}), jwt.WithIssuer(v.Issuer), jwt.WithAudience(v.Audience),
		jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithLeeway(leeway), jwt.WithStrictDecoding())
	if err != nil {
		return nil, err
	}
	if claims.Subject == "" || claims.IssuedAt == nil {
		return nil, errors.New("no subject or time")
	}
	return claims, nil
}

func (v *Verifier) keyOf(token *jwt.Token) (any, error) {
	if token.Header["typ"] != "wxgate-assertion+jwt" {
		return nil, errors.New("wrong type")
	}
	kid, _ := token.Header["kid"].(string)
	v.mu.Lock()
	defer v.mu.Unlock()
	due := v.keys[kid] == nil || time.Since(v.fetched) >= cacheTime
	if due && time.Since(v.tried) >= retryTime {
		v.tried = time.Now()
		if err := v.fetch(); err != nil { // the keys at hand go on being used
			log.Printf("wxgate: fetching %s: %v", v.JWKSURL, err)
		}
	}
	if v.keys[kid] == nil {
		return nil, errors.New("unknown key")
	}
	return v.keys[kid], nil
}

func (v *Verifier) fetch() error {
	response, err := (&http.Client{Timeout: 3 * time.Second}).Get(v.JWKSURL)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	var set struct {
		Keys []struct{ Kid, Alg, X, Y string }
	}
	if err := json.NewDecoder(response.Body).Decode(&set); err != nil || set.Keys == nil {
		return fmt.Errorf("no keys in an answer of status %s", response.Status)
	}
	keys := map[string]*ecdsa.PublicKey{}
	for _, jwk := range set.Keys {
		if jwk.Alg != "ES256" {
			continue
		}
		x, errX := base64.RawURLEncoding.DecodeString(jwk.X)
		y, errY := base64.RawURLEncoding.DecodeString(jwk.Y)
		key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), slices.Concat([]byte{4}, x, y))
		if err := errors.Join(errX, errY, err); err != nil {
			return err
		}
		keys[jwk.Kid] = key
	}
	v.keys, v.fetched = keys, time.Now()
	return nil
}

// To try it: go run verifier.go <jwks url> <issuer> <audience>, one assertion per line.
func main() {
	v := &Verifier{JWKSURL: os.Args[1], Issuer: os.Args[2], Audience: os.Args[3]}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		if claims, err := v.Verify(strings.Split(lines.Text(), "\t")); err != nil {
			fmt.Println("refused", strings.ReplaceAll(err.Error(), "\n", " "))
		} else {
			fmt.Println("ok", claims.Subject, claims.Kind)
		}
	}
}
