// Package span tells a trace of the calls that are made for a request: of
// WeChat, of a carrier of SMS, of the shop, of the database and of Redis. Each is
// a child of the span that the context carries, as Caddy's tracing puts it there,
// and follows OpenTelemetry's semantic conventions. What is sent in the
// background is a trace of its own (Tracer).
//
// A span says only what comes from closed sets: never a parameter, a value, the
// text of an error, or a URL, for all of these may hold codes, tokens, ids and
// phones. Where the context carries no span that is recorded, nothing is done.
//
// It is the one package that those which call others share.
package span

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

// Span is a call under way. The zero Span is of a call that nobody records.
type Span struct{ span trace.Span }

// start begins a child of the span in ctx, which is recorded.
func start(ctx context.Context, name string, attrs ...attribute.KeyValue) (context.Context, Span) {
	return begin(ctx, trace.SpanFromContext(ctx).TracerProvider(), name, trace.WithAttributes(attrs...))
}

// begin begins a span of a call that is made.
func begin(ctx context.Context, provider trace.TracerProvider, name string, options ...trace.SpanStartOption) (context.Context, Span) {
	tracer := provider.Tracer("github.com/wxgate/wxgate", trace.WithSchemaURL(semconv.SchemaURL))
	ctx, s := tracer.Start(ctx, name, append(options, trace.WithSpanKind(trace.SpanKindClient))...)
	return ctx, Span{s}
}

// Recorded says whether ctx carries a span whose children are looked at. One
// that has ended has some too: what goes on after a visitor has hung up.
func Recorded(ctx context.Context) bool {
	return trace.SpanContextFromContext(ctx).IsSampled()
}

// End ends the span. failure is why the call failed, from a closed set; empty
// means that it did not.
func (s Span) End(failure string) {
	if s.span == nil {
		return
	}
	if failure != "" {
		s.span.SetAttributes(semconv.ErrorTypeKey.String(failure))
		s.span.SetStatus(codes.Error, "")
	}
	s.span.End()
}

// EndWith ends the span of a call that has returned err.
func (s Span) EndWith(err error) {
	if s.span != nil {
		s.End(kindOf(err))
	}
}

// kindOf is all that is told of an error: that it is a timeout, or its type.
func kindOf(err error) string {
	var late interface{ Timeout() bool }
	var request *url.Error
	switch {
	case err == nil:
		return ""
	case errors.As(err, &late) && late.Timeout():
		return "timeout"
	case errors.As(err, &request):
		return fmt.Sprintf("%T", request.Err)
	}
	return fmt.Sprintf("%T", err)
}

// HTTP begins the span of a request. route is its path if that comes from a
// closed set, else empty.
func HTTP(r *http.Request, route string) (*http.Request, Span) {
	if !Recorded(r.Context()) {
		return r, Span{}
	}
	name, attrs := r.Method, append(server(r.URL), semconv.HTTPRequestMethodKey.String(r.Method))
	if route != "" {
		name, attrs = name+" "+route, append(attrs, semconv.URLTemplate(route))
	}
	ctx, s := start(r.Context(), name, attrs...)
	return r.WithContext(ctx), s
}

// Propagate lets whoever receives r go on with the trace. It is for the shop,
// and not for strangers.
func Propagate(r *http.Request) {
	propagation.TraceContext{}.Inject(r.Context(), propagation.HeaderCarrier(r.Header))
}

// Answered adds the status of the answer to a request.
func (s Span) Answered(status int) {
	if s.span == nil {
		return
	}
	s.span.SetAttributes(semconv.HTTPResponseStatusCode(status))
	if status >= http.StatusBadRequest {
		s.span.SetAttributes(semconv.ErrorTypeKey.String(strconv.Itoa(status)))
		s.span.SetStatus(codes.Error, "")
	}
}

// Database is a database whose statements are recorded.
type Database struct{ attrs []attribute.KeyValue }

// NewDatabase returns the database at a URL; nil means that it is in this
// process. system is its name in the semantic conventions, such as postgresql.
func NewDatabase(system string, at *url.URL) Database {
	return Database{append(server(at), semconv.DBSystemNameKey.String(system))}
}

// server is where a URL leads to.
func server(at *url.URL) []attribute.KeyValue {
	if at == nil || at.Hostname() == "" {
		return nil
	}
	attrs := []attribute.KeyValue{semconv.ServerAddress(at.Hostname())}
	if port, err := strconv.Atoi(at.Port()); err == nil {
		attrs = append(attrs, semconv.ServerPort(port))
	}
	return attrs
}

// Operation is what a database is asked to do.
type Operation struct {
	Command   string // such as GET; empty: that which Statement begins with
	Statement string // of SQL, written in our own source, so that there are not many of them
	Batch     int    // number of statements; 0: it is one
}

var ourTable = regexp.MustCompile(`wxgate_\w+`)

// Start begins the span of an operation.
func (d Database) Start(ctx context.Context, o Operation) (context.Context, Span) {
	if !Recorded(ctx) {
		return ctx, Span{}
	}
	first, _, _ := strings.Cut(strings.TrimSpace(o.Statement), " ")
	name := strings.ToUpper(cmp.Or(o.Command, first))
	attrs := append(d.attrs[:len(d.attrs):len(d.attrs)], semconv.DBOperationName(name))
	if table := ourTable.FindString(o.Statement); table != "" {
		name += " " + table
		attrs = append(attrs, semconv.DBCollectionName(table))
	}
	if o.Batch > 0 {
		attrs = append(attrs, semconv.DBOperationBatchSize(o.Batch))
	}
	return start(ctx, name, append(attrs, semconv.DBQuerySummary(name))...)
}
