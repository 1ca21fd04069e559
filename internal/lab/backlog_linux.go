package lab

import (
	"bytes"
	"os"
	"strconv"
)

// backlog is how many frames wait in the processors' queues between a veth's two
// ends. Normally there is none by the time a send returns (see pin); a machine that
// has too much to do leaves them to ksoftirqd, which takes its turn. Before Linux
// 5.10 the kernel doesn't tell.
func backlog() int {
	text, err := os.ReadFile("/proc/net/softnet_stat")
	if err != nil {
		return 0
	}
	return backlogIn(text)
}

func backlogIn(text []byte) (frames int) {
	const column = 11 // softnet_backlog_len in softnet_seq_show
	for line := range bytes.Lines(text) {
		if f := bytes.Fields(line); len(f) > column {
			n, _ := strconv.ParseInt(string(f[column]), 16, 32)
			frames += int(n)
		}
	}
	return frames
}
