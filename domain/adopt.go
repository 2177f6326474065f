package domain

import (
	"bytes"
	"compress/flate"
	"fmt"
	"io"
)

// maxAdopted is the largest definition, in bytes of the event, that a commit takes.
const maxAdopted = 376 << 10

// AdoptDefinition is the event that stores the definition in a partition.
func AdoptDefinition(d *Definition) DefinitionAdopted {
	if len(d.body) <= InlineLog {
		return DefinitionAdopted{Hash: d.hash, Body: d.body}
	}
	return DefinitionAdopted{Hash: d.hash, Packed: deflate(d.body)}
}

// Definition reads the definition that was adopted.
func (e DefinitionAdopted) Definition() (*Definition, error) {
	body := []byte(e.Body)
	if len(e.Packed) > 0 {
		var err error
		if body, err = io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(e.Packed)), MaxPayload)); err != nil {
			return nil, fmt.Errorf("definition %s: %w", e.Hash, err)
		}
	}
	d, err := ParseDefinition(body)
	if err != nil {
		return nil, fmt.Errorf("definition %s: %w", e.Hash, err)
	}
	return d, nil
}

func deflate(body []byte) []byte {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.DefaultCompression)
	if err != nil {
		panic(err) // the level is a constant
	}
	_, _ = w.Write(body) // a bytes.Buffer takes everything
	_ = w.Close()
	return b.Bytes()
}

// TooLargeToAdopt reports whether no commit could hold the definition.
func TooLargeToAdopt(d *Definition) bool {
	return len(d.body) > InlineLog && len(deflate(d.body)) > maxAdopted
}
