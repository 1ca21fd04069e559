package main

import (
	"errors"
	"strings"
	"syscall"
)

// strerror is the C library's sentence for an errno, which begins with a
// capital where Go's does not.
func strerror(errno int) string {
	s := syscall.Errno(errno).Error()
	return strings.ToUpper(s[:1]) + s[1:]
}

// cause is the sentence for the errno at the bottom of err, if there is one.
func cause(err error) string {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return strerror(int(errno))
	}
	return err.Error()
}
