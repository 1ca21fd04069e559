package main

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"slices"
	"strings"
)

// object is a JSON object that keeps the order of its members, which is ip's.
type object []member

type member struct {
	key   string
	value any
}

func (o *object) add(key string, value any) { *o = append(*o, member{key, value}) }

// writeJSON writes v (objects, lists and scalars) and a line end.
func writeJSON(w io.Writer, v any, pretty bool) error {
	enc := encoder{pretty: pretty}
	enc.value(v)
	enc.WriteByte('\n')
	_, err := io.WriteString(w, enc.String())
	return err
}

// encoder writes objects, lists and scalars the way iproute2's json_writer
// does, which on -p puts members on lines of their own and lists on one.
type encoder struct {
	strings.Builder
	pretty bool
	depth  int
}

func (e *encoder) value(v any) {
	switch v := v.(type) {
	case object:
		e.object(v)
	case []any:
		e.list(v)
	case map[string]any:
		var o object
		for _, k := range slices.Sorted(maps.Keys(v)) {
			o.add(k, v[k])
		}
		e.object(o)
	default:
		e.scalar(v)
	}
}

// scalar writes a string, number or boolean.
func (e *encoder) scalar(v any) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // ip's writer leaves < and & alone
	if err := enc.Encode(v); err != nil {
		panic(err) // nothing else comes here
	}
	e.Write(bytes.TrimSuffix(b.Bytes(), []byte("\n")))
}

// generic turns anything that encoding/json can write into what the encoder
// writes; members come in alphabetical order.
func generic(v any) any {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // the API's types can all be written
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber() // counters are wider than a float64
	var out any
	if err := dec.Decode(&out); err != nil {
		panic(err)
	}
	return out
}

func (e *encoder) object(o object) {
	e.WriteByte('{')
	e.depth++
	for i, m := range o {
		if i > 0 {
			e.WriteByte(',')
		}
		e.newline()
		e.value(m.key)
		e.WriteByte(':')
		if e.pretty {
			e.WriteByte(' ')
		}
		e.value(m.value)
	}
	e.depth--
	if len(o) > 0 {
		e.newline()
	}
	e.WriteByte('}')
}

func (e *encoder) list(l []any) {
	e.WriteByte('[')
	if e.pretty {
		e.WriteByte(' ')
	}
	e.depth++
	for i, v := range l {
		if i > 0 {
			e.WriteByte(',')
		}
		e.value(v)
	}
	e.depth--
	if e.pretty && len(l) > 0 {
		e.WriteByte(' ')
	}
	e.WriteByte(']')
}

func (e *encoder) newline() {
	if e.pretty {
		e.WriteByte('\n')
		e.WriteString(strings.Repeat("    ", e.depth))
	}
}
