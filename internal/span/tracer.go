package span

import (
	"context"
	"sync/atomic"

	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

// Tracer begins traces of what is done for no request. Where they go is known
// from the requests that are traced, so a Tracer begins none before it has seen
// one. The nil Tracer begins none at all.
type Tracer struct {
	provider atomic.Pointer[trace.TracerProvider]
}

// Follow learns from the context of a request where traces go.
func (t *Tracer) Follow(ctx context.Context) {
	if t == nil || t.provider.Load() != nil {
		return
	}
	if s := trace.SpanFromContext(ctx); s.IsRecording() {
		provider := s.TracerProvider()
		t.provider.Store(&provider)
	}
}

// Origin is the span in ctx, in W3C's form (traceparent), so that what comes of
// it later can say so (Span.From); empty where nobody records.
func Origin(ctx context.Context) string {
	carrier := propagation.MapCarrier{}
	if Recorded(ctx) {
		propagation.TraceContext{}.Inject(ctx, carrier)
	}
	return carrier.Get("traceparent")
}

// From links the span to the one that it comes of. origin is an Origin.
func (s Span) From(origin string) {
	if s.span == nil || origin == "" {
		return
	}
	ctx := propagation.TraceContext{}.Extract(context.Background(), propagation.MapCarrier{"traceparent": origin})
	s.span.AddLink(trace.LinkFromContext(ctx))
}

// Sending is what is sent at once.
type Sending struct {
	To       string // which receiver; no URL
	Messages int
}

// Send begins a trace whose root is a sending. What is done for it is begun with
// the context that is returned.
func (t *Tracer) Send(ctx context.Context, s Sending) (context.Context, Span) {
	if t == nil || t.provider.Load() == nil {
		return ctx, Span{}
	}
	return begin(ctx, *t.provider.Load(), "send "+s.To, trace.WithNewRoot(), trace.WithAttributes(
		semconv.MessagingSystemKey.String("wxgate"), semconv.MessagingOperationName("send"), semconv.MessagingOperationTypeSend,
		semconv.MessagingDestinationName(s.To), semconv.MessagingBatchMessageCount(s.Messages),
	))
}
