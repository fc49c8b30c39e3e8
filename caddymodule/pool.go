package caddymodule

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/wxgate/wxgate/internal/account"
	"github.com/wxgate/wxgate/internal/assertion"
	"github.com/wxgate/wxgate/internal/gate"
	"github.com/wxgate/wxgate/internal/limit"
	"github.com/wxgate/wxgate/internal/session"
)

// pool holds what a reload must not lose. A new configuration takes its share
// before the old one gives its own back.
var pool = caddy.NewUsagePool()

const (
	cacheBytes  = 512 << 20
	storeValues = 200_000
	limitKeys   = 100_000

	openTimeout = 30 * time.Second
)

// shared is what every configuration with the same database has in common.
type shared struct {
	db      *account.DB
	store   *session.Memory
	limiter *limit.Memory
	cache   *session.Cache
	watcher *gate.Watcher
	live    *gate.Live
}

// Destruct implements caddy.Destructor.
func (s *shared) Destruct() error { return s.db.Close() }

func defaultDatabase() Secret {
	return Secret(sqliteScheme + filepath.Join(caddy.AppDataDir(), "wxgate.db"))
}

const sqliteScheme = "sqlite:"

// onServer says whether the database is a server's, which other instances may
// share.
func (a *App) onServer() bool {
	scheme, _, _ := strings.Cut(string(a.Database), ":")
	return slices.Contains([]string{"postgres", "postgresql", "mysql"}, scheme)
}

// acquire opens the database, or takes its share of the one that is open.
func (a *App) acquire() error {
	address := string(a.Database)
	path, isFile := strings.CutPrefix(address, sqliteScheme)
	if path = strings.TrimPrefix(path, "//"); isFile && path != "" {
		var err error
		if path, err = filepath.Abs(path); err != nil {
			return fmt.Errorf("wxgate: database: %w", err)
		}
		address = sqliteScheme + path
	}
	if a.Database == defaultDatabase() {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return fmt.Errorf("wxgate: database: %w", err)
		}
	}
	// A URL may hold a password, which a key must not show.
	key := fmt.Sprintf("%x %s %d", sha256.Sum256([]byte(address)), a.UserIDs.Scheme, a.start)
	value, _, err := pool.LoadOrNew(key, func() (caddy.Destructor, error) { return a.open(address) })
	if err != nil {
		return fmt.Errorf("wxgate: database: %w", err)
	}
	a.shared, a.poolKey = value.(*shared), key
	return a.unlock(path)
}

// unlock makes the keys of the secrets, and opens what is sealed with them.
func (a *App) unlock(path string) error {
	secrets := make([]string, len(a.Secrets))
	for i, s := range a.Secrets {
		secrets[i] = string(s)
	}
	if len(secrets) == 0 {
		secret, err := a.madeSecret(path + ".secret")
		if err != nil {
			return fmt.Errorf("wxgate: secret: %w", err)
		}
		secrets = []string{secret}
	}
	if err := a.deriveKeys(secrets); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(a.ctx, openTimeout)
	defer cancel()
	if err := a.shared.db.Unlock(ctx, sealer{a.keys, session.TypeDataKey}); err != nil {
		return fmt.Errorf("wxgate: database: %w", err)
	}
	return nil
}

// deriveKeys makes the keys of sessions, after the default secret is known.
func (a *App) deriveKeys(secrets []string) error {
	var err error
	if a.keys, err = session.NewKeys(secrets...); err != nil {
		return fmt.Errorf("wxgate: secret: %w", err)
	}
	sum := sha256.Sum256([]byte(strings.Join(secrets, "\x00")))
	a.salt = hex.EncodeToString(sum[:])
	return nil
}

func (a *App) open(address string) (*shared, error) {
	ctx, cancel := context.WithTimeout(a.ctx, openTimeout)
	defer cancel()
	db, err := account.Open(ctx, account.Config{
		URL: address, IDs: account.IDConfig{UUID: a.UserIDs.Scheme == "uuid", Start: a.start},
	})
	if err != nil {
		return nil, err
	}
	s := &shared{
		db: db, store: session.NewMemory(session.MemoryConfig{MaxEntries: storeValues}),
		limiter: limit.NewMemory(limitKeys), cache: session.NewCache(cacheBytes),
		live: gate.NewLive(db),
	}
	s.watcher = gate.NewWatcher(db.ReadInvalidations(), s.cache)
	db.OnChange(s.watcher.Changed)
	return s, nil
}

// madeSecret reads the secret that lies beside the database, or makes it. Of
// two processes that make it at once, both end with the same.
func (a *App) madeSecret(path string) (string, error) {
	raw, err := os.ReadFile(path)
	if err == nil {
		secret := strings.TrimSpace(string(raw))
		if len(secret) < 32 {
			return "", fmt.Errorf("%s holds %d bytes, at least 32 are needed", path, len(secret))
		}
		return secret, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	made, err := os.CreateTemp(filepath.Dir(path), ".wxgate-secret-*") // mode 0600
	if err != nil {
		return "", err
	}
	defer os.Remove(made.Name())
	_, err = made.WriteString(rand.Text() + rand.Text() + "\n")
	if err = errors.Join(err, made.Sync(), made.Close()); err != nil {
		return "", err
	}
	switch err := os.Link(made.Name(), path); {
	case errors.Is(err, fs.ErrExist):
	case err != nil:
		return "", err
	default:
		a.log.Info("made a secret for sessions; keep it with the database's backup", "file", path)
	}
	return a.madeSecret(path)
}

// keyring returns the keys of an algorithm, loaded.
func (a *App) keyring(algorithm string) (*assertion.Keyring, error) {
	if k := a.rings[algorithm]; k != nil {
		return k, nil
	}
	k, err := assertion.NewKeyring(assertion.KeyringConfig{
		Store: keyStore{a.shared.db}, Sealer: sealer{a.keys, session.TypeSigningKey}, Algorithms: []string{algorithm}, Logger: a.log,
	})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(a.ctx, openTimeout)
	defer cancel()
	if err := k.Load(ctx); err != nil {
		return nil, err
	}
	a.rings[algorithm] = k
	return k, nil
}

// keyStore lets the keyring keep its keys in the account database.
type keyStore struct{ db *account.DB }

func (s keyStore) Keys(ctx context.Context) ([]assertion.StoredKey, error) {
	keys, err := s.db.AssertionKeys(ctx)
	all := make([]assertion.StoredKey, len(keys))
	for i, k := range keys {
		all[i] = assertion.StoredKey(k)
	}
	return all, err
}

func (s keyStore) AddKey(ctx context.Context, k assertion.StoredKey) (bool, error) {
	return s.db.AddAssertionKey(ctx, account.AssertionKey(k))
}

func (s keyStore) ResealKey(ctx context.Context, k assertion.StoredKey, sealed string) error {
	return s.db.ResealAssertionKey(ctx, account.AssertionKey(k), sealed)
}

func (s keyStore) DeleteKey(ctx context.Context, id string) error {
	return s.db.DeleteAssertionKey(ctx, id)
}

// sealer keeps keys sealed at rest with the keys of sessions.
type sealer struct {
	keys *session.Keys
	typ  session.Type
}

func (s sealer) Seal(plaintext []byte) string      { return s.keys.Seal(s.typ, plaintext) }
func (s sealer) Open(sealed string) ([]byte, bool) { return s.keys.Open(s.typ, sealed) }
func (s sealer) Newest(sealed string) bool         { return s.keys.Newest(s.typ, sealed) }
