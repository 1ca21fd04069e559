package main

import "strings"

// linkUsage is the grammar of "link", as far as umacvlan goes along with it.
const linkUsage = `Usage: umacvlan link { add | replace } link DEV [ name ] NAME
                    [ address LLADDR ] [ mtu MTU ] [ txqueuelen PACKETS ]
                    [ up | down ] [ alias TEXT ] [ netns { NAME | FILE | PID } ]
                    type macvlan [ ARGS ]
       umacvlan link { set | change } [ dev ] NAME [ up | down ]
                    [ address LLADDR ] [ mtu MTU ] [ txqueuelen PACKETS ]
                    [ promisc { on | off } ] [ allmulticast { on | off } ]
                    [ alias TEXT ] [ name NEWNAME ] [ netns { NAME | FILE | PID } ]
                    [ type macvlan ARGS ]
       umacvlan link delete [ dev ] NAME
       umacvlan link [ show ] [ [ dev ] NAME ] [ up | down ] [ type macvlan ]
       umacvlan link help [ macvlan ]`

// macvlanUsage is the grammar behind "type macvlan".
func macvlanUsage(kind string) string {
	return strings.ReplaceAll(`Usage: ... KIND [ mode MODE ] [ flag FLAG ] [ macaddr LIST ] [ bcqueuelen LEN ] [ bclim LIM ]
  MODE: private, vepa (what you get without a mode), bridge, passthru, source
  FLAG: nopromisc (beside mode passthru), nodst (source), null (neither); the first two also stand alone
  LIST: add MAC, del MAC, set [ MAC ... ] or flush: the senders that a source mode device listens to
  LEN:  frames that may wait in the broadcast queue, 0 to 4294967295
  LIM:  receivers above which a multicast goes through that queue, a 32-bit integer; written out in full`, "KIND", kind)
}
