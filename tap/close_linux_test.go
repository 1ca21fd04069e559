package tap

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A number that is another's by now is never asked: Close waits for what is being
// asked, and what is asked waits for Close.
func TestCloseWaits(t *testing.T) {
	ns := enterNS(t)
	d := mustCreate(t, Config{Name: "cw0", MAC: myMAC})
	ended := func(what string, f func()) <-chan struct{} {
		t.Helper()
		done := make(chan struct{})
		go func() { f(); close(done) }()
		select {
		case <-done:
			t.Errorf("%s did not wait", what)
		case <-time.After(20 * time.Millisecond):
		}
		return done
	}
	d.asked.Lock()
	var waiting []<-chan struct{}
	for what, ask := range map[string]func(){
		"Name": func() { d.Name() }, "Index": func() { d.Index() }, "MAC": func() { d.MAC() }, "MTU": func() { d.MTU() },
		"Netns": func() {
			if fd, err := d.Netns(); err == nil {
				unix.Close(fd)
			}
		},
		"Moved": func() { d.Moved(int(ns)) }, "SetMAC": func() { d.SetMAC(myMAC) }, "SetMTU": func() { d.SetMTU(1400) },
		"SetAlias": func() { d.SetAlias("a") }, "IsUp": func() { d.IsUp() }, "SetUp": func() { d.SetUp(true) }, "SetCarrier": func() { d.SetCarrier(true) },
	} {
		waiting = append(waiting, ended(what, ask))
	}
	d.asked.Unlock()
	for _, done := range waiting {
		<-done
	}
	release := d.use()
	closed := ended("Close", func() { d.Close() })
	if d.FD() < 0 {
		t.Error("the descriptor is gone while it is in use")
	}
	release()
	<-closed
}
