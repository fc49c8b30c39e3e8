package sms

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

// The sample of Aliyun's documentation of the RPC signature 1.0.
func TestAliyunSignatureIsThePublishedOne(t *testing.T) {
	params := url.Values{
		"AccessKeyId": {"testId"}, "Action": {"SendSms"}, "Format": {"XML"}, "OutId": {"123"},
		"PhoneNumbers": {"15300000001"}, "RegionId": {"cn-hangzhou"}, "SignName": {"阿里云短信测试专用"},
		"SignatureMethod": {"HMAC-SHA1"}, "SignatureNonce": {"45e25e9b-0a6f-4070-8c85-2956eda1b466"}, "SignatureVersion": {"1.0"},
		"TemplateCode": {"SMS_71390007"}, "TemplateParam": {`{"customer":"test"}`},
		"Timestamp": {"2017-07-12T02:42:19Z"}, "Version": {"2017-05-25"},
	}
	if got := signAliyun("GET", params, "testSecret"); got != "zJDF+Lrzhj/ThnlvIToysFRq6t4=" {
		t.Error(got)
	}
}

// The sample of Tencent Cloud's documentation of signature v3.
func TestTencentSignatureIsThePublishedOne(t *testing.T) {
	call := tc3Call{
		host: "cvm.tencentcloudapi.com", service: "cvm", time: time.Unix(1551113065, 0),
		payload: []byte(`{"Limit": 1, "Filters": [{"Values": ["\u672a\u547d\u540d"], "Name": "instance-name"}]}`),
	}
	want := "TC3-HMAC-SHA256 Credential=AKIDz8krbsJ5yKBZQpn74WFkmLPx3EXAMPLE/2019-02-25/cvm/tc3_request, " +
		"SignedHeaders=content-type;host, Signature=72e494ea809ad7a8c8f7a4507b9bddcbaa8e581f516e8da2f66e2c5a96525168"
	if got := call.authorization("AKIDz8krbsJ5yKBZQpn74WFkmLPx3EXAMPLE", "Gu5t9xGARNpq86cd98joQYCN3EXAMPLE"); got != want {
		t.Error(got)
	}
}

var message = Message{Phone: "+8613812345678", Code: "042042", Purpose: "login", ExpiresIn: 5 * time.Minute, Locale: "zh-Hans"}

// carrier is a server in a carrier's place that answers with a text.
func carrier(t *testing.T, answer string, heard *http.Request) string {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		if heard != nil {
			*heard = *r
		}
		_, _ = io.WriteString(w, answer)
	}))
	t.Cleanup(srv.Close)
	return srv.URL + "/"
}

func aliyunAt(t *testing.T, endpoint string) Sender {
	t.Helper()
	a, err := NewAliyun(AliyunConfig{AccessKeyID: "id", AccessKeySecret: "key", SignName: "山野", TemplateCode: "SMS_1", Endpoint: endpoint})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func tencentAt(t *testing.T, endpoint string) Sender {
	t.Helper()
	s, err := NewTencent(TencentConfig{
		SecretID: "id", SecretKey: "key", SDKAppID: "1400006666", SignName: "山野", TemplateID: "7",
		Params: []string{"code", "minutes"}, Endpoint: endpoint,
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestAliyunSendsWhatItsAPIAsksFor(t *testing.T) {
	var heard http.Request
	if err := aliyunAt(t, carrier(t, `{"Code":"OK","Message":"OK","BizId":"1","RequestId":"2"}`, &heard)).Send(t.Context(), message); err != nil {
		t.Fatal(err)
	}
	if err := heard.ParseForm(); err != nil {
		t.Fatal(err)
	}
	form := heard.PostForm
	signature := form.Get("Signature")
	form.Del("Signature")
	if signature != signAliyun("POST", form, "key") {
		t.Error("the signature is not over what was sent")
	}
	if sent, err := time.Parse(time.RFC3339, form.Get("Timestamp")); err != nil || time.Since(sent).Abs() > time.Hour || len(form.Get("SignatureNonce")) < 16 {
		t.Errorf("timestamp %q, nonce %q: %v", form.Get("Timestamp"), form.Get("SignatureNonce"), err)
	}
	form.Del("Timestamp")
	form.Del("SignatureNonce")
	want := url.Values{
		"AccessKeyId": {"id"}, "Action": {"SendSms"}, "Format": {"JSON"}, "RegionId": {"cn-hangzhou"}, "Version": {"2017-05-25"},
		"SignatureMethod": {"HMAC-SHA1"}, "SignatureVersion": {"1.0"},
		"PhoneNumbers": {"13812345678"}, "SignName": {"山野"}, "TemplateCode": {"SMS_1"}, "TemplateParam": {`{"code":"042042"}`},
	}
	if diff := cmp.Diff(want, form); diff != "" {
		t.Error(diff)
	}
}

func TestAliyunWritesForeignNumbersWithTheirCountry(t *testing.T) {
	for in, want := range map[string]string{"+8613812345678": "13812345678", "+85251234567": "85251234567", "+14155550100": "14155550100"} {
		if got := aliyunPhone(in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

func TestTencentSendsWhatItsAPIAsksFor(t *testing.T) {
	var heard http.Request
	ok := `{"Response":{"SendStatusSet":[{"SerialNo":"1","PhoneNumber":"+8613812345678","Fee":1,"Code":"Ok","Message":"send success"}],"RequestId":"2"}}`
	if err := tencentAt(t, carrier(t, ok, &heard)).Send(t.Context(), message); err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.NewDecoder(heard.Body).Decode(&got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"PhoneNumberSet": []any{"+8613812345678"}, "SmsSdkAppId": "1400006666", "SignName": "山野", "TemplateId": "7",
		"TemplateParamSet": []any{"042042", "5"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for name, want := range map[string]string{
		"X-Tc-Action": "SendSms", "X-Tc-Version": "2021-01-11", "X-Tc-Region": "ap-guangzhou", "Content-Type": tc3ContentType,
	} {
		if got := heard.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if a := heard.Header.Get("Authorization"); !strings.Contains(a, "Credential=id/") || !strings.Contains(a, "/sms/tc3_request") {
		t.Error(a)
	}
}

func TestAnswersOfCarriersAreToldApart(t *testing.T) {
	item := func(code string) string { return `{"Response":{"SendStatusSet":[{"Code":"` + code + `"}]}}` }
	whole := func(code string) string {
		return `{"Response":{"Error":{"Code":"` + code + `","Message":"13812345678"}}}`
	}
	tests := []struct {
		name   string
		at     func(*testing.T, string) Sender
		answer string
		reason Reason
		code   string
	}{
		{"aliyun, this phone has had enough", aliyunAt, `{"Code":"isv.BUSINESS_LIMIT_CONTROL","Message":"触发天级流控Permits:10"}`, ReasonWait, "isv.BUSINESS_LIMIT_CONTROL"},
		{"aliyun, no such phone", aliyunAt, `{"Code":"isv.MOBILE_NUMBER_ILLEGAL"}`, ReasonPhone, "isv.MOBILE_NUMBER_ILLEGAL"},
		{"aliyun, no money", aliyunAt, `{"Code":"isv.AMOUNT_NOT_ENOUGH"}`, ReasonConfig, "isv.AMOUNT_NOT_ENOUGH"},
		{"aliyun, the account's own cap", aliyunAt, `{"Code":"isv.DAY_LIMIT_CONTROL"}`, ReasonConfig, "isv.DAY_LIMIT_CONTROL"},
		{"aliyun, its fault", aliyunAt, `{"Code":"isp.SYSTEM_ERROR"}`, ReasonBusy, "isp.SYSTEM_ERROR"},
		{"aliyun, a page", aliyunAt, `<html>502</html>`, ReasonUnsure, ""},
		{"aliyun, nothing", aliyunAt, ``, ReasonUnsure, ""},
		{"aliyun, a code that repeats the phone", aliyunAt, `{"Code":"13812345678"}`, ReasonUnsure, ""},
		{"tencent, this phone has had enough", tencentAt, item("LimitExceeded.PhoneNumberDailyLimit"), ReasonWait, "LimitExceeded.PhoneNumberDailyLimit"},
		{"tencent, opted out", tencentAt, item("FailedOperation.PhoneNumberInBlacklist"), ReasonPhone, "FailedOperation.PhoneNumberInBlacklist"},
		{"tencent, no money", tencentAt, item("FailedOperation.InsufficientBalanceInSmsPackage"), ReasonConfig, "FailedOperation.InsufficientBalanceInSmsPackage"},
		{"tencent, wrong key", tencentAt, whole("AuthFailure.SignatureFailure"), ReasonConfig, "AuthFailure.SignatureFailure"},
		{"tencent, may have been sent", tencentAt, item("InternalError.SendAndRecvFail"), ReasonUnsure, "InternalError.SendAndRecvFail"},
		{"tencent, its fault", tencentAt, whole("InternalError"), ReasonBusy, "InternalError"},
		{"tencent, success in other letters", tencentAt, item("OK"), ReasonConfig, "OK"},
		{"tencent, no status at all", tencentAt, `{"Response":{"SendStatusSet":[]}}`, ReasonUnsure, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.at(t, carrier(t, tt.answer, nil)).Send(t.Context(), message)
			var e *Error
			if !errors.As(err, &e) || e.Reason != tt.reason || e.Code != tt.code {
				t.Fatalf("got %#v", err)
			}
			if strings.Contains(err.Error(), "138") || strings.Contains(err.Error(), message.Code) {
				t.Errorf("tells a phone or a code: %v", err)
			}
		})
	}
}

// A message that may have been sent is not sent again.
func TestSilentCarrierIsAskedOnce(t *testing.T) {
	for name, at := range map[string]func(*testing.T, string) Sender{"aliyun": aliyunAt, "tencent": tencentAt} {
		t.Run(name, func(t *testing.T) {
			asked := make(chan struct{}, 10)
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked <- struct{}{}
				conn, _, err := http.NewResponseController(w).Hijack()
				if err == nil {
					conn.Close()
				}
			}))
			err := at(t, srv.URL+"/").Send(t.Context(), message)
			srv.Close()
			var e *Error
			if !errors.As(err, &e) || e.Reason != ReasonUnsure || strings.Contains(err.Error(), srv.URL) {
				t.Errorf("got %v", err)
			}
			if len(asked) != 1 {
				t.Errorf("asked %d times", len(asked))
			}
		})
	}
}

func TestRedirectIsNotFollowed(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the code went elsewhere") }))
	defer elsewhere.Close()
	srv := httptest.NewServer(http.RedirectHandler(elsewhere.URL, http.StatusTemporaryRedirect))
	defer srv.Close()
	if err := tencentAt(t, srv.URL+"/").Send(t.Context(), message); err == nil {
		t.Error("sent")
	}
}

func TestIncompleteConfigurationIsRefused(t *testing.T) {
	if _, err := NewAliyun(AliyunConfig{AccessKeyID: "id", AccessKeySecret: "key", SignName: "x"}); err == nil {
		t.Error("aliyun without a template")
	}
	if _, err := NewTencent(TencentConfig{SecretID: "id", SecretKey: "key", SignName: "x", TemplateID: "7"}); err == nil {
		t.Error("tencent without an SDK app id")
	}
	if _, err := NewTencent(TencentConfig{SecretID: "id", SecretKey: "key", SDKAppID: "1", SignName: "x", TemplateID: "7", Endpoint: "nonsense"}); err == nil {
		t.Error("tencent with a broken endpoint")
	}
}

func TestLogCarrierWritesTheCode(t *testing.T) {
	var out bytes.Buffer
	if err := NewLog(slog.New(slog.NewTextHandler(&out, nil))).Send(t.Context(), message); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "code=042042") || !strings.Contains(out.String(), "phone=+8613812345678") {
		t.Error(out.String())
	}
}

// TestACallOfACarrierIsASpan that tells neither phone nor code nor who pays.
func TestACallOfACarrierIsASpan(t *testing.T) {
	carrier := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"Code":"OK"}`) }))
	defer carrier.Close()
	a, err := NewAliyun(AliyunConfig{AccessKeyID: "payer", AccessKeySecret: "hush", SignName: "shop", TemplateCode: "SMS_1", Endpoint: carrier.URL})
	if err != nil {
		t.Fatal(err)
	}
	recorder := tracetest.NewSpanRecorder()
	ctx, root := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder)).Tracer("test").Start(t.Context(), "request")
	if err := a.Send(ctx, Message{Phone: "+8613800138000", Code: "123456"}); err != nil {
		t.Fatal(err)
	}
	root.End()
	spans := recorder.Ended()
	if len(spans) != 2 || spans[0].Name() != "POST" {
		t.Fatalf("spans: %v", spans)
	}
	told := fmt.Sprint(spans[0].Attributes())
	if !strings.Contains(told, "http.response.status_code") {
		t.Errorf("it tells no status: %s", told)
	}
	for _, secret := range []string{"13800138000", "123456", "payer", "hush"} {
		if strings.Contains(told, secret) {
			t.Errorf("it tells %s: %s", secret, told)
		}
	}
}
