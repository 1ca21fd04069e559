// Package sample has one of everything that mutate changes, and tests that see
// only some of it.
package sample

import "errors"

type Colour uint8

const (
	Red Colour = iota
	Green
	Blue
)

const Both = 1 | 2

type Point struct{ X, Y int }

func Between(n, low, high int) bool { return low <= n && n < high }

func Name(c Colour) string {
	switch c {
	case Red:
		return "red"
	case Green:
		return "green"
	}
	return ""
}

func Next(c Colour) (Colour, error) {
	if c == Blue {
		return 0, errors.New("the last")
	}
	return c + 1, nil
}

func Sum(list []int, skip bool) (p Point) {
	for i := 0; i < len(list); i++ {
		if !skip {
			p.X += list[i] << 1
		}
	}
	p.Y |= Both
	return Point{X: p.X, Y: p.Y}
}

func Count(n *int, enough bool) {
	if enough {
		return
	}
	*n++
}

func Pair() (int, bool) { return pair() }

func pair() (int, bool) { return 7, true }
