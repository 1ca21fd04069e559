package rooms

import (
	"os"
	"path"
	"strings"
	"testing"
)

// docs/architecture.md has every room.
func TestArchitecture(t *testing.T) {
	text, err := os.ReadFile("../../docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	for room := range allowed {
		if !strings.Contains(string(text), "`"+room+"/`") && !strings.Contains(string(text), "/`, `"+path.Base(room)+"/`") {
			t.Errorf("it doesn't name %s", room)
		}
	}
}
