// POST /hooks/wxgate: hears of each event, some more than once, and gives a
// user what his old ids did.
package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	_ "github.com/go-sql-driver/mysql"
)

type event struct {
	Type string `json:"type"`
	Data struct {
		To      string   `json:"to"`
		Aliases []string `json:"aliases"`
	} `json:"data"`
}

// isSigned says whether the gateway has signed the body a moment ago
// (standardwebhooks.com).
func isSigned(h http.Header, body, key []byte) bool {
	stamp := h.Get("webhook-timestamp")
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil || time.Since(time.Unix(seconds, 0)).Abs() > 5*time.Minute {
		return false
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(h.Get("webhook-id") + "." + stamp + "."))
	mac.Write(body)
	expected := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	for _, signature := range strings.Split(h.Get("webhook-signature"), " ") {
		if hmac.Equal([]byte(signature), []byte(expected)) {
			return true
		}
	}
	return false
}

// claimRows gives a user what his old ids did, in every table that has a
// user_id.
func claimRows(db *sql.DB, to string, aliases []string) error {
	args := []any{to}
	for _, id := range aliases {
		args = append(args, id)
	}
	tx, err := db.Begin()
	if err != nil {
		return err
	}
	defer tx.Rollback()
	for _, table := range []string{"orders", "addresses", "coupons"} {
		marks := strings.Repeat(", ?", len(aliases))[2:]
		if _, err := tx.Exec("UPDATE "+table+" SET user_id = ? WHERE user_id IN ("+marks+")", args...); err != nil {
			return err
		}
	}
	return tx.Commit()
}

func main() {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(os.Getenv("HOOK_SECRET"), "whsec_"))
	if err != nil || len(key) < 24 {
		log.Fatal("HOOK_SECRET is not set")
	}
	db, err := sql.Open("mysql", os.Getenv("SHOP_DB")) // user:password@tcp(127.0.0.1:3306)/shop
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
		if err != nil || !isSigned(r.Header, body, key) {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		var e event
		if err = json.Unmarshal(body, &e); err == nil && (e.Type == "wxgate.user.merged" || e.Type == "wxgate.user.merge_settled") {
			err = claimRows(db, e.Data.To, e.Data.Aliases)
		}
		if err != nil {
			log.Print(err)
			w.WriteHeader(http.StatusInternalServerError) // the gateway sends the event again
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})))
}
