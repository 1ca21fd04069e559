package control_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/umacvlan/umacvlan/internal/control"
	"github.com/umacvlan/umacvlan/internal/feature"
	"github.com/umacvlan/umacvlan/internal/lab"
)

// configured are what a kernel may be built without.
var configured = []feature.Name{feature.BPF, feature.ClsBPF, feature.TCX, feature.NFTNetdev}

func release(version string) int {
	var major, minor int
	fmt.Sscanf(strings.TrimPrefix(version, "Linux "), "%d.%d", &major, &minor)
	return 1000*major + minor
}

// Features asks for each entry of the list, and leaves nothing. What is forced
// off is not in use, whatever the kernel has.
func TestFeatures(t *testing.T) {
	newBed(t) // which looks for what is left
	list, err := control.Features()
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != len(feature.List) {
		t.Fatalf("%d features", len(list))
	}
	for i, f := range list {
		t.Logf("%+v", f)
		if f.Name != string(feature.List[i].Name) || f.For == "" || f.Since == "" {
			t.Errorf("%+v", f)
		}
		off := feature.Off(feature.List[i].Name)
		if off && (f.State != "not in use" || f.Why != feature.ErrOff.Error()) {
			t.Errorf("forced off: %+v", f)
		}
		if (f.State == "not in use") != (f.Why != "" && f.Instead == feature.List[i].Without) {
			t.Errorf("no reason, or one too many: %+v", f)
		}
		if f.State == "unknown" && !feature.Off(feature.ListenAll) {
			t.Errorf("nobody asked: %+v", f)
		}
		// What a kernel of that age can't be built without is there.
		lacks := feature.List[i].Name == feature.USO && feature.Off(feature.VnetHdr) // what it needs
		if !off && !lacks && f.State == "not in use" && release(lab.KernelVersion()) >= release(f.Since) && !slices.Contains(configured, feature.List[i].Name) {
			t.Errorf("%s has it: %+v", lab.KernelVersion(), f)
		}
	}
}
