package span

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

// recording returns a context whose children are recorded, and what is recorded.
func recording(t *testing.T) (context.Context, *tracetest.SpanRecorder) {
	recorder := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder))
	ctx, root := provider.Tracer("test").Start(t.Context(), "request")
	t.Cleanup(func() { root.End() })
	return ctx, recorder
}

func request(ctx context.Context, t *testing.T, target string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, target, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestSpansSayWhatIsFromClosedSets(t *testing.T) {
	at, err := url.Parse("postgres://user:hush@db.internal:5433/shop")
	if err != nil {
		t.Fatal(err)
	}
	const target = "https://shop.test/hook/hush?code=hush#hush"
	failed := fmt.Errorf("calling: %w", &url.Error{Op: "Post", URL: target, Err: errors.New("hush")})
	for name, tt := range map[string]struct {
		call func(context.Context)
		want string
	}{
		"a request": {
			func(ctx context.Context) {
				_, s := HTTP(request(ctx, t, target), "")
				s.Answered(200)
				s.End("")
			},
			"POST Unset map[http.request.method:POST http.response.status_code:200 server.address:shop.test]",
		},
		"a request whose path is known": {
			func(ctx context.Context) { _, s := HTTP(request(ctx, t, target), "/api/call"); s.End("40029") },
			"POST /api/call Error map[error.type:40029 http.request.method:POST server.address:shop.test url.template:/api/call]",
		},
		"an answer that is an error": {
			func(ctx context.Context) {
				_, s := HTTP(request(ctx, t, "http://shop.test:8080"), "")
				s.Answered(503)
				s.EndWith(nil)
			},
			"POST Error map[error.type:503 http.request.method:POST http.response.status_code:503 server.address:shop.test server.port:8080]",
		},
		"a request without an answer": {
			func(ctx context.Context) { _, s := HTTP(request(ctx, t, target), ""); s.EndWith(failed) },
			"POST Error map[error.type:*errors.errorString http.request.method:POST server.address:shop.test]",
		},
		"a timeout": {
			func(ctx context.Context) {
				_, s := HTTP(request(ctx, t, target), "")
				s.EndWith(context.DeadlineExceeded)
			},
			"POST Error map[error.type:timeout http.request.method:POST server.address:shop.test]",
		},
		"a statement": {
			func(ctx context.Context) {
				_, s := NewDatabase("postgresql", at).Start(ctx, Operation{Statement: "\n  UPDATE wxgate_user SET phone = 'hush' WHERE id IN (SELECT user_id FROM wxgate_identity)"})
				s.EndWith(nil)
			},
			"UPDATE wxgate_user Unset map[db.collection.name:wxgate_user db.operation.name:UPDATE db.query.summary:UPDATE wxgate_user db.system.name:postgresql server.address:db.internal server.port:5433]",
		},
		"several at once": {
			func(ctx context.Context) {
				_, s := NewDatabase("mysql", nil).Start(ctx, Operation{Command: "batch", Batch: 5})
				s.EndWith(errors.New("duplicate key (hush)"))
			},
			"BATCH Error map[db.operation.batch.size:5 db.operation.name:BATCH db.query.summary:BATCH db.system.name:mysql error.type:*errors.errorString]",
		},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, recorder := recording(t)
			tt.call(ctx)
			ended := recorder.Ended()
			if len(ended) != 1 {
				t.Fatalf("%d spans", len(ended))
			}
			s := ended[0]
			attrs := map[string]string{}
			for _, a := range s.Attributes() {
				attrs[string(a.Key)] = a.Value.String()
			}
			got := fmt.Sprint(s.Name(), " ", s.Status().Code, " ", attrs)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if s.Status().Description != "" || len(s.Events()) > 0 || s.Status().Code == codes.Ok {
				t.Errorf("it tells more: %v, %v", s.Status(), s.Events())
			}
		})
	}
}

// TestNothingIsMadeWhereNobodyRecords, and what is not made ends like the rest.
func TestNothingIsMadeWhereNobodyRecords(t *testing.T) {
	r := request(t.Context(), t, "https://shop.test")
	same, s := HTTP(r, "/")
	if same != r {
		t.Error("the request was copied")
	}
	s.Answered(500)
	s.EndWith(errors.New("some"))
	if Propagate(r); len(r.Header) > 0 {
		t.Errorf("the request carries %v", r.Header)
	}
	db := NewDatabase("sqlite", nil)
	ctx := t.Context()
	if allocs := testing.AllocsPerRun(100, func() {
		_, s := db.Start(ctx, Operation{Statement: "SELECT 1"})
		s.EndWith(nil)
	}); allocs > 0 {
		t.Errorf("a statement costs %v allocations", allocs)
	}
}

// TestWhatGoesOnAfterTheAnswerIsRecorded: a visitor who hangs up does not stop
// it.
func TestWhatGoesOnAfterTheAnswerIsRecorded(t *testing.T) {
	recorder := tracetest.NewSpanRecorder()
	ctx, root := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder)).Tracer("test").Start(t.Context(), "request")
	root.End()
	_, s := NewDatabase("sqlite", nil).Start(context.WithoutCancel(ctx), Operation{Command: "COMMIT"})
	s.EndWith(nil)
	if ended := recorder.Ended(); len(ended) != 2 || ended[1].Parent().SpanID() != root.SpanContext().SpanID() {
		t.Errorf("recorded: %v", ended)
	}
}
