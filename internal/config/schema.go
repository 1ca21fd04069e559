package config

// Key is one key of the file: what it takes, what it is if it isn't given, and
// what it means. docs/config.md shows this list.
type Key struct{ Name, Takes, Default, Means string }

// The keys, by where they stand.
var (
	TopKeys = []Key{
		{"parents", "a list of parents", "required", "The devices below. A file without vmacs says `parents: []`: one that is empty by accident shall delete nothing."},
	}
	ParentKeys = []Key{
		{"name", "a device name", "required", "The parent, such as `eth0`. If it isn't there yet it is waited for."},
		{"netns", "a name under /run/netns, or a path", "the daemon's own", "The network namespace in which the parent is. If it isn't there yet it is waited for."},
		{"bclim", "a number, -1 and more", "1", "Groups that more vmacs than this subscribe to go through the broadcast queue; -1: broadcast too stays out of it."},
		{"vmacs", "a list of vmacs", "required", "What stands on this parent, in the order in which it is made."},
	}
	VmacKeys = []Key{
		{"name", "a device name", "required", "Its name; with the namespace it is what tells one vmac from another."},
		{"netns", "a name under /run/netns, or a path", "the parent's", "The network namespace in which the device lives."},
		{"mode", "private, vepa, bridge, passthru or source", "vepa", "As in `ip link add … type macvlan mode`. A change to or from passthru makes the device anew."},
		{"flags", "a list of nopromisc, nodst", "none", "`nopromisc` is for passthru, `nodst` for source."},
		{"mac", "an Ethernet address", "drawn once, and kept", "Its address. Without it the one that it was first given stays, through restarts too if the daemon has a state file. A passthru vmac without it has its parent's."},
		{"macaddr", "a list of Ethernet addresses", "none", "The senders that a vmac of mode source listens to."},
		{"mtu", "a number, 68 to 65535", "the parent's", "At most the parent's."},
		{"bcqueuelen", "a number", "1000", "The length of the broadcast queue that it asks for; the parent's is the longest that any of its vmacs asks for."},
		{"txqueuelen", "a number", "1000", "The length of the queue in front of the device."},
		{"up", "true or false", "true", "Whether the device is up."},
		{"promisc", "true or false", "left as it is", "Promiscuous mode."},
		{"allmulticast", "true or false", "left as it is", "Receive every group."},
		{"alias", "a text of at most 255 bytes", "umacvlan mode MODE link PARENT", "What `ip link` shows as alias."},
		{"owner", "a mapping of texts", "none", "Labels that `umacvlan -d link show` shows."},
		{"addresses", "a list of IP addresses with a prefix length, such as 192.0.2.1/24", "none", "Given to the device in its namespace. Those that others give it stay; those that the file no longer has are taken away."},
	}
)
