package tasker

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"sync"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/jsonschema"
)

// definitions is the registry: what this process knows, and the KV that lets others find it.
type definitions struct {
	kv domain.KV

	mu     sync.RWMutex
	byName map[[2]string]map[string]*known // namespace, name -> version
	accept func(*Definition) error         // of definitions that came from somewhere else; nil = all
	saved  map[string]string               // key -> hash, as the KV has it
}

type known struct {
	def    *Definition
	schema *jsonschema.Schema
}

func newDefinitions(kv domain.KV) *definitions {
	return &definitions{kv: kv, byName: map[[2]string]map[string]*known{}, saved: map[string]string{}}
}

// add registers a definition in this process.
func (d *definitions) add(def *Definition) error { return d.put(def, false) }

func (d *definitions) put(def *Definition, replace bool) error {
	if err := def.Validate(); err != nil {
		return err
	}
	if domain.TooLargeToAdopt(def) {
		return fmt.Errorf("definition %s is too large to be stored, even compressed: use fewer steps or shorter configs", def.FullName())
	}
	schema, err := jsonschema.Compile(def.Schema)
	if err != nil {
		return fmt.Errorf("schema of %s: %w", def.FullName(), err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	key := [2]string{def.Namespace, def.Name}
	if d.byName[key] == nil {
		d.byName[key] = map[string]*known{}
	}
	if old := d.byName[key][def.Version]; old != nil && old.def.Hash() != def.Hash() && !replace {
		return fmt.Errorf("%s: %w", def.FullName(), ErrDefinitionExists)
	}
	d.byName[key][def.Version] = &known{def, schema}
	return nil
}

// find returns the definition; version "" stands for the highest release.
func (d *definitions) find(namespace, name, version string) (*known, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	versions := d.byName[[2]string{namespace, name}]
	if version != "" {
		if k := versions[version]; k != nil {
			return k, nil
		}
	} else if len(versions) == 1 {
		for _, k := range versions {
			return k, nil
		}
	} else {
		var best *known
		for _, k := range versions {
			if best == nil || domain.CompareVersions(k.def.Version, best.def.Version) > 0 {
				best = k
			}
		}
		if best != nil {
			return best, nil
		}
	}
	e := &DefinitionNotFoundError{Namespace: namespace, Name: name, Version: version}
	for _, all := range d.byName {
		for _, k := range all {
			e.Known = append(e.Known, k.def.FullName())
		}
	}
	sort.Strings(e.Known)
	return nil, e
}

// list returns all definitions, by full name.
func (d *definitions) list() []*Definition {
	d.mu.RLock()
	defer d.mu.RUnlock()
	var all []*Definition
	for _, versions := range d.byName {
		for _, k := range versions {
			all = append(all, k.def)
		}
	}
	sort.Slice(all, func(i, j int) bool { return all[i].FullName() < all[j].FullName() })
	return all
}

func definitionKey(def *Definition) string {
	return def.Namespace + "." + def.Name + "." + def.Version
}

// refresh exchanges definitions with the KV: those of this process are published, those of others are learned.
func (d *definitions) refresh(ctx context.Context) error {
	for _, def := range d.list() {
		if err := d.publish(ctx, def, false); err != nil {
			return err
		}
	}
	keys, err := d.kv.Keys(ctx)
	if err != nil {
		return fmt.Errorf("definitions: %w", err)
	}
	for _, key := range keys {
		body, _, err := d.kv.Get(ctx, key)
		if errors.Is(err, domain.ErrNoKey) {
			continue
		}
		if err != nil {
			return fmt.Errorf("definition %s: %w", key, err)
		}
		d.learn(body)
	}
	return nil
}

// learn takes over a definition of somebody else, unless this process has its own under that name and version.
func (d *definitions) learn(body []byte) {
	def, err := domain.ParseDefinition(body)
	if err != nil || d.accept != nil && d.accept(def) != nil {
		return // of a newer version, or not for this process
	}
	d.mu.RLock()
	own := d.byName[[2]string{def.Namespace, def.Name}][def.Version]
	d.mu.RUnlock()
	if own == nil {
		_ = d.add(def)
	}
}

// publish lets submitters elsewhere find the definition.
func (d *definitions) publish(ctx context.Context, def *Definition, replace bool) error {
	key := definitionKey(def)
	d.mu.RLock()
	done := d.saved[key] == def.Hash()
	d.mu.RUnlock()
	if done {
		return nil
	}
	body, revision, err := d.kv.Get(ctx, key)
	switch {
	case errors.Is(err, domain.ErrNoKey):
		revision = 0
	case err != nil:
		return fmt.Errorf("definition %s: %w", key, err)
	case string(body) == string(def.Body()):
		d.note(key, def)
		return nil
	case !replace:
		return fmt.Errorf("%s: %w", def.FullName(), ErrDefinitionExists)
	}
	if _, err := d.kv.Put(ctx, key, def.Body(), revision); err != nil && !errors.Is(err, domain.ErrConflict) {
		return fmt.Errorf("definition %s: %w", key, err)
	}
	d.note(key, def)
	return nil
}

func (d *definitions) note(key string, def *Definition) {
	d.mu.Lock()
	d.saved[key] = def.Hash()
	d.mu.Unlock()
}
