package account

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// Followers is what WeChat tells of an official account's followers. An error
// ends a Repair.
type Followers interface {
	// Page returns followers behind the openid after, from the first if that is
	// empty. next is what to pass for the page behind; empty: there is none.
	Page(ctx context.Context, after string) (openIDs []string, next string, err error)
	// Ask returns what WeChat knows of up to MaxAsked users, in any order;
	// those it does not know are left out.
	Ask(ctx context.Context, openIDs []string) ([]Follower, error)
}

// MaxAsked is how many users Followers.Ask takes at once.
const MaxAsked = 100

// Follower is a user of an official account.
type Follower struct {
	OpenID     string
	UnionID    string // empty: WeChat does not tell it
	Subscribed bool
}

// RepairConfig says what to repair.
type RepairConfig struct {
	AppID     string
	Followers Followers
	After     string // RepairReport.Next of a run that was interrupted
	DryRun    bool   // ask WeChat and report, and change nothing
	By        By
	// Progress is told how far the repair is; nil: nobody.
	Progress func(Progress)
	// Conflict gets each openid whose unionid cannot be stored. An error of it
	// ends the repair. nil: they are only counted.
	Conflict func(RepairConflict) error
}

// RepairConflict is an openid whose unionid contradicts what is stored. It is
// among the open conflicts too.
type RepairConflict struct {
	OpenID  string `json:"openid"`
	UnionID string `json:"unionid"`
	UserID  string `json:"user_id"` // who is served for the openid
	Code    Code   `json:"code"`
}

// RepairReport is what a repair has done, or what a dry run would do.
type RepairReport struct {
	Waiting   int `json:"waiting"`   // rows without a unionid before
	Followers int `json:"followers"` // read from the account's list
	Filled    int `json:"filled"`
	Conflicts int `json:"conflicts"`
	// NoUnionID counts followers of whom WeChat tells no unionid.
	NoUnionID int `json:"no_unionid"`
	// Unfollowed counts the rows of people who do not follow the account. They
	// get their unionid when they come. It is known when the whole list was
	// read, else 0.
	Unfollowed int  `json:"unfollowed"`
	Whole      bool `json:"whole"`
	// Next is where to go on after an interruption; empty: at the beginning.
	Next string `json:"next,omitempty"`
}

// ErrNoUnionIDs means that WeChat tells no unionid of any follower: the account
// is bound to no Open Platform account, or not to the one of the other apps.
var ErrNoUnionIDs = errors.New("WeChat tells no unionid of any follower; is the account bound to the Open Platform account?")

// Repair fills the unionids of imported rows of an official account, each as
// if its user had come and WeChat had told it (G6, G3). It may be repeated:
// filled rows are not asked for again. The report counts up to an error.
//
// Errors: ErrNoUnionIDs, ErrNoReason, and those of Followers.
func (db *DB) Repair(ctx context.Context, rules Rules, cfg RepairConfig) (RepairReport, error) {
	if cfg.Progress == nil {
		cfg.Progress = func(Progress) {}
	}
	r := &repairer{db: db, rules: rules, cfg: cfg}
	if err := cfg.By.check(); err != nil {
		return r.report, err
	}
	if err := r.run(ctx); err != nil {
		return r.report, fmt.Errorf("repairing %s: %w", cfg.AppID, err)
	}
	return r.report, nil
}

// repairer is one repair under way.
type repairer struct {
	db     *DB
	rules  Rules
	cfg    RepairConfig
	met    int // waiting rows of followers
	report RepairReport
}

func (r *repairer) run(ctx context.Context) error {
	err := r.db.read.QueryRowContext(ctx, `SELECT count(*) FROM wxgate_identity WHERE appid = ? AND unionid IS NULL`, r.cfg.AppID).
		Scan(&r.report.Waiting)
	if err != nil {
		return fmt.Errorf("counting rows: %w", err)
	}
	if r.report.Waiting == 0 {
		r.report.Whole = true
		return nil
	}
	if err := r.record(ctx); err != nil {
		return err
	}
	for r.report.Next = r.cfg.After; ; {
		page, next, err := r.cfg.Followers.Page(ctx, r.report.Next)
		if err != nil {
			return fmt.Errorf("asking for followers: %w", err)
		}
		if err := r.page(ctx, page); err != nil {
			return err
		}
		if r.report.Next = next; next == "" {
			break
		}
	}
	if r.cfg.After == "" {
		r.report.Whole, r.report.Unfollowed = true, r.report.Waiting-r.met
	}
	return nil
}

// record notes that an operator repairs.
func (r *repairer) record(ctx context.Context) error {
	if r.cfg.DryRun {
		return nil
	}
	_, err := r.db.operate(ctx, r.cfg.By, func(c *change) error {
		return c.record(r.cfg.By, deed{ActionRepair, r.cfg.AppID, map[string]int{"waiting": r.report.Waiting}})
	})
	return err
}

// page repairs the rows of followers.
func (r *repairer) page(ctx context.Context, followers []string) error {
	for len(followers) > 0 {
		some := followers[:min(len(followers), importBatch)]
		followers = followers[len(some):]
		waiting, err := r.waiting(ctx, some)
		if err != nil {
			return fmt.Errorf("reading rows: %w", err)
		}
		r.report.Followers += len(some)
		for len(waiting) > 0 {
			asked := waiting[:min(len(waiting), MaxAsked)]
			waiting = waiting[len(asked):]
			if err := r.ask(ctx, asked); err != nil {
				return err
			}
		}
		r.cfg.Progress(Progress{Stage: StageFollowers, Done: r.report.Followers})
	}
	return nil
}

// waiting returns those of some openids that wait for their unionid.
func (r *repairer) waiting(ctx context.Context, openIDs []string) (found []string, err error) {
	ids := fill(anyOf(openIDs))
	query := `SELECT openid FROM wxgate_identity WHERE appid = ? AND unionid IS NULL AND openid` + in(len(ids))
	err = r.db.retry(ctx, func() error {
		found = nil
		return queryRows(ctx, r.db.read, query, append([]any{r.cfg.AppID}, ids...), func(rows *sql.Rows) error {
			var id string
			err := rows.Scan(&id)
			found = append(found, id)
			return err
		})
	})
	return found, err
}

func (r *repairer) ask(ctx context.Context, openIDs []string) error {
	answers, err := r.cfg.Followers.Ask(ctx, openIDs)
	if err != nil {
		return fmt.Errorf("asking about followers: %w", err)
	}
	for _, f := range answers {
		switch {
		case f.UnionID != "":
			r.met++
			if err := r.fill(ctx, f); err != nil {
				return err
			}
		case f.Subscribed:
			r.met++
			r.report.NoUnionID++
		}
	}
	if r.report.NoUnionID >= MaxAsked && r.report.Filled+r.report.Conflicts == 0 {
		return ErrNoUnionIDs
	}
	return nil
}

// fill stores a unionid as a visit would. Whoever has gone meanwhile, or came
// himself, is left alone: a visit would make a guest of somebody who is not here.
func (r *repairer) fill(ctx context.Context, f Follower) error {
	in := Input{AppID: r.cfg.AppID, OpenID: f.OpenID, UnionID: f.UnionID, Unattended: true, Waiting: true}
	var out Outcome
	var err error
	if r.cfg.DryRun {
		out, err = r.db.foresee(ctx, r.rules, in)
	} else {
		out, err = r.db.Link(ctx, r.rules, in)
	}
	if err != nil {
		return err
	}
	if out.Code == "" {
		return nil
	}
	if out.UnionID == f.UnionID && out.Code != CodeRepairConflict {
		r.report.Filled++
		return nil
	}
	r.report.Conflicts++
	if r.cfg.Conflict == nil {
		return nil
	}
	return r.cfg.Conflict(RepairConflict{OpenID: f.OpenID, UnionID: f.UnionID, UserID: out.UserID, Code: out.Code})
}

// foresee says what a Link would decide.
func (db *DB) foresee(ctx context.Context, rules Rules, in Input) (Outcome, error) {
	f, p, err := db.decideReading(ctx, call{rules: rules, in: in})
	if err != nil {
		return Outcome{}, err
	}
	return f.outcome(&p), nil
}
