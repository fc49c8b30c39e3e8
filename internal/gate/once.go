package gate

import (
	"context"
	"errors"
	"time"

	"github.com/wxgate/wxgate/internal/session"
	"github.com/wxgate/wxgate/internal/wechat"
)

// onceCode is a code of WeChat that a client has sent. Networks send things
// twice, and a code is good once: whoever sends it again within resultLife gets
// the same answer, from whichever instance he meets.
type onceCode struct {
	name string                  // of the code, with what it is for
	tell func() told             // spends it
	act  func(told) bearerAnswer // what it has earned
}

// spentCode is what the Store keeps of a code, sealed.
type spentCode struct {
	Line string `json:"l"`           // of the session that came with it
	At   int64  `json:"a,omitempty"` // when WeChat answered; 0: it is being asked
	Told told   `json:"g"`
	// Done is nil where a store failed after WeChat had answered: the code may
	// be sent once more.
	Done *bearerAnswer `json:"d,omitempty"`
}

const (
	// codeKept is how long a code is remembered: for as long as it would be good.
	codeKept = 5 * time.Minute

	// settlePoll is how often whoever comes second looks for the answer.
	settlePoll = 50 * time.Millisecond
)

// once spends a code, or finds what it has brought.
func (s *Site) once(ctx context.Context, v *Visit, c onceCode) bearerAnswer {
	key, line := "once:"+s.Accounts.Hide(c.name), ""
	if sess := v.session(); sess != nil {
		line = sess.Line()
	}
	if p := s.countCode(ctx, v); p.Code != "" {
		return refusedBearer(p)
	}
	spent := spentCode{Line: line}
	first, err := s.logins.Add(ctx, key, s.sealRecord(session.TypeResult, spent), codeKept)
	switch {
	case err != nil:
		s.storeFailed(ctx, v, "session", "claiming a code", err)
		return refusedBearer(newProblem(codeUnavailable))
	case first:
		spent.Told, spent.At = c.tell(), v.now.Unix()
	default:
		var p problem
		if spent, p = s.waitForSpent(ctx, v, key); p.Code != "" {
			return refusedBearer(p)
		}
		if spent.Line != line || v.now.Unix()-spent.At >= int64(resultLife/time.Second) {
			return refusedBearer(newProblem(codeUsed))
		}
	}
	if spent.Done != nil {
		return *spent.Done
	}
	done := refusedBearer(spent.Told.problem())
	if done.Problem == "" {
		done = c.act(spent.Told)
	}
	if done.Problem != codeUnavailable {
		spent.Done = &done
	}
	if err := s.logins.Put(ctx, key, s.sealRecord(session.TypeResult, spent), codeKept); err != nil {
		s.Metrics.StoreError("session")
		s.Log.ErrorContext(ctx, "keeping the result of a code", "store", "session", "error", err)
	}
	return done
}

// countCode counts a code before it costs a call of WeChat, since anybody can
// invent some. The problem's code is empty if it is not one too many.
func (s *Site) countCode(ctx context.Context, v *Visit) problem {
	ok, wait, err := s.countAddress(ctx, v, "wechatcode")
	switch {
	case err != nil:
		s.storeFailed(ctx, v, "limit", "counting codes of WeChat", err)
		return newProblem(codeUnavailable)
	case !ok:
		return newProblem(codeRateLimited).after(wait)
	}
	return problem{}
}

// waitForSpent waits until the code that somebody else is spending is spent.
func (s *Site) waitForSpent(ctx context.Context, v *Visit, key string) (spentCode, problem) {
	ctx, cancel := context.WithTimeout(ctx, wechatTimeout)
	defer cancel()
	sealed, found, err := s.settled(ctx, key, func(sealed []byte) bool {
		spent, ok := s.openSpent(sealed)
		return !ok || spent.At != 0
	})
	switch {
	case ctx.Err() != nil:
		return spentCode{}, newProblem(codeWeChatBusy)
	case err != nil:
		s.storeFailed(ctx, v, "session", "reading the result of a code", err)
		return spentCode{}, newProblem(codeUnavailable)
	case !found:
		return spentCode{}, newProblem(codeUsed)
	}
	spent, _ := s.openSpent(sealed)
	return spent, problem{}
}

// settled reads a key of logins until what stands there is final, or ctx ends:
// another request, which any instance may have got, is about to replace it.
func (s *Site) settled(ctx context.Context, key string, final func(value []byte) bool) (value []byte, found bool, err error) {
	for {
		value, found, err = s.logins.Get(ctx, key)
		if err != nil || !found || final(value) {
			return value, found, err
		}
		select {
		case <-ctx.Done():
			return value, true, nil
		case <-time.After(settlePoll):
		}
	}
}

func (s *Site) openSpent(sealed []byte) (c spentCode, ok bool) {
	ok = s.openRecord(session.TypeResult, sealed, &c)
	return c, ok
}

// problem is what is answered where WeChat has told nothing; its code is empty
// if WeChat has.
func (g told) problem() problem {
	if g.Failed == "" {
		return problem{}
	}
	p := newProblem(g.Failed)
	if g.Failed == codeRateLimited {
		p = p.after(time.Minute) // WeChat counts by the minute
	}
	return p
}

// refusedCode is what a client is told of a code that WeChat did not take.
func (s *Site) refusedCode(ctx context.Context, doing string, err error) told {
	var e *wechat.Error
	switch {
	case errors.As(err, &e) && e.Code == wechat.CodeUsed:
		return told{Failed: codeUsed}
	case errors.Is(err, wechat.ErrCode):
		return told{Failed: codeInvalid}
	case errors.Is(err, wechat.ErrBlocked):
		return told{Failed: codeWeChatBlocked}
	case e != nil && e.Code == wechat.CodeMinuteLimit:
		return told{Failed: codeRateLimited}
	}
	s.logWeChat(ctx, doing, err)
	return told{Failed: codeWeChatBusy}
}
