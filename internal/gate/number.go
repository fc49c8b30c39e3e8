package gate

import (
	"context"
	"log/slog"
	"net/http"
)

// A request has a number by which its log lines are found, and the visitor of an
// error page can tell it.

type numberKey struct{}

// numbered gives a request its number. It is called wherever a request leaves
// the way of a known visitor to the shop, on which nothing is logged and nothing
// is paid for.
func (s *Site) numbered(r *http.Request) *http.Request {
	if s.Number == nil || NumberOf(r.Context()) != "" {
		return r
	}
	return r.WithContext(context.WithValue(r.Context(), numberKey{}, s.Number(r)))
}

// NumberOf returns the number of the request that something is done for, empty
// where there is none.
func NumberOf(ctx context.Context) string {
	number, _ := ctx.Value(numberKey{}).(string)
	return number
}

// numberLog adds the number of the request to each line.
type numberLog struct{ slog.Handler }

// NumberLog returns a logger whose lines about a request carry its number, as
// the field that Caddy's access log has it in.
func NumberLog(l *slog.Logger) *slog.Logger { return slog.New(numberLog{l.Handler()}) }

// Handle implements slog.Handler, like the methods that follow. The request stays
// here: of it Caddy's own handler would put the number into the line once more,
// which some readers of JSON refuse, and a stack into each error.
func (l numberLog) Handle(ctx context.Context, line slog.Record) error {
	if number := NumberOf(ctx); number != "" {
		line = line.Clone()
		line.AddAttrs(slog.String("uuid", number))
	}
	return l.Handler.Handle(context.Background(), line)
}

func (l numberLog) WithAttrs(attrs []slog.Attr) slog.Handler {
	return numberLog{l.Handler.WithAttrs(attrs)}
}

func (l numberLog) WithGroup(name string) slog.Handler { return numberLog{l.Handler.WithGroup(name)} }

// shortNumber is as much of a number as somebody reads out on the phone.
const shortNumber = 8

// refused logs what a visitor is told together with the number of his request,
// and returns that number. In the shadow, and where somebody only asks, nobody is
// told anything.
func (s *Site) refused(r *http.Request, c code, status int) (number string) {
	if number = NumberOf(r.Context()); number != "" && s.shadowOf == nil && s.explains == nil {
		s.Log.InfoContext(r.Context(), "a visitor was refused", "code", string(c), "status", status)
	}
	return number
}
