package dataplane

import (
	"testing"

	"golang.org/x/sys/unix"
)

// TestNoClassifiers: a kernel without tc's classifiers answers as to any request
// that it doesn't know, and has no filters.
func TestNoClassifiers(t *testing.T) {
	nl, err := dialNetlink(unix.NETLINK_ROUTE)
	if err != nil {
		t.Fatal(err)
	}
	defer nl.close()
	const unknown = unix.RTM_MAX | 3
	err = nl.dump(newMessage(unknown, unix.NLM_F_DUMP, make([]byte, tcmsgLen)), func([]byte) { t.Error("an answer") })
	if err != unix.EOPNOTSUPP || !noFilters(err) {
		t.Errorf("%v", err)
	}
}
