package account

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestOneNumberHasOneForm(t *testing.T) {
	for _, written := range []string{
		"13800138000", "138 0013 8000", "138-0013-8000", "(138)0013 8000", "+8613800138000", "+86 138 0013 8000", "8613800138000",
		"86 138 0013 8000", "008613800138000", "00 86 138-0013-8000", "+0086 13800138000", "013800138000", "+86 0138 0013 8000",
		"13800138000", "+86 138 0013 8000", "\u202d+86 138 0013 8000\u202c", " 13800138000\u3000",
		"138\u20110013\u20138000", "\ufeff13800138000\u200b",
	} {
		p, err := ParsePhone(written)
		if err != nil || string(p) != "+8613800138000" {
			t.Errorf("%q: %q, %v", written, string(p), err)
		}
	}
}

// New blocks are opened faster than libraries learn of them.
func TestEveryMobileBlockOfChinaIsTaken(t *testing.T) {
	for block := 130; block < 200; block++ {
		for _, prefix := range []string{"", "+86", "86", "0086", "0"} {
			number := fmt.Sprintf("%d00138000", block)
			p, err := ParsePhone(prefix + number)
			if err != nil || string(p) != "+86"+number {
				t.Errorf("%s: %q, %v", prefix+number, string(p), err)
			}
		}
	}
}

func TestNumbersOfOtherCountries(t *testing.T) {
	for written, want := range map[string]string{
		"+852 9123 4567":    "+85291234567",
		"0085291234567":     "+85291234567",
		"+886 912 345 678":  "+886912345678",
		"+853 6612 3456":    "+85366123456",
		"+1 (650) 253-0000": "+16502530000", // mobiles and landlines look alike there
		"+44 7400 123456":   "+447400123456",
		"+39 320 123 4567":  "+393201234567",
	} {
		p, err := ParsePhone(written)
		if err != nil || string(p) != want {
			t.Errorf("%q: %q, %v", written, string(p), err)
		}
	}
}

func TestWhatIsNoMobileNumberIsRefusedWithoutRepeatingIt(t *testing.T) {
	for written, want := range map[string]PhoneReason{
		"": PhoneUnreadable, "138": PhoneUnreadable, "not a number": PhoneUnreadable, "1380013800o": PhoneUnreadable,
		"138+00138000": PhoneUnreadable, "13800138000,13900139000": PhoneUnreadable, "13800138000;ext=1": PhoneUnreadable,
		"13800138000 x12": PhoneUnreadable, "tel:13800138000": PhoneUnreadable, "1380013800\x00": PhoneUnreadable,
		"\xff13800138000": PhoneUnreadable, strings.Repeat("1", 1000): PhoneUnreadable,
		"1380013800": PhoneImpossible, "138001380000": PhoneImpossible, "12345678901": PhoneImpossible, "+86 95588": PhoneImpossible,
		"+999 13800138000": PhoneImpossible, "85291234567": PhoneImpossible,
		"010 6552 9988": PhoneNotMobile, "+86 755 8888 8888": PhoneNotMobile, "400 800 1234": PhoneNotMobile,
		"+852 2123 4567": PhoneNotMobile, "+39 06 1234 5678": PhoneNotMobile,
	} {
		p, err := ParsePhone(written)
		var pe *PhoneError
		if !errors.As(err, &pe) || pe.Reason != want || p != "" {
			t.Errorf("%q: %q, %v; want %s", written, string(p), err, want)
			continue
		}
		if len(written) > 2 && strings.Contains(err.Error(), written) {
			t.Errorf("the error repeats %q: %v", written, err)
		}
	}
}

func TestAPhoneTellsItsCountry(t *testing.T) {
	for number, want := range map[Phone]int{"+8613800138000": 86, "+85291234567": 852, "+16502530000": 1, "": 0, "nonsense": 0} {
		if got := number.CountryCode(); got != want || IsCountryCode(got) != (want > 0) {
			t.Errorf("%q is of %d, want %d", string(number), got, want)
		}
	}
	for _, code := range []int{-86, 0, 999, 8613} {
		if IsCountryCode(code) {
			t.Errorf("numbers begin with %d", code)
		}
	}
}

func TestAPhoneIsMaskedHoweverItIsPrinted(t *testing.T) {
	for number, want := range map[Phone]string{
		"+8613800138000": "+86 138****8000",
		"+16502530000":   "+1 650****000",
		"+85291234567":   "+852 91****67",
		"+447400123456":  "+44 740****456",
		"+29052345":      "+290 ****5", // St Helena has five digits
		"nonsense":       "****",
		"":               "****",
	} {
		if got := number.String(); got != want {
			t.Errorf("%q: %q, want %q", string(number), got, want)
		}
		in := Input{Phone: number}
		raw, err := json.Marshal(map[string]any{"in": in, "bound": Bound{number}})
		must(t, err)
		printed := fmt.Sprintf("%v %+v %#v %s %q %x %d %v", in, &in, in, number, number, number, number, []Phone{number}) + string(raw)
		if len(number) > 8 && (strings.Contains(printed, string(number[3:])) || strings.Contains(printed, fmt.Sprintf("%x", string(number)))) {
			t.Errorf("%q is printed: %s", string(number), printed)
		}
	}
}

func TestAPhoneIsNeverWrittenAsItIs(t *testing.T) {
	db := newDB(t)
	_, err := db.write.Exec(`UPDATE wxgate_id_block SET name = ?`, Phone("+8613800138000"))
	if err == nil || !strings.Contains(err.Error(), "sealed") || strings.Contains(err.Error(), "3800") {
		t.Errorf("written: %v", err)
	}
}

func FuzzParsePhone(f *testing.F) {
	for _, s := range []string{"13800138000", "+86 138 0013 8000", "+16502530000", "+390612345678", "+5491123456789"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, written string) {
		p, err := ParsePhone(written)
		var pe *PhoneError
		switch {
		case err != nil && (!errors.As(err, &pe) || p != ""):
			t.Fatalf("%q: %v", string(p), err)
		case err != nil:
			return
		}
		again, err := ParsePhone(string(p))
		if err != nil || again != p {
			t.Errorf("%q is %q, and that is %q, %v", written, string(p), string(again), err)
		}
	})
}
