package main

import (
	"bytes"
	"encoding/json"
	"errors"
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

// get returns a member's value, nil if there is none.
func (o object) get(key string) any {
	for _, m := range o {
		if m.key == key {
			return m.value
		}
	}
	return nil
}

// without returns o without some of its members.
func (o object) without(keys ...string) (rest object) {
	for _, m := range o {
		if !slices.Contains(keys, m.key) {
			rest = append(rest, m)
		}
	}
	return rest
}

// parseJSON reads a list and keeps the order of what is in it.
func parseJSON(s string) ([]any, error) {
	dec := json.NewDecoder(strings.NewReader(s))
	dec.UseNumber()
	v, err := parseValue(dec)
	if err != nil {
		return nil, err
	}
	list, ok := v.([]any)
	if !ok {
		return nil, errors.New("no list")
	}
	return list, nil
}

func parseValue(dec *json.Decoder) (any, error) {
	token, err := dec.Token()
	if err != nil {
		return nil, err
	}
	switch token {
	case json.Delim('['):
		list := []any{}
		for dec.More() {
			v, err := parseValue(dec)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		_, err = dec.Token()
		return list, err
	case json.Delim('{'):
		o := object{}
		for dec.More() {
			key, err := dec.Token()
			if err != nil {
				return nil, err
			}
			v, err := parseValue(dec)
			if err != nil {
				return nil, err
			}
			o.add(key.(string), v)
		}
		_, err = dec.Token()
		return o, err
	}
	return token, nil
}

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
