package caddymodule

import (
	"fmt"
	"io"
	"log/slog"
)

// Secret is a string that no log and no error message shows: it prints as
// REDACTED. Only its JSON, which the configuration is made of, holds the value.
type Secret string

const redacted = "REDACTED"

// Format implements fmt.Formatter, so that no verb, not even an unfit one,
// prints the value.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// String implements fmt.Stringer, which zap looks for.
func (Secret) String() string { return redacted }

// LogValue implements slog.LogValuer.
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

var (
	_ fmt.Formatter  = Secret("")
	_ fmt.Stringer   = Secret("")
	_ slog.LogValuer = Secret("")
)
