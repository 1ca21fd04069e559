package control

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/internal/control/rules"
)

// FuzzNetlink: no bytes from a netlink socket are taken for more than they say.
func FuzzNetlink(f *testing.F) {
	link := make([]byte, unix.SizeofNlMsghdr+unix.SizeofIfInfomsg)
	ne := binary.NativeEndian
	ne.PutUint16(link[4:], unix.RTM_DELLINK)
	ne.PutUint32(link[unix.SizeofNlMsghdr+4:], 7)
	for _, a := range []struct {
		kind  uint16
		value []byte
	}{{unix.IFLA_IFNAME, []byte("va\x00")}, {unix.IFLA_ADDRESS, []byte{2, 0, 0, 0, 0, 1}}, {unix.IFLA_NEW_NETNSID, []byte{1, 0, 0, 0}}, {unix.IFLA_STATS64, make([]byte, 64)}} {
		link = ne.AppendUint16(link, uint16(4+len(a.value)))
		link = ne.AppendUint16(link, a.kind)
		link = append(link, a.value...)
		link = append(link, make([]byte, -len(link)&3)...)
	}
	ne.PutUint32(link, uint32(len(link)))
	oob := make([]byte, unix.CmsgSpace(4))
	oob[0] = byte(unix.CmsgLen(4))
	ne.PutUint32(oob[unix.SizeofCmsghdr-8:], unix.SOL_NETLINK)
	f.Add(link, oob)
	f.Add([]byte("3    vmac0           1     0     01005e000001\n"), []byte{})
	f.Fuzz(func(t *testing.T, data, oob []byte) {
		events := 0
		h := &hub{inode: map[int32]uint64{1: 1}, heard: map[uint64]struct{}{1: {}}, event: func(place, *netdev) { events++ }}
		h.sender(oob)
		msgs, err := syscall.ParseNetlinkMessage(data)
		if err == nil {
			for _, m := range msgs {
				h.message(1, m)
				if dev, err := parseNetdev(m.Data); err == nil && len(dev.name) > len(m.Data) {
					t.Errorf("a name of %d bytes from %d", len(dev.name), len(m.Data))
				}
			}
			if events > len(msgs) {
				t.Errorf("%d events from %d messages", events, len(msgs))
			}
		}
		parseNetdev(data)
		parseNsid(data)
		if index, group := parseGroup(data); group != 0 && !group.IsGroup() {
			t.Errorf("device %d is said to have group %v", index, group)
		}
		for line := range bytes.Lines(data) {
			parseJoined(line)
		}
	})
}

// FuzzRequest: any body is read or refused, and what was read holds together.
func FuzzRequest(f *testing.F) {
	f.Add(`{"op":"add","name":"x","parent":"va","kind":"macvlan","address":"02:00:00:00:00:01","data":{"mode":16,"macaddr_mode":3,"macaddr_data":["02:00:00:00:00:02"]}}`)
	f.Add(`{"op":"add","data":{"flags":65535}}`)
	f.Add(`{"dev":"x","mac":"01:00:5e:00:00:01"}`)
	s := &server{limits: newLimits()}
	f.Fuzz(func(t *testing.T, body string) {
		read := func(into any) bool {
			w := httptest.NewRecorder()
			ok := s.decode(w, httptest.NewRequest("POST", "/v1/link", strings.NewReader(body)), into)
			var refusal Refusal
			if !ok && (w.Code != http.StatusBadRequest || json.Unmarshal(w.Body.Bytes(), &refusal) != nil || refusal.Errno != int(unix.EINVAL)) {
				t.Errorf("refused with %d %q", w.Code, w.Body)
			}
			return ok
		}
		var link LinkRequest
		if read(&link) {
			data, refusal := ruleData(link.Data)
			if refusal == nil && data != nil {
				rules.Apply(rules.NewState(1), rules.NewLink{Name: link.Name, Data: data})
			}
			if a, refusal := optionalAddress(link.Address); refusal == nil && link.Address == nil && a != nil {
				t.Errorf("no address is %x", a)
			}
		}
		read(&FdbRequest{})
		read(&ExplainRequest{})
		read(&ApplyRequest{})
	})
}

// FuzzDocument: any state document is read or refused.
func FuzzDocument(f *testing.F) {
	f.Add([]byte(`{"version":1,"parents":[{"name":"va","vmacs":[{"name":"x","mode":"bridge"}]}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		doc, err := parseDocument(text)
		if err == nil && doc.Version != stateVersion {
			t.Errorf("version %d was read", doc.Version)
		}
	})
}
