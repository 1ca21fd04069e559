package rooms

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/umacvlan/umacvlan/"

// allowed lists, for each package of ours, what its non-test code may import
// beside the standard library; "./" means ours. A package that isn't listed
// fails: give it a room first.
var allowed = map[string][]string{
	"classify":               {},
	"tap/vnet":               {},
	"internal/feature":       {},
	"tap":                    {"./tap/vnet", "./internal/feature", "github.com/songgao/water", "golang.org/x/sys/unix"},
	"dataplane/defrag":       {"./classify"},
	"dataplane":              {"./dataplane/defrag", "github.com/cilium/ebpf", "github.com/cilium/ebpf/asm", "github.com/cilium/ebpf/link", "github.com/cilium/ebpf/rlimit", "./internal/feature", "./classify", "./tap", "./tap/vnet", "github.com/mdlayher/packet", "golang.org/x/sys/unix", "golang.org/x/net/bpf"},
	"dataplane/wiretest":     {"./classify", "./dataplane", "./tap/vnet", "github.com/vishvananda/netlink", "github.com/vishvananda/netns", "golang.org/x/sys/unix"},
	"internal/control/rules": {"./classify"},
	"internal/config": {"./classify", "./internal/control/rules",
		"github.com/goccy/go-yaml", "github.com/goccy/go-yaml/ast", "github.com/goccy/go-yaml/parser"},
	"internal/control": {"./internal/config", "./internal/feature", "./classify", "./tap", "./dataplane", "./internal/control/rules",
		"github.com/vishvananda/netlink", "github.com/vishvananda/netlink/nl", "github.com/vishvananda/netns", "golang.org/x/sys/unix"},
	"internal/lab": {"./internal/feature", "./classify", "./internal/lab/scenario", "./internal/lab/random", "./tap", "./tap/vnet", "./dataplane", "./internal/control", "./internal/control/rules",
		"github.com/vishvananda/netlink", "github.com/vishvananda/netlink/nl", "github.com/vishvananda/netns", "golang.org/x/sys/unix",
		"github.com/google/gopacket", "github.com/google/gopacket/layers", "github.com/google/gopacket/pcapgo"},
	"internal/lab/scenario": {"./dataplane/defrag", "./classify", "./internal/control/rules",
		"github.com/google/gopacket", "github.com/google/gopacket/layers", "github.com/google/gopacket/pcapgo"},
	"internal/lab/random": {"./classify", "./internal/control/rules", "./internal/lab/scenario"},
	"internal/lab/corpus": {"./internal/lab/scenario"},
	"internal/lab/matrix": {"./classify", "./internal/lab/scenario"},
	"internal/programs":   {},
	"internal/rooms":      {},
	"internal/mutate":     {},
	"bench": {"./bench/chart", "./classify", "./tap/vnet", "./dataplane", "./internal/control", "./internal/feature", "./internal/lab",
		"github.com/google/gopacket", "github.com/google/gopacket/layers", "github.com/songgao/water", "github.com/vishvananda/netlink", "github.com/vishvananda/netlink/nl", "golang.org/x/sys/unix"},
	"bench/chart": {},
	"cmd/umacvlan": {"./internal/config", "./internal/feature", "./classify", "./internal/control", "./internal/lab", "./internal/lab/matrix", "./internal/lab/random", "./internal/lab/scenario", "./bench",
		"github.com/google/gopacket", "github.com/google/gopacket/layers", "github.com/google/gopacket/pcapgo",
		"github.com/spf13/cobra", "github.com/spf13/cobra/doc", "golang.org/x/sys/unix"},
}

func TestImports(t *testing.T) {
	gobin, err := exec.LookPath("go")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("needs the go command")
		}
		t.Skip("needs the go command")
	}
	cmd := exec.Command(gobin, "list", "-json=ImportPath,Imports,Standard", "./...")
	cmd.Dir = "../.."
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	dec := json.NewDecoder(strings.NewReader(string(out)))
	n := 0
	for {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		n++
		name := strings.TrimPrefix(p.ImportPath, module)
		may, ok := allowed[name]
		if !ok {
			t.Errorf("package %s has no room", name)
			continue
		}
		for _, imp := range p.Imports {
			if first, _, _ := strings.Cut(imp, "/"); !strings.Contains(first, ".") {
				continue // the standard library
			}
			if !slices.Contains(may, strings.Replace(imp, module, "./", 1)) {
				t.Errorf("%s imports %s", name, imp)
			}
		}
	}
	if n < 8 {
		t.Errorf("looked at %d packages only", n)
	}
}
