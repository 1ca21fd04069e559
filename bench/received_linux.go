package bench

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/internal/lab"
)

// received sums up what devices of one namespace have received, and says when
// that was.
func received(list []place) (c lab.Counters, at time.Time, err error) {
	if len(list) == 1 {
		at = time.Now()
		c, err = list[0].Counters()
		return c, at.Add(time.Since(at) / 2), err
	}
	ours := map[uint32]bool{}
	for _, p := range list {
		ours[uint32(p.Index)] = true
	}
	err = list[0].NS.Do(func() error {
		at = time.Now()
		devices, err := deviceStats()
		at = at.Add(time.Since(at) / 2)
		for _, d := range devices {
			if len(d) < statsMessage || !ours[binary.NativeEndian.Uint32(d[4:])] {
				continue
			}
			attrs, err := nl.ParseRouteAttr(d[statsMessage:])
			if err != nil {
				return err
			}
			for _, a := range attrs { // struct rtnl_link_stats64
				if a.Attr.Type == unix.IFLA_STATS_LINK_64 && len(a.Value) >= 24 {
					c.RxPackets += binary.NativeEndian.Uint64(a.Value)
					c.RxBytes += binary.NativeEndian.Uint64(a.Value[16:])
				}
			}
		}
		return err
	})
	return c, at, err
}

// statsRequest is a struct if_stats_msg that asks for struct rtnl_link_stats64.
type statsRequest struct{}

const statsMessage = 12 // sizeof(struct if_stats_msg)

func (statsRequest) Len() int { return statsMessage }

func (statsRequest) Serialize() []byte {
	b := make([]byte, statsMessage)
	binary.NativeEndian.PutUint32(b[8:], 1<<(unix.IFLA_STATS_LINK_64-1))
	return b
}

// deviceStats is what the thread's namespace counts for each of its devices. A
// dump of links is a hundred times as long: with thousands of them it would be
// the load.
func deviceStats() ([][]byte, error) {
	r := nl.NewNetlinkRequest(unix.RTM_GETSTATS, unix.NLM_F_DUMP)
	r.AddData(statsRequest{})
	devices, err := r.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWSTATS)
	if errors.Is(err, nl.ErrDumpInterrupted) { // some other device came or went
		err = nil
	}
	return devices, err
}
