package span

import (
	"context"
	"fmt"
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// TestWhatIsSentInTheBackgroundIsATraceOfItsOwn, as soon as a request has shown
// where traces go, and each message of it is linked to the request it comes of.
func TestWhatIsSentInTheBackgroundIsATraceOfItsOwn(t *testing.T) {
	ctx, recorder := recording(t)
	tracer := new(Tracer)
	send := func(failure string) {
		batch, s := tracer.Send(ctx, Sending{To: "receiver", Messages: 2})
		_, call := HTTP(request(batch, t, "https://shop.test/hook"), "")
		call.From(Origin(ctx))
		call.End("")
		s.End(failure)
	}
	tracer.Follow(t.Context())
	if tracer.Send(ctx, Sending{}); len(recorder.Started()) != 1 {
		t.Fatal("it was known where traces go before a request was traced")
	}
	tracer.Follow(ctx)
	send("refused")
	ended := recorder.Ended()
	if len(ended) != 2 {
		t.Fatalf("%d spans", len(ended))
	}
	call, batch := ended[0], ended[1]
	attrs := map[string]string{}
	for _, a := range batch.Attributes() {
		attrs[string(a.Key)] = a.Value.String()
	}
	want := "send receiver client Error map[error.type:refused messaging.batch.message_count:2 messaging.destination.name:receiver " +
		"messaging.operation.name:send messaging.operation.type:send messaging.system:wxgate]"
	if got := fmt.Sprint(batch.Name(), " ", batch.SpanKind(), " ", batch.Status().Code, " ", attrs); got != want {
		t.Errorf("the batch is told as\n%s, want\n%s", got, want)
	}
	request := trace.SpanContextFromContext(ctx)
	if batch.Parent().IsValid() || batch.SpanContext().TraceID() == request.TraceID() || call.Parent().SpanID() != batch.SpanContext().SpanID() {
		t.Errorf("the batch is no root, or the call not its child: %v, %v", batch.Parent(), call.Parent())
	}
	if len(call.Links()) != 1 || call.Links()[0].SpanContext.SpanID() != request.SpanID() || call.Links()[0].SpanContext.TraceID() != request.TraceID() {
		t.Errorf("the call is linked to %v", call.Links())
	}
}

// TestNobodyIsFollowedWhoIsNotTraced, and there need not be a tracer at all.
func TestNobodyIsFollowedWhoIsNotTraced(t *testing.T) {
	var none *Tracer
	none.Follow(t.Context())
	ctx, _ := sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.NeverSample())).Tracer("test").Start(t.Context(), "request")
	tracer := new(Tracer)
	tracer.Follow(ctx)
	for _, tr := range []*Tracer{none, tracer} {
		same, s := tr.Send(ctx, Sending{To: "receiver"})
		s.From("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
		if s.End(""); same != ctx {
			t.Error("something was begun")
		}
	}
	for name, ctx := range map[string]context.Context{"no trace": t.Context(), "a trace that nobody records": ctx} {
		if origin := Origin(ctx); origin != "" {
			t.Errorf("%s: the origin is %q", name, origin)
		}
	}
}
