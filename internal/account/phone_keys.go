package account

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"time"
)

// Sealer seals the data key under the configured secrets, and opens nothing
// else. session.Keys does it for the gateway.
type Sealer interface {
	// Seal seals under the newest secret, as ASCII text.
	Seal(plaintext []byte) string
	// Open is not ok with what none of the secrets has sealed, or was changed.
	Open(sealed string) (plaintext []byte, ok bool)
	// Newest says whether the newest secret has sealed it.
	Newest(sealed string) bool
}

// errPhonesLocked is a mistake of the program, not of the operator.
var errPhonesLocked = errors.New("phone numbers cannot be read or stored before Unlock")

// phoneKeys hide phone numbers at rest, and what names must not tell. All keys
// come from the data key, a random one that is made once per database, so that
// changing the secrets changes none, and instances with other secrets than each
// other's agree.
type phoneKeys struct {
	index, hidden []byte
	aead          cipher.AEAD
}

const dataKeySize = 32

func newPhoneKeys(dataKey []byte) (*phoneKeys, error) {
	index, err := hkdf.Key(sha256.New, dataKey, nil, "wxgate phone index", sha256.Size)
	if err != nil {
		return nil, err
	}
	hidden, err := hkdf.Key(sha256.New, dataKey, nil, "wxgate hidden", sha256.Size)
	if err != nil {
		return nil, err
	}
	raw, err := hkdf.Key(sha256.New, dataKey, nil, "wxgate phone", 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(raw)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	return &phoneKeys{index: index, hidden: hidden, aead: aead}, err
}

// phone is a verified number on its way into the database. The zero value is
// none.
type phone struct {
	key    string // finds it without opening it; equal numbers have equal keys
	number Phone
	keys   *phoneKeys
}

// phone prepares a number for comparing and storing, if it is one as ParsePhone
// returns it.
func (db *DB) phone(p Phone) (phone, error) {
	if p == "" {
		return phone{}, nil
	}
	if same, err := ParsePhone(string(p)); err != nil {
		return phone{}, err
	} else if same != p {
		return phone{}, errors.New("a phone number is not in the form of E.164")
	}
	return db.parsedPhone(p)
}

// parsedPhone prepares a number that ParsePhone has just returned.
func (db *DB) parsedPhone(p Phone) (phone, error) {
	keys := db.phoneKeys.Load()
	if keys == nil {
		return phone{}, errPhonesLocked
	}
	return phone{key: keyed(keys.index, string(p)), number: p, keys: keys}, nil
}

func keyed(key []byte, text string) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(text))
	return hex.EncodeToString(mac.Sum(nil))
}

// Hide returns a name for text, such as a phone number, that tells nothing of it
// to whoever lacks the data key: for the keys of what is short-lived. All
// instances that share the database give it the same name, whatever their
// secrets. It panics before Unlock.
func (db *DB) Hide(text string) string {
	keys := db.phoneKeys.Load()
	if keys == nil {
		panic(errPhonesLocked)
	}
	return keyed(keys.hidden, text)
}

// sealed is the number as it is stored with a user: base64url of a nonce and
// AES-256-GCM. It opens for nobody else, so numbers cannot be exchanged in the
// database.
func (p phone) sealed(userID string) string {
	return base64.RawURLEncoding.EncodeToString(p.keys.aead.Seal(nil, nil, []byte(p.number), ownedBy(userID)))
}

// openPhone opens what sealed has made for a user.
func (db *DB) openPhone(userID, sealed string) (Phone, error) {
	keys := db.phoneKeys.Load()
	if keys == nil {
		return "", errPhonesLocked
	}
	raw, err := base64.RawURLEncoding.DecodeString(sealed)
	if err != nil {
		return "", fmt.Errorf("opening the phone number of user %s: %w", userID, err)
	}
	number, err := keys.aead.Open(nil, nil, raw, ownedBy(userID))
	if err != nil {
		return "", fmt.Errorf("opening the phone number of user %s: it was changed, or belongs to another user or database", userID)
	}
	return Phone(number), nil
}

func ownedBy(userID string) []byte { return []byte("wxgate phone of user " + userID) }

// Unlock opens the data key, without which no phone number can be read, found
// or stored. The first call for a database makes it. Call it for each
// configuration: when the newest secret is a new one, the data key is sealed
// under it too. A copy that no instance works with goes after secretKept, so that
// a configuration that was taken back can start. The error says what to mend.
func (db *DB) Unlock(ctx context.Context, s Sealer) error {
	var dataKey []byte
	var id int64
	err := db.inTx(ctx, func(tx *sql.Tx) (err error) {
		if dataKey, id, err = openDataKey(ctx, tx, s); err != nil {
			return err
		}
		return useDataKey(ctx, tx, id, time.Now())
	})
	if err != nil {
		return fmt.Errorf("opening the phone numbers: %w", err)
	}
	keys, err := newPhoneKeys(dataKey)
	if err != nil {
		return fmt.Errorf("opening the phone numbers: %w", err)
	}
	db.phoneKeys.Store(keys)
	db.dataKey.Store(id)
	return nil
}

// secretKept is how long the data key stays readable with a secret that is the
// newest of no instance any more.
const secretKept = 30 * 24 * time.Hour

// openDataKey reads, makes or reseals the data key, and names the copy under the
// newest secret. Two instances that do so at once write the same id, and whoever
// comes second begins again.
func openDataKey(ctx context.Context, tx *sql.Tx, s Sealer) (dataKey []byte, newest int64, err error) {
	rows, err := tx.QueryContext(ctx, `SELECT id, sealed FROM wxgate_data_key ORDER BY id DESC`)
	if err != nil {
		return nil, 0, err
	}
	defer rows.Close()
	var last int64
	for rows.Next() {
		var id int64
		var sealed string
		if err := rows.Scan(&id, &sealed); err != nil {
			return nil, 0, err
		}
		last = max(last, id)
		plain, ok := s.Open(sealed)
		if ok && newest == 0 && s.Newest(sealed) {
			newest = id
		}
		if ok && dataKey == nil {
			dataKey = plain
		}
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil || newest != 0 {
		return dataKey, newest, err
	}
	switch {
	case last == 0:
		if dataKey, err = makeDataKey(ctx, tx); err != nil {
			return nil, 0, err
		}
	case dataKey == nil:
		return nil, 0, errors.New("they were stored under a secret that is not among those configured; " +
			"put that `secret` back, behind the newer ones (if none was configured, it is the file .secret beside the database). " +
			"If it is lost, the numbers are lost with it, and docs/operations.md says how to go on without them")
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO wxgate_data_key (id, sealed, used) VALUES (?, ?, 0)`, last+1, s.Seal(dataKey))
	return dataKey, last + 1, err
}

// makeDataKey makes the key of a database that keeps no numbers yet. Where it
// keeps some, theirs is missing, and a new one would find none of them.
func makeDataKey(ctx context.Context, tx *sql.Tx) ([]byte, error) {
	var kept int
	err := tx.QueryRowContext(ctx, `SELECT count(*) FROM (SELECT 1 FROM wxgate_user WHERE phone_key IS NOT NULL LIMIT 1) AS u`).Scan(&kept)
	if err != nil {
		return nil, err
	}
	if kept > 0 {
		return nil, errors.New("the key that they were stored with is missing; put the table wxgate_data_key back from a backup. " +
			"If there is none, the numbers are lost, and docs/operations.md says how to go on without them")
	}
	dataKey := make([]byte, dataKeySize)
	_, _ = rand.Read(dataKey) // never fails
	return dataKey, nil
}

// useDataKey notes that an instance works with a copy.
func useDataKey(ctx context.Context, tx *sql.Tx, id int64, now time.Time) error {
	_, err := tx.ExecContext(ctx, `UPDATE wxgate_data_key SET used = ? WHERE id = ? AND used < ?`, millis(now), id, millis(now))
	return err
}

// pruneDataKeys removes copies that no instance has worked with for long; never
// this instance's own.
func (db *DB) pruneDataKeys(ctx context.Context, tx *sql.Tx, now time.Time) error {
	id := db.dataKey.Load()
	if id == 0 {
		return nil
	}
	if err := useDataKey(ctx, tx, id, now); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, `DELETE FROM wxgate_data_key WHERE used <= ?`, millis(now.Add(-secretKept)))
	return err
}
