package tasker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sort"
	"sync"
	"sync/atomic"

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

	refreshing chan struct{} // holds a value while nobody refreshes
	asked      atomic.Uint64 // refreshes asked for
	served     uint64        // of those, how many a finished refresh has answered; guarded by refreshing
}

// known is a definition that this process knows. It does not change.
type known struct {
	def      *Definition
	schema   *jsonschema.Schema
	own      bool         // registered in this process; else it follows the KV
	identity string       // identityText of the definition's
	identify IdentityFunc // of the strategy custom; nil when this process does not have it
}

// and is what is known after the same definition has come again.
func (k *known) and(again *known) *known {
	both := *k
	both.own = k.own || again.own
	if again.identify != nil {
		both.identify = again.identify
	}
	return &both
}

func newDefinitions(kv domain.KV) *definitions {
	d := &definitions{
		kv: kv, byName: map[[2]string]map[string]*known{}, saved: map[string]string{}, refreshing: make(chan struct{}, 1),
	}
	d.refreshing <- struct{}{}
	return d
}

// add registers a definition in this process, with the function of its identity if that is one.
func (d *definitions) add(def *Definition, identify IdentityFunc) error {
	k, err := d.prepare(def, identify)
	if err != nil {
		return err
	}
	return d.put(k, false)
}

// prepare is add without adding.
func (d *definitions) prepare(def *Definition, identify IdentityFunc) (*known, error) {
	k, err := compile(def)
	if err != nil {
		return nil, err
	}
	if old := d.get(def); old != nil && old.def.Hash() != def.Hash() {
		return nil, fmt.Errorf("%s: %w", def.FullName(), ErrDefinitionExists)
	}
	k.own, k.identify = true, identify
	return k, nil
}

// apply registers a definition that somebody sent: for all engines, or not at all.
func (d *definitions) apply(ctx context.Context, def *Definition, replace bool) error {
	k, err := compile(def)
	if err != nil {
		return err
	}
	if old := d.get(def); old != nil && old.def.Hash() != def.Hash() && !replace {
		return fmt.Errorf("%s: %w", def.FullName(), ErrDefinitionExists)
	}
	if err := d.publish(ctx, def, replace); err != nil {
		return err
	}
	return d.put(k, true)
}

func compile(def *Definition) (*known, error) {
	if err := def.Validate(); err != nil {
		return nil, err
	}
	if domain.TooLargeToAdopt(def) {
		return nil, fmt.Errorf("definition %s is too large to be stored, even compressed: use fewer steps or shorter configs", def.FullName())
	}
	schema, err := jsonschema.Compile(def.Schema)
	if err != nil {
		return nil, fmt.Errorf("schema of %s: %w", def.FullName(), err)
	}
	return &known{def: def, schema: schema, identity: identityText(def.Identity)}, nil
}

func (d *definitions) put(k *known, replace bool) error {
	def := k.def
	d.mu.Lock()
	defer d.mu.Unlock()
	key := [2]string{def.Namespace, def.Name}
	if d.byName[key] == nil {
		d.byName[key] = map[string]*known{}
	}
	if old := d.byName[key][def.Version]; old != nil {
		switch {
		case old.def.Hash() == def.Hash():
			k = old.and(k)
		case !replace:
			return fmt.Errorf("%s: %w", def.FullName(), ErrDefinitionExists)
		}
	}
	d.byName[key][def.Version] = k
	return nil
}

// get returns what is known under the definition's name and version, or nil.
func (d *definitions) get(def *Definition) *known {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.byName[[2]string{def.Namespace, def.Name}][def.Version]
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

// own lists the definitions that were registered in this process.
func (d *definitions) own() []*Definition {
	return slices.DeleteFunc(d.list(), func(def *Definition) bool {
		d.mu.RLock()
		defer d.mu.RUnlock()
		return !d.byName[[2]string{def.Namespace, def.Name}][def.Version].own
	})
}

// refresh exchanges definitions with the KV: those of this process are published, those of others are learned. Callers
// who come while one is under way share the next one: each has seen what was there when it was called.
func (d *definitions) refresh(ctx context.Context) error {
	mine := d.asked.Add(1)
	select {
	case <-d.refreshing:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { d.refreshing <- struct{}{} }()
	if d.served >= mine {
		return nil
	}
	serves := d.asked.Load()
	err := d.exchange(ctx)
	if err == nil {
		d.served = serves
	}
	return err
}

// exchange learns also when another content stands under the name of a definition of this process; the error says so.
func (d *definitions) exchange(ctx context.Context) error {
	var conflicts []error
	for _, def := range d.own() {
		err := d.publish(ctx, def, false)
		if errors.Is(err, ErrDefinitionExists) {
			conflicts = append(conflicts, err)
		} else if err != nil {
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
	return errors.Join(conflicts...)
}

// learn takes over a definition of somebody else, unless this process has its own under that name and version.
func (d *definitions) learn(body []byte) {
	def, err := parseEntry(body)
	if err != nil || d.accept != nil && d.accept(def) != nil {
		return // of a newer version, or not for this process
	}
	if old := d.get(def); old != nil && (old.own || old.def.Hash() == def.Hash()) {
		return
	}
	if k, err := compile(def); err == nil {
		_ = d.put(k, true) // replaced on purpose: the KV refuses it otherwise
	}
}

// publish lets submitters elsewhere find the definition. When somebody else writes at the same time, it looks again.
func (d *definitions) publish(ctx context.Context, def *Definition, replace bool) error {
	key := definitionKey(def)
	d.mu.RLock()
	done := d.saved[key] == def.Hash()
	d.mu.RUnlock()
	if done && !replace {
		return nil
	}
	for {
		body, revision, err := d.kv.Get(ctx, key)
		switch {
		case errors.Is(err, domain.ErrNoKey):
			revision = 0
		case err != nil:
			return fmt.Errorf("definition %s: %w", key, err)
		case isEntryOf(body, def):
			d.note(key, def)
			return nil
		case !replace:
			return fmt.Errorf("%s: %w", def.FullName(), ErrDefinitionExists)
		}
		_, err = d.kv.Put(ctx, key, entryOf(def), revision)
		if errors.Is(err, domain.ErrConflict) {
			continue
		}
		if err != nil {
			return fmt.Errorf("definition %s: %w", key, err)
		}
		d.note(key, def)
		return nil
	}
}

func (d *definitions) note(key string, def *Definition) {
	d.mu.Lock()
	d.saved[key] = def.Hash()
	d.mu.Unlock()
}

// entryOf is what the KV holds: the body, or when that is large, which a message may not be, a JSON object with it packed.
func entryOf(def *Definition) []byte {
	adopted := domain.AdoptDefinition(def)
	if adopted.Packed == nil {
		return adopted.Body
	}
	text, err := json.Marshal(adopted)
	if err != nil {
		panic(err) // a hash and bytes
	}
	return text
}

func parseEntry(text []byte) (*Definition, error) {
	var packed domain.DefinitionAdopted
	if err := json.Unmarshal(text, &packed); err == nil && packed.Packed != nil {
		return packed.Definition()
	}
	return domain.ParseDefinition(text)
}

func isEntryOf(text []byte, def *Definition) bool {
	if string(text) == string(def.Body()) {
		return true
	}
	other, err := parseEntry(text)
	return err == nil && other.Hash() == def.Hash()
}
