package sqlite

import (
	"context"
	"fmt"
	"sync"

	"zombiezen.com/go/sqlite"

	"github.com/tasker-go/tasker/domain"
)

// definitions are those that were read, by hash.
type definitions struct {
	mu   sync.Mutex
	read map[string]*domain.Definition
}

const maxDefinitions = 2_000 // in memory

func (d *definitions) clear() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.read = nil
}

func (d *definitions) put(def *domain.Definition) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.read == nil || len(d.read) >= maxDefinitions {
		d.read = map[string]*domain.Definition{}
	}
	d.read[def.Hash()] = def
}

// find returns nil when the file does not have it.
func (d *definitions) find(c *sqlite.Conn, hash string) (*domain.Definition, error) {
	d.mu.Lock()
	def := d.read[hash]
	d.mu.Unlock()
	if def != nil {
		return def, nil
	}
	var body []byte
	if err := each(c, `SELECT body FROM definition WHERE hash = ?`, func(s *sqlite.Stmt) error {
		body = blob(s, 0)
		return nil
	}, hash); err != nil || body == nil {
		return nil, err
	}
	def, err := domain.DefinitionAdopted{Hash: hash, Body: body}.Definition()
	if err != nil {
		return nil, fmt.Errorf("index: %w", err)
	}
	def = def.Under(hash)
	d.put(def)
	return def, nil
}

// finder is find in the form that index.UnpackRow wants.
func (d *definitions) finder(c *sqlite.Conn, failed *error) func(string) (*domain.Definition, bool) {
	return func(hash string) (*domain.Definition, bool) {
		def, err := d.find(c, hash)
		if err != nil {
			*failed = err
		}
		return def, def != nil
	}
}

// Definition is index.Store's.
func (x *Index) Definition(_ context.Context, hash string) (*domain.Definition, error) {
	x.swap.RLock()
	defer x.swap.RUnlock()
	if err := x.ready(); err != nil {
		return nil, err
	}
	return x.defs.find(x.loader, hash)
}
