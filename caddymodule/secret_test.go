package caddymodule

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

func TestSecretIsNeverPrinted(t *testing.T) {
	const secret = Secret("hush")
	account := WeChatApp{AppID: "wx1", Secret: secret}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T %v"} {
		for _, value := range []any{secret, account, &account, []Secret{secret}, map[string]Secret{"a": secret}, App{Secrets: []Secret{secret}}.Secrets} {
			args := []any{value}
			if strings.HasPrefix(verb, "%T") {
				args = append(args, value)
			}
			got := fmt.Sprintf(verb, args...)
			if strings.Contains(got, "hush") || strings.Contains(strings.ToLower(got), "68757368") {
				t.Errorf("%s of %T: %s", verb, value, got)
			}
		}
	}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("text", "secret", secret, "account", account)
	zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.AddSync(&log), zap.DebugLevel)).
		Info("zap", zap.Any("secret", secret), zap.Stringer("stringer", secret))
	if strings.Contains(log.String(), "hush") || !strings.Contains(log.String(), "REDACTED") {
		t.Errorf("logged: %s", log.String())
	}
}

// TestSecretStaysInTheConfiguration, which is JSON.
func TestSecretStaysInTheConfiguration(t *testing.T) {
	got, err := json.Marshal(WeChatApp{AppID: "wx1", Secret: "hush"})
	if err != nil || string(got) != `{"appid":"wx1","secret":"hush"}` {
		t.Errorf("%s, %v", got, err)
	}
}
