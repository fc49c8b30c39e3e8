package caddymodule

import (
	"testing"
)

func TestDoctorNamesADiskThatIsNearlyFull(t *testing.T) {
	for free, want := range map[uint64]string{
		0: stateError, diskError - 1: stateError, diskError: stateWarning, diskWarning - 1: stateWarning, diskWarning: stateOK,
	} {
		if f := diskFinding(free); f.State != want || (f.Advice == "") != (want == stateOK) {
			t.Errorf("%d bytes: %+v", free, f)
		}
	}
	rg := newRig(t)
	if all := rg.ailing(setup{app: inOrder, site: "login /me/*"}); !says(all, "disk", diskFinding(0).State, " MB left") &&
		!says(all, "disk", stateWarning, " MB left") && !says(all, "disk", stateOK, " MB left") {
		t.Errorf("nothing is said of the disk: %+v", all)
	}
}
