package account

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
)

// block is a run of numbers that are reserved for ids of the gateway's own:
// from first up to, and without, next.
type block struct{ first, next int64 }

// blocks are all that were ever reserved, in order. The last one grows.
type blocks []block

// readBlocks reads the blocks. Whoever goes on to change them, or to store the
// shop's own ids beside them, holds lockBlocks.
func readBlocks(ctx context.Context, q querier) (all blocks, err error) {
	rows, err := q.QueryContext(ctx, `SELECT first, next FROM wxgate_id_block WHERE first > 0 ORDER BY first`)
	if err != nil {
		return nil, fmt.Errorf("reading id blocks: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var b block
		if err := rows.Scan(&b.first, &b.next); err != nil {
			return nil, fmt.Errorf("reading id blocks: %w", err)
		}
		all = append(all, b)
	}
	return all, rows.Err()
}

// lockBlocks keeps others from beginning or growing a block until the
// transaction ends. The row it writes to is no block.
func lockBlocks(ctx context.Context, tx *sql.Tx) error {
	if _, err := tx.ExecContext(ctx, `UPDATE wxgate_id_block SET next = 0 WHERE first = 0`); err != nil {
		return fmt.Errorf("locking id blocks: %w", err)
	}
	return nil
}

// last is the block that grows, zero before there is one.
func (all blocks) last() block {
	if len(all) == 0 {
		return block{}
	}
	return all[len(all)-1]
}

// given says whether the gateway has reserved a number, so that some guest may
// have it.
func (all blocks) given(n int64) bool {
	for _, b := range all {
		if b.first <= n && n < b.next {
			return true
		}
	}
	return false
}

// IDBlockError means that a user id of the shop's is a number that the gateway
// gives out itself, or will.
type IDBlockError struct {
	ID    string
	Start int64 // of the block
	// Given says that the gateway may have given the number to a visitor
	// already; no option helps then.
	Given bool
}

func (e *IDBlockError) Error() string {
	if e.Given {
		return fmt.Sprintf("the user id %s is not free: the gateway has given out that number itself, to another visitor; "+
			"give this user another id, and for the others set `user_ids integer` to a number above all of your ids", e.ID)
	}
	return fmt.Sprintf("the user id %s lies among the numbers from %d on, which the gateway gives out itself; "+
		"set `user_ids integer` to a number above all of your ids, for example `user_ids integer %d`", e.ID, e.Start, roundAbove(e.ID))
}

// roundAbove is a round number above a number.
func roundAbove(id string) int64 {
	n, _ := integerID(id)
	power := int64(1)
	for n/power >= 10 {
		power *= 10
	}
	return (n/power + 1) * power
}

// integerID returns the number that an id is, if the gateway could give out
// just that id: written as integers are, and not beyond maxStart.
func integerID(id string) (int64, bool) {
	n, err := strconv.ParseInt(id, 10, 64)
	return n, err == nil && n > 0 && n <= maxStart && strconv.FormatInt(n, 10) == id
}

// check says whether an id that the shop has made is none of the gateway's
// numbers, given or to come, which by the configuration begin at start; 0: by
// the configuration ids are no numbers. The error is an *IDBlockError.
func (all blocks) check(id string, start int64) error {
	n, ok := integerID(id)
	if !ok {
		return nil
	}
	if all.given(n) {
		return &IDBlockError{ID: id, Given: true}
	}
	if start == 0 {
		start = all.last().first
	}
	if start > 0 && n >= start {
		return &IDBlockError{ID: id, Start: start}
	}
	return nil
}

// checkForeign says whether the shop's own id may be stored as a user's: the
// error is an *IDBlockError if not. An id that is stored already may.
func (db *DB) checkForeign(ctx context.Context, q querier, id string) error {
	all, err := readBlocks(ctx, q)
	if err != nil {
		return err
	}
	return all.check(id, db.ids.start())
}

// start is where numbers begin by the configuration; 0: ids are no numbers.
func (s *idSource) start() int64 {
	if s.cfg.UUID {
		return 0
	}
	return s.cfg.Start
}

// claim begins the block of the configured start, unless that lies among
// numbers that were reserved already: then it goes on behind all of these. A
// start that has ids of the shop's own above it is refused with an
// *IDBlockError.
func (s *idSource) claim(ctx context.Context) error {
	if s.cfg.UUID {
		return nil
	}
	if s.cfg.Start < 0 || s.cfg.Start > maxStart {
		return fmt.Errorf("user_ids: the start must lie between 1 and %d", int64(maxStart))
	}
	return s.db.inTx(ctx, func(tx *sql.Tx) error {
		if err := lockBlocks(ctx, tx); err != nil {
			return err
		}
		all, err := readBlocks(ctx, tx)
		if err != nil || all.last().first == s.cfg.Start {
			return err // checked by whoever began it, and each id since
		}
		foreign, err := highestForeign(ctx, tx, all, s.cfg.Start)
		if err != nil {
			return err
		}
		if foreign != "" {
			return fmt.Errorf("user_ids: %w", &IDBlockError{ID: foreign, Start: s.cfg.Start})
		}
		if s.cfg.Start < all.last().next {
			return nil
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO wxgate_id_block (first, next) VALUES (?, ?)`, s.cfg.Start, s.cfg.Start)
		return err
	})
}

// highestForeign finds the highest number from start on that is the id of a
// user and was not given out by the gateway; empty: there is none.
func highestForeign(ctx context.Context, tx *sql.Tx, all blocks, start int64) (string, error) {
	least := strconv.FormatInt(start, 10)
	rows, err := tx.QueryContext(ctx, `
		SELECT id FROM wxgate_user WHERE id >= '1' AND id < ':' AND length(id) <= ?
			AND (length(id) > ? OR length(id) = ? AND id >= ?)
		ORDER BY length(id) DESC, id DESC`, maxDigits, len(least), len(least), least)
	if err != nil {
		return "", fmt.Errorf("reading user ids: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return "", fmt.Errorf("reading user ids: %w", err)
		}
		if n, ok := integerID(id); ok && !all.given(n) {
			return id, nil
		}
	}
	return "", rows.Err()
}

// reserve takes the next numbers of the last block.
func (s *idSource) reserve(ctx context.Context) (taken block, err error) {
	err = s.db.inRepeatableTx(ctx, func(tx *sql.Tx) error {
		if err := lockBlocks(ctx, tx); err != nil {
			return err
		}
		all, err := readBlocks(ctx, tx)
		if err != nil {
			return err
		}
		last := all.last()
		if last.first == 0 {
			return errors.New("there is no block; was the database replaced while the gateway ran?")
		}
		taken = block{last.next, last.next + blockSize}
		_, err = tx.ExecContext(ctx, `UPDATE wxgate_id_block SET next = ? WHERE first = ?`, taken.next, last.first)
		return err
	})
	return taken, err
}
