package account

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

// TestEachStatementOfARequestIsASpan, and none tells who it is about.
func TestEachStatementOfARequestIsASpan(t *testing.T) {
	shape := regexp.MustCompile(`^(SELECT|INSERT|UPDATE|DELETE|WITH|BATCH|BEGIN|COMMIT)( wxgate_\w+)?$`)
	onEach(t, func(t *testing.T, open opener) {
		db := open(t)
		recorder := tracetest.NewSpanRecorder()
		ctx, root := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder)).Tracer("test").Start(t.Context(), "request")
		for _, want := range []Want{WantIdentify, WantLogin} { // stored in one round trip, and then changed under locks
			_, err := db.Link(ctx, Rules{FirstLogin: FirstLoginWeChat}, Input{
				AppID: "wx1111111111111111", OpenID: "o-secret", UnionID: "u-secret", Want: want,
			})
			must(t, err)
		}
		root.End()
		var names []string
		for _, s := range recorder.Ended() {
			if s.Name() == "request" {
				continue
			}
			names = append(names, s.Name())
			if !shape.MatchString(s.Name()) {
				t.Errorf("a span is called %q", s.Name())
			}
			if told := fmt.Sprint(s.Name(), s.Attributes(), s.Status(), s.Events()); strings.Contains(told, "secret") {
				t.Errorf("a span tells who it is about: %s", told)
			}
			if s.Parent().SpanID() != root.SpanContext().SpanID() {
				t.Errorf("%s hangs on something else", s.Name())
			}
		}
		stored := "BATCH"
		if db.embedded {
			stored = "INSERT wxgate_identity"
		}
		for _, name := range []string{"SELECT wxgate_identity", stored, "BEGIN", "UPDATE wxgate_user", "COMMIT"} {
			if !slices.Contains(names, name) {
				t.Errorf("no span is called %s, but %q", name, names)
			}
		}
	})
}

// TestWaitingToBeStoredWithOthersIsASpan: it is done for several requests, and
// each of them has waited.
func TestWaitingToBeStoredWithOthersIsASpan(t *testing.T) {
	db := newDB(t)
	recorder := tracetest.NewSpanRecorder()
	ctx, root := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder)).Tracer("test").Start(t.Context(), "request")
	db.strangers.going = somebody()
	stored := make(chan error)
	go func() {
		_, err := db.Link(ctx, Rules{FirstLogin: FirstLoginWeChat}, Input{AppID: "wx1111111111111111", OpenID: "o", UnionID: "u"})
		stored <- err
	}()
	waits := func() bool {
		db.strangers.mu.Lock()
		defer db.strangers.mu.Unlock()
		return len(db.strangers.waiting) > 0
	}
	for !waits() {
		time.Sleep(time.Millisecond)
	}
	db.strangers.runAll(db.strangers.next(), db.storeStrangers)
	must(t, <-stored)
	root.End()
	if !slices.ContainsFunc(recorder.Ended(), func(s sdktrace.ReadOnlySpan) bool {
		return s.Name() == "BATCH" && s.Parent().SpanID() == root.SpanContext().SpanID()
	}) {
		t.Errorf("spans: %v", recorder.Ended())
	}
}

// TestADeliveryKnowsTheRequestItComesOf, whether that was stored with others or
// under locks; what nobody traced is of none.
func TestADeliveryKnowsTheRequestItComesOf(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		db := open(t)
		k := join(t, db, "receiver", "a")
		link := func(ctx context.Context, openID string, want Want) {
			_, err := db.Link(ctx, Rules{FirstLogin: FirstLoginWeChat}, Input{AppID: "wx1111111111111111", OpenID: openID, UnionID: "u" + openID, Want: want})
			must(t, err)
		}
		ctx, root := sdktrace.NewTracerProvider().Tracer("test").Start(t.Context(), "request")
		link(ctx, "traced", WantIdentify) // his guest's WeChat account
		link(ctx, "traced", WantLogin)    // the member, and the merge
		link(t.Context(), "alone", WantIdentify)
		batch, _ := k.take(10)
		var got []string
		for _, d := range batch.Deliveries {
			parent, _, _ := strings.Cut(strings.TrimPrefix(d.Origin, "00-"), "-")
			got = append(got, string(d.Type)+" "+strings.Replace(parent, root.SpanContext().TraceID().String(), "in the trace", 1))
		}
		slices.Sort(got)
		diff(t, "deliveries", []string{"identity.linked ", "identity.linked in the trace", "user.created in the trace", "user.merged in the trace"}, got)
	})
}
